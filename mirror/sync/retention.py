"""Deletes data whose retention time is over: webhooks, the bytes of files, and threads.
Also removes the copies of one message when it is erased.

It deletes in small batches, so that no statement blocks the work of the desk.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db.models import QuerySet

from mirror.errors import ActNotAllowed
from mirror.models import AttachedFile, Message, RemotePicture, Thread, WebhookEvent
from mirror.models.attachments import AttachedFileQuerySet
from mirror.states import DONE, UNSETTLED

# How long the bytes of a file, and the messages of a thread, are stored after the
# message was decided.
KEEP_FILES = timedelta(days=30)
# How long a webhook's body is stored: long enough to investigate a complaint.
KEEP_WEBHOOKS = timedelta(days=90)
# How many rows one statement deletes, and how many batches one run.
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
    """Call `drop` on these rows in batches; return how many rows that were. If there
    are too many for one run, the next run deletes the rest.
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
    """How many copies of a message were removed, by kind."""

    files: int
    pictures: int
    webhooks: int
    threads: int


def remove_copies(message: Message) -> Copies:
    """Remove the bytes of its files, its remote pictures, its webhooks as they came,
    and its thread.

    Raises ActNotAllowed while it is held or being sent, because reviewers must be able
    to see all of it.
    """
    unsettled = message.decisions.filter(state__in=UNSETTLED)
    if message.state not in DONE or unsettled.exists():
        raise ActNotAllowed(
            "This message is not finished yet: decide it, or wait until it is sent or rejected."
        )
    files = AttachedFile.objects.filter(
        message=message, content__isnull=False
    ).drop_bytes()
    pictures, _ = message.remote_pictures.all().delete()
    webhooks, _ = WebhookEvent.objects.about(message).delete()
    # The thread stays while another message in it is held: its reviewers need it.
    held_in_thread = Message.objects.held().filter(
        thread_id=message.thread_id, connection=message.connection_id
    )
    thread = Thread.objects.of_message(message).first()
    threads = 0
    if thread and not held_in_thread.exists():
        thread.delete()
        threads = 1
    return Copies(files, pictures, webhooks, threads)
