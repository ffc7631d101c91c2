"""A change of a list between its form and its saving: its preview, the signed text that
carries it there, and what it would refuse or let through of the mail of the last 30
days.

Exactly the previewed change is saved: the signed text is valid only for this list,
version and person. Messages are judged as the ruling would, before the change and after
it, both at this instant; messages to the same recipients once, and each recipient once.
Mail that the gate refused is no message here and is rehearsed separately.
"""

import json
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache
from heapq import nlargest
from operator import itemgetter

from django.core import signing

from common.actors import Actor
from common.mail_addresses import domain_of, is_pattern, read_pattern, stored_pattern
from mirror.models import Message
from mirror.models.messages import SameRecipients, recipients_in
from mirror.recipients import in_compared_form, written_to_in
from people.second_admin.registry import as_json, from_json
from policy.allowlists.changes import Change, WantedEntry
from policy.allowlists.judgement import (
    CONTACTS,
    ENFORCE,
    MONITOR,
    OFF,
    ApplicableList,
    Entry,
    Judgement,
    ListsInForce,
    allowable,
    contacts_among,
    judge,
    lists_in_force,
    patterns_of,
    stored_contacts,
)
from policy.models import AllowEntry, Allowlist, GateRefusal

DAYS = 30
LIMIT = 50
# How many refusals are judged, the newest first.
MAX_REFUSALS = 2000
# How many messages without stored recipients are read at a time.
_CHUNK = 500
# How many recipients a preview offers to allow, those with the most messages first.
MAX_OFFERED = 200
_VERBS = {
    OFF: "Switch off",
    MONITOR: "Switch to Monitor",
    CONTACTS: "Allow contacts and entries",
    ENFORCE: "Enforce",
}
# A form may have one mebibyte; its other fields are short.
MAX_PACKED = 950_000
# A form left open for longer is made again.
_GOOD_FOR = 24 * 3600


class InvalidDraft(Exception):
    """The signed text is not ours, too old, or somebody else's."""


@dataclass(frozen=True)
class Draft(Change):
    """A wanted change of a list. With `whole` the list will contain exactly the `put`
    entries.
    """

    whole: bool = False
    is_import: bool = False


@dataclass(frozen=True)
class EntryChange:
    """One entry before and after; of the two there is at least one."""

    pattern: str
    before: AllowEntry | None = None
    after: WantedEntry | None = None


@dataclass(frozen=True)
class Preview:
    """What a draft changes in the current list."""

    added: Sequence[EntryChange]
    changed: Sequence[EntryChange]
    removed: Sequence[EntryChange]
    unchanged: int
    mode_before: str
    mode_after: str
    live_after: int
    change: Change

    @property
    def is_nothing(self) -> bool:
        """Whether it changes nothing."""
        return (
            not (self.added or self.changed or self.removed)
            and self.mode_before == self.mode_after
        )


def preview(draft: Draft, at: Allowlist, *, now: datetime) -> Preview:
    """Return what the draft changes in the current list."""
    wanted = {one.pattern: one for one in draft.put}
    rows = AllowEntry.objects.of_list(at)
    named = rows if draft.whole else rows.filter(pattern__in=[*wanted, *draft.remove])
    there = {
        one.pattern: one for one in named.select_related("owner").order_by("pattern")
    }
    gone = [one for one in draft.remove if one in there]
    if draft.whole:
        gone = [one for one in there if one not in wanted]
    removed = [EntryChange(one, there[one]) for one in gone]
    added = []
    changed = []
    for pattern, after in wanted.items():
        before = there.get(pattern)
        step = EntryChange(pattern, before, after)
        if before is None:
            added.append(step)
        elif (before.note, before.owner_id, before.expires_at) != (
            after.note,
            after.owner,
            after.expires_at,
        ):
            changed.append(step)
    live = rows.live(now).count()
    for step in (*added, *changed, *removed):
        live += _is_live(step.after, now) - _is_live(step.before, now)
    return Preview(
        added=added,
        changed=changed,
        removed=removed,
        unchanged=len(wanted) - len(added) - len(changed),
        mode_before=at.mode,
        mode_after=draft.mode or at.mode,
        live_after=live,
        change=Change(mode=draft.mode, put=tuple(wanted.values()), remove=tuple(gone)),
    )


def _is_live(one: AllowEntry | WantedEntry | None, now: datetime) -> int:
    return int(one is not None and (one.expires_at is None or one.expires_at > now))


def pack(draft: Draft, at: Allowlist, actor: Actor) -> str:
    """Return the draft as signed text for the form that saves it. Raises ValueError
    where it is too long.
    """
    fields = [at.version, as_json(draft)]
    packed = signing.dumps(fields, salt=_salt(at, actor), compress=True)
    if len(packed) > MAX_PACKED:
        raise ValueError("These are too many entries for one change. Split them.")
    return packed


