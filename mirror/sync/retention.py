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
from mirror.states import MessageState
from mirror.terms import DONE

# How long the bytes of a file, and the messages of a thread, are stored after the last message is decided.
KEEP_FILES = timedelta(days=30)
# How long a webhook's body is stored: long enough to investigate a complaint.
KEEP_WEBHOOKS = timedelta(days=90)
BATCH = 500
BATCHES = 20


def forget() -> dict[str, int]:
    """Delete webhooks, the bytes of files, remote pictures, and threads without a held
    draft that are past retention; return how many of each.

    What was detected in files stays.
    """
    files = AttachedFile.objects.past_retention(KEEP_FILES)
    return {
        "webhooks": _forget(
            WebhookEvent.objects.older_than(KEEP_WEBHOOKS), QuerySet.delete
        ),
        "files": _forget(files, AttachedFileQuerySet.drop_bytes),
        "pictures": _forget(
            RemotePicture.objects.past_retention(KEEP_FILES), QuerySet.delete
        ),
        "threads": _forget(Thread.objects.done_with(KEEP_FILES), QuerySet.delete),
    }


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
    """Remove the bytes of its files, its remote pictures, its webhooks as they came,
    and its thread.

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
    pictures, _ = message.remote_pictures.all().delete()
    webhooks, _ = WebhookEvent.objects.about(message).delete()
    # Reviewers of a held draft need its thread.
    waits = Message.objects.filter(
        state=MessageState.HELD,
        thread_id=message.thread_id,
        connection=message.connection_id,
    )
    thread = Thread.objects.of_message(message).first()
    if thread is None or waits.exists():
        return Copies(files, pictures, webhooks, threads=0)
    thread.delete()
    return Copies(files, pictures, webhooks, threads=1)
