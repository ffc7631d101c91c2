"""What the desk works out about each message (`Review`): its risk, its deadlines, and
whether a flood set it apart from the queue. Also the caps and counts behind floods.

Also verdicts: which person approved, rejected or requested changes to which revision, and
what they had seen of it.
"""

from bisect import bisect_right
from collections.abc import Collection, Iterable
from datetime import timedelta
from typing import Any, Self

from django.contrib.postgres.expressions import ArraySubquery
from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import BrinIndex, GinIndex
from django.db import models
from django.db.models import (
    Aggregate,
    Case,
    Count,
    DateTimeField,
    Exists,
    ExpressionWrapper,
    F,
    FloatField,
    Func,
    IntegerField,
    OuterRef,
    Q,
    QuerySet,
    Subquery,
    When,
)
from django.db.models.fields.json import KeyTextTransform
from django.db.models.functions import Coalesce, Greatest, Length, Now

from common.actors import Actor
from common.postgres import one_of
from mirror.models import Connection, Mailbox, Message, Revision
from mirror.models.messages import OfMessagesQuerySet, visible_condition
from mirror.states import MessageState, Outcome, or_never
from people.models import Person

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
# Begins what a scheduled message counts for at the time of its leaving.
LEAVES = "leaves:"


class Kind(models.TextChoices):
    """What messages of a cap have in common: the API key, the text, the mailbox, or the
    key and a recipient. If several caps are passed, the first kind in this order names the flood.
    """

    KEY = "key"
    ALIKE = "alike"
    MAILBOX = "mailbox"
    RECIPIENT = "recipient"


class Cap(models.Model):
    """The most messages with the same key, text, mailbox, or key and recipient in an
    hour, and in a day. 0 means no cap.
    """

    kind = models.CharField(max_length=10, choices=Kind, unique=True)
    an_hour = models.PositiveIntegerField(default=0)
    a_day = models.PositiveIntegerField(default=0)

    class Meta:
        constraints = [
            one_of("kind", Kind.values, "cap_kind_known"),
        ]


class ArrivalQuerySet(models.QuerySet["Arrival"]):
    """Reads of arrivals."""

    def of_message(self, message: "Message") -> Self:
        """The arrivals of one message (relies on arrival_once)."""
        return self.filter(
            connection=message.connection_id, upstream_id=message.upstream_id
        )

    def numbers(
        self, message: "Message", *, within: timedelta, most: int
    ) -> dict[str, int]:
        """Return, for each thing that a message counts for (`Arrival.what`), how many
        messages came within this time that count for the same, itself included.

        They are counted up to `most`, so that a large flood does not take longer
        (relies on arrival_counted).
        """
        arrivals = self.filter(
            connection=message.connection_id,
            what=OuterRef("what"),
            at__gt=Now() - within,
        )
        number = Func(
            ArraySubquery(arrivals.values("pk")[:most]), function="cardinality"
        )
        return dict(self.of_message(message).values_list("what", number))

    def leaving(
        self, message: "Message", *, within: timedelta, most: int
    ) -> dict[str, int]:
        """Return, for each thing that a scheduled message counts for at the time of its
        leaving, the most messages that leave in any such time which has its own in it.

        They are counted up to `most` (relies on arrival_counted).
        """
        near = self.filter(
            connection=message.connection_id,
            what=OuterRef("what"),
            at__gt=OuterRef("at") - within,
            at__lt=OuterRef("at") + within,
        )
        # Of twice as many, at least `most` leave before it or after it.
        times = ArraySubquery(near.order_by("at").values("at")[: 2 * most])
        own = self.of_message(message).filter(what__startswith=LEAVES)
        numbers = {}
        for what, at, leave_at in own.values_list("what", "at", times):
            numbers[what] = max(
                (
                    number - bisect_right(leave_at, last - within)
                    for number, last in enumerate(leave_at, start=1)
                    if last >= at
                ),
                default=most,
            )
        return numbers

    def past(self) -> Self:
        """Arrivals that are too old for any cap (relies on arrival_old)."""
        return self.filter(at__lt=Now() - DAY)


