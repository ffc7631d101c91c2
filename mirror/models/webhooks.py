"""The table of the webhooks that MultiMail sent, stored unchanged with their results."""

from datetime import datetime, timedelta
from typing import Self

from django.db import models
from django.db.models import Exists, OuterRef, Q, Subquery
from django.db.models.functions import Greatest, Length, Now, Substr

from common.actors import Actor
from common.grace import STUCK_AFTER, UNHEARD_AFTER
from mirror.models.connections import Connection, ConnectionQuerySet, scoped
from mirror.models.messages import Message
from mirror.states import BODY_SHOWN
from upstream.events import PENDING_NAMES


class WebhookEventQuerySet(models.QuerySet["WebhookEvent"]):
    """Queries of webhooks."""

    def older_than(self, age: timedelta) -> Self:
        """Webhooks that are older than this, oldest first (uses the index
        event_received).
        """
        return self.filter(received_at__lt=Now() - age).order_by("received_at")

    def same_as(self, event: "WebhookEvent") -> Self:
        """The webhook that was stored with the same body or the same id (uses the
        indexes event_body_once and event_id_once).
        """
        same = Q(digest=event.digest)
        if event.event_id:
            same |= Q(event_id=event.event_id)
        return self.filter(same, connection=event.connection_id)

    def to_look_at(self) -> Self:
        """Webhooks for a person to look at: they could not be applied, contradict what
        is known, or were refuted by a read, and nobody has handled them.

        A contradiction is listed only after a while, because MultiMail is asked about
        it at once, and the answer may settle it.
        """
        is_asked = Q(result="late", received_at__gte=Now() - STUCK_AFTER)
        return self.filter(
            ~is_asked, result__in=("poison", "late", "refuted"), handled_at=None
        )

    def about(self, message: "Message") -> Self:
        """Webhooks about one message."""
        return self.filter(
            connection=message.connection_id, email_id=message.upstream_id
        )

    def unconfirmed_about(self, message: "Message") -> Self:
        """Webhooks that report the end of a message and that no read has confirmed yet
        (uses the index event_to_look_at).
        """
        return self.about(message).filter(result="checking", handled_at=None)

    def ends_of(self, message: "Message") -> Self:
        """Webhooks that reported the end of a message since it was held (uses the index
        event_received).
        """
        reports = self.about(message).filter(
            # The clocks of MultiMail and of the desk may differ a little.
            received_at__gte=message.held_at - timedelta(minutes=1),
            result__in=("applied", "late", "checking"),
        )
        return reports.exclude(name__in=PENDING_NAMES)

    def late_about(self, message: "Message", *, until: datetime) -> Self:
        """Webhooks received until then that contradict what is known of a message (uses
        the index event_to_look_at).
        """
        return self.about(message).filter(
            result="late", handled_at=None, received_at__lte=until
        )

    def with_head_of_body(self) -> Self:
        """With the beginning of each body as `head` and its length as `size`, instead
        of the body.
        """
        head = Substr("body", 1, BODY_SHOWN, output_field=models.BinaryField())
        return self.annotate(head=head, size=Length("body")).defer("body")

    def silent_connections(self) -> ConnectionQuerySet:
        """Connections whose webhook was registered or came within a day, and has not
        come since `heard`, though a message was held a while ago.
        """
        day_ago = Now() - timedelta(days=1)
        events = self.filter(connection=OuterRef("pk"), received_at__gt=day_ago)
        newest = events.order_by("-received_at").values("received_at")[:1]
        missed = Message.objects.filter(
            connection=OuterRef("pk"),
            changed_at__gt=day_ago,
            # The clocks of MultiMail and of the desk may differ a little.
            held_at__gt=OuterRef("heard") + timedelta(minutes=1),
            held_at__lt=Now() - UNHEARD_AFTER,
        )
        return (
            Connection.objects.at_work()
            .annotate(heard=Greatest(Subquery(newest), "webhook_since"))
            .filter(Exists(missed))
        )

    def visible_to(self, actor: Actor) -> Self:
        """Webhooks of connections for which the actor has a role. A role for a mailbox
        is not enough, because a body may be about any mailbox of the connection.
        """
        if actor.sees_all():
            return self
        return self.filter(connection__in=scoped(actor)[0])


class WebhookEvent(models.Model):
    """One webhook as it was received. Each webhook with a valid signature is stored
    once, even if it could not be applied.
    """

    class Result(models.TextChoices):
        APPLIED = "applied"
        # The same webhook is stored already. Only an answer of intake, never stored.
        DUPLICATE = "duplicate"
        # It changed nothing, because it is older than what is known of the message or
        # cannot follow that. One that contradicts what is known is open (`handled_at` is
        # NULL) until a person or a read has handled it.
        LATE = "late"
        # It reports the end of a message, and reading MultiMail has to confirm it.
        CHECKING = "checking"
        # Reading MultiMail showed that it is not true.
        REFUTED = "refuted"
        # Its event name is not known to the desk.
        UNKNOWN = "unknown"
        # Its body could not be read or applied.
        POISON = "poison"

    connection = models.ForeignKey(Connection, on_delete=models.CASCADE)
    digest = models.CharField(max_length=64)
    event_id = models.CharField(max_length=200)
    name = models.CharField(max_length=64)
    # MultiMail's id of the message that it is about, if the body could be read.
    email_id = models.CharField(max_length=200)
    body = models.BinaryField()
    secret_used = models.CharField(max_length=10)
    result = models.CharField(max_length=10, choices=Result)
    error = models.TextField()
    trace = models.CharField(max_length=64)
    received_at = models.DateTimeField(db_default=Now())
    # When a person or a later read handled it. Only for results that need it: poison,
    # late, checking and refuted.
    handled_at = models.DateTimeField(null=True)

    objects = WebhookEventQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["connection", "digest"], name="event_body_once"
            ),
            models.UniqueConstraint(
                fields=["connection", "event_id"],
                condition=~Q(event_id=""),
                name="event_id_once",
            ),
        ]
        indexes = [
            models.Index(
                fields=["connection", "result"],
                condition=Q(
                    result__in=("poison", "late", "checking", "refuted"),
                    handled_at=None,
                ),
                name="event_to_look_at",
            ),
            # For deleting old webhooks in batches.
            models.Index(fields=["received_at"], name="event_received"),
        ]
