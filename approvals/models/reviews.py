"""What the desk makes of a message: its risk, its deadlines, and whether it stands
apart. One row for each message.
"""

from collections.abc import Collection
from datetime import timedelta
from typing import Self

from django.contrib.postgres.expressions import ArraySubquery
from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import GinIndex
from django.db import models
from django.db.models import (
    Count,
    DateTimeField,
    Exists,
    ExpressionWrapper,
    F,
    Func,
    IntegerField,
    OuterRef,
    Q,
    Subquery,
)
from django.db.models.functions import Coalesce, Now

from common.actors import Actor
from mirror.models import Connection, Mailbox, Message
from mirror.models.messages import visible_condition
from mirror.states import MessageState
from mirror.terms import or_never

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


class Kind(models.TextChoices):
    """What is counted. In the order in which a flood is named where several caps are
    passed.
    """

    KEY = "key"
    ALIKE = "alike"
    MAILBOX = "mailbox"
    RECIPIENT = "recipient"


class Cap(models.Model):
    """The most messages of one kind in an hour and in a day; 0: no cap."""

    kind = models.CharField(max_length=10, choices=Kind, unique=True)
    an_hour = models.PositiveIntegerField(default=0)
    a_day = models.PositiveIntegerField(default=0)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(kind__in=Kind.values), name="cap_kind_known"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind}: {self.an_hour} an hour, {self.a_day} a day"


class ArrivalQuerySet(models.QuerySet["Arrival"]):
    """Reads of what came."""

    def of_message(self, message: "Message") -> Self:
        """What a message counts for (arrival_once)."""
        return self.filter(
            connection=message.connection_id, upstream_id=message.upstream_id
        )

    def numbers(
        self, message: "Message", *, within: timedelta, most: int
    ) -> dict[str, int]:
        """Return how many came lately for the same as a message, itself included, by
        what it counts for.

        They are counted up to `most`, so that a flood costs no more than its cap
        (arrival_counted).
        """
        same = self.filter(
            connection=message.connection_id,
            what=OuterRef("what"),
            at__gt=Now() - within,
        )
        number = Func(ArraySubquery(same.values("pk")[:most]), function="cardinality")
        return dict(self.of_message(message).values_list("what", number))

    def past(self) -> Self:
        """Those that no cap counts any more (arrival_old)."""
        return self.filter(at__lt=Now() - DAY)


class Arrival(models.Model):
    """One held message, as it counts for one thing: a key, a mailbox, a recipient, or a
    text. Kept for a day.
    """

    connection = models.ForeignKey(
        Connection, on_delete=models.CASCADE, related_name="+", db_index=False
    )
    # Such as "key:01J…" or "recipient:dana@northwind.example".
    what = models.TextField()
    upstream_id = models.CharField(max_length=200)
    at = models.DateTimeField(db_default=Now())

    objects = ArrivalQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["connection", "upstream_id", "what"], name="arrival_once"
            )
        ]
        indexes = [
            # How many came since.
            models.Index(fields=["connection", "what", "at"], name="arrival_counted"),
            models.Index(fields=["at"], name="arrival_old"),
        ]

    def __str__(self) -> str:
        return self.what


class BrakeQuerySet(models.QuerySet["Brake"]):
    """Reads of floods."""

    def over(self) -> Self:
        """Open ones of which fewer than the cap came within its window, by the
        database's clock (arrival_counted).
        """
        arrivals = Arrival.objects.order_by()
        since = ExpressionWrapper(Now() - OuterRef("window"), DateTimeField())
        came = arrivals.filter(
            connection=OuterRef("connection"), what=OuterRef("what"), at__gt=since
        )
        number = came.values("what").annotate(number=Count("pk"))
        lately = Coalesce(Subquery(number.values("number")), 0)
        counted = self.filter(ended_at=None).annotate(lately=lately)
        return counted.filter(lately__lt=F("cap")).order_by("pk")

    def with_all(self) -> Self:
        """With what a page shows of each, newest first."""
        return self.select_related("connection", "mailbox").order_by(
            "-opened_at", "-pk"
        )

    def filter_shown(self, apart: Collection[int]) -> Self:
        """Those with messages that stand apart, by key, and those that are open."""
        return self.filter(Q(pk__in=list(apart)) | Q(ended_at=None))

    def visible_to(self, actor: Actor) -> Self:
        """Those of a connection or mailbox that the actor may see, or with a message of
        theirs that is set apart.
        """
        if actor.sees_all():
            return self
        held = Message.objects.filter(visible_condition(actor), state=MessageState.HELD)
        theirs = held.filter(review__brake=OuterRef("pk"), review__is_apart=True)
        return self.filter(visible_condition(actor) | Exists(theirs))


