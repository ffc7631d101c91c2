"""Every read of conversations."""

from collections.abc import Sequence
from datetime import timedelta
from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, Self

from django.apps import apps
from django.db import models
from django.db.models import Exists, OuterRef, Q
from django.db.models.functions import Now

from mirror.states import MessageState

if TYPE_CHECKING:
    from mirror.models import Message, Thread  # noqa: F401 - the queryset's type parameter


class ThreadQuerySet(models.QuerySet["Thread"]):
    """Reads of threads."""

    def due(self) -> Self:
        """To be read, and not before its time nor while somebody reads it, by the database's clock (thread_to_read)."""
        return self.filter(wanted=True, not_before__lte=Now())

    def to_read(self) -> Self:
        """Due, with a draft that is held, on a connection that can be asked (also by message_thread)."""
        rested = Q(mailbox__connection__wait_until=None) | Q(mailbox__connection__wait_until__lte=Now())
        well = Q(mailbox__connection__paused_at=None, mailbox__connection__failing_since=None)
        return self.due().filter(rested, well, _has_held())

    def of_message(self, message: "Message") -> Self:
        """The thread that a message belongs to; none where MultiMail told of none."""
        if not message.thread_id or message.mailbox_id is None:
            return self.none()
        return self.filter(mailbox=message.mailbox_id, upstream_id=message.thread_id)

    def of_messages(self, messages: "Sequence[Message]") -> Self:
        """The threads that these messages belong to (thread_once)."""
        places = {(one.mailbox_id, one.thread_id) for one in messages if one.thread_id and one.mailbox_id}
        either = [Q(mailbox=mailbox, upstream_id=thread) for mailbox, thread in places]
        return self.filter(reduce(or_, either)) if either else self.none()

    def older_than(self, age: timedelta) -> Self:
        """Those that were not read for so long."""
        return self.filter(Q(read_at=None) | Q(read_at__lt=Now() - age))

    def done_with(self, age: timedelta) -> Self:
        """Those that no held draft belongs to, and that were last looked at so long ago."""
        return self.exclude(_has_held()).filter(not_before__lt=Now() - age)


def _has_held() -> Exists:
    messages = apps.get_model("mirror", "Message").objects
    held = messages.filter(state=MessageState.HELD, thread_id=OuterRef("upstream_id"), mailbox=OuterRef("mailbox"))
    return Exists(held.exclude(thread_id=""))