class Arrival(models.Model):
    """One held message, counted for one thing that caps limit: a key, a text, a mailbox,
    or a key and a recipient. A scheduled message has a second row for each, which counts at the
    time of its leaving. Rows are kept for a day after that they count at.
    """

    connection = models.ForeignKey(
        Connection, on_delete=models.CASCADE, related_name="+", db_index=False
    )
    # Such as "key:01J…", "leaves:key:01J…" or "recipient:dana@x.example 01J…".
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
            # For counting how many came since a time.
            models.Index(fields=["connection", "what", "at"], name="arrival_counted"),
            models.Index(fields=["at"], name="arrival_old"),
        ]


class BrakeQuerySet(models.QuerySet["Brake"]):
    """Reads of floods."""

    def over(self) -> Self:
        """Open floods that have ended: fewer messages than the cap came within its
        window, by the database's clock (relies on arrival_counted).
        """
        since = ExpressionWrapper(Now() - OuterRef("window"), DateTimeField())
        recent = Arrival.objects.order_by().filter(
            connection=OuterRef("connection"), what=OuterRef("what"), at__gt=since
        )
        number = recent.values("what").annotate(number=Count("pk"))
        number_lately = Coalesce(Subquery(number.values("number")), 0)
        open_brakes = self.filter(ended_at=None).annotate(lately=number_lately)
        return open_brakes.filter(lately__lt=F("cap")).order_by("pk")

    def with_all(self) -> Self:
        """With the related rows that pages show, newest first."""
        return self.select_related("connection", "mailbox").order_by(
            "-opened_at", "-pk"
        )

    def filter_shown(self, apart: Collection[int]) -> Self:
        """Floods that the page shows: the open ones, and those that still have messages
        set apart (`apart` are their keys).
        """
        return self.filter(Q(pk__in=list(apart)) | Q(ended_at=None))

    def visible_to(self, actor: Actor) -> Self:
        """Floods in a connection or mailbox that the actor may see, or that set apart a
        message which the actor may see.
        """
        if actor.sees_all():
            return self
        held = Message.objects.filter(visible_condition(actor), state=MessageState.HELD)
        visible_apart = held.filter(review__brake=OuterRef("pk"), review__is_apart=True)
        return self.filter(visible_condition(actor) | Exists(visible_apart))


class Brake(models.Model):
    """A flood: messages that came after a cap was passed. They are set apart from the
    queue until somebody looks at them.

    A flood stays open until fewer messages than the cap came within its window. Its
    messages stay apart after that.
    """

    connection = models.ForeignKey(
        Connection, on_delete=models.CASCADE, related_name="brakes"
    )
    # The mailbox of the first message that was set apart. `sent_by_key` and
    # `sent_by_key_name` are the API key of the same message.
    mailbox = models.ForeignKey(
        Mailbox, null=True, on_delete=models.SET_NULL, related_name="+"
    )
    kind = models.CharField(max_length=10, choices=Kind)
    # As in Arrival.
    what = models.TextField()
    # The name that pages show: the key's name, an address, or a subject.
    name = models.CharField(max_length=200)
    sent_by_key = models.CharField(max_length=200)
    sent_by_key_name = models.CharField(max_length=200)
    # The cap that was passed: so many messages within this time.
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
            one_of("kind", Kind.values, "brake_kind_known"),
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
        at = " at their sending time" if self.what.startswith(LEAVES) else ""
        return f"{self.cap} {'an hour' if self.window == HOUR else 'a day'}{at}"


# Expressions for the queue's orders, all ascending; indexes are made from them.
def calm(level: str) -> Func:
    """Return an expression for how little risk a level is. An index contains it, so it
    must not change without a migration.
    """
    case = "(CASE %(expressions)s WHEN 'high' THEN 0 WHEN 'notice' THEN 1 ELSE 2 END)"
    return Func(F(level), template=case, output_field=IntegerField())


