"""Previews a change of an allowlist before it is saved: which entries change, and which
messages of the last 30 days would have been refused or let through.

Each message is judged as the ruling judges it, once by the lists before the change and
once by those after it, both as of now. Mail that the gate refused is not included,
because the desk has no message of it.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
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
    judge,
    lists_in_force,
    patterns_of,
)
from policy.models import AllowEntry, Allowlist
from policy.rules.facts import contacts_among

DAYS = 30
# How many messages are judged at most, and how many of the affected ones are shown.
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
    """One entry before and after the change: None if it is added, or removed."""

    pattern: str
    before: AllowEntry | None = None
    after: WantedEntry | None = None


@dataclass(frozen=True)
class Preview:
    """What a change does to the current list. `live_after` is the number of entries
    that are not expired after it.
    """

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
    """Return what a change would do to the entries and mode of a list."""
    wanted = {one.pattern: one for one in change.put}
    rows = AllowEntry.objects.of_list(at)
    to_remove = [stored_pattern(pattern) for pattern in change.remove]
    named = rows.filter(pattern__in=[*wanted, *to_remove])
    stored = {one.pattern: one for one in named.order_by("pattern")}
    removed = [EntryChange(one, stored[one]) for one in to_remove if one in stored]
    added = []
    changed = []
    for pattern, after in wanted.items():
        before = stored.get(pattern)
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


def _is_live(one: AllowEntry | WantedEntry | None, now: datetime) -> bool:
    return one is not None and (one.expires_at is None or one.expires_at > now)


@dataclass(frozen=True)
class ChangedMessage:
    """One message that the change would have refused or let through, with the
    recipients that are refused before the change and after it.
    """

    message: Message
    before: tuple[str, ...]
    after: tuple[str, ...]


@dataclass(frozen=True)
class Rehearsal:
    """What a change would have done to the messages of the last 30 days.

    `looked_at` is the number of messages judged. `more` would be refused only after the
    change, `fewer` only before it. `noted` would be refused after it if the list were
    not in monitor mode. `rows` are the newest affected messages. `blocked` counts by
    recipient the messages that would newly be refused because of them.
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
    """Return what a change of a restriction would have done to the newest messages that
    the actor may see, without those of the sandbox. Nothing is written.

    It cannot be used for a bypass, which only the gate applies.
    """
    sent = Message.objects.visible_to(actor).really_sent_since(
        now - timedelta(days=DAYS)
    )
    # Without messages whose recipients could not be worked out.
    judgeable = sent.at(at.connection_id, at.mailbox_id).exclude(written_to=None)
    columns = ("pk", "connection", "mailbox", "written_to")
    mail = list(judgeable.order_by("-pk").values_list(*columns)[:MOST])
    everybody = {address for *_, recipients in mail for address in recipients}
    connections = {connection for _, connection, *_ in mail}
    # Both have only the entries that could name one of the recipients.
    in_force = lists_in_force(
        connections=connections, patterns=patterns_of(everybody), also=at
    )
    changed = copy(at)
    changed.mode = change.mode or at.mode
    entries = dict(in_force.entries.get(at.pk, {}))
    for removed in change.remove:
        entries.pop(stored_pattern(removed), None)
    for wanted in change.put:
        pattern = read_pattern(wanted.pattern)
        entries[pattern] = Entry(pattern, wanted.expires_at)
    lists = [changed if one == at else one for one in in_force.lists]
    sides = (in_force, ListsInForce(lists, {**in_force.entries, at.pk: entries}))
    contacts: Mapping[int, Collection[str]] = {}
    if any(one.mode == CONTACTS for side in sides for one in side.lists):
        contacts = contacts_among(connections, everybody)

    @cache
    def lists_of(connection: int, mailbox: int | None) -> list[list[ApplicableList]]:
        return [side.for_mailbox(connection, mailbox) for side in sides]

    noted = 0
    # By message, who is refused before and after; only if one of the two is empty.
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


def save_label(shown: Preview, rehearsal: Rehearsal | None) -> str:
    """Return the label of the button that saves a change: "Enforce, blocking 12"."""
    changes_mode = shown.mode_before != shown.mode_after
    verb = _VERBS[shown.mode_after] if changes_mode else "Save"
    more = rehearsal.more if rehearsal else 0
    return f"{verb}, blocking {more:,}" if more else verb