def unpack(packed: str, at: Allowlist, actor: Actor) -> tuple[int, Draft]:
    """Return the version that a signed text is for, and its draft. Raises InvalidDraft."""
    try:
        version, draft = signing.loads(packed, salt=_salt(at, actor), max_age=_GOOD_FOR)
    except signing.BadSignature:
        raise InvalidDraft from None
    return version, from_json(Draft, draft)


def _salt(at: Allowlist, actor: Actor) -> str:
    return f"draft of an allowlist:{at.scope}:{at.kind}:{actor.id}"


@dataclass(frozen=True)
class BlockedRecipient:
    """A recipient that the change would block: in how many messages, the entry that
    names it, and whether it is ticked.

    Without a `pattern` no entry can name it.
    """

    address: str
    messages: int
    pattern: str
    is_ticked: bool


@dataclass(frozen=True)
class BlockedDomain:
    """The blocked recipients at one domain. Without a `pattern` the domain cannot be
    allowed as a whole.
    """

    domain: str
    pattern: str
    is_ticked: bool
    recipients: tuple[BlockedRecipient, ...]


def blocked_domains(
    blocked: Mapping[str, int], *, ticked: Collection[str] | None = None
) -> list[BlockedDomain]:
    """Return the blocked recipients by domain, those with the most messages first.

    `ticked` are the entries that a person chose; None ticks every address and no
    domain.
    """
    by_domain: dict[str, list[BlockedRecipient]] = {}
    for address, number in sorted(
        blocked.items(), key=lambda pair: (-pair[1], pair[0])
    )[:MAX_OFFERED]:
        pattern = allowable(address) or ""
        is_ticked = bool(pattern) and (ticked is None or pattern in ticked)
        row = BlockedRecipient(address, number, pattern, is_ticked)
        by_domain.setdefault(domain_of(pattern), []).append(row)
    found = []
    for domain, rows in by_domain.items():
        pattern = domain if is_pattern(domain) else ""
        is_ticked = domain in (ticked or ())
        found.append(BlockedDomain(domain, pattern, is_ticked, tuple(rows)))
    return found


@dataclass(frozen=True)
class ChangedMessage:
    """One message that the change would have refused or let through: who is refused,
    before it and after it.
    """

    message: Message
    before: tuple[str, ...]
    after: tuple[str, ...]


@dataclass(frozen=True)
class Rehearsal:
    """What a change would have done since then: `more` messages refused that were not,
    `fewer` the other way round.

    `noted` would be refused after it if the list were in force. `rows` are the newest
    messages that it affects. `blocked` are the recipients because of whom messages are
    refused that were not, with how many messages each.
    """

    looked_at: int
    more: int
    fewer: int
    rows: tuple[ChangedMessage, ...]
    noted: int
    blocked: Mapping[str, int] = field(default_factory=dict)


def rehearse(
    *, at: Allowlist, change: Change, actor: Actor, now: datetime, limit: int = LIMIT
) -> Rehearsal:
    """Return what a change of a restriction would have done to the real mail that the
    actor may see.

    Nothing is written. A bypass is judged at the gate alone, so the desk can say
    nothing of one.
    """
    mail = list(_mail(at, actor, now - timedelta(days=DAYS)))
    everybody = {
        address for *_, recipients in mail for address in recipients_in(recipients)
    }
    connections = {connection for connection, *_ in mail}
    sides = _before_and_after(at, change, connections, everybody)
    contacts: Mapping[int, Collection[str]] = {}
    if _ask_contacts(sides):
        contacts = contacts_among(connections, everybody)

    @cache
    def lists_of(connection: int, mailbox: int | None) -> list[list[ApplicableList]]:
        return [side.for_mailbox(connection, mailbox) for side in sides]

    @cache
    def judged(
        connection: int, mailbox: int | None, recipients: tuple[str, ...]
    ) -> list[Judgement]:
        """Judge recipients before the change and after it."""
        known = contacts.get(connection)
        lists = lists_of(connection, mailbox)
        return [judge(recipients, side, known, now) for side in lists]

    looked_at = more = fewer = noted = 0
    turned: list[SameRecipients] = []
    blocked: Counter[str] = Counter()
    for group in mail:
        connection, mailbox, number, _, _, stored = group
        was = is_noted = False
        missed: list[str] = []
        # Each recipient once, however many messages go to them.
        for one in dict.fromkeys(recipients_in(stored)):
            before, after = judged(connection, mailbox, (one,))
            was = was or bool(before.refused)
            is_noted = is_noted or bool(after.would_be_refused)
            missed += after.refused
        becomes = bool(missed)
        looked_at += number
        if is_noted:
            noted += number
        if was == becomes:
            continue
        turned.append(group)
        if was:
            fewer += number
            continue
        more += number
        for address in missed:
            blocked[address] += number
    # The newest messages are all in the groups with the newest.
    latest = nlargest(limit, turned, key=itemgetter(3))
    keys = nlargest(limit, (key for *_, keys, _ in latest for key in json.loads(keys)))
    newest = Message.objects.filter(pk__in=keys).order_by("-pk")
    rows = []
    for message in newest.select_related("revision", "mailbox", "connection"):
        asked = tuple(written_to_in(message.revision)) if message.revision else ()
        both = judged(message.connection_id, message.mailbox_id, asked)
        rows.append(ChangedMessage(message, *(one.refused for one in both)))
    return Rehearsal(looked_at, more, fewer, tuple(rows), noted, blocked)


