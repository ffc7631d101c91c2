"""The commands that admins use to set calendars, review plans and who is on duty. Each
writes an entry to the ledger. Messages that are already held follow a change at once.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace

from django.db import IntegrityError, transaction
from django.db.models import ProtectedError
from django.dispatch import Signal
from django.forms import model_to_dict
from django.urls import reverse

from audit.recording import record
from common.actors import Actor
from common.durations import minutes_in_words
from common.postgres import atomic_with_retry, take_lock
from mirror.errors import ActNotAllowed
from mirror.models import Mailbox, may_set
from people.models import Person
from people.second_admin.registry import CanWait, ChangeInWords, second_admin
from policy.calendars import DAYS, calendar_of, is_within, write_day
from policy.errors import PlanRefused, StalePlan
from policy.models import DutyTurn, LadderStep, ReviewPlan, WorkCalendar
from policy.plans.deadlines import RISKS
from policy.rules.changes import policies
from policy.rules.wording import listed
from risk.lookalikes import looks_like

# Sent when a review plan, its calendar or the duty changed: for `mailbox`, or for all
# mailboxes if that is None.
plan_changed = Signal()


@dataclass(frozen=True)
class WantedStep:
    """The values of a step of the ladder, as a form asks for them."""

    basis: str
    minutes: int
    act: str
    whom: str
    person_id: int | None = None
    group_id: int | None = None


def _check(actor: Actor, mailbox: Mailbox | None) -> None:
    if not may_set(actor, mailbox):
        whole = "everything" if mailbox is None else "this mailbox"
        raise ActNotAllowed(f"Only an admin of {whole} can change this.")


def seen_calendar(calendar: WorkCalendar) -> str:
    """Return a hash of a calendar. Forms send it back, so that a change of a calendar
    that is no longer as it was shown can be refused.
    """
    fields = repr(model_to_dict(calendar))
    return hashlib.sha256(fields.encode()).hexdigest()[:16]


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
    return is_as_strict or not any(
        one.is_on and stored.pk in one.then.office_hours for one in current.active_rules
    )


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
    """Make a calendar, or change the given one. `seen` is what `seen_calendar` returned
    when the form was shown.

    Raises ActNotAllowed, StalePlan if the calendar has changed since, or PlanRefused if
    the name is taken.
    """
    _check(actor, None)
    # Whether an active rule names it must not change before this is stored.
    take_lock("policy.rules")
    stored = None
    before = ""
    if calendar:
        stored = WorkCalendar.objects.select_for_update().filter(pk=calendar.pk).first()
        if stored is None:
            raise StalePlan(
                "Somebody else removed this calendar meanwhile. Make a new one."
            )
        before = _calendar_in_words(stored)
        if seen_calendar(stored) != seen:
            raise StalePlan(
                f"Somebody else changed this calendar meanwhile: it is now {before}. Save again to replace that."
            )
    row = WorkCalendar(
        pk=stored.pk if stored else None,
        name=name,
        zone=zone,
        weekly=weekly,
        holidays=holidays,
    )
    others = WorkCalendar.objects.exclude(pk=row.pk).values_list("name", flat=True)
    if taken := looks_like(name, others):
        raise PlanRefused(
            f"There is a calendar “{taken}” already, which looks like it."
        )
    yield lambda: ChangeInWords(
        title=f"Calendar {stored or row}: hours that a rule names",
        before=before,
        after=_calendar_in_words(row),
        page=reverse("calendar", args=[stored.pk]) if stored else "",
        # No rule names the hours of a new calendar.
        tightens=stored is None or _asks_no_less(stored, row),
    )
    row.save()
    details = {"calendar": row.name, "before": before, "after": _calendar_in_words(row)}
    record("calendar.set", actor=actor, details=details)
    plan_changed.send(sender=ReviewPlan, mailbox=None, is_removed=False)
    return row


@atomic_with_retry
def remove_calendar(*, calendar: WorkCalendar, actor: Actor) -> None:
    """Remove a calendar that nothing uses. Raises ActNotAllowed, PlanRefused."""
    _check(actor, None)
    if naming := rules_naming(calendar):
        names = listed([f"“{one}”" for one in naming])
        raise PlanRefused(
            f"{calendar.name} cannot be removed: rules of the policy name it ({names})."
        )
    before = _calendar_in_words(calendar)
    try:
        with transaction.atomic():
            calendar.delete()
    except ProtectedError:
        raise PlanRefused(
            f"{calendar.name} is used by a review plan or by somebody's duty."
        ) from None
    details = {"calendar": calendar.name, "before": before, "after": ""}
    record("calendar.removed", actor=actor, details=details)


def rules_naming(calendar: WorkCalendar) -> list[str]:
    """Return the names of the rules that name a calendar, in the active version of the
    policy or the draft.
    """
    current = policies()
    rules = (*current.active_rules, *current.draft_rules)
    return list(
        dict.fromkeys(one.name for one in rules if calendar.pk in one.then.office_hours)
    )


# What the second admin is shown about a change of a review plan.
def _in_change(
    mailbox: Mailbox | None, plan: ReviewPlan | None, after: str
) -> ChangeInWords:
    return ChangeInWords(
        title=f"Review plan of {mailbox or 'all mailboxes'}",
        before=plan_in_words(plan) if plan else "none",
        after=after,
        page=reverse("review-plans"),
        connection=mailbox.connection_id if mailbox else None,
        mailbox=mailbox.pk if mailbox else None,
        based_on=plan.version if plan else 0,
    )


def _locked_plan(mailbox: Mailbox | None, actor: Actor) -> ReviewPlan | None:
    _check(actor, mailbox)
    stored = ReviewPlan.objects.select_for_update(no_key=True)
    return stored.filter(mailbox=mailbox).first()


@atomic_with_retry
@second_admin("Review plan")
def save_plan(
    *,
    mailbox: Mailbox | None,
    calendar: WorkCalendar | None,
    assigns_in_turn: bool,
    targets: Mapping[str, Sequence[int | None]],
    steps: Sequence[WantedStep],
    version: int,
    actor: Actor,
) -> CanWait[ReviewPlan]:
    """Make or change the plan of a mailbox, or the plan for all. `version` is the one
    that the admin saw, 0 for none. Raises ActNotAllowed, or StalePlan if the plan has
    another version now.
    """
    plan = _locked_plan(mailbox, actor)
    becomes = ReviewPlan(
        calendar=calendar, targets=targets, assigns_in_turn=assigns_in_turn
    )
    rows = [LadderStep(**asdict(step)) for step in steps]
    if (plan.version if plan else 0) != version:
        raise StalePlan(
            "Somebody else changed this plan meanwhile. Check it as it is now, then save yours."
        )
    yield lambda: _in_change(mailbox, plan, plan_in_words(becomes, rows))
    before = plan_in_words(plan) if plan else ""
    try:
        with transaction.atomic():
            plan = plan or ReviewPlan(mailbox=mailbox)
            plan.calendar = calendar
            plan.assigns_in_turn = assigns_in_turn
            plan.targets = targets
            plan.version = version + 1
            plan.save()
    except IntegrityError:
        raise StalePlan(
            "Somebody else made this plan meanwhile. Check it as it is now, then save yours."
        ) from None
    plan.steps.all().delete()
    for row in rows:
        row.plan = plan
    LadderStep.objects.bulk_create(rows)
    plan = ReviewPlan.objects.get(pk=plan.pk)
    _record("review_plan.set", mailbox, actor, before=before, after=plan_in_words(plan))
    plan_changed.send(sender=ReviewPlan, mailbox=mailbox, is_removed=False)
    return plan


@atomic_with_retry
@second_admin("Review plan")
def remove_plan(*, mailbox: Mailbox | None, actor: Actor) -> CanWait[None]:
    """Remove a plan. A mailbox then follows the plan for all. Raises ActNotAllowed."""
    plan = _locked_plan(mailbox, actor)
    yield lambda: _in_change(mailbox, plan, "removed")
    if plan is not None:
        before = plan_in_words(plan)
        plan.delete()
        _record("review_plan.removed", mailbox, actor, before=before, after="")
        plan_changed.send(sender=ReviewPlan, mailbox=mailbox, is_removed=True)


@atomic_with_retry
@second_admin("Duty")
def add_duty(
    *,
    person: Person,
    mailbox: Mailbox | None,
    calendar: WorkCalendar | None,
    actor: Actor,
) -> CanWait[None]:
    """Put a person on duty. Raises ActNotAllowed."""
    _check(actor, mailbox)
    after = _turn_in_words(DutyTurn(person=person, mailbox=mailbox, calendar=calendar))
    yield lambda: replace(
        _in_change(mailbox, None, after),
        title=f"Duty of {mailbox or 'all mailboxes'}",
        before="not on duty",
        based_on=None,
        subjects=[person.pk],
    )
    _, is_new = DutyTurn.objects.get_or_create(
        person=person, mailbox=mailbox, calendar=calendar
    )
    if is_new:
        _record("duty.set", mailbox, actor, before="", after=after)
        plan_changed.send(sender=ReviewPlan, mailbox=mailbox, is_removed=False)


@atomic_with_retry
def end_duty(*, turn: DutyTurn, actor: Actor) -> None:
    """End a person's duty. Raises ActNotAllowed."""
    _check(actor, turn.mailbox)
    before = _turn_in_words(turn)
    if DutyTurn.objects.filter(pk=turn.pk).delete()[0]:
        _record("duty.set", turn.mailbox, actor, before=before, after="")
        plan_changed.send(sender=ReviewPlan, mailbox=turn.mailbox, is_removed=False)


