"""Review plans: by when a message should be looked at and decided, when each step of the
ladder is due, and the commands by which admins set plans and who is on duty. Each writes
an entry to the ledger. Messages that are already held follow a change at once.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db.models import F, Q, QuerySet
from django.urls import reverse

from audit.recording import record
from common.actors import Actor
from common.durations import minutes_in_words
from common.postgres import atomic_with_retry, take_lock
from mirror.errors import ActNotAllowed
from mirror.models import Mailbox, may_set
from people.models import Person
from people.second_admin.registry import CanWait, ChangeInWords, second_admin
from policy.calendars import after_working_time, calendar_of
from policy.errors import check_seen
from policy.models import DutyTurn, LadderStep, ReviewPlan, WorkCalendar

# The levels of risk that can have targets, and their words. "" stands for all others.
RISKS = {"high": "High risk", "notice": "Notice", "": "Others"}
# What targets are for, in the order in which a plan has their minutes.
KINDS = {"look": "first look", "decision": "decision"}


@dataclass(frozen=True)
class Deadlines:
    """By when a message should be looked at and decided; None: no such target."""

    look_by: datetime | None
    decide_by: datetime | None
    # If a person extended the deadlines, until when. Then the ladder begins again.
    extended_to: datetime | None = None


@dataclass(frozen=True)
class DueStep:
    """A step of the ladder and when it is due. `key` identifies the step, so that it is
    done only once; after an extension of the deadlines the step has another key.
    """

    step: LadderStep
    at: datetime
    key: str


def plan_for(mailbox: int | None) -> ReviewPlan | None:
    """Return the plan of a mailbox: its own, otherwise the one for all mailboxes; None
    if there is neither.
    """
    return plans().filter(Q(mailbox=None) | Q(mailbox=mailbox)).last()


def deadlines_of(
    plan: ReviewPlan, *, risk: str, held_at: datetime, extended_to: datetime | None
) -> Deadlines:
    """Return the deadlines of a message of this risk that is held since `held_at`."""
    times = [_after(plan, held_at, minutes) for minutes in _minutes(plan, risk)]
    if extended_to is not None:
        times = [at and max(at, extended_to) for at in times]
    look_by, decide_by = times
    return Deadlines(look_by, decide_by, extended_to)


def steps_of(
    plan: ReviewPlan, deadlines: Deadlines, *, risk: str, held_at: datetime
) -> Sequence[DueStep]:
    """Return the steps of a plan's ladder with their times, the earliest first."""
    look, decision = _minutes(plan, risk)
    targets = {
        LadderStep.Basis.LOOK: (deadlines.look_by, look),
        LadderStep.Basis.DECISION: (deadlines.decide_by, decision),
    }
    due_steps = []
    again = f" of {deadlines.extended_to.isoformat()}" if deadlines.extended_to else ""
    for step in plan.steps.all():
        deadline, minutes = targets[LadderStep.Basis(step.basis)]
        if deadline is None or minutes is None:
            continue
        if step.minutes >= 0:
            at = _after(plan, deadline, step.minutes)
        elif deadlines.extended_to is None:
            at = _after(plan, held_at, max(0, minutes + step.minutes))
        else:
            at = deadline + timedelta(minutes=step.minutes)
        if at is not None:
            due_steps.append(DueStep(step, at, f"{step}{again}"))
    return sorted(due_steps, key=lambda due: (due.at, due.key))


def plans() -> QuerySet[ReviewPlan]:
    """Return all plans with their steps, the one for all mailboxes first."""
    named = ReviewPlan.objects.select_related("calendar", "mailbox").prefetch_related(
        "steps__group"
    )
    return named.order_by(F("mailbox__address").asc(nulls_first=True), "pk")


def _minutes(plan: ReviewPlan, risk: str) -> tuple[int | None, int | None]:
    """Return the minutes until the first look and until the decision. A target that the
    risk does not have is that of "Others".
    """
    own, others = (plan.targets.get(one) or (None, None) for one in (risk, ""))
    return own[0] or others[0], own[1] or others[1]


def _after(plan: ReviewPlan, start: datetime, minutes: int | None) -> datetime | None:
    """Return when these minutes of working time have passed since `start`; without a
    calendar all time counts. None without minutes, or if the calendar is never open.
    """
    if minutes is None:
        return None
    duration = timedelta(minutes=minutes)
    if plan.calendar is None:
        return start + duration
    return after_working_time(calendar_of(plan.calendar), start, duration)


def _check(actor: Actor, mailbox: Mailbox | None) -> None:
    if not may_set(actor, mailbox):
        whole = "everything" if mailbox is None else "this mailbox"
        raise ActNotAllowed(f"Only an admin of {whole} can change this.")


def _locked(mailbox: Mailbox | None, actor: Actor) -> tuple[ReviewPlan | None, str]:
    """Return the plan of a mailbox and how it reads; None and an empty text if there is
    none.
    """
    _check(actor, mailbox)
    take_lock("policy.plans")
    plan = plans().filter(mailbox=mailbox).first()
    return plan, plan_in_words(plan, plan.steps.all()) if plan else ""


