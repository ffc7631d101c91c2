"""After a restore: no decision is executed twice, and nobody approves a message without
knowing that it may be sent.

Only MultiMail may know what happened between the backup and the restore. So every
decision in progress is in doubt, until the desk has read its outcome; and each
connection is paused until an admin has checked it.
"""

from dataclasses import asdict, dataclass
from datetime import datetime

from django.db import transaction
from django.db.models.functions import Now

from approvals.decisions import settle
from approvals.examination import risk_facets
from approvals.models import Decision, Review
from common.actors import Actor
from connections.accounts.commands import pause_by_hand
from mirror.models import Connection, Message
from mirror.states import DecisionEvent, DecisionState, MessageState
from risk.findings import may_have_left


@dataclass(frozen=True)
class HoldBackResult:
    """The counts after a restore: decisions in doubt, marked messages, paused
    connections.
    """

    doubtful: int
    marked: int
    paused: int


@transaction.atomic
def hold_back(*, made_at: datetime, actor: Actor) -> HoldBackResult:
    """Put decisions in progress in doubt, mark messages waiting at our gateway, and
    pause every connection.

    Must run before any worker starts. Hosted MultiMail was not restored: what it holds
    was not sent, and what left it does not hold. Our gateway may have been restored
    too, and then holds again what was approved and sent since.
    """
    moment = f"{made_at:%Y-%m-%d %H:%M:%S} UTC"
    under_way = Decision.objects.filter(
        state__in=(DecisionState.RECORDED, DecisionState.CALLING)
    ).under_lock()
    doubtful = 0
    for decision in under_way:
        settle.advance(
            decision,
            DecisionEvent.DOUBT,
            actor,
            (
                f"It was in progress when the backup of {moment} was made, and may have been carried out since."
            ),
            may_have_left=True,
            lease_until=None,
            due_at=Now(),
        )
        doubtful += 1
    # Reads from before the backup prove nothing now.
    Decision.objects.filter(state=DecisionState.UNKNOWN).update(
        seen_held=0, seen_absent=0
    )
    held = Message.objects.filter(
        state=MessageState.HELD, direction="outbound", connection__is_our_gateway=True
    )
    marked = 0
    for message in held.exclude(revision=None).select_related("revision"):
        revision = message.revision
        assert revision is not None
        kept = [one for one in revision.findings if one.get("rule") != "restored"]
        revision.findings = [asdict(may_have_left()), *kept]
        revision.save(update_fields=["findings"])
        Review.objects.filter(pk=message.pk).update(**risk_facets(revision.findings))
        marked += 1
    connections = list(Connection.objects.at_work().filter(paused_by_hand=False))
    # It would execute an approval again once our gateway, restored too, is read as
    # holding the message.
    Connection.objects.filter(repeats_unknown_approvals=True).update(
        repeats_unknown_approvals=False
    )
    reason = (
        f"The desk was restored from the backup of {moment}. Messages waiting then may since have been decided and "
        "sent: compare with the mail server's log, then resume it."
    )
    for connection in connections:
        pause_by_hand(connection=connection, reason=reason, actor=actor)
    return HoldBackResult(doubtful, marked, len(connections))
