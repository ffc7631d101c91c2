"""The queue's database queries: the messages of a tab, filtered, ordered, from a
position on, and with similar messages gathered in one row.

Queries whose docstring names an index in parentheses, such as (review_alike), rely on
that index to be fast.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Self

from django.contrib.postgres.fields import ArrayField
from django.db.models import (
    BooleanField,
    CharField,
    DateTimeField,
    F,
    Func,
    IntegerField,
    OuterRef,
    Q,
    Subquery,
    Value,
)
from django.db.models.expressions import Combinable
from django.db.models.lookups import IsNull

from approvals.desk_messages import DeskMessageQuerySet
from approvals.models.reviews import calm
from approvals.queue.filters import (
    COMPARED,
    OF_REVIEW,
    Filters,
    Position,
    as_number,
    at_time,
)
from common.actors import Actor
from common.counts import COUNTED
from common.words import BY, FROM, TO, asked
from mirror.models import Message
from mirror.states import ENDS, or_never

# This many similar messages are a flood, which is gathered in one row by default.
FLOOD = 5

# The grouping that was asked for, to the column that its messages have in common.
_GROUPS = {
    "thread": "thread_id",
    "run": "run_id",
    "trigger": "started_by",
    "alike": "shape",
}

# Within an order all columns run the same way, because PostgreSQL can only then compare
# rows as a whole. So a missing time is infinite.
_NEVER = Func(template="timestamptz 'infinity'", output_field=DateTimeField())
_ORDERS: Mapping[str, tuple[Any, ...]] = {
    "oldest": (or_never("review__late_since"), F("review__held_at"), F("review__pk")),
    "riskiest": (
        calm("review__risk_level"),
        F("review__held_at"),
        F("review__pk"),
    ),
    "soonest": (ENDS, F("held_at"), F("pk")),
    "newest": (F("changed_at"), F("pk")),
    "held": (F("held_at"), F("pk")),
}


class _GroupCounts(Subquery):
    """The number of messages in a query, and how many of them do not have its most
    common amounts, as an array of two. "Amounts" are the sums of money in a text.
    """

    template = (
        "(SELECT ARRAY[coalesce(sum(n), 0), coalesce(sum(n) - max(n), 0)]::int[] FROM"
        " (SELECT count(*) AS n FROM (%(subquery)s) AS one GROUP BY one.amounts) AS kinds)"
    )
    output_field = ArrayField(IntegerField())


class QueueQuerySet(DeskMessageQuerySet):
    """Reads of messages for the queue and the history."""

    def of_tab(self, actor: Actor, tab: str) -> Self:
        """Return the messages of a tab for this person."""
        if tab == "waiting":
            return self.waiting_for(actor)
        if tab == "mine":
            return self.of(actor)
        visible = self.visible_to(actor)
        return {
            "leaving": visible.leaving,
            "unknown": visible.in_doubt,
            "failed": visible.failed,
            "done": visible.decided,
        }[tab]()

    def in_queue(self) -> Self:
        """As in DeskMessageQuerySet, but joined to the reviews: a list needs them
        anyway, and their indexes have its orders (review_by_…).
        """
        return self.awaiting_review().filter(
            review__is_held=True, review__is_apart=False
        )

    def matching(self, filters: Filters) -> Self:
        """Only messages that match all filters (relies on message_search, review_rules
        and the indexes of held messages).

        A time is compared with what the tab is sorted by: when the message last
        changed, or since when it is held.
        """
        if not filters.narrows:
            return self
        time_field = "changed_at" if filters.newest_first else "held_at"
        conditions = {
            f"{time_field}__gte": filters.begins,
            f"{time_field}__lt": filters.ends,
            "mailbox": filters.mailbox,
            "started_by": filters.started,
            "thread_id": filters.thread,
            "run_id": filters.run,
            "shape": filters.alike,
        }
        messages = self.filter(
            **{name: value for name, value in conditions.items() if value}
        )
        if filters.risk:
            # A message whose content was not fetched yet has no findings, but not
            # because it is harmless.
            level = "" if filters.risk == "none" else filters.risk
            messages = messages.filter(review__risk_level=level, revision__isnull=False)
        if filters.has:
            messages = messages.filter(has_attachments=True)
        if filters.rule:
            messages = messages.filter(review__rules__contains=[filters.rule])
        if filters.passed:
            messages = messages.leaving_by_pass()
        words = (
            asked(filters.text, ""),
            asked(filters.to, TO),
            asked(filters.from_, FROM),
            asked(filters.by, BY),
        )
        return messages.holding(" & ".join(filter(None, words)))

    def holding(self, words: str) -> Self:
        """Only messages that contain these words, written as a PostgreSQL tsquery. All
        messages if it is empty (message_search).
        """
        if not words:
            return self
        query = Func(
            Value(words, output_field=CharField()),
            template="%(expressions)s::tsquery",
        )
        return self.filter(_condition(F("search"), query, "@@"))

    def in_order(self, order: str) -> Self:
        """Sort by one of the orders in `filters.COMPARED`."""
        return self.order_by(*_sorted(order))

    def following(self, order: str, position: Position | None) -> Self:
        """The messages after a position in this order (keyset pagination; relies on the
        order's index).
        """
        if position is None:
            return self
        values: list[Combinable] = []
        for name, number in zip(COMPARED[order], position.values, strict=True):
            if number is None:
                values.append(_NEVER)
            elif name == "calm":
                values.append(Value(number))
            else:
                values.append(Value(at_time(number), output_field=DateTimeField()))
        # Compared as whole rows, because PostgreSQL can use an index for that.
        return self.filter(
            _condition(
                _row(*_ORDERS[order]),
                _row(*values, Value(position.key)),
                "<" if order == "newest" else ">",
            )
        )

    def gathered(self, filters: Filters) -> Self:
        """Keep one message of each group, annotated with the group's size and how its
        messages differ.

        A flood is represented by its oldest message, for each set of findings: messages
        with others always have a row of their own.
        """
        if filters.gathers_floods:
            first = Subquery(self._alike().values("pk")[:1])
            # The subquery returns a key and not EXISTS, which PostgreSQL would turn
            # into a join of all messages. The conditions use only columns of the
            # review; otherwise PostgreSQL would check them for every waiting message.
            kept = self.filter(
                Q(review__shape="")
                | Q(review__pk=first)
                | Q(IsNull(self._last_of_flood(), True))
            )
            return kept._counted(self._alike())
        key = _GROUPS.get(filters.group)
        if key is None:
            return self
        one_of_each = (
            self.exclude(**{key: ""})
            .order_by(key, *_sorted(filters.row_order))
            .distinct(key)
            .values("pk")
        )
        kept = self.filter(Q(**{key: ""}) | Q(pk__in=one_of_each))
        return kept._counted(self.filter(**{key: OuterRef(key)}).exclude(**{key: ""}))

    def in_floods(self, messages: Iterable[Message]) -> Self:
        """Only those of the given messages that belong to a flood (review_alike)."""
        return self.filter(
            IsNull(self._last_of_flood(), False), pk__in=[one.pk for one in messages]
        )

    def _alike(self) -> Self:
        # A subquery: the messages of the same shape and findings as the outer row.
        alike = self.filter(
            review__shape=OuterRef("review__shape"),
            review__risk_level=OuterRef("review__risk_level"),
            review__rules=OuterRef("review__rules"),
        )
        return alike.exclude(review__shape="").order_by("review__held_at", "review__pk")

    def _last_of_flood(self) -> Subquery:
        """Return the key of the message with which the similar ones are enough for a
        flood; NULL if they are too few.
        """
        return Subquery(self._alike().values("pk")[FLOOD - 1 : FLOOD])

    def _counted(self, others: Self) -> Self:
        """Annotate each row with `group_counts`, the two counts of its group (`_GroupCounts`).
        PostgreSQL computes them only for the rows of the page.
        """
        return self.annotate(
            group_counts=_GroupCounts(
                others.order_by().values("amounts")[: COUNTED + 1]
            )
        )


def queue_messages() -> QueueQuerySet:
    """Return all messages, as the QuerySet with the queries above."""
    return QueueQuerySet(Message).defer("search")


def position_at(message: Any, order: str) -> Position:
    """Return the position of a message, which was read with its review, in an order."""
    numbers = []
    for name in COMPARED[order]:
        value = getattr(message.review if name in OF_REVIEW else message, name)
        numbers.append(as_number(value) if isinstance(value, datetime) else value)
    return Position(tuple(numbers), message.pk)


def _sorted(order: str) -> tuple[Any, ...]:
    return ("-changed_at", "-pk") if order == "newest" else _ORDERS[order]


def _row(*values: Any) -> Func:
    return Func(*values, function="ROW", output_field=BooleanField())


def _condition(left: Combinable, right: Combinable, sign: str) -> Func:
    # Django has no lookup for these operators of PostgreSQL, such as > between rows.
    return Func(
        left,
        right,
        template="(%(expressions)s)",
        arg_joiner=f" {sign} ",
        output_field=BooleanField(),
    )