def _mail(at: Allowlist, actor: Actor, since: datetime) -> Iterable[SameRecipients]:
    sent = (
        Message.objects.visible_to(actor)
        .really_sent_since(since)
        .at(at.connection_id, at.mailbox_id)
    )
    groups = sent.alike()
    worked_out = [group for group in groups if group[-1] is not None]
    yield from worked_out
    if len(worked_out) == len(groups):
        return
    rest = sent.filter(written_to=None).select_related("revision")
    for message in rest.iterator(chunk_size=_CHUNK):
        assert message.revision is not None, "only what was fetched is rehearsed"
        # Without spaces, as PostgreSQL writes it.
        recipients = json.dumps(
            in_compared_form(written_to_in(message.revision)), separators=(",", ":")
        )
        yield (
            message.connection_id,
            message.mailbox_id,
            1,
            message.pk,
            f"[{message.pk}]",
            recipients,
        )


def _before_and_after(
    at: Allowlist,
    change: Change,
    connections: Collection[int],
    recipients: Iterable[str],
) -> tuple[ListsInForce, ListsInForce]:
    """Return the lists in force before a change of one of them and after it, with the
    entries that could name a recipient.
    """
    before = lists_in_force(
        connections=connections, patterns=patterns_of(recipients), also=at
    )
    changed = copy(at)
    changed.mode = change.mode or at.mode
    entries = dict(before.entries.get(at.pk, {}))
    for pattern in change.remove:
        entries.pop(stored_pattern(pattern), None)
    for one in change.put:
        pattern = read_pattern(one.pattern)
        entries[pattern] = Entry(pattern, one.expires_at)
    lists = [changed if one == at else one for one in before.lists]
    return before, ListsInForce(lists, {**before.entries, at.pk: entries})


def _ask_contacts(sides: Iterable[ListsInForce]) -> bool:
    return any(one.mode == CONTACTS for side in sides for one in side.lists)


def rehearse_refusals(
    *, at: Allowlist, change: Change, actor: Actor, now: datetime
) -> tuple[list[GateRefusal], int]:
    """Return which refusals of the last 30 days would pass after the change, and would
    not pass by the lists of now, the newest first; and how many were judged.
    """
    visible = GateRefusal.objects.visible_to(actor).since(now - timedelta(days=DAYS))
    refusals = list(visible.under(at).for_page(None)[:MAX_REFUSALS])
    addresses = {address for one in refusals for address in one.recipients}
    connections = {one.connection_id for one in refusals}
    sides = _before_and_after(at, change, connections, addresses)
    contacts: Mapping[int, Collection[str]] = {}
    if _ask_contacts(sides):
        # However old: the gate decided, not the desk.
        contacts = stored_contacts(connections, {one.lower() for one in addresses})
    found = []
    for one in refusals:
        known = None
        if one.connection.contacts_read_at:
            known = contacts.get(one.connection_id)
        was, becomes = (
            judge(
                one.recipients,
                lists.for_mailbox(one.connection_id, one.mailbox_id),
                known,
                now,
            ).refused
            for lists in sides
        )
        if was and not becomes:
            found.append(one)
    return found, len(refusals)


def save_label(
    shown: Preview, rehearsal: Rehearsal | None, *, saw_version: int | None = None
) -> str:
    """Return the words of the button that saves a change: what it does, and how many
    messages it would block.

    `saw_version` is the current version where somebody else changed the list meanwhile.
    """
    changes_mode = shown.mode_before != shown.mode_after
    verb = _VERBS[shown.mode_after] if changes_mode else "Save"
    if saw_version is not None:
        verb = f"{verb} over version {saw_version}"
    if rehearsal and rehearsal.more:
        return f"{verb}, blocking {rehearsal.more:,}"
    if rehearsal and changes_mode and shown.mode_after in (CONTACTS, ENFORCE):
        return f"{verb}, blocking none"
    return verb