# What the second admin is shown of a change.
def _in_change(
    what: str, mailbox: Mailbox | None, before: str, after: str, *subjects: int
) -> ChangeInWords:
    return ChangeInWords(
        title=f"{what} of {mailbox or 'all mailboxes'}",
        before=before or "none",
        after=after,
        page=reverse("review-plans"),
        connection=mailbox.connection_id if mailbox else None,
        mailbox=mailbox.pk if mailbox else None,
        subjects=subjects,
    )


@atomic_with_retry
@second_admin("Review plan")
def save_plan(
    *,
    mailbox: Mailbox | None,
    calendar: WorkCalendar | None,
    assigns_in_turn: bool,
    targets: Mapping[str, Sequence[int | None]],
    steps: Sequence[Mapping[str, Any]],
    seen: str,
    actor: Actor,
) -> CanWait[None]:
    """Make or change the plan of a mailbox, or the plan for all. `steps` are the fields
    of each `LadderStep`, `seen` is the `seen_state` that the form showed. Raises
    ActNotAllowed, StalePolicy.
    """
    stored, before = _locked(mailbox, actor)
    check_seen(seen, before)
    plan = ReviewPlan(
        pk=stored.pk if stored else None,
        mailbox=mailbox,
        calendar=calendar,
        assigns_in_turn=assigns_in_turn,
        targets=targets,
    )
    rows = [LadderStep(**one) for one in steps]
    after = plan_in_words(plan, rows)
    yield lambda: _in_change("Review plan", mailbox, before, after)
    plan.save()
    plan.steps.all().delete()
    plan.steps.set(rows, bulk=False)
    _record("review_plan.set", mailbox, actor, before, after)


@atomic_with_retry
@second_admin("Review plan")
def remove_plan(*, mailbox: Mailbox | None, actor: Actor) -> CanWait[None]:
    """Remove a plan. A mailbox then follows the plan for all. Raises ActNotAllowed."""
    plan, before = _locked(mailbox, actor)
    yield lambda: _in_change("Review plan", mailbox, before, "removed")
    if plan is not None:
        plan.delete()
        _record("review_plan.removed", mailbox, actor, before, "")


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
    after = f"{person}, {calendar or 'always'}"
    yield lambda: _in_change("Duty", mailbox, "not on duty", after, person.pk)
    _, is_new = DutyTurn.objects.get_or_create(
        person=person, mailbox=mailbox, calendar=calendar
    )
    if is_new:
        _record("duty.set", mailbox, actor, "", after)


@atomic_with_retry
def end_duty(*, turn: DutyTurn, actor: Actor) -> None:
    """End a person's duty. Raises ActNotAllowed."""
    _check(actor, turn.mailbox)
    if DutyTurn.objects.filter(pk=turn.pk).delete()[0]:
        before = f"{turn.person}, {turn.calendar or 'always'}"
        _record("duty.set", turn.mailbox, actor, before, "")


def _record(
    action: str, mailbox: Mailbox | None, actor: Actor, before: str, after: str
) -> None:
    record(
        action,
        actor,
        connection=mailbox.connection_id if mailbox else None,
        details={
            "mailbox": str(mailbox or "all mailboxes"),
            "before": before,
            "after": after,
        },
    )


def plan_in_words(plan: ReviewPlan, steps: Iterable[LadderStep]) -> str:
    """Return a plan with these steps as text for the ledger."""
    return "; ".join(plan_lines(plan, steps))


def plan_lines(plan: ReviewPlan, steps: Iterable[LadderStep]) -> list[str]:
    """Return a plan with these steps, a line for each part of it."""
    lines = [f"hours: {plan.calendar or 'all count'}"]
    for risk, words in RISKS.items():
        times = zip(KINDS.values(), plan.targets.get(risk) or (), strict=False)
        named = [f"{kind} in {minutes_in_words(one)}" for kind, one in times if one]
        if named:
            lines.append(f"{words.lower()}: {', '.join(named)}")
    if plan.assigns_in_turn:
        lines.append("new messages are assigned in turn to those on duty")
    return [*lines, *map(step_in_words, steps)]


# Whom a step can name besides a group.
WHOM = {
    "holder": "the person who claimed it, otherwise those on duty",
    "duty": "those on duty",
    "destinations": "alert destinations",
}


def step_in_words(step: LadderStep) -> str:
    """Return a step as text: "1 h after the decision is due: assign to those on duty"."""
    side = "before" if step.minutes < 0 else "after"
    when = f"{minutes_in_words(abs(step.minutes))} {side}" if step.minutes else "when"
    whom = WHOM.get(step.whom, f"the group {step.group}")
    act = "notify" if step.whom == "destinations" else step.get_act_display().lower()
    return f"{when} the {step.get_basis_display()} is due: {act} {whom}"
