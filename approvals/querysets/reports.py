"""Reads for the report of what was decided in a span of time. A figure and its rows come from one condition."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Self

from django.db import models
from django.db.models import Count, DurationField, Exists, ExpressionWrapper, F, OuterRef, Q, Subquery

from approvals.querysets.figures import DecisionFigures, Seconds
from audit.models import Entry
from common.postgres.rows import run
from mirror.querysets.terms import DONE
from mirror.states import LIVE_DECISIONS, DecisionState, MessageState, Outcome

if TYPE_CHECKING:
    from mirror.models import Message

# What can be counted of decisions, as a condition for their rows and as one for the sums.
FIGURES: Mapping[str, tuple[Q, str]] = {
    "approved": (Q(outcome=Outcome.APPROVE), "outcome = 'approve'"),
    "rejected": (Q(outcome=Outcome.REJECT), "outcome = 'reject'"),
    "sent_back": (Q(outcome=Outcome.SEND_BACK), "outcome = 'send_back'"),
    "by_rule": (~Q(rule=""), "rule <> ''"),
    "undone": (Q(state=DecisionState.UNDONE), "state = 'undone'"),
    "refused": (Q(state=DecisionState.REFUSED), "state = 'refused'"),
    "overtaken": (Q(state=DecisionState.SUPERSEDED), "state = 'superseded'"),
    "high": (Q(message__risk_level="high"), "risk_level = 'high'"),
}
# How the ledger tells that a message is past the desk; that its sender took it back is no decision.
_ENDS = (
    *("message.approved", "message.released", "message.rejected", "message.gone"),
    *("message.sent", "message.delivered", "message.bounced", "message.complained", "message.failed"),
)
# By one of these it is known that somebody had to decide it: other mail was never held.
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
    # Half of people's decisions were made within so many seconds.
    median: float | None


class DecisionReported(DecisionFigures):
    """What decisions of a span of time add up to."""

    def between(self, since: datetime, until: datetime) -> Self:
        """Made from one moment on and before the other (relies on decision_recorded_brin)."""
        return self.filter(recorded_at__gte=since, recorded_at__lt=until)

    def counted_as(self, figure: str) -> Self:
        """Those that a figure counts; all of them for a name that is none."""
        return self.filter(FIGURES[figure][0]) if figure in FIGURES else self

    def of_giver(self, person: int | None, rule: str) -> Self:
        """Those of a person, or of a rule."""
        return self.filter(given_by=person, rule=rule)

    def at_place(self, *, connection: int, mailbox: int | None) -> Self:
        """Those on messages of a mailbox; or on those of a connection whose mailbox is not known."""
        return self.filter(message__connection=connection, message__mailbox=mailbox)

    def with_time_taken(self) -> Self:
        """With `took`, the seconds from being held to the decision."""
        return self.annotate(took=_took())

    def added_up(self) -> list[Group]:
        """Return the sums by who, by where and of all, in one read of the rows."""
        columns = (
            *("given_by", "rule", "outcome", "state", "message__connection", "message__mailbox"),
            "message__risk_level",
        )
        sql, values = self.order_by().values_list(*columns, _took()).query.sql_with_params()
        counts = ", ".join(f"count(*) FILTER (WHERE {condition})" for _, condition in FIGURES.values())
        told = (
            f"SELECT grouping(given_by, connection), given_by, rule, connection, mailbox, count(*), {counts},"  # noqa: S608 - Django's own SQL, and conditions of this file
            " percentile_cont(0.5) WITHIN GROUP (ORDER BY took) FILTER (WHERE rule = '' AND state <> 'undone')"
            f" FROM ({sql}) AS made (given_by, rule, outcome, state, connection, mailbox, risk_level, took)"
            " GROUP BY GROUPING SETS ((given_by, rule), (connection, mailbox), ())"
        )
        return [_group(row) for row in run(told, values).rows or ()]


def decided_elsewhere(messages: "models.QuerySet[Message]", since: datetime, until: datetime) -> Any:
    """Return those that went past the desk in this time without a decision of ours, with when (`ended_at`).

    Few are left of what changed since then once those with a decision are gone; only these are looked up in the ledger
    (relies on message_changed and entry_message).
    """
    told = Entry.objects.filter(message=OuterRef("public_id"))
    first = told.filter(action__in=_ENDS).order_by("id").values("at")[:1]
    past = [state for state in DONE if state not in (MessageState.CANCELLED, MessageState.RECEIVED)]
    ours = messages.model._meta.get_field("decisions").related_model._default_manager
    return (
        messages.filter(state__in=past, changed_at__gte=since, held_at__lt=until)
        .filter(~Exists(ours.filter(message=OuterRef("pk"), state__in=_OURS)))
        .annotate(ended_at=Subquery(first))
        .filter(Exists(told.filter(action__in=_HELD)), ended_at__gte=since, ended_at__lt=until)
    )


def by_place(messages: Any) -> dict[tuple[int, int | None], int]:
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
