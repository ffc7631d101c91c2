"""By when a message is to be looked at and decided, and when each step of the ladder is
due. It reads no messages.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import F, QuerySet

from policy.calendars import after_working_time, calendar_of
from policy.models import LadderStep, ReviewPlan

# The risk of messages that have targets of their own; any other has those of "".
RISKS = {"high": "High risk", "notice": "Notice", "": "Others"}


@dataclass(frozen=True)
class Deadlines:
    """None: the plan has no such target."""

    look_by: datetime | None
    decide_by: datetime | None


@dataclass(frozen=True)
class DueStep:
    """A step and when it is due. `key` is the same whoever works it out."""

    step: LadderStep
    at: datetime
    key: str


def plan_for(mailbox: int | None) -> ReviewPlan | None:
    """Return the plan of a mailbox: its own, otherwise the one for all; None where
    there is neither.
    """
    own = plans().filter(mailbox=mailbox).first() if mailbox is not None else None
    return own or plans().filter(mailbox=None).first()


def deadlines_of(plan: ReviewPlan, *, risk: str, held_at: datetime) -> Deadlines:
    """Return the deadlines of a message that has been held since then."""
    look, decision = _minutes(plan, risk)
    return Deadlines(_after(plan, held_at, look), _after(plan, held_at, decision))


def steps_of(
    plan: ReviewPlan, deadlines: Deadlines, *, risk: str, held_at: datetime
) -> Sequence[DueStep]:
    """Return the steps of a plan's ladder with their times, the earliest first."""
    look, decision = _minutes(plan, risk)
    found = []
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
        else:
            at = _after(plan, held_at, max(0, minutes + step.minutes))
        if at is not None:
            found.append(DueStep(step, at, str(step)))
    return sorted(found, key=lambda due: (due.at, due.key))


def plans() -> QuerySet[ReviewPlan]:
    """Return all plans with their steps, the one for all mailboxes first."""
    named = ReviewPlan.objects.select_related("calendar", "mailbox").prefetch_related(
        "steps__person", "steps__group"
    )
    return named.order_by(F("mailbox__address").asc(nulls_first=True), "pk")


def _minutes(plan: ReviewPlan, risk: str) -> tuple[int | None, int | None]:
    """Return the minutes until the first look and the decision; what a risk does not
    have is that of the others.
    """
    own = plan.targets.get(risk) or (None, None)
    others = plan.targets.get("") or (None, None)
    look = others[0] if own[0] is None else own[0]
    decision = others[1] if own[1] is None else own[1]
    return look, decision


def _after(plan: ReviewPlan, start: datetime, minutes: int | None) -> datetime | None:
    """Return when so much working time has passed; without a calendar all time counts.
    None where it is never open.
    """
    if minutes is None:
        return None
    duration = timedelta(minutes=minutes)
    if plan.calendar is None:
        return start + duration
    return after_working_time(calendar_of(plan.calendar), start, duration)
