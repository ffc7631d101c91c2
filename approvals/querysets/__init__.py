"""Every query of the mirror, the connections and the decisions, with a name."""

from approvals.querysets.connections import ConnectionQuerySet, MailboxQuerySet, WebhookEventQuerySet
from approvals.querysets.decisions import DecisionQuerySet
from approvals.querysets.messages import MessageQuerySet
from approvals.querysets.reach import within_reach
from approvals.querysets.terms import (
    CAN_EXPIRE,
    DONE,
    EXPIRY_REST,
    FETCH_TRIES,
    IN_DOUBT,
    LATELY,
    LET_GO,
    READS_THAT_PROVE,
    STUCK_AFTER,
    VOID,
    WORD_AFTER,
)

__all__ = [
    "CAN_EXPIRE",
    "DONE",
    "EXPIRY_REST",
    "FETCH_TRIES",
    "IN_DOUBT",
    "LATELY",
    "LET_GO",
    "READS_THAT_PROVE",
    "STUCK_AFTER",
    "VOID",
    "WORD_AFTER",
    "ConnectionQuerySet",
    "DecisionQuerySet",
    "MailboxQuerySet",
    "MessageQuerySet",
    "WebhookEventQuerySet",
    "within_reach",
]
