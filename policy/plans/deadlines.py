"""Computes from a review plan by when a message should be looked at and decided, and
when each step of the plan's ladder is due. Reads plans, but no messages.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import F, Q, QuerySet

from policy.calendars import after_working_time, calendar_of
from policy.models import LadderStep, ReviewPlan

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
    look, decision = _minutes(plan, risk)
    look_by = _after(plan, held_at, look)
    decide_by = _after(plan, held_at, decision)
    if extended_to is not None:
        look_by = max(look_by, extended_to) if look_by else None
        decide_by = max(decide_by, extended_to) if decide_by else None
    return Deadlines(look_by, decide_by, extended_to)


def steps_of(
    plan: ReviewPlan, deadlines: Deadlines, *, risk: str, held_at: datetime
) -> Sequence[DueStep]:
    """Return the steps of a plan's ladder with their times, the earliest first."""
    look, decision = _minutes(plan, risk)
    due_steps = []
    again = f" of {deadlines.extended_to.isoformat()}" if deadlines.extended_to else ""
    for step in plan.steps.all():
        deadline = deadlines.decide_by
        minutes = decision
        if step.basis == LadderStep.Basis.LOOK:
            deadline = deadlines.look_by
            minutes = look
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
        "steps__person", "steps__group"
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
