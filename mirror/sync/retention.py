"""Deletes data past its retention in small batches, and the copies of one message on
request.

No statement may block the work of the desk.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db.models import QuerySet

from mirror.errors import ActNotAllowed
from mirror.models import AttachedFile, Message, RemotePicture, Thread, WebhookEvent
from mirror.models.attachments import AttachedFileQuerySet
from mirror.models.pictures import RemotePictureQuerySet
from mirror.states import MessageState
from mirror.terms import DONE

# How long the bytes of a file or of a fetched picture, and the messages of a thread,
# are stored after the last message is decided.
KEEP_FILES = timedelta(days=30)
# How long a webhook's body is stored: long enough to investigate a complaint.
KEEP_WEBHOOKS = timedelta(days=90)
BATCH = 500
BATCHES = 20


def forget_webhooks() -> int:
    """Delete webhooks past retention, the oldest first; return how many."""
    return _forget(WebhookEvent.objects.older_than(KEEP_WEBHOOKS), QuerySet.delete)


def forget_files() -> int:
    """Delete the bytes of files past retention; their detection and hashes stay."""
    return _forget(
        AttachedFile.objects.past_retention(KEEP_FILES), AttachedFileQuerySet.drop_bytes
    )


def forget_pictures() -> int:
    """Delete the bytes of remote pictures with those of files; what became of them
    stays.
    """
    return _forget(
        RemotePicture.objects.past_retention(KEEP_FILES),
        RemotePictureQuerySet.drop_bytes,
    )


def forget_threads() -> int:
    """Delete threads that no held draft belongs to any more, with the text of their
    messages.
    """
    return _forget(Thread.objects.done_with(KEEP_FILES), QuerySet.delete)


def _forget(rows: QuerySet[Any], drop: Callable[[Any], object]) -> int:
    """Delete these rows in batches, and return how many; the rest is deleted the next
    time.
    """
    dropped = 0
    for _ in range(BATCHES):
        keys = list(rows.values_list("pk", flat=True)[:BATCH])
        drop(rows.model._default_manager.filter(pk__in=keys))
        dropped += len(keys)
        if len(keys) < BATCH:
            break
    return dropped


@dataclass(frozen=True)
class Copies:
    """How many were removed."""

    files: int
    pictures: int
    webhooks: int
    threads: int


def remove_copies(message: Message) -> Copies:
    """Remove the bytes of its files and pictures, its webhooks as they came, and its
    thread.

    In the caller's transaction; the message must be locked. Raises ActNotAllowed while
    it is held or being sent: reviewers must see all of it.
    """
    if message.state not in DONE or message.decisions.to_settle().exists():
        raise ActNotAllowed(
            "This message is not finished yet: decide it, or wait until it is sent or rejected."
        )
    files = AttachedFile.objects.filter(
        message=message, content__isnull=False
    ).drop_bytes()
    events = WebhookEvent.objects.filter(
        connection=message.connection_id, email_id=message.upstream_id
    )
    webhooks, _ = events.delete()
    pictures = RemotePicture.objects.filter(message=message).erase()
    return Copies(files, pictures, webhooks, _remove_thread(message))


def _remove_thread(message: Message) -> int:
    """Remove the thread, unless a held draft belongs to it, whose reviewers need it."""
    if not message.thread_id:
        return 0
    waits = Message.objects.filter(
        state=MessageState.HELD,
        thread_id=message.thread_id,
        connection=message.connection_id,
    )
    found = Thread.objects.filter(
        upstream_id=message.thread_id, mailbox=message.mailbox_id
    )
    if waits.exists() or not found.exists():
        return 0
    found.delete()
    return 1
