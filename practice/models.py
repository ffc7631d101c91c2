"""The tables of practice messages: whether they are switched on, which were planted,
and how each ended.

What people decided about a practice message is stored only here. It has no rows among
verdicts and decisions, so that no figure about real decisions counts it.
"""

from typing import Self

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from mirror.models import Message


class PracticeSetting(models.Model):
    """The setting while practice messages are on: one row. They are off if there is
    none.
    """

    # One practice message is planted for this many held messages: a round.
    one_in = models.PositiveIntegerField()
    asked_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+"
    )
    accepted_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+"
    )
    since = models.DateTimeField(db_default=Now())
    # The key of the last message counted, how many were counted in this round, and at
    # which number of the round a practice message is planted.
    counted_to = models.BigIntegerField(default=0)
    counted = models.PositiveIntegerField(default=0)
    place = models.PositiveIntegerField(default=1)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(pk=1), name="practice_setting_once"),
            models.CheckConstraint(
                condition=Q(one_in__gte=2, one_in__lte=10_000),
                name="practice_setting_one_in",
            ),
            models.CheckConstraint(
                condition=~Q(asked_by=models.F("accepted_by")),
                name="practice_setting_takes_two",
            ),
        ]

    def __str__(self) -> str:
        return f"One in {self.one_in:,} messages"

    @property
    def signatories(self) -> str:
        """The names of the two admins who switched it on."""
        return f"{self.asked_by} and {self.accepted_by}"


class PracticeMessageQuerySet(models.QuerySet["PracticeMessage"]):
    def waiting(self) -> Self:
        """Practice messages that are not over (uses the index practice_waiting)."""
        return self.filter(ended_at=None)

    def over(self) -> Self:
        """Practice messages for the sweep to end: their time is over, or their mailbox
        or connection was removed.
        """
        is_gone = Q(message__mailbox=None) | Q(message__mailbox__is_active=False)
        is_gone |= Q(message__connection__removed_at__isnull=False)
        return self.waiting().filter(is_gone | Q(ends_at__lte=Now()))


class PracticeMessage(models.Model):
    """One practice message: what is wrong with it, and how it ended."""

    class Outcome(models.TextChoices):
        CAUGHT = "caught", "Stopped"
        PASSED = "passed", "Let pass"
        UNANSWERED = "unanswered", "Nobody decided"

    message = models.OneToOneField(
        Message, on_delete=models.CASCADE, related_name="practice"
    )
    copied_from = models.ForeignKey(
        Message, null=True, on_delete=models.SET_NULL, related_name="practice_copies"
    )
    # A key of FAULTS in `practice.faults`; `explanation` is what is wrong, as a
    # sentence.
    fault = models.CharField(max_length=20)
    # The names of the two admins who switched practice messages on, for the ledger.
    signed_by = models.CharField(max_length=400)
    explanation = models.TextField()
    ends_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True)
    outcome = models.CharField(max_length=10, choices=Outcome)
    # Who decided it; None if nobody did.
    person = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+"
    )

    objects = PracticeMessageQuerySet.as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(ended_at=None, outcome="")
                | Q(
                    ended_at__isnull=False,
                    outcome__in=("caught", "passed", "unanswered"),
                ),
                name="practice_message_ends_once",
            )
        ]
        indexes = [
            models.Index(
                fields=["ends_at"], condition=Q(ended_at=None), name="practice_waiting"
            )
        ]

    def __str__(self) -> str:
        return f"{self.fault} {self.outcome or 'waiting'}"
