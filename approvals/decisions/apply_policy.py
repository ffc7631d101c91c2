"""Does by itself what rules of the policy say: rejects a message with their reason, and
lets it expire sooner.

It never approves. Each held message is asked about once for each version of its content
and of the policy.
"""

from datetime import timedelta

from approvals.decisions.decide import decide_by_rule, policy_details
from approvals.decisions.demands import demands_for
from approvals.decisions.due import do_due
from approvals.desk_messages import DeskMessageQuerySet, desk_messages
from approvals.models import Review
from common.actors import rule
from common.postgres import clock
from mirror.models import Message
from policy.models import PolicyVersion

RULE = "policy"
ACTOR = rule(RULE)


def due() -> DeskMessageQuerySet:
    """Return the held messages that the active version of the policy was not asked
    about yet.
    """
    return desk_messages().not_asked_by(PolicyVersion.objects.active().values("pk")[:1])


def apply_due() -> int:
    """Ask the active policy about some of them; return how many were processed.

    Whoever approves one of which this fails is asked for its rules.
    """
    return do_due(due, _apply, order=("pk",), failure="policy not applied")


def _apply(locked: Message) -> bool:
    """Reject it where a rule says so; else shorten its time."""
    active = PolicyVersion.objects.active().values_list("pk", flat=True).first()
    if active is None:
        return False
    now = clock()
    demand = demands_for([locked], ACTOR, now=now).get(locked.pk)
    if demand is None or not demand.is_readable:
        return False
    effects = demand.effects
    ends = locked.expires_at
    if effects.expire_minutes is not None:
        sooner = locked.held_at + timedelta(minutes=effects.expire_minutes)
        ends = sooner if ends is None else min(ends, sooner)
    Message.objects.filter(pk=locked.pk).update(expires_at=ends)
    Review.objects.filter(pk=locked.pk).update(policy_applied=active)
    if effects.reject:
        spoke = next(one for one in demand.requirement.spoke if one.then.reject)
        name = f"{RULE} {demand.requirement.version}: {spoke.id}"
        policy = policy_details(demand, demand.progress)
        decide_by_rule(
            locked, rule=name, reason=effects.reject, actor=ACTOR, policy=policy
        )
    return True
