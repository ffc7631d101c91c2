"""Edits: a new message that replaces a held one."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Self

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Exists, OuterRef, Q
from django.db.models.functions import Now

from common.grace import STUCK_AFTER
from mirror.models import Connection, Mailbox, Message, Revision
from mirror.models.connections import is_rested
from mirror.models.messages import OfMessagesQuerySet
from mirror.states import LIVE_DECISIONS, MessageState
from mirror.terms import LATELY
from people.models import Person

# The entry of a message's metadata that names the edit that made it.
EDIT = "countersign_edit"
_OPEN = ("sending", "sent")
# MultiMail forgets an idempotency key after 24 hours: docs/multimail.md.
REPEAT_FOR = timedelta(hours=20)


def edit_of(message: Message) -> str:
    """Return the reference of the edit that the message names in its metadata, as
    anybody could; empty for none.
    """
    return str(message.trigger.get(EDIT) or "")[:24]


class ReplacementQuerySet(OfMessagesQuerySet["Replacement"]):
    """Reads of replacements; leases and due times are judged by the database's clock."""

    def that_made(self, messages: Sequence[Message]) -> Self:
        """Those whose new message is one of these, or that one of these names while no
        id is known yet; the oldest first.
        """
        ids = [one.upstream_id for one in messages if one.upstream_id]
        references = [edit for one in messages if (edit := edit_of(one))]
        named = Q(reference__in=references, upstream_id="")
        connections = {one.connection_id for one in messages}
        return self.filter(
            Q(upstream_id__in=ids) | named, connection__in=connections
        ).order_by("pk")

    def move(self, row: "Replacement", *, to: str, **fields: Any) -> bool:
        """Give a row another state, if nobody else has since it was read; return
        whether that was so.
        """
        changes = {"state": to, **fields}
        return bool(self.filter(pk=row.pk, state=row.state).update(**changes))

    def open(self) -> Self:
        """Those that are being sent, or whose first message is still to be rejected."""
        return self.filter(state__in=_OPEN)

    def free(self) -> Self:
        """Those that no worker has."""
        return self.filter(Q(lease_until=None) | Q(lease_until__lt=Now()))

    def due(self) -> Self:
        """Those that a worker can go on with now (relies on replacement_to_do)."""
        arrived = Message.objects.filter(
            connection=OuterRef("connection"), upstream_id=OuterRef("upstream_id")
        )
        to_note = Q(state="done", noted_at=None) & Exists(arrived)
        ready = self.free().filter(
            is_rested("connection__"),
            connection__paused_at=None,
            next_attempt_at__lte=Now(),
        )
        return ready.filter(Q(state__in=_OPEN) | to_note)

    def left_half(self) -> Self:
        """Those after which both messages are held, or may be: a person finishes them,
        or a worker should have.

        Relies on replacement_recent, and on replacement_to_do for older ones.
        """
        made = Message.objects.filter(
            connection=OuterRef("connection"), upstream_id=OuterRef("upstream_id")
        )
        dropped = Exists(
            made.filter(state__in=(MessageState.REJECTED, MessageState.CANCELLED))
        )
        newer = self.model.objects.filter(
            message=OuterRef("message"), pk__gt=OuterRef("pk")
        )
        half = Q(state__in=("sent", "done", "unknown")) | Q(
            state="sending", called_at__lt=Now()
        )
        stuck = Q(state="sending", created_at__lt=Now() - STUCK_AFTER)
        recent = self.free().filter(
            Q(created_at__gt=Now() - LATELY) | Q(state__in=_OPEN)
        )
        both = recent.filter(
            half | stuck, ~dropped, ~Exists(newer), message__state=MessageState.HELD
        )
        return both.exclude(message__decisions__state__in=LIVE_DECISIONS)


