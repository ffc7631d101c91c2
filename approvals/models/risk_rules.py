"""What admins change about risk findings: the points of published rules, and own words
and patterns to look for.
"""

from typing import Self

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from common.actors import Actor
from mirror.models import Mailbox
from people.models import Person


class RuleWeightQuerySet(models.QuerySet["RuleWeight"]):
    """Reads of the points that admins gave to rules."""

    def points_by_rule(self) -> dict[str, int]:
        """Return the points that admins gave to rules, by name of the rule. A rule that
        is missing has its published points.
        """
        weights = self.values_list("rule", "points")
        return {rule: points for rule, points in weights if points is not None}


class RuleWeight(models.Model):
    """The points that an admin gave to a published risk rule. If `points` is None, the
    published ones count.
    """

    rule = models.CharField(max_length=40, unique=True)
    points = models.PositiveSmallIntegerField(null=True)
    changed_by = models.ForeignKey(Person, null=True, on_delete=models.SET_NULL)
    changed_at = models.DateTimeField(db_default=Now())
    # After a change the held messages are weighed again, oldest first. Up to which one
    # that was done: its `held_at`, and its key. None if all were weighed.
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
        """Words that are looked for in any mailbox of a connection."""
        return self.filter(Q(mailbox=None) | Q(mailbox__connection=connection))

    def visible_to(self, actor: Actor) -> Self:
        """Words for all mailboxes, and words of mailboxes that the actor may see."""
        return self.filter(
            Q(mailbox=None) | Q(mailbox__in=Mailbox.objects.visible_to(actor))
        )

    def heaviest_first(self) -> Self:
        """Order by points, the most first."""
        return self.order_by("-points", "pk")


class OwnWord(models.Model):
    """A word, phrase or pattern of the organization. A message that contains it gets a
    finding: in one mailbox or, if `mailbox` is None, in all.
    """

    mailbox = models.ForeignKey(
        Mailbox,
        null=True,
        on_delete=models.CASCADE,
        related_name="own_words",
    )
    text = models.CharField(max_length=80)
    # The normalized form of `text`. Two texts that find the same have the same one.
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
