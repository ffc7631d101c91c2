"""What the review plan will do with a message if nobody acts: reads only."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db.models import F, QuerySet

from approvals.decisions.ruling import is_reviewer
from approvals.escalation.handling import (
    able_to_review,
    addressees,
    is_looked_at,
    ladder_of,
)
from approvals.models import Claim, StepDone
from mirror.models import Message
from people.models import Person
from policy.models import LadderStep
from policy.review_plans import plan_for


@dataclass(frozen=True)
class StepAhead:
    """A step of a plan that will be done. Without people, destinations are told."""

    at: datetime
    act: LadderStep.Act
    people: Sequence[Person]
    is_last: bool


def steps_ahead(message: Message, now: datetime) -> list[StepAhead]:
    """Return the steps that come if nobody acts, by the people who are on duty, in the
    groups and present then, as far as it is known now. A message without a key is a
    sample, held since now.
    """
    plan = plan_for(message.mailbox_id)
    if plan is None:
        return []
    _, ladder = ladder_of(plan, message)
    done = set[str]()
    holder = None
    has_look = False
    if message.pk is not None:
        steps_done = StepDone.objects.filter(message=message)
        done = set(steps_done.values_list("step", flat=True))
        claims = Claim.objects.on(message).live()
        holder = claims.values_list("person", flat=True).first()
        has_look = is_looked_at(message)
    ahead = []
    for due in ladder:
        step = due.step
        is_for_look = step.basis == LadderStep.Basis.LOOK
        if due.key in done or (has_look and is_for_look):
            continue
        at = max(due.at, now)
        people: Sequence[Person] = []
        if step.whom != LadderStep.Whom.DESTINATIONS:
            choices = addressees(step, message, at, holder=holder)
            able = (_able(people, message) for _, people in choices)
            people = next(filter(None, able), [])
        act = LadderStep.Act(step.act)
        if act == LadderStep.Act.ASSIGN and people:
            people = people[:1]
            holder = people[0].pk
        ahead.append(StepAhead(at, act, people, is_last=due is ladder[-1]))
    return ahead


def _able(people: QuerySet[Person], message: Message) -> Sequence[Person]:
    if message.pk is not None:
        return able_to_review(people, message)
    # What a sample would need to be approved is not known.
    in_turn = people.order_by(F("assigned_at").asc(nulls_first=True), "pk")
    return [one for one in in_turn if is_reviewer(one.actor(surface="web"), message)]
