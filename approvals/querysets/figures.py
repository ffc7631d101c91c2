"""Reads of how the desk has been doing lately: what waits for how long, how long deciding took, what was caught.

Each looks at a bounded number of rows, so that the home page costs the same at any length of the queue.
"""

from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Self

from django.db import models
from django.db.models import Aggregate, Count, DurationField, ExpressionWrapper, F, FloatField, Func, Q
from django.db.models.functions import Now, TruncDate

from common.postgres.rows import run
from mirror.states import DecisionState, Outcome

if TYPE_CHECKING:
    from approvals.models import Decision, Verdict  # noqa: F401 - the querysets' type parameters
    from mirror.models import Message

LATELY = timedelta(days=7)
# Of so many of the newest, medians and shares are told; a desk that decides more than that in a week is told so.
MOST = 3_000
# A bar of what waits stops here.
COUNTED = 1000
_AGES: Mapping[str, tuple[timedelta, timedelta]] = {
    "minutes": (timedelta(0), timedelta(minutes=5)),
    "hour": (timedelta(minutes=5), timedelta(hours=1)),
    "hours": (timedelta(hours=1), timedelta(hours=4)),
    "day": (timedelta(hours=4), timedelta(days=1)),
    "longer": (timedelta(days=1), timedelta(days=36_500)),
}


class Seconds(Func):
    """A span of time in seconds."""

    template = "extract(epoch FROM %(expressions)s)::double precision"
    output_field = FloatField()


class Percentile(Aggregate):
    """The value below which this part of the values lies, between two of them where it must."""

    function = "percentile_cont"
    template = "%(function)s(%(part)s) WITHIN GROUP (ORDER BY %(expressions)s)"
    output_field = FloatField()

    def __init__(self, expression: Any, part: float) -> None:
        super().__init__(expression, part=repr(float(part)))


def waiting_by_age(waiting: "models.QuerySet[Message]") -> dict[str, int]:
    """Return how many of these wait for how long, each count cut at a thousand and one (relies on message_held)."""
    # Cut before they are counted, and all by one statement.
    counted = {
        name: waiting.filter(held_at__lte=Now() - least, held_at__gt=Now() - most).order_by()[: COUNTED + 1]
        for name, (least, most) in _AGES.items()
    }
    # A clock of MultiMail that runs ahead has held things in the future: they have waited for no time.
    counted["minutes"] = waiting.filter(held_at__gt=Now() - timedelta(minutes=5)).order_by()[: COUNTED + 1]
    pieces: list[str] = []
    values: list[Any] = []
    for query in counted.values():
        sql, parameters = query.values("pk").query.sql_with_params()
        pieces.append(f"(SELECT count(*) FROM ({sql}) AS found)")  # noqa: S608 - Django's own SQL
        values += parameters
    return dict(zip(counted, map(int, run(f"SELECT {', '.join(pieces)}", values).row()), strict=True))


class DecisionFigures(models.QuerySet["Decision"]):
    """What decisions of the last week tell."""

    def of_the_week(self) -> Self:
        """Made in the last seven days (relies on decision_recorded_brin)."""
        return self.filter(recorded_at__gte=Now() - LATELY)

    def by_people(self) -> Self:
        """Made by a person, and not taken back."""
        return self.filter(rule="").exclude(state=DecisionState.UNDONE)

    def times_by_day(self) -> list[dict[str, Any]]:
        """Return for each day how many were decided, and the median and 95th percentile of seconds from held on."""
        took = Seconds(ExpressionWrapper(F("recorded_at") - F("message__held_at"), output_field=DurationField()))
        newest = self.order_by("-pk").values("pk")[:MOST]
        days = self.model._default_manager.filter(pk__in=newest).annotate(day=TruncDate("recorded_at"), took=took)
        figures = {"number": Count("pk"), "median": Percentile("took", 0.5), "most": Percentile("took", 0.95)}
        return list(days.values("day").annotate(**figures).order_by("day"))

    def caught_by_rule(self) -> list[tuple[str, int, int]]:
        """Return for each published rule how many letters in which it saw something were rejected and sent back.

        What no rule had seen is told under an empty name.
        """
        kept = self.filter(outcome__in=(Outcome.REJECT, Outcome.SEND_BACK)).exclude(state=DecisionState.REFUSED)
        sql, values = kept.order_by("-pk").values("outcome", "message__rules")[:MOST].query.sql_with_params()
        told = (
            "SELECT rule, count(*) FILTER (WHERE outcome = 'reject'), count(*) FILTER (WHERE outcome = 'send_back')"  # noqa: S608 - Django's own SQL
            f" FROM ({sql}) AS kept (outcome, rules),"
            " unnest(CASE WHEN rules = '{}' THEN ARRAY['']::varchar[] ELSE rules END) AS rule GROUP BY rule"
        )
        return [(str(rule), int(rejected), int(back)) for rule, rejected, back in run(told, values).rows or ()]

    def ended_by_the_desk(self) -> list[tuple[str, str, int]]:
        """Return rule, explanation and number of what the desk did not let go (relies on decision_to_look_at)."""
        ended = self.filter(Q(state=DecisionState.REFUSED) | Q(rule="expiry"), recorded_at__gte=Now() - LATELY)
        newest = self.model._default_manager.filter(pk__in=ended.order_by("-pk").values("pk")[:MOST])
        return list(newest.values_list("rule", "explanation").annotate(number=Count("pk")).order_by("rule"))


class VerdictQuerySet(models.QuerySet["Verdict"]):
    """Reads of what people said."""

    def on(self, messages: "models.QuerySet[Message]") -> Self:
        """Those on these messages."""
        return self.filter(message__in=messages)

    def newest_on(self, messages: "Iterable[Message]") -> dict[int, int]:
        """Return by message the key of the newest verdict on it."""
        given = self.filter(message__in=[one.pk for one in messages]).order_by("pk")
        return dict(given.values_list("message_id", "pk"))

    def of_the_week(self) -> Self:
        """Given in the last seven days, and not taken back (relies on verdict_given_brin)."""
        return self.filter(live=True, given_at__gte=Now() - LATELY)

    def paces(self) -> list[dict[str, Any]]:
        """Return for each person how many they gave, and the median of the seconds that the letter was open before.

        By name: it is no contest.
        """
        newest = self.model._default_manager.filter(pk__in=self.order_by("-pk").values("pk")[:MOST])
        rows = newest.values("person", "person__name", "person__email").annotate(
            number=Count("pk"),
            approved=Count("pk", filter=Q(outcome=Outcome.APPROVE)),
            noted=Count("seconds_shown"),
            median=Percentile("seconds_shown", 0.5),
        )
        return [dict(row) for row in rows.order_by("person__name", "person")]
