"""Reads of recent figures: how long messages wait, how long deciding took, and what was caught.

Each looks at a bounded number of rows, so that the home page costs the same at any length of the queue.
"""

from collections.abc import Iterable, Mapping
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
from common.postgres.rows import run
from common.postgres.statements import ValueQuery, count_of
from mirror.models import Message
from mirror.states import LIVE_DECISIONS, DecisionState, MessageState, Outcome
from mirror.terms import DONE

_Row = TypeVar("_Row", bound=Model)

LATELY = timedelta(days=7)
# Medians and shares use at most this many of the newest; the page says so where a week has more.
MOST = 3_000
_SHORTEST = timedelta(minutes=5)
_AGES: Mapping[str, tuple[timedelta, timedelta]] = {
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

    def __init__(self, expression: Any, part: float) -> None:
        super().__init__(expression, part=repr(float(part)))


def waiting_by_age(waiting: QuerySet[Message]) -> dict[str, ValueQuery]:
    """Return how to count how many of these wait for how long, up to a thousand and one (relies on message_held)."""
    counts = {
        name: count_of(waiting.filter(held_at__lte=Now() - least, held_at__gt=Now() - most))
        for name, (least, most) in _AGES.items()
    }
    # If MultiMail's clock runs ahead, `held_at` is in the future: count that as no wait.
    counts["minutes"] = count_of(waiting.filter(held_at__gt=Now() - _SHORTEST))
    return counts


# Each figure of decisions, as a condition on rows and as one inside the sums.
FIGURES: Mapping[str, tuple[Q, str]] = {
    "approved": (Q(outcome=Outcome.APPROVE), "outcome = 'approve'"),
    "rejected": (Q(outcome=Outcome.REJECT), "outcome = 'reject'"),
    "sent_back": (Q(outcome=Outcome.SEND_BACK), "outcome = 'send_back'"),
    "by_rule": (~Q(rule=""), "rule <> ''"),
    "undone": (Q(state=DecisionState.UNDONE), "state = 'undone'"),
    "refused": (Q(state=DecisionState.REFUSED), "state = 'refused'"),
    "overtaken": (Q(state=DecisionState.SUPERSEDED), "state = 'superseded'"),
    "high": (Q(message__review__risk_level="high"), "risk_level = 'high'"),
}
# The entries that end a message's time at the desk; a withdrawal by the sender is no decision.
_ENDS = (
    *("message.approved", "message.released", "message.rejected", "message.gone"),
    *("message.sent", "message.delivered", "message.bounced", "message.complained", "message.failed"),
)
# Entries that prove that a message was held, so that somebody had to decide it.
_HELD = ("message.held", "message.approved", "message.released", "message.rejected", "message.gone")
_OURS = (*LIVE_DECISIONS, DecisionState.APPLIED, DecisionState.WITHDRAWN)


@dataclass(frozen=True)
class Group:
    """Sums of one group: by who decided (`person`, or else `rule`), by where, or of all."""

    by: str
    person: int | None
    rule: str | None
    connection: int | None
    mailbox: int | None
    figures: Mapping[str, int]
    decisions: int
    # The median of seconds of people's decisions.
    median: float | None


class DecisionFigures(QuerySet[_Row]):
    """Sums of decisions of the last week, or of a time span."""

    def given_on(self, messages: Iterable[Message]) -> Self:
        """Those on these messages with their people, the oldest first."""
        return self.filter(message__in=[one.pk for one in messages]).select_related("person").order_by("pk")

    def of_the_week(self) -> Self:
        """Made in the last seven days (relies on decision_recorded_brin)."""
        return self.filter(recorded_at__gte=Now() - LATELY)

    def by_people(self) -> Self:
        """Made by a person, and not undone."""
        return self.filter(rule="").exclude(state=DecisionState.UNDONE)

    def times_by_day(self) -> QuerySet[Any, dict[str, Any]]:
        """Return for each day how many were decided, and the median and 95th percentile of seconds from held on."""
        newest = self.order_by("-pk").values("pk")[:MOST]
        days = self.model._default_manager.filter(pk__in=newest).annotate(day=TruncDate("recorded_at"), took=_took())
        figures = {"number": Count("pk"), "median": Percentile("took", 0.5), "most": Percentile("took", 0.95)}
        found: QuerySet[Any, dict[str, Any]] = days.values("day").annotate(**figures).order_by("day")
        return found

    def caught_by_rule(self) -> list[tuple[str, int, int]]:
        """Return for each published rule how many messages with a finding of it were rejected and sent back.

        Messages without findings are counted under an empty name.
        """
        effective = self.filter(outcome__in=(Outcome.REJECT, Outcome.SEND_BACK)).exclude(state=DecisionState.REFUSED)
        newest = effective.order_by("-pk").values("outcome", "message__review__rules")[:MOST]
        sql, values = newest.query.sql_with_params()
        statement = (
            "SELECT rule,"  # noqa: S608 - Django's own SQL
            " count(*) FILTER (WHERE outcome = 'reject'), count(*) FILTER (WHERE outcome = 'send_back')"
            f" FROM ({sql}) AS kept (outcome, rules),"
            " unnest(CASE WHEN rules = '{}' THEN ARRAY['']::varchar[] ELSE rules END) AS rule GROUP BY rule"
        )
        return [(str(rule), int(rejected), int(back)) for rule, rejected, back in run(statement, values).rows]

    def ended_by_the_desk(self) -> QuerySet[Any, tuple[str, str, int]]:
        """Return rule, explanation and number of what the desk stopped itself (relies on decision_to_look_at)."""
        ended = self.filter(Q(state=DecisionState.REFUSED) | Q(rule="expiry"), recorded_at__gte=Now() - LATELY)
        newest = self.model._default_manager.filter(pk__in=ended.order_by("-pk").values("pk")[:MOST])
        return newest.values_list("rule", "explanation").annotate(number=Count("pk")).order_by("rule")

    def between(self, since: datetime, until: datetime) -> Self:
        """Made in a time span, without its end (relies on decision_recorded_brin)."""
        return self.filter(recorded_at__gte=since, recorded_at__lt=until)

    def counted_as(self, figure: str) -> Self:
        """Those that a figure counts; all of them for a name that is none."""
        return self.filter(FIGURES[figure][0]) if figure in FIGURES else self

    def of_giver(self, person: int | None, rule: str) -> Self:
        """Those of a person, or of a rule."""
        return self.filter(given_by=person, rule=rule)

    def of_mailbox(self, *, connection: int, mailbox: int | None) -> Self:
        """Those on messages of a mailbox; or on those of a connection whose mailbox is not known."""
        return self.filter(message__connection=connection, message__mailbox=mailbox)

    def with_decision_time(self) -> Self:
        """With `took`, the seconds between hold and decision."""
        return self.annotate(took=_took())

    def added_up(self) -> list[Group]:
        """Return the sums by who, by where and of all, in one read of the rows."""
        columns = ("given_by", "rule", "outcome", "state")
        of_message = ("message__connection", "message__mailbox", "message__review__risk_level")
        sql, values = self.order_by().values_list(*columns, *of_message, _took()).query.sql_with_params()
        counts = ", ".join(f"count(*) FILTER (WHERE {condition})" for _, condition in FIGURES.values())
        statement = (
            "SELECT grouping(given_by, connection),"  # noqa: S608 - Django's own SQL, and conditions of this file
            f" given_by, rule, connection, mailbox, count(*), {counts},"
            " percentile_cont(0.5) WITHIN GROUP (ORDER BY took) FILTER (WHERE rule = '' AND state <> 'undone')"
            f" FROM ({sql}) AS made (given_by, rule, outcome, state, connection, mailbox, risk_level, took)"
            " GROUP BY GROUPING SETS ((given_by, rule), (connection, mailbox), ())"
        )
        return [_group(row) for row in run(statement, values).rows]


def decided_elsewhere(messages: QuerySet[Message], since: datetime, until: datetime) -> Any:
    """Return those decided in this time without a decision of ours, with the time as `ended_at`.

    Messages with a decision are excluded first; only the few others are looked up in the ledger (relies on
    message_changed and entry_message).
    """
    entries = Entry.objects.filter(message=OuterRef("public_id"))
    first = entries.filter(action__in=_ENDS).order_by("id").values("at")[:1]
    past = [state for state in DONE if state not in (MessageState.CANCELLED, MessageState.RECEIVED)]
    ours = messages.model._meta.get_field("decisions").related_model._default_manager
    return (
        messages.filter(state__in=past, changed_at__gte=since, held_at__lt=until)
        .filter(~Exists(ours.filter(message=OuterRef("pk"), state__in=_OURS)))
        .annotate(ended_at=Subquery(first))
        .filter(Exists(entries.filter(action__in=_HELD)), ended_at__gte=since, ended_at__lt=until)
    )


def by_mailbox(messages: Any) -> dict[tuple[int, int | None], int]:
    """Return how many messages there are, by connection and mailbox."""
    rows = messages.order_by().values("connection", "mailbox").annotate(number=Count("pk"))
    return {(row["connection"], row["mailbox"]): row["number"] for row in rows}


def _took() -> Seconds:
    return Seconds(ExpressionWrapper(F("recorded_at") - F("message__held_at"), output_field=DurationField()))


def _group(row: tuple[Any, ...]) -> Group:
    kind, person, rule, connection, mailbox, number, *counts, median = row
    by = {1: "who", 2: "where", 3: "all"}[int(kind)]
    figures = dict(zip(FIGURES, map(int, counts), strict=True))
    return Group(by, person, rule, connection, mailbox, figures, int(number), median)
