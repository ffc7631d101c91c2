"""Deletes what has been kept long enough, in small batches: no statement may hold up the work of the desk."""

from datetime import timedelta

from mirror.models import AttachedFile, Thread, WebhookEvent

# How long the bytes of a file, and the letters of a thread, are kept after the last message is past the desk.
KEEP_FILES = timedelta(days=30)
# How long a webhook's body is kept: long enough to look into a complaint.
KEEP_WEBHOOKS = timedelta(days=90)
BATCH, BATCHES = 500, 20


def forget_webhooks() -> int:
    """Delete webhooks whose time is over, the oldest first; return how many. What is left is deleted the next time."""
    deleted = 0
    for _ in range(BATCHES):
        some = WebhookEvent.objects.older_than(KEEP_WEBHOOKS).values_list("pk", flat=True)[:BATCH]
        count, _ = WebhookEvent.objects.filter(pk__in=list(some)).delete()
        deleted += count
        if count < BATCH:
            break
    return deleted


def forget_files() -> int:
    """Delete the bytes of files whose time is over; what was seen of them, and their hashes, stay."""
    deleted = 0
    for _ in range(BATCHES):
        some = AttachedFile.objects.kept_too_long(KEEP_FILES).values_list("pk", flat=True)[:BATCH]
        count = AttachedFile.objects.filter(pk__in=list(some)).drop_bytes()
        deleted += count
        if count < BATCH:
            break
    return deleted


def forget_threads() -> int:
    """Delete threads that no held draft belongs to any more, with what their letters say."""
    deleted = 0
    for _ in range(BATCHES):
        some = list(Thread.objects.done_with(KEEP_FILES).values_list("pk", flat=True)[:BATCH])
        Thread.objects.filter(pk__in=some).delete()
        deleted += len(some)
        if len(some) < BATCH:
            break
    return deleted
