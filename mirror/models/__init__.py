"""The tables of the mirror, the desk's copy of what MultiMail holds: accounts,
messages, attachments, threads, and the webhooks that came.
"""

from mirror.models.attachments import AttachedFile, RemotePicture, StoredFile
from mirror.models.connections import (
    Connection,
    KnownContact,
    Mailbox,
    ScopeModel,
    SuppressedAddress,
    may_set,
)
from mirror.models.messages import Message, Revision
from mirror.models.pages import PendingPage
from mirror.models.threads import Thread, ThreadMessage
from mirror.models.webhooks import WebhookEvent
