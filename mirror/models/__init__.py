"""The tables of the mirror: what MultiMail told of accounts, messages, attachments and threads."""

from mirror.models.attachments import EnclosedFile, OpenedPart
from mirror.models.connections import (
    Connection,
    GateRefusal,
    KeyOwner,
    KnownContact,
    Mailbox,
    SuppressedAddress,
    WebhookEvent,
)
from mirror.models.messages import Message, Revision
from mirror.models.threads import Thread, ThreadLetter

__all__ = [
    "Connection",
    "EnclosedFile",
    "GateRefusal",
    "KeyOwner",
    "KnownContact",
    "Mailbox",
    "Message",
    "OpenedPart",
    "Revision",
    "SuppressedAddress",
    "Thread",
    "ThreadLetter",
    "WebhookEvent",
]