LATE = or_never("late_since")


class Review(models.Model):
    """What the desk works out about one message.

    A database trigger inserts the row with its message, and copies `is_held`, `held_at`
    and `shape` from there (approvals/migrations/0001_initial.py), because the queue's
    indexes need them in this table.
    """

    message = models.OneToOneField(Message, primary_key=True, on_delete=models.CASCADE)
    is_held = models.BooleanField(db_default=False, editable=False)
    held_at = models.DateTimeField(db_default=Now(), editable=False)
    shape = models.CharField(max_length=32, db_default="", editable=False)
    # Level and rules of the current revision's findings, for queries that sort and
    # filter by them.
    risk_level = models.CharField(max_length=6, default="", db_default="")
    rules = ArrayField(models.CharField(max_length=40), default=list, db_default=[])
    # Facts about the current revision that rules of the policy test
    # (`policy.rules.facts.stored_facts`). None if they were not worked out yet.
    policy_facts = models.JSONField(null=True)
    # The keys of people who wrote something of the current revision at the desk, in the 30
    # days before it came (approvals.authorship).
    written_by = ArrayField(models.BigIntegerField(), default=list, db_default=[])
    # The version of the policy that was last applied to the message, which can set its
    # expiry or reject it. 0 if the policy has to be applied again.
    policy_applied = models.BigIntegerField(default=0, db_default=0)
    # When the sweep of the review plan looks at the message next; None for never.
    watch_at = models.DateTimeField(null=True, db_default=Now())
    # The plan's targets, and since when the message has missed one.
    look_by = models.DateTimeField(null=True)
    decide_by = models.DateTimeField(null=True)
    late_since = models.DateTimeField(null=True)
    # Until when a person extended its deadlines.
    extended_to = models.DateTimeField(null=True)
    # When people were notified of its coming expiry, which happens once.
    expiry_told_at = models.DateTimeField(null=True)
    # The flood that the message belongs to. Such a message has no card of its own.
    brake = models.ForeignKey(
        Brake,
        null=True,
        on_delete=models.SET_NULL,
        related_name="reviews",
        db_index=False,
    )
    # Whether it is set apart from the queue, until somebody puts it back.
    is_apart = models.BooleanField(default=False, db_default=False)

    class Meta:
        indexes = [
            # The queue's orders, and its narrower views.
            models.Index(
                calm("risk_level"),
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
            # The first of similar messages, and how many there are.
            models.Index(
                fields=["shape", "risk_level", "rules", "held_at", "message"],
                condition=Q(is_held=True),
                name="review_alike",
            ),
            # Messages that a flood set apart: mostly none.
            models.Index(
                fields=["brake", "held_at", "message"],
                condition=Q(is_held=True, is_apart=True),
                name="review_apart",
            ),
            # Messages about which the active version of the policy was not asked yet:
            # few.
            models.Index(
                fields=["policy_applied"],
                condition=Q(is_held=True),
                name="review_policy",
            ),
            # Messages that the review plan has to look at, and late ones.
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

    @property
    def calm(self) -> int:
        """How little risk the message has, as in the queue's order."""
        return {"high": 0, "notice": 1}.get(self.risk_level, 2)


WEEK = timedelta(days=7)
# Medians and shares are computed from at most this many of the newest rows; the page
# says so if a week has more.
MOST = 3_000


class Percentile(Aggregate):
    """PostgreSQL's `percentile_cont`; with `part=0.5` it is the median."""

    function = "percentile_cont"
    template = "%(function)s(%(part)s) WITHIN GROUP (ORDER BY %(expressions)s)"
    output_field = FloatField()


class VerdictQuerySet(OfMessagesQuerySet["Verdict"]):
    """Reads of verdicts."""

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
            median=Percentile("seconds_shown", part=0.5),
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
            median=Percentile("seconds_shown", part=0.5),
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
            one_of("outcome", Outcome.values, "verdict_outcome_known"),
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
