"""The commands by which admins add, change and delete groups of people and calendars,
which rules and review plans name. Each writes an entry to the ledger.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from django.db import transaction
from django.db.models import ProtectedError
from django.urls import reverse

from audit.recording import record
from common.actors import Actor
from common.postgres import atomic_with_retry, take_lock
from mirror.errors import ActNotAllowed
from people.models import Person
from people.second_admin.registry import CanWait, ChangeInWords, second_admin
from policy.calendars import DAYS, calendar_of, is_within, write_day
from policy.errors import PolicyRefused, StalePolicy, check_name, check_seen
from policy.models import Group, WorkCalendar
from policy.rules.changes import policies
from policy.rules.rules import PolicyRule, Rules
from policy.rules.wording import listed

Named = Group | WorkCalendar
Row = TypeVar("Row", bound=Named)
# What the ledger calls it: that one was set, and that it was removed.
_ACTIONS = {
    Group: ("policy.group_changed", "policy.group_deleted"),
    WorkCalendar: ("calendar.set", "calendar.removed"),
}


def rules_naming(row: Named, rules: Rules) -> list[PolicyRule]:
    """Return the rules that name a group or calendar."""
    if isinstance(row, WorkCalendar):
        return [one for one in rules if row.pk in one.then.office_hours]
    return [
        one
        for one in rules
        if row.pk in one.then.approvals or row.pk in one.then.barred_groups
    ]


def in_words(row: Named) -> str:
    """Return a stored group or calendar as text for the ledger."""
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
    row, before = _lock(Group, group, actor)
    check_seen(seen, before)
    check_name(row, name)
    people = Person.objects.filter(pk__in=members).order_by("name", "email")
    after = _group_in_words(name, people)

    def change() -> ChangeInWords:
        members_now = set(row.members.values_list("pk", flat=True)) if before else set()
        leave = members_now - {*members}
        join = {one.pk for one in people} - members_now
        current = policies()
        naming = rules_naming(row, current.active_rules)
        effects = [one.then for one in naming if one.is_on]
        bars = any(row.pk in one.barred_groups for one in effects)
        # The change loosens the policy if somebody joins a group whose approval a rule
        # asks for, or leaves a group that a rule keeps from approving. So does another
        # name: rules are read by the names of their groups.
        loosens = (
            current.unreadable
            or (naming and name != row.name)
            or (join and any(row.pk in one.approvals for one in effects))
            or (leave and bars)
        )
        return ChangeInWords(
            title=f"Group {row}: its members",
            before=before,
            after=after,
            page=reverse("policy-group", args=[row.pk]) if before else "",
            # Of a group that may not approve, one who leaves after another is one
            # change.
            subjects=[*join, *leave, *(members_now if bars and leave else ())],
            # No rule names a new group.
            tightens=not (before and loosens),
        )

    yield change
    row.name = name
    row.save()
    row.members.set(people)
    _record(row, actor, before, after)
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
    stored, before = _lock(WorkCalendar, calendar, actor)
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
        tightens=not before or _asks_no_less(stored, row),
    )
    row.save()
    _record(row, actor, before, in_words(row))
    return row


def _asks_no_less(stored: WorkCalendar, row: WorkCalendar) -> bool:
    """Whether the new hours of a calendar loosen no active rule: longer hours loosen
    one that allows approvals only within them, and another name what people read of it.
    """
    current = policies()
    if current.unreadable:
        return False
    is_as_strict = row.name == stored.name and is_within(
        calendar_of(row), calendar_of(stored)
    )
    naming = rules_naming(stored, current.active_rules)
    return is_as_strict or not any(one.is_on for one in naming)


@atomic_with_retry
def delete_named(*, row: Named, actor: Actor) -> None:
    """Delete a group or calendar. Raises ActNotAllowed, and PolicyRefused if a rule of
    the active version or the draft names it, or a review plan or duty.
    """
    locked, before = _lock(type(row), row, actor)
    current = policies()
    naming = rules_naming(locked, (*current.active_rules, *current.draft_rules))
    if naming:
        names = dict.fromkeys(f"“{one.name}”" for one in naming)
        raise PolicyRefused(
            f"“{row}” cannot be deleted: rules of the policy name it ({listed(list(names))})."
        )
    try:
        with transaction.atomic():
            type(row)._default_manager.filter(pk=row.pk).delete()
    except ProtectedError:
        raise PolicyRefused(
            f"“{row}” cannot be deleted: a review plan or somebody's duty names it."
        ) from None
    _record(locked, actor, before, "")


def _lock(kind: type[Row], given: Row | None, actor: Actor) -> tuple[Row, str]:
    """Return a stored row, locked, and how it reads; or a new row and an empty text."""
    if not actor.is_admin_of_all:
        raise ActNotAllowed(
            "Only an admin of everything can change groups and calendars."
        )
    # Whether an active rule names it must not change before this is stored.
    take_lock("policy.rules")
    if given is None:
        return kind(), ""
    row: Any = kind._default_manager.select_for_update().filter(pk=given.pk).first()
    if row is None:
        raise StalePolicy("Somebody deleted this meanwhile.")
    return row, in_words(row)


def _record(row: Named, actor: Actor, before: str, after: str) -> None:
    if before != after:
        set_it, removed_it = _ACTIONS[type(row)]
        kind = str(row._meta.verbose_name)
        details = {kind: row.name, "before": before, "after": after}
        record(set_it if after else removed_it, actor=actor, details=details)
