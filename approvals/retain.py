"""Deletes what has been kept long enough, in small batches: no statement may hold up the work of the desk."""

from datetime import timedelta

from approvals.models import WebhookEvent

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
