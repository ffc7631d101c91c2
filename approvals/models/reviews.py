"""What the desk makes of a message: its risk, its deadlines, and whether it stands
apart. One row for each message.
"""

from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import GinIndex
from django.db import models
from django.db.models import F, Func, IntegerField, Q
from django.db.models.functions import Now

from approvals.models.brakes import Brake
from mirror.models import Message
from mirror.terms import or_never

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
    risk_level = models.CharField(max_length=6, blank=True, default="", db_default="")
    rules = ArrayField(models.CharField(max_length=40), default=list, db_default=[])
    # What rules ask of the current revision: `policy.rules.facts.stored_facts` says
    # what. None: not worked out yet, so nothing of it is known.
    policy_facts = models.JSONField(null=True)
    # The version of the policy that last rejected it or set its expiry, or could have;
    # 0: none since it was stored.
    policy_applied = models.BigIntegerField(default=0, db_default=0)
    # When the review plan asks next what is due; None: never. The plan's targets, and
    # since when it is late.
    watch_at = models.DateTimeField(null=True, blank=True, db_default=Now())
    look_by = models.DateTimeField(null=True, blank=True)
    decide_by = models.DateTimeField(null=True, blank=True)
    late_since = models.DateTimeField(null=True, blank=True)
    # Until when a person extended its deadlines.
    extended_to = models.DateTimeField(null=True, blank=True)
    # When its approaching expiry was announced: once.
    expiry_told_at = models.DateTimeField(null=True, blank=True)
    # The flood that it came in, past a cap: such a message has no card of its own.
    brake = models.ForeignKey(
        Brake,
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        related_name="reviews",
        db_index=False,
    )
    # Whether it stands apart from the queue, until somebody puts it back.
    is_apart = models.BooleanField(default=False, db_default=False)
    # When its position in an order last changed, written by a trigger; None: never.
    ranked_at = models.DateTimeField(null=True, blank=True, editable=False)

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
            models.Index(
                fields=["ranked_at"], condition=Q(is_held=True), name="review_ranked"
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
