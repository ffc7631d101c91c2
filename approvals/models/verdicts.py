"""Verdicts: which person approved, rejected or requested changes to which revision, and
what they had seen of it.
"""

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
# Medians and shares are computed from at most this many of the newest rows; the page
# says so if a week has more.
MOST = 3_000


class Percentile(Aggregate):
    """PostgreSQL's `percentile_cont`: `part` is 0.5 for the median."""

    function = "percentile_cont"
    template = "%(function)s(%(part)s) WITHIN GROUP (ORDER BY %(expressions)s)"
    output_field = FloatField()

    def __init__(self, expression: Any, part: float, **options: Any) -> None:
        super().__init__(expression, part=repr(float(part)), **options)


class VerdictQuerySet(OfMessagesQuerySet["Verdict"]):
    """Reads of verdicts."""

    def awaiting_others(self, person: int) -> Self:
        """This person's approvals of messages that others have to approve too, before
        they are decided (relies on verdict_awaiting).
        """
        return self.filter(person=person, awaits_others=True)

    def void(self) -> None:
        """Mark these verdicts as not live any more."""
        self.filter(live=True).update(live=False, awaits_others=False)

    def given_on(self, messages: Iterable[Message]) -> Self:
        """Verdicts on these messages, with the people who gave them, oldest first."""
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
        """Return counts of how the newest approvals were read (relies on
        verdict_given_brin).

        `unread` counts approvals of messages that were on screen for less time than it
        takes to read them (60 characters a second, at least 2 seconds), or of which the
        person never opened a part. `known` counts approvals for which one of these was
        recorded. The lengths of the texts are computed in the database. Half of a
        message's HTML is assumed to be markup, which nobody reads.
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
    # Whole seconds from the first time that this revision was on the person's screen,
    # by the ledger, to the verdict. None if that was not recorded.
    seconds_shown = models.PositiveIntegerField(null=True)
    # How many parts of the message (files, links, thread) the person had not opened.
    # None if that was not recorded yet.
    parts_unread = models.PositiveSmallIntegerField(null=True)
    # What was on the person's screen, as `decisions.shown.shown_context` returns it.
    seen = models.JSONField(default=dict)
    # Whether it was given as rules can ask for: after signing in again, on a page of its
    # own, not in bulk.
    with_care = models.BooleanField(default=False, db_default=False)
    # False once it counts no more: it was taken back, replaced or used up, or the
    # decision that it led to was undone or refused.
    live = models.BooleanField(default=True)
    # Whether it is an approval that led to no decision yet, because more people have to
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
        indexes = [
            # For the verdicts of the last week on the home page. A BRIN index suffices,
            # because rows are added in the order of time.
            BrinIndex(fields=["given_at"], name="verdict_given_brin"),
            # For a person's approvals that await others: hardly any.
            models.Index(
                fields=["person"],
                condition=Q(awaits_others=True),
                name="verdict_awaiting",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.outcome} by {self.person}"
