"""The commands by which admins set review plans and who is on duty. Each writes an
entry to the ledger. Messages that are already held follow a change at once.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from django.urls import reverse

from audit.recording import record
from common.actors import Actor
from common.durations import minutes_in_words
from common.postgres import atomic_with_retry, take_lock
from mirror.errors import ActNotAllowed
from mirror.models import Mailbox, may_set
from people.models import Person
from people.second_admin.registry import CanWait, ChangeInWords, second_admin
from policy.checks import check_seen
from policy.models import DutyTurn, LadderStep, ReviewPlan, WorkCalendar
from policy.plans.deadlines import KINDS, RISKS, plans


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
        actor=actor,
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


def step_in_words(step: LadderStep) -> str:
    """Return a step as text: "1 h after the decision is due: assign to those on duty"."""
    side = "before" if step.minutes < 0 else "after"
    when = f"{minutes_in_words(abs(step.minutes))} {side}" if step.minutes else "when"
    whom = {"person": str(step.person), "group": f"the group {step.group}"}.get(
        step.whom, str(step.get_whom_display())
    )
    act = "notify" if step.whom == "destinations" else step.get_act_display().lower()
    return f"{when} the {step.get_basis_display()} is due: {act} {whom}"
