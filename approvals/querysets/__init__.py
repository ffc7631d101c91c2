"""Every query of the mirror, the connections and the decisions, with a name."""

from approvals.querysets.connections import ConnectionQuerySet, MailboxQuerySet, WebhookEventQuerySet
from approvals.querysets.decisions import DecisionQuerySet
from approvals.querysets.desk import ClaimQuerySet, CommentQuerySet, QuestionQuerySet, SnoozeQuerySet
from approvals.querysets.enclosed import EnclosedFileQuerySet, OpenedPartQuerySet
from approvals.querysets.figures import VerdictQuerySet
from approvals.querysets.messages import MessageManager, MessageQuerySet
from approvals.querysets.reach import within_reach
from approvals.querysets.terms import (
    BACK_BEFORE,
    CAN_EXPIRE,
    CLAIM_LASTS,
    DONE,
    EXPIRY_REST,
    FETCH_TRIES,
    IN_DOUBT,
    LATELY,
    LET_GO,
    READS_THAT_PROVE,
    VOID,
)
from approvals.querysets.threads import ThreadQuerySet
from approvals.querysets.views import SavedViewQuerySet

__all__ = [
    "BACK_BEFORE",
    "CAN_EXPIRE",
    "CLAIM_LASTS",
    "DONE",
    "EXPIRY_REST",
    "FETCH_TRIES",
    "IN_DOUBT",
    "LATELY",
    "LET_GO",
    "READS_THAT_PROVE",
    "VOID",
    "ClaimQuerySet",
    "CommentQuerySet",
    "ConnectionQuerySet",
    "DecisionQuerySet",
    "EnclosedFileQuerySet",
    "MailboxQuerySet",
    "MessageManager",
    "MessageQuerySet",
    "OpenedPartQuerySet",
    "QuestionQuerySet",
    "SavedViewQuerySet",
    "SnoozeQuerySet",
    "ThreadQuerySet",
    "VerdictQuerySet",
    "WebhookEventQuerySet",
    "within_reach",
]
