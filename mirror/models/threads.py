"""The tables of the threads (conversations) that held messages belong to, with their
messages, as MultiMail and the mirror report them.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Self

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Exists, OuterRef, Q
from django.db.models.functions import Now

from common.mail_addresses import is_unclear
from mirror.models.connections import Mailbox, is_older, is_well
from mirror.models.messages import Message, is_of_threads


def _has_held() -> Exists:
    # The condition that a message of the thread is held.
    held = Message.objects.held().filter(
        thread_id=OuterRef("upstream_id"), mailbox=OuterRef("mailbox")
    )
    return Exists(held.exclude(thread_id=""))


class ThreadQuerySet(models.QuerySet["Thread"]):
    """Queries of threads."""

    def due(self) -> Self:
        """Threads that should be read, whose time has come, and that no worker reads
        now, by the database's clock (uses the index thread_to_read).
        """
        return self.filter(wanted=True, not_before__lte=Now())

    def to_read(self) -> Self:
        """Due threads with a held message, on connections that can be asked (uses the
        index message_thread too).
        """
        return self.due().filter(is_well("mailbox__connection__"), _has_held())

    def of_message(self, message: "Message") -> Self:
        """The thread to which a message belongs; none if MultiMail named none."""
        if not message.thread_id or not message.mailbox_id:
            return self.none()
        return self.filter(mailbox=message.mailbox_id, upstream_id=message.thread_id)

    def of_messages(self, messages: "Sequence[Message]") -> Self:
        """The threads to which these messages belong (uses the index thread_once)."""
        return self.filter(is_of_threads("upstream_id", messages))

    def older_than(self, age: timedelta) -> Self:
        """Threads that were not read for so long, or never."""
        return self.filter(is_older("read_at", age))

    def done_with(self, age: timedelta) -> Self:
        """Threads without a held message whose last read was so long ago."""
        return self.exclude(_has_held()).filter(not_before__lt=Now() - age)


class Thread(models.Model):
    """One conversation of one mailbox, and how the last read of it ended."""

    class Problem(models.TextChoices):
        REFUSED = "refused", "no key of this connection may read it"
        GONE = "gone", "MultiMail does not know this thread"
        FAILING = "failing", "MultiMail did not return it"

    mailbox = models.ForeignKey(
        Mailbox, on_delete=models.CASCADE, related_name="threads"
    )
    upstream_id = models.CharField(max_length=200)
    # When the last successful read began; None if there was none.
    read_at = models.DateTimeField(null=True)
    # Whether it should be read: it is new, something happened in it, or somebody opened
    # it and the last read is old.
    wanted = models.BooleanField(default=True)
    problem = models.CharField(max_length=10, choices=Problem)
    tries = models.PositiveSmallIntegerField(default=0)
    # It is not read before this time, by the database's clock. Also the end of the
    # lease of the worker that reads it.
    not_before = models.DateTimeField(db_default=Now())
    # Whether MultiMail returned only its newest messages.
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
    """One message of a thread. The keys grow in the order in which the messages arrived
    or were sent.
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
    # Its text without markup; also empty if the text is not known, which `is_read`
    # says.
    text = models.TextField()
    is_read = models.BooleanField(default=False)
    has_files = models.BooleanField(default=False)
    # When it was received or sent; if it is held or was never sent, when it was
    # written.
    at = models.DateTimeField()
    # Whether it was received or sent. Other messages are no news to a reviewer.
    is_fact = models.BooleanField(default=False)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["thread", "upstream_id"], name="thread_letter_once"
            )
        ]

    @property
    def is_unclear(self) -> bool:
        """Whether it is unclear who sent it."""
        return is_unclear(self.sender, self.sender_name)

    @property
    def status_words(self) -> str:
        """The status of a message that was neither received nor sent, in words."""
        if self.status in (
            "held",
            "pending_send_approval",
            "pending_inbound_approval",
            "pending_scan",
        ):
            return "Waits for approval"
        return self.status.replace("_", " ").capitalize() or "Not sent"
