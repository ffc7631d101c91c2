"""Judges which recipients the allowlists allow, and whether a change of a list loosens
it, by pure functions of lists; then reads the lists that apply to messages, and judges
many messages at once. The cost of that does not grow with the lists: entries are found
by their patterns (index allow_entry_pattern).

A mailbox is under the lists for all, of its connection and of its own. Their live
entries count together, and the strictest of their modes holds; a list that is off does
not count.
"""

import logging
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import F
from django.db.models.functions import Now

from common.fingerprint import Content
from common.mail_addresses import compared, is_pattern, patterns_for
from common.postgres import clock
from mirror.models import Connection, KnownContact, Message
from mirror.recipients import in_compared_form, written_to, written_to_in
from policy.models import AllowEntry, Allowlist

OFF = "off"
MONITOR = "monitor"
CONTACTS = "contacts"
ENFORCE = "enforce"
# The strictest last.
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
    """One entry of a list, in the form of `common.mail_addresses.read_pattern`. `id` is its
    row, where there is one.
    """

    pattern: str
    expires_at: datetime | None = None
    id: int | None = None

    def is_live(self, now: datetime) -> bool:
        """Whether it has not expired; the end itself does not belong to it."""
        return self.expires_at is None or self.expires_at > now


@dataclass(frozen=True)
class ApplicableList:
    """A list that applies to a mailbox: its mode, and those of its entries, by pattern,
    that could name a recipient.

    `label` says in words whom it is for: "all", "Main account",
    "support@yourteam.example".
    """

    list_id: int | None
    label: str
    mode: str
    entries: Mapping[str, Entry] = field(default_factory=dict)


@dataclass(frozen=True)
class AllowedBy:
    """Why an address may be written to: which entry of which list names it. Without a
    pattern it is a contact.
    """

    pattern: str
    label: str
    entry: int | None = None


@dataclass(frozen=True)
class Judgement:
    """The judgement of recipients. `would_be_refused`: those that a list in monitor
    mode does not name.
    """

    mode: str = OFF
    passed: Mapping[str, AllowedBy] = field(default_factory=dict)
    refused: tuple[str, ...] = ()
    would_be_refused: tuple[str, ...] = ()
    # The mode asks the contacts of the account, and they were never read.
    lacks_contacts: bool = False


def judge(
    recipients: Iterable[str],
    lists: Sequence[ApplicableList],
    contacts: Collection[str] | None,
    now: datetime,
) -> Judgement:
    """Return what `lists`, the narrowest first, say to each of these recipients at this
    instant.

    `contacts` are the known ones among them in the form that lists compare; None: they
    could not be read, so nobody is known. Under a mode in force a recipient passes by a
    live entry or, in mode contacts, by being known; all others, and what is no address
    at all, are refused.
    """
    counting = [one for one in lists if one.mode != OFF]
    if not counting:
        return Judgement()
    mode = strictest(one.mode for one in counting)
    known = contacts if mode == CONTACTS and contacts is not None else ()
    passed: dict[str, AllowedBy] = {}
    missed: list[str] = []
    for address in dict.fromkeys(recipients):
        patterns = patterns_of([address])
        # The most exact entry of the narrowest list.
        found = next(
            (
                AllowedBy(pattern, listing.label, entry.id)
                for pattern in patterns
                for listing in counting
                if (entry := listing.entries.get(pattern)) and entry.is_live(now)
            ),
            None,
        )
        if found:
            passed[address] = found
        elif patterns and patterns[0] in known:
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
    """Return the mode that holds where several lists apply."""
    return max(modes, key=_STRICTNESS.index, default=OFF)


def allowable(recipient: str) -> str | None:
    """Return the entry that names this recipient and nobody else; None where there is
    none.

    `*@domain` is an address too, that somebody could have written to: as an entry it
    would let in the whole domain.
    """
    one = compared(recipient)
    return one if one and is_pattern(one) else None


def patterns_of(recipients: Iterable[str]) -> list[str]:
    """Return every entry that could let one of these recipients through; of one the
    most exact, itself, first.
    """
    known = filter(None, map(compared, recipients))
    return list(
        dict.fromkeys(pattern for one in known for pattern in patterns_for(one))
    )


