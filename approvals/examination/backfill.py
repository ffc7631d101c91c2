"""Fills the queue's columns of messages that were read before there were such columns. A sweep calls it, in batches."""

from approvals.examination.queue_columns import queue_columns
from mirror.models import Message
from mirror.store import stored_content


def fill_missing(*, limit: int) -> int:
    """Work the columns out for some that have none, the held ones first; return how many were taken on."""
    found = Message.objects.without_facets().select_related("revision", "connection")[:limit]
    for message in found:
        assert message.revision is not None, "only a content has facets"
        columns = queue_columns(message, content=stored_content(message.revision), findings=message.revision.findings)
        # What was read meanwhile is newer than this.
        Message.objects.filter(pk=message.pk, revision=message.revision, search=None).update(**columns)
    return len(found)
