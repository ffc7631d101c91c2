"""The commands by which admins add, change and delete what rules name: groups of people,
calendars, which review plans name too, and allowlists. Each writes an entry to the
ledger; a change of a list is then pushed to the gates.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, TypeVar

from django.db import transaction
from django.db.models import ProtectedError
from django.urls import reverse

from audit.recording import record
from common.actors import Actor
from common.mail_addresses import read_pattern, stored_pattern
from common.postgres import atomic_with_retry, clock, take_lock
from mirror.errors import ActNotAllowed
from people.models import Person
from people.roles import GrantTarget
from people.second_admin.registry import CanWait, ChangeInWords, listed, second_admin
from policy.calendars import DAYS, write_day
from policy.errors import PolicyRefused, StalePolicy, check_name, check_seen
from policy.models import AllowEntry, Allowlist, GateList, Group, Named, WorkCalendar
from policy.rules.changes import first_few, has_two_admins, policies
from policy.rules.rules import One

Row = TypeVar("Row", bound=Named)
# What the ledger calls it: that one was added, changed, and deleted.
_ACTIONS = {
    Allowlist: ("allowlist.added", "allowlist.changed", "allowlist.deleted"),
    Group: ("policy.group_changed", "policy.group_changed", "policy.group_deleted"),
    WorkCalendar: ("calendar.set", "calendar.set", "calendar.removed"),
}


def naming(row: Named, parts: Iterable[One]) -> list[One]:
    """Return the rules and passes that name a list, group or calendar."""
    return [one for one in parts if row.pk in one.named().get(row.kind, ())]


def in_words(row: Any) -> str:
    """Return a stored list, group or calendar as text for the ledger."""
    if isinstance(row, Allowlist):
        return f"{row.scope}; version: {row.version}; entries: {row.entries.count()}"
    if isinstance(row, Group):
        return _group_in_words(row.name, row.members.order_by("name", "email"))
    holidays = ", ".join(f"{day} {name}" for day, name in sorted(row.holidays.items()))
    days = [
        f"{day} {write_day(hours)}"
        for day, hours in zip(DAYS, row.weekly, strict=True)
        if hours
    ]
    return f"{row.name}: {row.zone}; {'; '.join(days)}; holidays: {holidays or 'none'}"


def _group_in_words(name: str, people: Iterable[Person]) -> str:
    members = ", ".join(f"{one} ({one.email})" for one in people)
    return f"{name}: {members or 'nobody'}"


@atomic_with_retry
@second_admin("Group")
def save_group(
    *,
    name: str,
    members: Collection[int],
    actor: Actor,
    group: Group | None = None,
    seen: str = "",
) -> CanWait[Group]:
    """Make a group, or set the name and members of this one. `seen` is the `seen_state`
    that the form showed. Raises ActNotAllowed, StalePolicy, PolicyRefused.

    Approvals that members gave are kept; whether they still count is checked again when
    the decision is carried out.
    """
    row, before = lock(group or Group(), actor)
    check_seen(seen, before)
    check_name(row, name)
    people = Person.objects.filter(pk__in=members).order_by("name", "email")
    after = _group_in_words(name, people)

    def change() -> ChangeInWords:
        members_now = set(row.members.values_list("pk", flat=True)) if before else set()
        policy = policies().in_force
        named = naming(row, policy.rules)
        bars = any(row.pk in one.then.barred_groups for one in named)
        join, leave = {*members} - members_now, members_now - {*members}
        # Rules are read by the names of their groups.
        loosens = policy.unreadable or (named and (join or bars or name != row.name))
        return ChangeInWords(
            title=f"Group {row}: its members",
            before=before,
            after=after,
            page=reverse("policy-group", args=[row.pk]) if before else "",
            # Of a group that may not approve, one who leaves after another is one
            # change.
            subjects=sorted(join | (members_now if bars and leave else leave)),
            # No rule names a new group.
            tightens=not (before and loosens),
        )

    yield change
    row.name = name
    row.save()
    row.members.set(people)
    record_change(row, actor, before, after)
    return row


@atomic_with_retry
@second_admin("Calendar")
def save_calendar(
    *,
    name: str,
    zone: str,
    weekly: Sequence[Sequence[Sequence[int]]],
    holidays: Mapping[str, str],
    actor: Actor,
    calendar: WorkCalendar | None = None,
    seen: str = "",
) -> CanWait[WorkCalendar]:
    """Make a calendar, or change this one. `seen` is the `seen_state` that the form
    showed. Raises ActNotAllowed, StalePolicy, PolicyRefused.
    """
    stored, before = lock(calendar or WorkCalendar(), actor)
    check_seen(seen, before)
    check_name(stored, name)
    row = WorkCalendar(
        pk=stored.pk, name=name, zone=zone, weekly=weekly, holidays=holidays
    )
    yield lambda: ChangeInWords(
        title=f"Calendar {stored if before else row}: hours that a rule names",
        before=before,
        after=in_words(row),
        page=reverse("calendar", args=[row.pk]) if before else "",
        # No rule names the hours of a new calendar.
        tightens=not before,
    )
    row.save()
    record_change(row, actor, before, in_words(row))
    return row


@atomic_with_retry
def delete_named(*, row: Named, actor: Actor) -> None:
    """Delete a list, group or calendar. Raises ActNotAllowed, and PolicyRefused if the
    active version or the draft names it, or a review plan or duty.
    """
    locked, before = lock(row, actor)
    current = policies()
    named = naming(locked, current.parts)
    if current.unreadable or named:
        why = current.unreadable or f"“{named[0].name}” of the policy names it."
        raise PolicyRefused(f"“{row}” cannot be deleted. {why}")
    entries: list[str] = []
    if isinstance(locked, Allowlist):
        entries = list(locked.entries.values_list("pattern", flat=True))
    try:
        with transaction.atomic():
            type(row)._default_manager.filter(pk=row.pk).delete()
    except ProtectedError:
        raise PolicyRefused(
            f"“{row}” cannot be deleted: a review plan or somebody's duty names it."
        ) from None
    record_change(locked, actor, before, "", removed=first_few(entries))


def lock(row: Row, actor: Actor) -> tuple[Row, str]:
    """Return a stored row, locked, and how it reads; or a new row and an empty text.
    Raises ActNotAllowed if the actor may not change it.
    """
    # Whether an active rule names it must not change before this is stored.
    take_lock("policy.rules")
    rows = type(row)._default_manager.select_for_update()
    locked: Any = rows.filter(pk=row.pk).first() if row.pk else row
    if locked is None:
        raise StalePolicy("Somebody deleted this meanwhile.")
    if not locked.is_changed_by(actor):
        raise ActNotAllowed("Only an admin of everything that it covers can change it.")
    return locked, in_words(locked) if row.pk else ""


def record_change(
    row: Named, actor: Actor, before: str, after: str, **more: str
) -> None:
    """Record a change of a list, group or calendar in the ledger, if it is one."""
    if before != after:
        added, changed, deleted = _ACTIONS[type(row)]
        action = added if not before else changed
        record(
            action if after else deleted,
            actor=actor,
            connection=getattr(row, "owning_connection", None),
            details={
                str(row._meta.verbose_name): row.name,
                "before": before,
                "after": after,
                **more,
            },
        )


@dataclass(frozen=True)
class WantedEntry:
    """An entry as it should be."""

    pattern: str
    note: str = ""
    expires_at: datetime | None = None

    @property
    def ends(self) -> str:
        """Until when it counts, in words."""
        return f"until {self.expires_at:%Y-%m-%d %H:%M}" if self.expires_at else ""

    def __str__(self) -> str:
        return f"{self.pattern} {self.ends}".rstrip()


@dataclass(frozen=True)
class Step:
    """What a change does to one entry: what it is before and after it, if there is one."""

    before: WantedEntry | None
    after: WantedEntry | None

    @property
    def did(self) -> str:
        """What is done, as a word."""
        if self.before and self.after:
            return "changed"
        return "added" if self.after else "removed"

    def __str__(self) -> str:
        if self.before is None or self.after is None:
            return str(self.after or self.before)
        if self.before.ends == self.after.ends:
            return f"{self.after} (its note)"
        before, after = (
            one.ends or "without an end" for one in (self.before, self.after)
        )
        return f"{self.after.pattern} ({after}, before {before})"

    @property
    def is_longer(self) -> bool:
        """Whether the entry counts for longer than before."""
        if self.before is None or self.after is None:
            return self.after is not None
        ends = self.before.expires_at
        return ends is not None and (
            self.after.expires_at is None or self.after.expires_at > ends
        )


def steps_of(
    at: Allowlist, put: Iterable[WantedEntry], remove: Iterable[str]
) -> dict[str, Step]:
    """Return by pattern what a change does to the entries of a list: adds or changes
    those to `put`, of which the last counts for each pattern, and removes these
    patterns. What stays as it is is left out. Raises ActNotAllowed for a pattern that no
    entry can have.
    """
    wanted: dict[str, WantedEntry | None] = dict.fromkeys(map(stored_pattern, remove))
    try:
        for one in put:
            pattern = read_pattern(one.pattern)
            wanted[pattern] = replace(one, pattern=pattern)
    except ValueError as error:
        raise ActNotAllowed(str(error)) from None
    present = at.entries.filter(pattern__in=list(wanted))
    stored = {
        row[0]: WantedEntry(*row)
        for row in present.values_list("pattern", "note", "expires_at")
    }
    steps = {one: Step(stored.get(one), after) for one, after in wanted.items()}
    return {one: step for one, step in steps.items() if step.before != step.after}


@atomic_with_retry
def add_allowlist(*, name: str, actor: Actor, target: GrantTarget) -> Allowlist:
    """Make an empty list for all mail, a connection or a mailbox, which nothing names
    yet. Raises ActNotAllowed, and PolicyRefused if another has this name.
    """
    made, _ = lock(Allowlist(name=name.strip(), **target.fields), actor)
    check_name(made, made.name)
    made.changed_by_id = int(actor.id)
    made.save()
    record_change(made, actor, "", in_words(made))
    return made


@atomic_with_retry
@second_admin("Allowlist", always=True)
def apply_change(
    *,
    allowlist: Allowlist,
    put: Sequence[WantedEntry],
    remove: Sequence[str],
    seen: str,
    actor: Actor,
) -> CanWait[Allowlist]:
    """Change the entries of one list, as `steps_of` says. `seen` is the `seen_state` of
    the list that the actor saw.

    A change without effect makes no new version. Raises ActNotAllowed, StalePolicy.
    """
    locked, before = lock(allowlist, actor)
    check_seen(seen, before, by=locked.changed_by or "Somebody")
    steps = steps_of(locked, put, remove)
    # The entries that are added, changed and removed, each with its end.
    acts: dict[str, list[str]] = {}
    for one in steps.values():
        acts.setdefault(one.did, []).append(str(one))

    def change() -> ChangeInWords:
        policy = policies().in_force
        rules = naming(locked, policy.rules)
        is_named = bool(rules or naming(locked, policy.passes))
        # A rule on recipients who are on the list may apply to fewer messages.
        is_asked = any(locked.pk in one.when.lists for one in rules)
        loosens = any(one.is_longer or is_asked for one in steps.values())
        tightens = not (policy.unreadable or loosens)
        # Two admins signed to whom a pass sends without a person; and where a rule does
        # not apply any more, passes may send what it kept for people.
        always = bool(policy.passes) and is_named and not tightens
        if always and not has_two_admins():
            raise PolicyRefused(
                "A policy with passes names this list: two admins sign this change, and there is only one."
            )
        return ChangeInWords(
            title=f"Allowlist {locked}: change",
            before=before,
            # All of them, with their ends: a second admin reads nothing else of it.
            after=listed(acts) or "no change",
            page=locked.url,
            connection=locked.owning_connection,
            mailbox=locked.mailbox_id,
            tightens=tightens,
            always=always,
        )

    yield change
    if not steps:
        return locked
    locked.version += 1
    locked.changed_by_id = int(actor.id)
    locked.changed_at = clock()
    locked.save()
    locked.entries.filter(pattern__in=list(steps)).delete()
    new = [
        AllowEntry(
            allowlist=locked,
            pattern=pattern,
            note=one.after.note,
            expires_at=one.after.expires_at,
            added_at=locked.changed_at,
            added_by_id=locked.changed_by_id,
        )
        for pattern, one in steps.items()
        if one.after
    ]
    AllowEntry.objects.bulk_create(new, batch_size=2000)
    GateList.objects.bring()
    named = {did: first_few(entries) for did, entries in acts.items()}
    record_change(locked, actor, before, in_words(locked), **named)
    return locked
