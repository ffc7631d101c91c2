"""Verdicts: what each person said of which revision."""

from collections.abc import Iterable
from datetime import timedelta
from typing import Any, Self

from django.contrib.postgres.indexes import BrinIndex
from django.db import models
from django.db.models import Aggregate, Case, Count, F, FloatField, Q, QuerySet, When
from django.db.models.fields.json import KeyTextTransform
from django.db.models.functions import Coalesce, Greatest, Length, Now

from mirror.models import Message, Revision
from mirror.models.messages import OfMessagesQuerySet
from mirror.states import Outcome
from people.models import Person

WEEK = timedelta(days=7)
# Medians and shares use at most this many of the newest; the page says so where a week
# has more.
MOST = 3_000


class Percentile(Aggregate):
    """A percentile, interpolated between two values."""

    function = "percentile_cont"
    template = "%(function)s(%(part)s) WITHIN GROUP (ORDER BY %(expressions)s)"
    output_field = FloatField()

    def __init__(self, expression: Any, part: float, **options: Any) -> None:
        super().__init__(expression, part=repr(float(part)), **options)


class VerdictQuerySet(OfMessagesQuerySet["Verdict"]):
    """Reads of verdicts."""

    def awaiting_others(self, person: int) -> Self:
        """This person's approvals of what others still have to approve (relies on
        verdict_awaiting).
        """
        return self.filter(person=person, awaits_others=True)

    def void(self) -> None:
        """Let those that still count do so no more."""
        self.filter(live=True).update(live=False, awaits_others=False)

    def newest_on(self, messages: Iterable[Message]) -> dict[int, int]:
        """Return by message the key of the newest verdict on it."""
        verdicts = self.filter(message__in=list(messages)).order_by("pk")
        return dict(verdicts.values_list("message_id", "pk"))

    def given_on(self, messages: Iterable[Message]) -> Self:
        """Those on these messages with their people, the oldest first."""
        return (
            self.filter(message__in=list(messages))
            .select_related("person")
            .order_by("pk")
        )

    def of_the_week(self) -> Self:
        """Given in the last seven days, and still counted (relies on
        verdict_given_brin).
        """
        return self.filter(live=True, given_at__gte=Now() - WEEK)

    def approvals_read(self) -> dict[str, Any]:
        """Return how the newest approvals of these were read (relies on
        verdict_given_brin).

        `unread` counts those that were open for less than it takes to read subject and
        text (2 seconds, or 60 characters a second), or with a part never opened;
        `known` those of which either was recorded. The texts stay in the database.
        Markup is not read: about half of an HTML message is text.
        """
        approvals = (
            self.filter(outcome=Outcome.APPROVE).order_by("-pk").values("pk")[:MOST]
        )
        subject, markdown, html = (
            Coalesce(Length(KeyTextTransform(name, "revision__content")), 0)
            for name in ("subject", "markdown", "html")
        )
        body = Case(
            When(long_markdown__gt=0, then=F("long_markdown")),
            default=F("long_html") / 2,
        )
        rows = self.model.objects.filter(pk__in=approvals)
        rows = rows.annotate(
            long_subject=subject, long_markdown=markdown, long_html=html
        )
        rows = rows.annotate(needed=Greatest(2.0, (F("long_subject") + body) / 60.0))
        return rows.aggregate(
            people=Count("person", distinct=True),
            median=Percentile("seconds_shown", 0.5),
            known=Count(
                "pk",
                filter=Q(seconds_shown__isnull=False) | Q(parts_unread__isnull=False),
            ),
            unread=Count(
                "pk", filter=Q(parts_unread__gt=0) | Q(seconds_shown__lt=F("needed"))
            ),
        )

    def paces(self) -> QuerySet[Any, dict[str, Any]]:
        """Return for each person how many they gave, and the median of the seconds that
        the message was open before.

        Sorted by name, so that it is no ranking.
        """
        newest = self.model.objects.filter(
            pk__in=self.order_by("-pk").values("pk")[:MOST]
        )
        rows: QuerySet[Any, Any] = newest.values(
            "person", "person__name", "person__email"
        ).annotate(
            number=Count("pk"),
            approved=Count("pk", filter=Q(outcome=Outcome.APPROVE)),
            noted=Count("seconds_shown"),
            median=Percentile("seconds_shown", 0.5),
        )
        return rows.order_by("person__name", "person")


class Verdict(models.Model):
    """One person's verdict on one revision."""

    message = models.ForeignKey(
        Message, on_delete=models.CASCADE, related_name="verdicts"
    )
    revision = models.ForeignKey(Revision, on_delete=models.PROTECT)
    person = models.ForeignKey(Person, on_delete=models.PROTECT)
    outcome = models.CharField(max_length=10, choices=Outcome)
    reason = models.TextField()
    surface = models.CharField(max_length=16)
    # Whole seconds since this revision was first on the person's screen, by the ledger;
    # None: not recorded.
    seconds_shown = models.PositiveIntegerField(null=True)
    # How many parts of the message (files, links, thread) the person never opened;
    # None: not recorded then.
    parts_unread = models.PositiveSmallIntegerField(null=True)
    # What was on screen with it, as `decisions.shown.shown_context` writes it.
    seen = models.JSONField(default=dict)
    # False once the decision that it led to was undone or refused.
    live = models.BooleanField(default=True)
    # An approval for which there is no decision yet, because more people have to
    # approve.
    awaits_others = models.BooleanField(default=False, db_default=False)
    given_at = models.DateTimeField(db_default=Now())

    objects = VerdictQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["message", "person"],
                condition=Q(live=True),
                name="verdict_once",
            ),
            models.CheckConstraint(
                condition=Q(outcome__in=Outcome.values), name="verdict_outcome_known"
            ),
        ]
        # Those of the last week, for the home page; rows come in the order of time.
        indexes = [
            BrinIndex(fields=["given_at"], name="verdict_given_brin"),
            # What a person has approved and others still have to: hardly any.
            models.Index(
                fields=["person"],
                condition=Q(awaits_others=True),
                name="verdict_awaiting",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.outcome} by {self.person}"
