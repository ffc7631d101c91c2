"""Weights of the published risk rules, and own words."""

from typing import Self

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from common.actors import Actor
from mirror.models import Mailbox
from people.models import Person


class RuleWeightQuerySet(models.QuerySet["RuleWeight"]):
    """Reads of the points that admins gave rules."""

    def points_by_rule(self) -> dict[str, int]:
        """Return the points that admins gave rules; a rule that is not among them
        counts as published.
        """
        weights = self.values_list("rule", "points")
        return {rule: points for rule, points in weights if points is not None}


class RuleWeight(models.Model):
    """The points that admins give a published risk rule instead of its own; without
    points, it counts as published.
    """

    rule = models.CharField(max_length=40, unique=True)
    points = models.PositiveSmallIntegerField(null=True)
    changed_by = models.ForeignKey(Person, null=True, on_delete=models.SET_NULL)
    changed_at = models.DateTimeField(db_default=Now())
    # Up to which message, oldest first, the held ones have been weighed again; None:
    # all of them.
    weighed_to = models.DateTimeField(null=True)
    weighed_to_key = models.BigIntegerField(default=0)

    objects = RuleWeightQuerySet.as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(points__lte=100), name="rule_weight_points"
            )
        ]

    def __str__(self) -> str:
        return f"{self.rule}: {self.points}"


class OwnWordQuerySet(models.QuerySet["OwnWord"]):
    """Reads of the words that admins look for."""

    def of_connection(self, connection: int) -> Self:
        """Those that count in any mailbox of a connection."""
        return self.filter(Q(mailbox=None) | Q(mailbox__connection=connection))

    def visible_to(self, actor: Actor) -> Self:
        """Those for all mailboxes, and those of mailboxes that the actor may see."""
        return self.filter(
            Q(mailbox=None) | Q(mailbox__in=Mailbox.objects.visible_to(actor))
        )

    def heaviest_first(self) -> Self:
        """Those with the most points first."""
        return self.order_by("-points", "pk")


class OwnWord(models.Model):
    """A word, phrase or pattern that makes a finding: in one mailbox or, without one,
    in all of them.
    """

    mailbox = models.ForeignKey(
        Mailbox,
        null=True,
        on_delete=models.CASCADE,
        related_name="own_words",
    )
    text = models.CharField(max_length=80)
    # How it is compared: two that find the same are one.
    spelling = models.CharField(max_length=500)
    looks_in = ArrayField(models.CharField(max_length=10))
    points = models.PositiveSmallIntegerField()
    changed_by = models.ForeignKey(
        Person, null=True, on_delete=models.SET_NULL, related_name="+"
    )
    changed_at = models.DateTimeField(db_default=Now())

    objects = OwnWordQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["mailbox", "spelling"],
                nulls_distinct=False,
                name="own_word_once",
            ),
            models.CheckConstraint(
                condition=Q(points__gte=1, points__lte=100), name="own_word_points"
            ),
        ]

    def __str__(self) -> str:
        return self.text


class UsualTexts(models.Model):
    """The usual reasons, or the saved comments, that admins wrote for a mailbox.
    Without a row, the built-in ones.
    """

    class Kind(models.TextChoices):
        REJECT = "reject", "Reasons to reject"
        SEND_BACK = "send_back", "Reasons to request changes"
        COMMENT = "comment", "Saved comments"

    mailbox = models.ForeignKey(
        Mailbox, on_delete=models.CASCADE, related_name="usual_texts"
    )
    kind = models.CharField(max_length=10, choices=Kind)
    # In their order: {"label": "Wrong price", "words": "The price is not the one of our
    # list."}
    texts = models.JSONField(default=list)
    changed_by = models.ForeignKey(
        Person, null=True, on_delete=models.SET_NULL, related_name="+"
    )
    changed_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["mailbox", "kind"], name="usual_texts_once"
            ),
            models.CheckConstraint(
                condition=Q(kind__in=("reject", "send_back", "comment")),
                name="usual_texts_kind",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} of {self.mailbox_id}"
