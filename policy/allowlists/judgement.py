"""Judges which recipients the allowlists allow. The first half is pure functions of
lists, also whether a change loosens a list. The second half reads the lists that apply
to messages, judges many messages at once, and counts how often each entry was used.

Three lists apply to a mailbox: the one for all mail, the one of its connection, and its
own. Their live entries count together, and the strictest of their modes holds; a list
that is off does not count. Long lists cost no more than short ones, because only
entries with the recipients' patterns are read (index allow_entry_pattern).
"""

import logging
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from django.db import transaction
from django.db.models import F
from django.db.models.functions import Now

from common.fingerprint import Content
from common.mail_addresses import compared, is_pattern, patterns_for
from common.postgres import clock
from mirror.models import Message
from mirror.recipients import in_compared_form, written_to, written_to_in
from policy.models import AllowEntry, Allowlist
from policy.rules.facts import contacts_among

OFF = "off"
MONITOR = "monitor"
CONTACTS = "contacts"
ENFORCE = "enforce"
# From the loosest mode to the strictest.
_STRICTNESS = (OFF, MONITOR, CONTACTS, ENFORCE)
# How many addresses a sentence names.
_NAMED = 3


@dataclass(frozen=True)
class ListScope:
    """What a list applies to: one mailbox, one connection, or neither, which means all
    mail.
    """

    connection: int | None = None
    mailbox: int | None = None


@dataclass(frozen=True)
class Entry:
    """One entry of a list, in the form of `common.mail_addresses.read_pattern`. `id` is
    the key of its row; None if it is not stored.
    """

    pattern: str
    expires_at: datetime | None = None
    id: int | None = None

    def is_live(self, now: datetime) -> bool:
        """Whether it has not expired; at its end it has."""
        return self.expires_at is None or self.expires_at > now


@dataclass(frozen=True)
class ApplicableList:
    """A list that applies to a mailbox, with those of its entries, by pattern, that
    could name one of the recipients that are judged.

    `label` says what the list is for: "all", "Main account",
    "support@yourteam.example".
    """

    label: str
    mode: str
    entries: Mapping[str, Entry] = field(default_factory=dict)


@dataclass(frozen=True)
class AllowedBy:
    """Why an address may be written to: the entry that names it, and the label of the
    entry's list. Without a pattern, because it is a contact of the account.
    """

    pattern: str
    label: str
    entry: int | None = None


@dataclass(frozen=True)
class Judgement:
    """Which recipients the lists allow (`passed`, with the reason) and refuse. In
    monitor mode nobody is refused; `would_be_refused` are those who would be.
    """

    mode: str = OFF
    passed: Mapping[str, AllowedBy] = field(default_factory=dict)
    refused: tuple[str, ...] = ()
    would_be_refused: tuple[str, ...] = ()
    # Whether contacts are allowed, but could not be read lately.
    lacks_contacts: bool = False


def judge(
    recipients: Iterable[str],
    lists: Sequence[ApplicableList],
    contacts: Collection[str] | None,
    now: datetime,
) -> Judgement:
    """Return which of these recipients the lists allow at the time `now`. The list with
    the narrowest scope comes first.

    A recipient passes if a live entry of any list names it or, in mode contacts, if it
    is in `contacts`. All others are refused, also what is no address at all. `contacts`
    are in the form that lists compare; None means that they could not be read.
    """
    counting = [one for one in lists if one.mode != OFF]
    if not counting:
        return Judgement()
    mode = strictest(one.mode for one in counting)
    allowed_contacts = contacts if mode == CONTACTS and contacts is not None else ()
    passed: dict[str, AllowedBy] = {}
    missed: list[str] = []
    for address in dict.fromkeys(recipients):
        patterns = patterns_of([address])
        # The most exact entry; of several lists with it, the narrowest.
        reason = next(
            (
                AllowedBy(pattern, listing.label, entry.id)
                for pattern in patterns
                for listing in counting
                if (entry := listing.entries.get(pattern)) and entry.is_live(now)
            ),
            None,
        )
        if reason:
            passed[address] = reason
        elif patterns and patterns[0] in allowed_contacts:
            passed[address] = AllowedBy("", "the contacts of the account")
        else:
            missed.append(address)
    is_trial = mode == MONITOR
    return Judgement(
        mode=mode,
        passed=passed,
        refused=() if is_trial else tuple(missed),
        would_be_refused=tuple(missed) if is_trial else (),
        lacks_contacts=mode == CONTACTS and contacts is None,
    )


