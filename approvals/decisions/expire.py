"""Rejects expired messages, and announces once that a message is about to expire. It
never approves.
"""

import logging

from django.db import transaction
from django.db.models.functions import Now

from approvals.decisions import settle
from approvals.decisions.decide import decide_by_rule
from approvals.desk_messages import DeskMessageQuerySet, desk_messages
from approvals.models import Review
from common.actors import rule
from mirror import store
from mirror.models import Message
from mirror.recording import record_about
from mirror.states import DecisionEvent

log = logging.getLogger(__name__)

RULE = "expiry"
ACTOR = rule(RULE)
_BATCH = 200


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

    Each in its own transaction: a failure does not stop the others. That message stays
    overdue, and is listed as stuck.
    """
    expired = 0
    for message in due().select_related("connection")[:_BATCH]:
        try:
            expired += _expire(message)
        except Exception:
            log.exception("message not expired", extra={"email": message.upstream_id})
    return expired


def due() -> DeskMessageQuerySet:
    """Return the held messages that are expired by the database's clock."""
    return desk_messages().past_expiry(rule=RULE)


@transaction.atomic
def _expire(message: Message) -> bool:
    """Stop what would still send the message, then reject it. Under the kill switch the
    reject waits.
    """
    locked = store.lock_current(message)
    # Checked again under the lock: somebody may have decided first.
    if (
        locked is None
        or not desk_messages().past_expiry(rule=RULE).filter(pk=locked.pk).exists()
    ):
        return False
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
