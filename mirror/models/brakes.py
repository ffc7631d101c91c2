"""The brake on agents that send too much: caps, what came lately, and the floods that a cap set apart."""

from datetime import timedelta

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from mirror.models.connections import Connection, Mailbox
from mirror.querysets.brakes import ArrivalQuerySet, BrakeQuerySet

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


class Kind(models.TextChoices):
    """What is counted. In the order in which a flood is named where several caps are passed."""

    KEY = "key"
    ALIKE = "alike"
    MAILBOX = "mailbox"
    RECIPIENT = "recipient"


class Cap(models.Model):
    """The most messages of one kind in an hour and in a day, for all mailboxes or for one; 0: no cap."""

    # None: for all that have none of their own.
    mailbox = models.ForeignKey(Mailbox, null=True, on_delete=models.CASCADE, related_name="caps")
    kind = models.CharField(max_length=10, choices=Kind)
    an_hour = models.PositiveIntegerField(default=0)
    a_day = models.PositiveIntegerField(default=0)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["mailbox", "kind"], nulls_distinct=False, name="cap_once"),
            models.CheckConstraint(condition=Q(kind__in=Kind.values), name="cap_kind_known"),
        ]

    def __str__(self) -> str:
        return f"{self.kind}: {self.an_hour} an hour, {self.a_day} a day"


class Arrival(models.Model):
    """One held message, as it counts for one thing: a key, a mailbox, a recipient, or a text. Kept for a day."""

    connection = models.ForeignKey(Connection, on_delete=models.CASCADE, related_name="+", db_index=False)
    # Such as "key:01J…" or "recipient:dana@northwind.example".
    what = models.TextField()
    upstream_id = models.CharField(max_length=200)
    at = models.DateTimeField(db_default=Now())

    objects = ArrivalQuerySet.as_manager()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["connection", "upstream_id", "what"], name="arrival_once")]
        indexes = [
            # How many came since.
            models.Index(fields=["connection", "what", "at"], name="arrival_counted"),
            models.Index(fields=["at"], name="arrival_old"),
        ]

    def __str__(self) -> str:
        return self.what


class Brake(models.Model):
    """A flood: messages that came after a cap was passed, and stand apart from the queue until somebody looks at them.

    It is open while what came within its window is not below the cap. Its messages stay apart after that.
    """

    connection = models.ForeignKey(Connection, on_delete=models.CASCADE, related_name="brakes")
    # Of the first message that was set apart, as are the keys.
    mailbox = models.ForeignKey(Mailbox, null=True, on_delete=models.SET_NULL, related_name="+")
    kind = models.CharField(max_length=10, choices=Kind)
    # As in Arrival.
    what = models.TextField()
    # What people call it: the key's name, an address, a subject.
    name = models.CharField(max_length=200)
    sent_by_key = models.CharField(max_length=200, blank=True)
    sent_by_key_name = models.CharField(max_length=200, blank=True)
    window = models.DurationField()
    cap = models.PositiveIntegerField()
    opened_at = models.DateTimeField(db_default=Now())
    ended_at = models.DateTimeField(null=True, blank=True)
    # Somebody asked to reject its messages up to this key; the work has come as far as `rejected_to`.
    reject_to = models.BigIntegerField(null=True, blank=True)
    rejected_to = models.BigIntegerField(default=0)
    reject_reason = models.TextField(blank=True)
    # The key of the person; no foreign key, because people's tables refer to the mirror's.
    rejected_by = models.BigIntegerField(null=True, blank=True)

    objects = BrakeQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["connection", "what"], condition=Q(ended_at=None), name="brake_open_once"),
            models.CheckConstraint(condition=Q(kind__in=Kind.values), name="brake_kind_known"),
        ]
        indexes = [
            models.Index(fields=["reject_to"], condition=Q(reject_to__isnull=False), name="brake_to_reject"),
        ]

    def __str__(self) -> str:
        return {
            Kind.KEY: f"from the key “{self.name}”",
            Kind.ALIKE: f"with the text of “{self.name}”",
            Kind.MAILBOX: f"from {self.name}",
            Kind.RECIPIENT: f"to {self.name}",
        }[Kind(self.kind)]

    @property
    def cap_in_words(self) -> str:
        """The cap that was passed: “200 an hour”."""
        return f"{self.cap} {'an hour' if self.window == HOUR else 'a day'}"
