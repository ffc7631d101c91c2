"""Does what the review plan says is due for held messages: marks late ones, assigns and
reminds.

The sweep calls it for messages whose `watch_at` has come, by the database's clock. Each
message has a transaction of its own under its lock, and a step is done once
(`StepDone`), however many workers run it. Of several steps that became due during a
pause only the last is done.
"""

import logging
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import Exists
from django.db.models.functions import Now

from approvals import local_messages
from approvals.desk_messages import DeskMessageQuerySet, awaits_review, desk_messages
from approvals.escalation import handling
from approvals.models import Claim, Reminder, Review, StepDone
from audit.models import Entry
from common.postgres import clock
from mirror.models import Mailbox, Message
from mirror.recording import record_about
from people.models import Person
from policy.models import LadderStep, ReviewPlan
from policy.plans.deadlines import DueStep, deadlines_of, plan_for, steps_of

log = logging.getLogger(__name__)

# How soon a message is watched again that waits for something other than a time: a
# look, an undo, somebody on duty.
SOON = timedelta(minutes=1)
IN_TURN = "assigned in turn"


def to_watch() -> DeskMessageQuerySet:
    """Return the messages for which something is due; none without a plan."""
    return (
        desk_messages()
        .to_watch()
        .filter(Exists(ReviewPlan.objects.all()))
        .order_by("review__watch_at")
    )


def on_plan_changed(mailbox: Mailbox | None, *, is_removed: bool, **_: Any) -> None:
    """Have the held messages of a mailbox, or all, watched anew; without a plan they
    have no deadlines.
    """
    reviews = Review.objects.filter(is_held=True)
    if mailbox is not None:
        reviews = reviews.filter(message__mailbox=mailbox)
    reviews.update(watch_at=Now())
    if is_removed:
        reviews.update(late_since=None, look_by=None, decide_by=None)


def watch(message_ids: Iterable[int]) -> None:
    """Do what is due for each; one that fails does not keep the others from it."""
    for message_id in message_ids:
        try:
            _watch(message_id)
        except Exception:
            log.exception("review plan not followed", extra={"message_id": message_id})


@transaction.atomic
def _watch(message_id: int) -> None:
    locked = (
        to_watch()
        .select_for_update(of=("self",), no_key=True, skip_locked=True)
        .filter(pk=message_id)
    )
    message = locked.with_content().select_related("connection", "review").first()
    if message is None:
        return
    plan = plan_for(message.mailbox_id)
    now = clock()
    if plan is None:
        Review.objects.filter(pk=message.pk).update(
            watch_at=None, look_by=None, decide_by=None, late_since=None
        )
        return
    if not awaits_review(message.pk):
        # Decided: it may be undone, or held again.
        Review.objects.filter(pk=message.pk).update(watch_at=now + SOON)
        return
    _follow(message, plan, now=now)


def _follow(message: Message, plan: ReviewPlan, *, now: datetime) -> None:
    """Do what is due. For a local message no step is taken and nobody is reminded."""
    risk = message.review.risk_level
    held_at = message.held_at
    deadlines = deadlines_of(
        plan, risk=risk, held_at=held_at, extended_to=message.review.extended_to
    )
    is_looked_at = (
        Entry.objects.of_message(message.public_id).of_action("message.opened").exists()
    )
    done = set(StepDone.objects.filter(message=message).values_list("step", flat=True))
    is_unassigned = False
    if plan.assigns_in_turn and IN_TURN not in done:
        # Once, unless somebody has claimed it already.
        is_unassigned = (
            not Claim.objects.on(message).live().exists()
            and handling.assign_first(
                message,
                handling.on_duty(message, now=now),
                why="In turn, to those on duty.",
            )
            is None
        )
        if not is_unassigned:
            StepDone.objects.bulk_create(
                [StepDone(message=message, step=IN_TURN)], ignore_conflicts=True
            )
    targets = [deadlines.decide_by, None if is_looked_at else deadlines.look_by]
    late_since = min((at for at in targets if at and at <= now), default=None)
    steps: list[DueStep] = []
    if not message.is_local:
        steps = [
            due
            for due in steps_of(plan, deadlines, risk=risk, held_at=held_at)
            if due.key not in done
            and not (is_looked_at and due.step.basis == LadderStep.Basis.LOOK)
        ]
        _do_last([due for due in steps if due.at <= now], message, now=now)
    elif late_since:
        local_messages.feature().end_late(message)
        late_since = None
    times = [at for at in (*targets, *(due.at for due in steps)) if at and at > now]
    # Late for its first look, it is late no more once somebody looks; and somebody may
    # come on duty.
    if is_unassigned or (late_since and late_since != deadlines.decide_by):
        times.append(now + SOON)
    Review.objects.filter(pk=message.pk).update(
        watch_at=min(times, default=None),
        look_by=deadlines.look_by,
        decide_by=deadlines.decide_by,
        late_since=late_since,
    )


def _do_last(due: Sequence[DueStep], message: Message, *, now: datetime) -> None:
    """Do the last of the steps that are due. The others are passed over: after a pause
    they would come in a burst.
    """
    if not due:
        return
    StepDone.objects.bulk_create(
        [StepDone(message=message, step=one.key) for one in due]
    )
    step = due[-1].step
    when = _when(step)
    details = {"subject": message.subject, "explanation": f"{when}."}
    if step.whom != LadderStep.Whom.DESTINATIONS:
        duty = handling.on_duty(message, now=now)
        # Whom it names and who is not away, else those on duty.
        present = Person.objects.present()
        named = duty
        if step.whom == LadderStep.Whom.HOLDER:
            holder = Claim.objects.on(message).live().values("person")
            named = present.filter(pk__in=holder)
        elif step.person is not None:
            named = present.filter(pk=step.person.pk)
        elif step.group is not None:
            named = present.filter(policy_groups=step.group)
        for people in (named, duty):
            if step.act == LadderStep.Act.ASSIGN:
                why = f"{when}: assigned to {whom_of(step)}."
                if handling.assign_first(message, people, why=why):
                    return
            elif reminded := handling.able_to_review(people, message):
                Reminder.objects.bulk_create(
                    [Reminder(message=message, person=one) for one in reminded],
                    ignore_conflicts=True,
                )
                details["to"] = ", ".join(map(str, reminded))
                record_about(
                    "message.reminded", message, actor=handling.ACTOR, details=details
                )
                return
        details["explanation"] += " Nobody who could review it is on duty."
    record_about("message.late", message, actor=handling.ACTOR, details=details)


def whom_of(step: LadderStep) -> str:
    """Return whom a step names, in words."""
    if step.whom == LadderStep.Whom.PERSON:
        return str(step.person)
    if step.whom == LadderStep.Whom.GROUP:
        return f"the group {step.group}"
    return step.get_whom_display()


def _when(step: LadderStep) -> str:
    kind = "its first look" if step.basis == LadderStep.Basis.LOOK else "its decision"
    if not step.minutes:
        return f"The target for {kind} has passed"
    hours, minutes = divmod(abs(step.minutes), 60)
    lasting = f"{hours} h {minutes} min"
    if not minutes:
        lasting = f"{hours} h"
    elif not hours:
        lasting = f"{minutes} min"
    side = "after" if step.minutes > 0 else "before"
    return f"{lasting} {side} the target for {kind}"
