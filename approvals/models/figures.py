"""Reads of recent figures: how long messages wait, how long deciding took, and what was
caught.

Each looks at a bounded number of rows, so that the home page costs the same at any
length of the queue.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Self, TypeVar

from django.db.models import (
    Aggregate,
    Count,
    DurationField,
    Exists,
    ExpressionWrapper,
    F,
    FloatField,
    Func,
    Model,
    OuterRef,
    Q,
    QuerySet,
    Subquery,
)
from django.db.models.functions import Now, TruncDate

from audit.models import Entry
from common.counts import COUNTED, count_of
from common.postgres import clock
from mirror.models import Message
from mirror.models.messages import OfMessagesQuerySet
from mirror.states import LIVE_DECISIONS, DecisionState, MessageState, Outcome
from mirror.terms import DONE

_Row = TypeVar("_Row", bound=Model)

LATELY = timedelta(days=7)
# Medians and shares use at most this many of the newest; the page says so where a week
# has more.
MOST = 3_000
_SHORTEST = timedelta(minutes=5)
# If MultiMail's clock runs ahead, `held_at` is in the future: that counts as no wait.
_AGES: Mapping[str, tuple[timedelta, timedelta]] = {
    "minutes": (-timedelta(days=36_500), _SHORTEST),
    "hour": (_SHORTEST, timedelta(hours=1)),
    "hours": (timedelta(hours=1), timedelta(hours=4)),
    "day": (timedelta(hours=4), timedelta(days=1)),
    "longer": (timedelta(days=1), timedelta(days=36_500)),
}


class Seconds(Func):
    """A span of time in seconds."""

    template = "extract(epoch FROM %(expressions)s)::double precision"
    output_field = FloatField()


class Percentile(Aggregate):
    """A percentile, interpolated between two values."""

    function = "percentile_cont"
    template = "%(function)s(%(part)s) WITHIN GROUP (ORDER BY %(expressions)s)"
    output_field = FloatField()

    def __init__(self, expression: Any, part: float, **options: Any) -> None:
        super().__init__(expression, part=repr(float(part)), **options)


def waiting_by_age(waiting: QuerySet[Message]) -> dict[str, int]:
    """Return how many of these wait for how long, each up to a thousand and one (relies
    on message_held).
    """
    now = clock()
    since = list(
        waiting.order_by("held_at").values_list("held_at", flat=True)[: COUNTED + 1]
    )
    counts = {}
    for name, (least, most) in _AGES.items():
        if len(since) > COUNTED:
            counts[name] = count_of(
                waiting.filter(held_at__lte=now - least, held_at__gt=now - most)
            )
        else:
            counts[name] = sum(now - most < at <= now - least for at in since)
    return counts


# The figures of decisions, as conditions.
FIGURES: Mapping[str, Q] = {
    "approved": Q(outcome=Outcome.APPROVE),
    "rejected": Q(outcome=Outcome.REJECT),
    "sent_back": Q(outcome=Outcome.SEND_BACK),
    "by_rule": ~Q(rule=""),
    "undone": Q(state=DecisionState.UNDONE),
    "refused": Q(state=DecisionState.REFUSED),
    "overtaken": Q(state=DecisionState.SUPERSEDED),
    "high": Q(message__review__risk_level="high"),
}
# The entries that end a message's time at the desk; a withdrawal by the sender is no
# decision.
_ENDS = (
    "message.approved",
    "message.released",
    "message.rejected",
    "message.gone",
    "message.sent",
    "message.delivered",
    "message.bounced",
    "message.complained",
    "message.failed",
)
# Entries that prove that a message was held, so that somebody had to decide it.
_HELD = (
    "message.held",
    "message.approved",
    "message.released",
    "message.rejected",
    "message.gone",
)
_OURS = (*LIVE_DECISIONS, DecisionState.APPLIED, DecisionState.WITHDRAWN)


@dataclass(frozen=True)
class Group:
    """Sums of one group: by who decided (`person`, or else `rule`), by where, or of
    all.
    """

    by: str
    person: int | None
    rule: str | None
    connection: int | None
    mailbox: int | None
    figures: Mapping[str, int]
    decisions: int
    # The median of seconds of people's decisions.
    median: float | None


class DecisionFigures(OfMessagesQuerySet[_Row]):
    """Sums of decisions of the last week, or of a time span."""

    def of_the_week(self) -> Self:
        """Made in the last seven days (relies on decision_recorded_brin)."""
        return self.filter(recorded_at__gte=Now() - LATELY)

    def by_people(self) -> Self:
        """Made by a person, and not undone."""
        return self.filter(rule="").exclude(state=DecisionState.UNDONE)

    def times_by_day(self) -> QuerySet[Any, dict[str, Any]]:
        """Return for each day how many were decided, and the median and 95th percentile
        of seconds from held on.
        """
        newest = self.order_by("-pk").values("pk")[:MOST]
        days = self.model._default_manager.filter(pk__in=newest).annotate(
            day=TruncDate("recorded_at"), took=_took()
        )
        figures = {
            "number": Count("pk"),
            "median": Percentile("took", 0.5),
            "most": Percentile("took", 0.95),
        }
        found: QuerySet[Any, dict[str, Any]] = (
            days.values("day").annotate(**figures).order_by("day")
        )
        return found

    def caught_by_rule(self) -> list[tuple[str, int, int]]:
        """Return for each published rule how many messages with a finding of it were
        rejected and sent back.

        Messages without findings are counted under an empty name.
        """
        effective = self.filter(
            outcome__in=(Outcome.REJECT, Outcome.SEND_BACK)
        ).exclude(state=DecisionState.REFUSED)
        newest = effective.order_by("-pk").values_list(
            "outcome", "message__review__rules"
        )[:MOST]
        caught: Counter[tuple[str, str]] = Counter()
        for outcome, rules in newest:
            caught.update((rule, outcome) for rule in rules or [""])
        names = {rule for rule, _ in caught}
        return [
            (rule, caught[rule, Outcome.REJECT], caught[rule, Outcome.SEND_BACK])
            for rule in names
        ]

    def ended_by_the_desk(self) -> QuerySet[Any, tuple[str, str, int]]:
        """Return rule, explanation and number of what the desk stopped itself (relies
        on decision_to_look_at).
        """
        ended = self.filter(
            Q(state=DecisionState.REFUSED) | Q(rule="expiry"),
            recorded_at__gte=Now() - LATELY,
        )
        newest = self.model._default_manager.filter(
            pk__in=ended.order_by("-pk").values("pk")[:MOST]
        )
        return (
            newest.values_list("rule", "explanation")
            .annotate(number=Count("pk"))
            .order_by("rule")
        )

    def between(self, since: datetime, until: datetime) -> Self:
        """Made in a time span, without its end (relies on decision_recorded_brin)."""
        return self.filter(recorded_at__gte=since, recorded_at__lt=until)

    def counted_as(self, figure: str) -> Self:
        """Those that a figure counts; all of them for a name that is none."""
        return self.filter(FIGURES[figure]) if figure in FIGURES else self

    def of_giver(self, person: int | None, rule: str) -> Self:
        """Those of a person, or of a rule."""
        return self.filter(given_by=person, rule=rule)

    def of_mailbox(self, *, connection: int, mailbox: int | None) -> Self:
        """Those on messages of a mailbox; or on those of a connection whose mailbox is
        not known.
        """
        return self.filter(message__connection=connection, message__mailbox=mailbox)

    def with_decision_time(self) -> Self:
        """With `took`, the seconds between hold and decision."""
        return self.annotate(took=_took())

    def added_up(self) -> list[Group]:
        """Return the sums by who, by where and of all."""
        by_people = Q(rule="") & ~Q(state=DecisionState.UNDONE)
        sums: dict[str, Any] = {
            name: Count("pk", filter=condition) for name, condition in FIGURES.items()
        }
        sums["number"] = Count("pk")
        sums["median"] = Percentile("took", 0.5, filter=by_people)
        made = self.order_by().with_decision_time()
        by_giver = made.values("given_by", "rule").annotate(**sums)
        by_mailbox = made.values(
            connection=F("message__connection"), mailbox=F("message__mailbox")
        ).annotate(**sums)
        return [
            *(_group("who", row) for row in by_giver),
            *(_group("where", row) for row in by_mailbox),
            _group("all", made.aggregate(**sums)),
        ]


def decided_elsewhere(
    messages: QuerySet[Message], since: datetime, until: datetime
) -> Any:
    """Return those decided in this time without a decision of ours, with the time as
    `ended_at`.

    Messages with a decision are excluded first; only the few others are looked up in
    the ledger (relies on message_changed and entry_message).
    """
    entries = Entry.objects.filter(message=OuterRef("public_id"))
    first = entries.filter(action__in=_ENDS).order_by("id").values("at")[:1]
    past = [
        state
        for state in DONE
        if state not in (MessageState.CANCELLED, MessageState.RECEIVED)
    ]
    ours = messages.model._meta.get_field("decisions").related_model._default_manager
    return (
        messages.filter(state__in=past, changed_at__gte=since, held_at__lt=until)
        .filter(~Exists(ours.filter(message=OuterRef("pk"), state__in=_OURS)))
        .annotate(ended_at=Subquery(first))
        .filter(
            Exists(entries.filter(action__in=_HELD)),
            ended_at__gte=since,
            ended_at__lt=until,
        )
    )


def by_mailbox(messages: Any) -> dict[tuple[int, int | None], int]:
    """Return how many messages there are, by connection and mailbox."""
    rows = (
        messages.order_by().values("connection", "mailbox").annotate(number=Count("pk"))
    )
    return {(row["connection"], row["mailbox"]): row["number"] for row in rows}


def _took() -> Seconds:
    return Seconds(
        ExpressionWrapper(
            F("recorded_at") - F("message__held_at"), output_field=DurationField()
        )
    )


def _group(by: str, row: Mapping[str, Any]) -> Group:
    return Group(
        by=by,
        person=row.get("given_by"),
        rule=row.get("rule"),
        connection=row.get("connection"),
        mailbox=row.get("mailbox"),
        figures={name: row[name] for name in FIGURES},
        decisions=row["number"],
        median=row["median"],
    )
