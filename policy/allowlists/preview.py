"""What a change of a list does to its entries, and what it would refuse or let through of
the mail of the last 30 days.

Messages are judged as the ruling would, before the change and after it, both at this
instant. Mail that the gate refused is no message here.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache

from common.actors import Actor
from common.mail_addresses import read_pattern, stored_pattern
from mirror.models import Message
from policy.allowlists.changes import Change, WantedEntry
from policy.allowlists.judgement import (
    CONTACTS,
    ENFORCE,
    MONITOR,
    OFF,
    ApplicableList,
    Entry,
    ListsInForce,
    contacts_among,
    judge,
    lists_in_force,
    patterns_of,
)
from policy.models import AllowEntry, Allowlist

DAYS = 30
# How many messages are judged, and how many of those that it affects are shown.
MOST = 5000
LIMIT = 50
_VERBS = {
    OFF: "Switch off",
    MONITOR: "Switch to Monitor",
    CONTACTS: "Allow contacts and entries",
    ENFORCE: "Enforce",
}


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

    @property
    def is_nothing(self) -> bool:
        """Whether it changes nothing."""
        return (
            not (self.added or self.changed or self.removed)
            and self.mode_before == self.mode_after
        )


def preview(change: Change, at: Allowlist, *, now: datetime) -> Preview:
    """Return what a change does to the current list."""
    wanted = {one.pattern: one for one in change.put}
    rows = AllowEntry.objects.of_list(at)
    named = rows.filter(pattern__in=[*wanted, *change.remove])
    there = {one.pattern: one for one in named.order_by("pattern")}
    removed = [EntryChange(one, there[one]) for one in change.remove if one in there]
    added = []
    changed = []
    for pattern, after in wanted.items():
        before = there.get(pattern)
        step = EntryChange(pattern, before, after)
        if before is None:
            added.append(step)
        elif before.differs_from(after.note, after.owner, after.expires_at):
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
        mode_after=change.mode or at.mode,
        live_after=live,
    )


def _is_live(one: AllowEntry | WantedEntry | None, now: datetime) -> int:
    return int(one is not None and (one.expires_at is None or one.expires_at > now))


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
    blocked: Counter[str]


def rehearse(
    *, at: Allowlist, change: Change, actor: Actor, now: datetime
) -> Rehearsal:
    """Return what a change of a restriction would have done to the newest real mail
    that the actor may see.

    Nothing is written. A bypass is judged at the gate alone, so the desk can say
    nothing of one.
    """
    sent = Message.objects.visible_to(actor).really_sent_since(
        now - timedelta(days=DAYS)
    )
    # Without messages whose recipients could not be worked out.
    known = sent.at(at.connection_id, at.mailbox_id).exclude(written_to=None)
    columns = ("pk", "connection", "mailbox", "written_to")
    mail = list(known.order_by("-pk").values_list(*columns)[:MOST])
    everybody = {address for *_, recipients in mail for address in recipients}
    connections = {connection for _, connection, *_ in mail}
    sides = _before_and_after(at, change, connections, everybody)
    contacts: Mapping[int, Collection[str]] = {}
    if any(one.mode == CONTACTS for side in sides for one in side.lists):
        contacts = contacts_among(connections, everybody)

    @cache
    def lists_of(connection: int, mailbox: int | None) -> list[list[ApplicableList]]:
        return [side.for_mailbox(connection, mailbox) for side in sides]

    noted = 0
    turned: dict[int, tuple[tuple[str, ...], tuple[str, ...]]] = {}
    blocked: Counter[str] = Counter()
    for key, connection, mailbox, recipients in mail:
        before, after = (
            judge(recipients, lists, contacts.get(connection), now)
            for lists in lists_of(connection, mailbox)
        )
        noted += bool(after.would_be_refused)
        if bool(before.refused) != bool(after.refused):
            turned[key] = (before.refused, after.refused)
            blocked.update(after.refused)
    more = sum(bool(after) for _, after in turned.values())
    newest = Message.objects.filter(pk__in=list(turned)[:LIMIT]).order_by("-pk")
    rows = tuple(
        ChangedMessage(one, *turned[one.pk])
        for one in newest.select_related("mailbox", "connection")
    )
    return Rehearsal(len(mail), more, len(turned) - more, rows, noted, blocked)


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


def save_label(shown: Preview, rehearsal: Rehearsal | None) -> str:
    """Return the words of the button that saves a change: what it does, and how many
    messages it would block.
    """
    changes_mode = shown.mode_before != shown.mode_after
    verb = _VERBS[shown.mode_after] if changes_mode else "Save"
    more = rehearsal.more if rehearsal else 0
    return f"{verb}, blocking {more:,}" if more else verb