def strictest(modes: Iterable[str]) -> str:
    """Return the strictest of these modes, which holds if several lists apply."""
    return max(modes, key=_STRICTNESS.index, default=OFF)


def allowable(recipient: str) -> str | None:
    """Return the entry that names this recipient and nobody else; None if there is
    none.

    An example is `*@domain`: a recipient could be written so, but the entry would allow
    the whole domain.
    """
    one = compared(recipient)
    return one if one and is_pattern(one) else None


def patterns_of(recipients: Iterable[str]) -> list[str]:
    """Return every pattern that names one of these recipients. For each recipient, the
    most exact pattern, the address itself, comes first.
    """
    addresses = filter(None, map(compared, recipients))
    return list(
        dict.fromkeys(pattern for one in addresses for pattern in patterns_for(one))
    )


def named(addresses: Sequence[str]) -> str:
    """Return addresses as a part of a sentence: "a, b, c and 4 more"."""
    more = len(addresses) - _NAMED
    if more > 0:
        return f"{', '.join(addresses[:_NAMED])} and {more:,} more"
    *first, last = addresses
    return f"{', '.join(first)} and {last}" if first else last


def loosens(
    *,
    kind: str,
    mode_before: str,
    mode_after: str,
    before: Mapping[str, datetime | None],
    put: Iterable[tuple[str, datetime | None]],
    has_live_entries: bool,
    is_alone: bool,
) -> bool:
    """Return whether a change of one list lets more mail out than before: to more
    people, for longer, or without review. In doubt it does.

    `put` has the patterns and ends of the entries that are added or changed, and
    `before` the present ends of those that exist. `has_live_entries`: the list has
    entries that are not expired. `is_alone`: no other list of its kind is on. Entries
    of all lists count together, so switching on a list next to others allows more
    recipients.

    Changing notes or owners, an earlier end, a stricter mode, and removing an entry of
    a restriction do not loosen.
    """
    for pattern, ends in put:
        if pattern not in before:
            return True
        ends_now = before[pattern]
        if ends_now is not None and (ends is None or ends > ends_now):
            return True
    was = _STRICTNESS.index(mode_before)
    becomes = _STRICTNESS.index(mode_after)
    if kind != "restriction":
        # A bypass sends mail without review, so it is tightest when it is off.
        return becomes > was
    is_joining = mode_before == OFF and has_live_entries and not is_alone
    return becomes < was or (becomes > was and is_joining)


log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ListsInForce:
    """All lists in force that apply to some connections, the narrowest first, with
    those of their entries that have the patterns asked for.
    """

    lists: Sequence[Allowlist]
    # By key of the list (None for a list that is not stored yet) and by pattern.
    entries: Mapping[int | None, Mapping[str, Entry]]

    def for_mailbox(self, connection: int, mailbox: int | None) -> list[ApplicableList]:
        """Return the lists that apply to a mailbox.

        If the mailbox is not known, it may be any of the connection. Then the lists of
        all its mailboxes apply with their modes, but without their entries.
        """
        applicable = []
        for one in self.lists:
            entries = self.entries.get(one.pk, {})
            applies = one.owning_connection in (None, connection)
            if one.mailbox is not None:
                applies = applies and mailbox in (None, one.mailbox_id)
                entries = entries if mailbox is not None else {}
            if applies:
                label = str(one.mailbox or one.connection or "all")
                applicable.append(ApplicableList(label, one.mode, entries))
        return applicable


def lists_in_force(
    *,
    connections: Collection[int],
    mailboxes: Collection[int] | None = None,
    patterns: Collection[str],
    also: Allowlist | None = None,
) -> ListsInForce:
    """Return the restrictions in force for these connections, with their entries that
    have these patterns, in two queries.

    Lists of mailboxes are included for `mailboxes`, or if that is None for any mailbox
    of the connections. `also` is a list that is included in any mode; if it was off,
    last.
    """
    lists = list(
        Allowlist.objects.in_force(
            kind=Allowlist.Kind.RESTRICTION,
            connections=connections,
            mailboxes=mailboxes,
        )
    )
    if also is not None and also not in lists:
        lists.append(also)
    entries: dict[int | None, dict[str, Entry]] = {}
    stored = [one.pk for one in lists if one.pk is not None]
    # Plain values instead of model objects: a preview reads tens of thousands.
    named = AllowEntry.objects.not_removed().filter(
        allowlist__in=stored, pattern__in=patterns
    )
    rows = named.values_list("allowlist_id", "pattern", "expires_at", "pk")
    for list_id, pattern, expires_at, key in rows:
        entries.setdefault(list_id, {})[pattern] = Entry(pattern, expires_at, key)
    return ListsInForce(lists, entries)