def named(addresses: Sequence[str]) -> str:
    """Return the first few addresses in words, and how many more there are."""
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
    people, for longer, or without review. Doubt counts as loosening.

    `before` has the ends of the entries that are there under the patterns of `put`.
    `has_live_entries` says whether the list has any that count, and `is_alone` that no
    other list of its kind is in force: their entries count together, so a list that is
    switched on beside others allows its entries in their place too. A change of notes
    or owners, an earlier end, a stricter mode and removing an entry of a restriction do
    not loosen.
    """
    for pattern, ends in put:
        if pattern not in before:
            return True
        known = before[pattern]
        if known is not None and (ends is None or ends > known):
            return True
    was = _STRICTNESS.index(mode_before)
    becomes = _STRICTNESS.index(mode_after)
    if kind != "restriction":
        # A bypass lets its entries out without review, so its strictest mode is off.
        return becomes > was
    is_joining = mode_before == OFF and has_live_entries and not is_alone
    return becomes < was or (becomes > was and is_joining)


log = logging.getLogger(__name__)

# How long the contacts that were read of an account are valid, by the database's clock.
CONTACTS_LAST = timedelta(days=1)


@dataclass(frozen=True)
class ListsInForce:
    """All lists in force of some connections, the narrowest first, with the entries
    that were asked for.
    """

    lists: Sequence[Allowlist]
    # By the key of the list; None for one that is not stored yet.
    entries: Mapping[int | None, Mapping[str, Entry]]

    def for_mailbox(self, connection: int, mailbox: int | None) -> list[ApplicableList]:
        """Return the lists that apply to a mailbox.

        Mail whose mailbox is not known may belong to any mailbox of its connection: the
        modes of all of them apply to it, and none of their entries.
        """
        found = []
        for one in self.lists:
            entries = self.entries.get(one.pk, {})
            applies = one.owning_connection in (None, connection)
            if one.mailbox is not None:
                applies = applies and mailbox in (None, one.mailbox_id)
                entries = entries if mailbox is not None else {}
            if applies:
                label = str(one.mailbox or one.connection or "all")
                found.append(ApplicableList(one.pk, label, one.mode, entries))
        return found


def lists_in_force(
    *,
    connections: Collection[int],
    mailboxes: Collection[int] | None = None,
    patterns: Collection[str],
    also: Allowlist | None = None,
) -> ListsInForce:
    """Return the restrictions in force for these connections with the entries of these
    patterns, in two queries.

    Those of `mailboxes`, else of any mailbox of the connections. `also` is a list that
    is read whatever its mode is; it comes last.
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
    # As values: a rehearsal asks for tens of thousands.
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
    """Return the judgement of each message by its key, in four queries at most. No list
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
    """Return the judgement of a content that has just been read, by the current lists
    and the database's clock.
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
    """Return the judgement of messages that are no received mail, by their keys;
    nothing where no list is in force.
    """
    if not messages:
        return {}
    mailboxes = {one.mailbox_id for one in messages if one.mailbox_id is not None}
    is_unknown = any(one.mailbox_id is None for one in messages)
    in_force = lists_in_force(
        connections={one.connection_id for one in messages},
        # A message whose mailbox is not known may belong to any of its connection.
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


def contacts_among(
    connections: Collection[int], addresses: Collection[str]
) -> dict[int, set[str]]:
    """Return by connection those of `addresses` that are contacts, for connections that
    were read lately enough.
    """
    if not connections:
        return {}
    fresh = Connection.objects.filter(
        pk__in=connections, contacts_read_at__gte=Now() - CONTACTS_LAST
    )
    found = {one: set[str]() for one in fresh.values_list("pk", flat=True)}
    rows = KnownContact.objects.filter(connection__in=found, address__in=addresses)
    for connection, address in rows.values_list("connection_id", "address"):
        found[connection].add(address)
    return found


@transaction.atomic
def count_hits(*, limit: int) -> int:
    """Count the hits of some messages that were not counted yet; return how many
    messages.
    """
    # Locked, so that none is counted twice; one locked by a decision is counted later.
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
        # One that names no recipients must not keep all others from being counted.
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
    # In a fixed order, so that two counts at once do not deadlock.
    for entry, number in sorted(hits.items()):
        AllowEntry.objects.filter(pk=entry).update(
            hits=F("hits") + number, last_hit_at=Now()
        )
    Message.objects.filter(pk__in=[one.pk for one in messages]).update(
        hits_counted_at=Now()
    )
    return len(messages)
