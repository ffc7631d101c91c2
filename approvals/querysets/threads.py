"""Every read of conversations."""

from datetime import timedelta
from typing import TYPE_CHECKING, Self

from django.apps import apps
from django.db import models
from django.db.models import Exists, OuterRef, Q
from django.db.models.functions import Now

from approvals.states import MessageState

if TYPE_CHECKING:
    from approvals.models import Message, Thread, ThreadLetter  # noqa: F401 - the querysets' type parameters


class ThreadQuerySet(models.QuerySet["Thread"]):
    """Reads of threads."""

    def to_read(self) -> Self:
        """Never read to the end, due by now, and of a draft that is held, on a connection that can be asked."""
        return self.filter(Q(read_at=None), not_before__lte=Now()).of_held().on_well_connections()

    def older_than(self, age: timedelta) -> Self:
        """Those that were not read for so long, and are not being read."""
        return self.filter(Q(read_at=None) | Q(read_at__lt=Now() - age), not_before__lte=Now())

    def on_well_connections(self) -> Self:
        rested = Q(mailbox__connection__wait_until=None) | Q(mailbox__connection__wait_until__lte=Now())
        return self.filter(
            rested, mailbox__connection__paused_at=None, mailbox__connection__failing_since=None
        )  # fmt: skip

    def of_held(self) -> Self:
        """Those that a held draft belongs to (relies on the partial index message_thread)."""
        return self.filter(_has_held())

    def done_with(self, age: timedelta) -> Self:
        """Those that no held draft belongs to, and that were last looked at so long ago."""
        return self.exclude(_has_held()).filter(not_before__lt=Now() - age)


class ThreadLetterQuerySet(models.QuerySet["ThreadLetter"]):
    """Reads of their letters."""

    def of_message(self, message: "Message") -> Self:
        """Those of the thread that a message belongs to, as its mailbox sees it; none where it has no thread."""
        if not message.thread_id or message.mailbox_id is None:
            return self.none()
        return self.filter(thread__mailbox=message.mailbox_id, thread__upstream_id=message.thread_id)

    def newest_first(self) -> Self:
        return self.order_by("-at", "-pk")


def _has_held() -> Exists:
    messages = apps.get_model("approvals", "Message").objects
    held = messages.filter(state=MessageState.HELD, thread_id=OuterRef("upstream_id"), mailbox=OuterRef("mailbox"))
    return Exists(held.exclude(thread_id=""))
