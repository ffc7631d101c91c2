"""Named queries of the mirror."""

from mirror.querysets.connections import ConnectionQuerySet, MailboxQuerySet, WebhookEventQuerySet
from mirror.querysets.messages import (
    AttachedFileQuerySet,
    MessageManager,
    MessageQuerySet,
    ThreadQuerySet,
    visible_condition,
)
from mirror.querysets.pictures import RemotePictureQuerySet
from mirror.querysets.terms import (
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
    "AttachedFileQuerySet",
    "ConnectionQuerySet",
    "MailboxQuerySet",
    "MessageManager",
    "MessageQuerySet",
    "RemotePictureQuerySet",
    "ThreadQuerySet",
    "WebhookEventQuerySet",
    "visible_condition",
]