def judge_messages(
    messages: Sequence[Message], *, now: datetime
) -> dict[int, Judgement]:
    """Return the judgements of messages by their keys, in four queries at most. No list
    applies to received mail.
    """
    recipients = {
        one.pk: written_to_in(one.revision)
        for one in messages
        if one.direction != "inbound" and one.revision
    }
    restricted = [one for one in messages if one.pk in recipients]
    judged = {one.pk: Judgement() for one in messages}
    return judged | _judge_restricted(restricted, recipients, now)


def judge_content(message: Message, content: Content) -> Judgement:
    """Return the judgement of the recipients in this content of a message, by the
    current lists and the database's clock.
    """
    if message.direction == "inbound" or not (recipients := written_to(content)):
        return Judgement()
    judged = _judge_restricted([message], {message.pk: recipients}, None)
    return judged.get(message.pk, Judgement())


def _judge_restricted(
    messages: Sequence[Message],
    recipients: Mapping[int, Collection[str]],
    now: datetime | None,
) -> dict[int, Judgement]:
    """Return the judgements of messages that are not received mail, by their keys;
    empty if no list is in force. If `now` is None, the database's clock is used.
    """
    if not messages:
        return {}
    mailboxes = {one.mailbox_id for one in messages if one.mailbox_id is not None}
    is_unknown = any(one.mailbox_id is None for one in messages)
    in_force = lists_in_force(
        connections={one.connection_id for one in messages},
        # A message whose mailbox is not known may belong to any mailbox.
        mailboxes=None if is_unknown else mailboxes,
        patterns=patterns_of(
            address for one in messages for address in recipients[one.pk]
        ),
    )
    if not in_force.lists:
        return {}
    lists = {
        one.pk: in_force.for_mailbox(one.connection_id, one.mailbox_id)
        for one in messages
    }
    by_contacts = [
        one
        for one in messages
        if strictest(each.mode for each in lists[one.pk]) == CONTACTS
    ]
    addresses = in_compared_form(
        address for one in by_contacts for address in recipients[one.pk]
    )
    contacts = contacts_among({one.connection_id for one in by_contacts}, addresses)
    at = now or clock()
    return {
        one.pk: judge(
            recipients[one.pk], lists[one.pk], contacts.get(one.connection_id), at
        )
        for one in messages
    }


@transaction.atomic
def count_hits(*, limit: int) -> int:
    """Add to each allowlist entry how many of the next `limit` messages it let through.
    Return the number of messages.
    """
    # Locked, so that no message is counted twice. A message that a decision has locked
    # is counted later.
    rows = Message.objects.to_count().select_for_update(
        of=("self",), no_key=True, skip_locked=True
    )
    messages = list(rows.select_related("revision")[:limit])
    if not messages:
        return 0
    counted = []
    for one in messages:
        if one.sandbox:
            continue
        # An unreadable message must not keep all others from being counted.
        if one.revision and isinstance(one.revision.content, dict):
            counted.append(one)
        else:
            log.error(
                "hits not counted: the content is not readable",
                extra={"email": one.upstream_id},
            )
    hits: Counter[int] = Counter()
    for judged in judge_messages(counted, now=clock()).values():
        # A message counts once for each entry.
        hits.update({one.entry for one in judged.passed.values() if one.entry})
    # In a fixed order, so that two workers that count at once do not deadlock.
    for entry, number in sorted(hits.items()):
        AllowEntry.objects.filter(pk=entry).update(
            hits=F("hits") + number, last_hit_at=Now()
        )
    Message.objects.filter(pk__in=[one.pk for one in messages]).update(
        hits_counted_at=Now()
    )
    return len(messages)
