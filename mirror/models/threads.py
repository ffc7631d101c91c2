"""Conversations that held drafts belong to, as MultiMail and the desk's mirror report
them. Nothing here decides.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Self

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Exists, OuterRef, Q
from django.db.models.functions import Now

from mirror.models.connections import Mailbox, is_well
from mirror.models.messages import Message, is_of_threads
from mirror.states import MessageState


def _has_held() -> Exists:
    messages = Message.objects
    held = messages.filter(
        state=MessageState.HELD,
        thread_id=OuterRef("upstream_id"),
        mailbox=OuterRef("mailbox"),
    )
    return Exists(held.exclude(thread_id=""))


class ThreadQuerySet(models.QuerySet["Thread"]):
    """Reads of threads."""

    def due(self) -> Self:
        """To be read, and not before its time nor while somebody reads it, by the
        database's clock (thread_to_read).
        """
        return self.filter(wanted=True, not_before__lte=Now())

    def to_read(self) -> Self:
        """Due, with a draft that is held, on a connection that can be asked (also by
        message_thread).
        """
        return self.due().filter(is_well("mailbox__connection__"), _has_held())

    def of_message(self, message: "Message") -> Self:
        """The thread that a message belongs to; none where MultiMail named none."""
        if not message.thread_id or message.mailbox_id is None:
            return self.none()
        return self.filter(mailbox=message.mailbox_id, upstream_id=message.thread_id)

    def of_messages(self, messages: "Sequence[Message]") -> Self:
        """The threads that these messages belong to (thread_once)."""
        return self.filter(is_of_threads("upstream_id", messages))

    def older_than(self, age: timedelta) -> Self:
        """Those that were not read for so long."""
        return self.filter(Q(read_at=None) | Q(read_at__lt=Now() - age))

    def done_with(self, age: timedelta) -> Self:
        """Those without a held draft that were last read so long ago."""
        return self.exclude(_has_held()).filter(not_before__lt=Now() - age)


class Thread(models.Model):
    """One conversation of one mailbox, and how reading it went."""

    class Problem(models.TextChoices):
        REFUSED = "refused", "no key of this connection may read it"
        GONE = "gone", "MultiMail does not know this thread"
        FAILING = "failing", "MultiMail did not return it"

    mailbox = models.ForeignKey(
        Mailbox, on_delete=models.CASCADE, related_name="threads"
    )
    upstream_id = models.CharField(max_length=200)
    # When the last read began that worked; empty: never.
    read_at = models.DateTimeField(null=True)
    # To be read: it is new, something happened in it, or somebody opened it after a
    # while.
    wanted = models.BooleanField(default=True)
    problem = models.CharField(max_length=10, choices=Problem)
    tries = models.PositiveSmallIntegerField(default=0)
    # Not read before this time, by the database's clock; also the lease of the worker
    # that reads it.
    not_before = models.DateTimeField(db_default=Now())
    # MultiMail gave the newest messages only.
    is_cut = models.BooleanField(default=False)

    objects = ThreadQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["mailbox", "upstream_id"], name="thread_once"
            )
        ]
        # Threads to be read: few of all.
        indexes = [
            models.Index(
                fields=["not_before"], condition=Q(wanted=True), name="thread_to_read"
            )
        ]


class ThreadMessage(models.Model):
    """One message of a conversation. Its key grows in the order in which messages came
    or left.
    """

    thread = models.ForeignKey(
        Thread, on_delete=models.CASCADE, related_name="messages"
    )
    upstream_id = models.CharField(max_length=200)
    direction = models.CharField(max_length=10)
    status = models.CharField(max_length=64)
    sender = models.CharField(max_length=1000)
    sender_name = models.CharField(max_length=1000)
    recipients = ArrayField(models.TextField(), default=list)
    subject = models.TextField()
    # What it says, without any markup; empty also where that is not known (`is_read`
    # false).
    text = models.TextField()
    is_read = models.BooleanField(default=False)
    has_files = models.BooleanField(default=False)
    # When it was received or sent; of one that waits, when it was written.
    at = models.DateTimeField()
    # It came or left; one that is waiting, or was never sent, is no news to a reviewer.
    is_fact = models.BooleanField(default=False)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["thread", "upstream_id"], name="thread_letter_once"
            )
        ]

    @property
    def status_words(self) -> str:
        """The status of a message that has neither come nor left, as MultiMail or the
        mirror says.
        """
        if self.status in (
            "held",
            "pending_send_approval",
            "pending_inbound_approval",
            "pending_scan",
        ):
            return "Waits for approval"
        return self.status.replace("_", " ").capitalize() or "Not sent"
