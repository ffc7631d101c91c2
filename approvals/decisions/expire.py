"""Rejects expired messages, announces once that a message is about to expire, and tells
our gateway until when a message may be approved, so that it refuses a late approval by
anybody. It never approves.
"""

import logging

from django.db import transaction
from django.db.models.functions import Now

from approvals.decisions import settle
from approvals.decisions.decide import decide_by_rule
from approvals.decisions.due import do_due
from approvals.desk_messages import DeskMessageQuerySet, desk_messages
from approvals.models import Review
from common.actors import rule
from mirror.models import Message
from mirror.recording import record_about
from mirror.states import DecisionEvent
from mirror.sync import health, reads
from upstream import errors

log = logging.getLogger(__name__)

RULE = "expiry"
ACTOR = rule(RULE)
_BATCH = 200
# The gateway will never take it: the message is not held there any more, or is not to
# be decided with this key.
_FINAL = (errors.NotFound, errors.Conflict, errors.Rejected, errors.Forbidden)


def announce_expiring() -> int:
    """Record once for each held message that it is about to expire; return how many."""
    return sum(
        _announce(message_id)
        for message_id in desk_messages()
        .nearly_over()
        .values_list("pk", flat=True)[:_BATCH]
    )


@transaction.atomic
def _announce(message_id: int) -> bool:
    # Checked again under the lock: another sweep may have announced it, or somebody may
    # have decided it.
    found = (
        desk_messages()
        .nearly_over()
        .select_for_update(of=("self",), no_key=True)
        .filter(pk=message_id)
        .first()
    )
    if found is None or found.expires_at is None:
        return False
    Review.objects.filter(pk=found.pk).update(expiry_told_at=Now())
    record_about(
        "message.expiring",
        found,
        actor=ACTOR,
        details={
            "explanation": f"It is rejected at {found.expires_at:%Y-%m-%d %H:%M} UTC unless it is approved."
        },
    )
    return True


def expire_due() -> int:
    """Reject every held message that is expired by the database's clock; return how
    many were processed.

    One of which this fails stays overdue, and is listed as stuck.
    """
    return do_due(due, _expire, failure="message not expired")


def due() -> DeskMessageQuerySet:
    """Return the held messages that are expired by the database's clock."""
    return desk_messages().past_expiry(rule=RULE)


def _expire(locked: Message) -> bool:
    """Stop what would still send the message, then reject it. Under the kill switch the
    reject waits.
    """
    assert locked.expires_at is not None, "only a message with an expiry is past it"
    over = f"{locked.expires_at:%Y-%m-%d %H:%M} UTC"
    for decision in locked.decisions.live().under_lock():
        if not decision.can_expire:
            return False
        settle.advance(
            decision,
            event=DecisionEvent.WITHDRAW
            if decision.may_have_left
            else DecisionEvent.REFUSE,
            actor=ACTOR,
            explanation=f"The time to approve this message was over at {over}.",
            seen_held=0,
            seen_absent=0,
        )
    decide_by_rule(
        locked,
        rule=RULE,
        reason=f"Expired: it was not approved before {over}.",
        actor=ACTOR,
    )
    return True


def tell_expiry(*, message_id: int) -> str:
    """Tell the gateway the expiry of one message. Where it cannot be reached the sweep
    tries again.
    """
    message = (
        Message.objects.expiry_to_tell()
        .select_related("connection")
        .filter(pk=message_id)
        .first()
    )
    if message is None or message.expires_at is None:
        return "nothing to tell"
    expires_at = message.expires_at
    outcome = "told"
    try:
        client = reads.oversight_client(message.connection)
        client.set_expiry(email_id=message.upstream_id, expires_at=expires_at)
    except _FINAL as error:
        outcome = "refused"
        log.warning(
            "expiry refused by the gateway",
            extra={"email": message.upstream_id, "reason": error.sentence},
        )
    except errors.Throttled as error:
        health.wait(message.connection, error)
        return "not now"
    except errors.UpstreamError as error:
        log.warning(
            "expiry not told",
            extra={"email": message.upstream_id, "reason": type(error).__name__},
        )
        return "not told"
    # Only what was told: the expiry may have been extended meanwhile.
    Message.objects.filter(pk=message.pk).update(gate_expires_at=expires_at)
    return outcome
