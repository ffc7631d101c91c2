"""The tables of the mirror: what MultiMail told of accounts, messages, attachments and threads."""

from mirror.models.attachments import EnclosedFile
from mirror.models.connections import (
    Connection,
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
    "KnownContact",
    "Mailbox",
    "Message",
    "Revision",
    "SuppressedAddress",
    "Thread",
    "ThreadLetter",
    "WebhookEvent",
]