def _record(
    action: str, mailbox: Mailbox | None, actor: Actor, *, before: str, after: str
) -> None:
    connection = mailbox.connection_id if mailbox else None
    details = {
        "mailbox": str(mailbox or "all mailboxes"),
        "before": before,
        "after": after,
    }
    record(action, actor=actor, connection=connection, details=details)


def plan_in_words(plan: ReviewPlan, steps: Iterable[LadderStep] | None = None) -> str:
    """Return a plan as text for the ledger, with these steps, or else its stored steps."""
    parts = [str(plan.calendar or "all hours")]
    for risk, words in RISKS.items():
        times = [
            "none" if minutes is None else minutes_in_words(minutes)
            for minutes in plan.targets.get(risk) or (None, None)
        ]
        parts.append(f"{words.lower()}: first look {times[0]}, decision {times[1]}")
    if plan.assigns_in_turn:
        parts.append("new messages are assigned in turn")
    steps = plan.steps.all() if steps is None else steps
    return "; ".join([*parts, *map(step_in_words, steps)])


def step_in_words(step: LadderStep) -> str:
    """Return a step as text: "1 h after the decision is due: assign to those on duty"."""
    side = "before" if step.minutes < 0 else "after"
    when = f"{minutes_in_words(abs(step.minutes))} {side}" if step.minutes else "when"
    whom = {"person": str(step.person), "group": f"the group {step.group}"}.get(
        step.whom, str(step.get_whom_display())
    )
    act = "notify" if step.whom == "destinations" else step.get_act_display().lower()
    return f"{when} the {step.get_basis_display()} is due: {act} {whom}"


def _calendar_in_words(calendar: WorkCalendar) -> str:
    holidays = ", ".join(sorted(calendar.holidays))
    days = [
        f"{day} {write_day(hours)}"
        for day, hours in zip(DAYS, calendar.weekly, strict=True)
        if hours
    ]
    return f"{calendar.zone}; {'; '.join(days)}; holidays: {holidays or 'none'}"


def _turn_in_words(turn: DutyTurn) -> str:
    return f"{turn.person}, {turn.calendar or 'always'}"