class Brake(models.Model):
    """A flood: messages that came after a cap was passed, and stand apart from the
    queue until somebody looks at them.

    It is open while what came within its window is not below the cap. Its messages stay
    apart after that.
    """

    connection = models.ForeignKey(
        Connection, on_delete=models.CASCADE, related_name="brakes"
    )
    # Of the first message that was set apart, as are the keys.
    mailbox = models.ForeignKey(
        Mailbox, null=True, on_delete=models.SET_NULL, related_name="+"
    )
    kind = models.CharField(max_length=10, choices=Kind)
    # As in Arrival.
    what = models.TextField()
    # What people call it: the key's name, an address, a subject.
    name = models.CharField(max_length=200)
    sent_by_key = models.CharField(max_length=200)
    sent_by_key_name = models.CharField(max_length=200)
    window = models.DurationField()
    cap = models.PositiveIntegerField()
    opened_at = models.DateTimeField(db_default=Now())
    ended_at = models.DateTimeField(null=True)
    objects = BrakeQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["connection", "what"],
                condition=Q(ended_at=None),
                name="brake_open_once",
            ),
            models.CheckConstraint(
                condition=Q(kind__in=Kind.values), name="brake_kind_known"
            ),
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


# What the queue is ordered by, ascending; indexes are made from them.
CALM = Func(F("risk"), template="(-%(expressions)s)", output_field=IntegerField())
LATE = or_never("late_since")


class Review(models.Model):
    """What the desk makes of one message.

    A trigger inserts it with its message, and keeps `is_held`, `held_at` and `shape` in
    step with that (approvals/migrations/0001_initial.py): the queue's indexes need them
    in this table.
    """

    message = models.OneToOneField(Message, primary_key=True, on_delete=models.CASCADE)
    is_held = models.BooleanField(db_default=False, editable=False)
    held_at = models.DateTimeField(db_default=Now(), editable=False)
    shape = models.CharField(max_length=32, db_default="", editable=False)
    # What the queue sorts and filters by, from the findings of the current revision;
    # used for nothing else.
    risk = models.PositiveIntegerField(default=0, db_default=0)
    risk_level = models.CharField(max_length=6, default="", db_default="")
    rules = ArrayField(models.CharField(max_length=40), default=list, db_default=[])
    # What rules ask of the current revision: `policy.rules.facts.stored_facts` says
    # what. None: not worked out yet, so nothing of it is known.
    policy_facts = models.JSONField(null=True)
    # The version of the policy that last rejected it or set its expiry, or could have;
    # 0: none since it was stored.
    policy_applied = models.BigIntegerField(default=0, db_default=0)
    # When the review plan asks next what is due; None: never. The plan's targets, and
    # since when it is late.
    watch_at = models.DateTimeField(null=True, db_default=Now())
    look_by = models.DateTimeField(null=True)
    decide_by = models.DateTimeField(null=True)
    late_since = models.DateTimeField(null=True)
    # Until when a person extended its deadlines.
    extended_to = models.DateTimeField(null=True)
    # When its approaching expiry was announced: once.
    expiry_told_at = models.DateTimeField(null=True)
    # The flood that it came in, past a cap: such a message has no card of its own.
    brake = models.ForeignKey(
        Brake,
        null=True,
        on_delete=models.SET_NULL,
        related_name="reviews",
        db_index=False,
    )
    # Whether it stands apart from the queue, until somebody puts it back.
    is_apart = models.BooleanField(default=False, db_default=False)

    class Meta:
        indexes = [
            # The queue's orders, and its narrower views.
            models.Index(
                CALM,
                "held_at",
                "message",
                condition=Q(is_held=True),
                name="review_by_risk",
            ),
            models.Index(
                LATE,
                "held_at",
                "message",
                condition=Q(is_held=True),
                name="review_by_lateness",
            ),
            models.Index(
                "risk_level",
                LATE,
                "held_at",
                "message",
                condition=Q(is_held=True),
                name="review_at_risk",
            ),
            # The first of each that is alike, and how many there are.
            models.Index(
                fields=["shape", "risk", "held_at", "message"],
                condition=Q(is_held=True),
                name="review_alike",
            ),
            # What a flood set apart: mostly none.
            models.Index(
                fields=["brake", "held_at", "message"],
                condition=Q(is_held=True, is_apart=True),
                name="review_apart",
            ),
            # Whom the active version of the policy was not asked about: few.
            models.Index(
                fields=["policy_applied"],
                condition=Q(is_held=True),
                name="review_policy",
            ),
            # What the review plan has to look at, and what is late.
            models.Index(
                fields=["watch_at"], condition=Q(is_held=True), name="review_watch"
            ),
            models.Index(
                fields=["late_since"],
                condition=Q(is_held=True, late_since__isnull=False),
                name="review_late",
            ),
            GinIndex(fields=["rules"], name="review_rules"),
        ]

    def __str__(self) -> str:
        return f"review of {self.message_id}"