class Replacement(models.Model):
    """A corrected copy of a held message that a person has sent as a new one; the first
    is rejected as replaced by it.

    The row with its reference is stored before MultiMail is called. The idempotency key
    is made of the reference, so that however often the call is repeated, it makes one
    message.
    """

    class State(models.TextChoices):
        # The call is to be made, or to be repeated because its outcome is not known.
        SENDING = "sending"
        # MultiMail has the new message; the first one is to be rejected.
        SENT = "sent"
        DONE = "done"
        # Nothing was made.
        REFUSED = "refused"
        # Not known, and too old to repeat the call.
        UNKNOWN = "unknown"

    message = models.ForeignKey(
        Message, on_delete=models.CASCADE, related_name="replacements"
    )
    # The version that was edited.
    revision = models.ForeignKey(Revision, on_delete=models.PROTECT, related_name="+")
    connection = models.ForeignKey(
        Connection, on_delete=models.CASCADE, related_name="+"
    )
    person = models.ForeignKey(Person, on_delete=models.PROTECT, related_name="+")
    # Keys of people: who edited this text or a version before it, and who started the
    # first one.
    editors = ArrayField(models.BigIntegerField(), default=list)
    authors = ArrayField(models.BigIntegerField(), default=list)
    to = ArrayField(models.TextField())
    cc = ArrayField(models.TextField(), default=list)
    bcc = ArrayField(models.TextField(), default=list)
    subject = models.TextField()
    markdown = models.TextField()
    # What the person wrote to the agent.
    note = models.TextField()
    reference = models.CharField(max_length=24, unique=True)
    state = models.CharField(max_length=8, choices=State, default=State.SENDING)
    # MultiMail's id of the new message.
    upstream_id = models.CharField(max_length=200)
    # Set before the first call: from then on the new message may exist.
    called_at = models.DateTimeField(null=True)
    attempts = models.PositiveIntegerField(default=0)
    lease_until = models.DateTimeField(null=True)
    # None: nothing is tried by itself any more.
    next_attempt_at = models.DateTimeField(null=True, db_default=Now())
    # Why it was refused, or why the first message is held still.
    problem = models.TextField()
    # When an entry on the new message recorded who edited it.
    noted_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField(db_default=Now())

    objects = ReplacementQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["message"],
                condition=Q(state__in=("sending", "sent")),
                name="one_open_replacement",
            ),
            models.CheckConstraint(
                condition=Q(
                    state__in=("sending", "sent", "done", "refused", "unknown")
                ),
                name="replacement_state_known",
            ),
        ]
        indexes = [
            models.Index(
                fields=["connection", "upstream_id"],
                condition=~Q(upstream_id=""),
                name="replacement_made",
            ),
            # For the sweep, and for people to finish.
            models.Index(
                fields=["next_attempt_at"],
                condition=Q(state__in=("sending", "sent"))
                | Q(state="done", noted_at=None),
                name="replacement_to_do",
            ),
            models.Index(fields=["created_at"], name="replacement_recent"),
        ]

    def __str__(self) -> str:
        return f"edited by {self.person}"

    @property
    def idempotency_key(self) -> str:
        """The key of every call that sends it."""
        return f"countersign-edit-{self.reference}"


class CommandedMail(models.Model):
    """The person who gave a command that creates mail, by its signed interaction's id.
    They may not approve that mail.

    The row is stored before MultiMail is called, with the id that is sent in the
    message's trigger, so it is there however soon the message arrives. MultiMail's id
    of the message is added from its answer.
    """

    connection = models.ForeignKey(
        Connection, on_delete=models.CASCADE, related_name="commanded"
    )
    # From where: chosen once, so that a second run of the command asks for the same.
    mailbox = models.ForeignKey(
        Mailbox, null=True, on_delete=models.SET_NULL, related_name="+"
    )
    person = models.ForeignKey(Person, on_delete=models.PROTECT, related_name="+")
    interaction_id = models.CharField(max_length=32, unique=True)
    command = models.CharField(max_length=40)
    discord_user = models.CharField(max_length=100)
    discord_user_id = models.CharField(max_length=32)
    upstream_id = models.CharField(max_length=200)
    # When an entry on the message recorded that this command created it.
    noted_at = models.DateTimeField(null=True)
    given_at = models.DateTimeField(db_default=Now())

    class Meta:
        indexes = [
            models.Index(
                fields=["connection", "upstream_id"],
                condition=~Q(upstream_id=""),
                name="commanded_mail",
            ),
            models.Index(
                fields=["given_at"],
                condition=~Q(upstream_id="") & Q(noted_at=None),
                name="commanded_to_note",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.command} by {self.person}"
