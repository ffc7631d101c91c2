"""Reads of the queue as a list: filtered, ordered, from a position on, and with similar
messages gathered in rows.
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
from mirror.terms import ENDS, or_never

# This many similar messages are a flood, which is gathered in one row by default.
FLOOD = 5

_GROUPS = {
    "thread": "thread_id",
    "run": "run_id",
    "trigger": "started_by",
    "alike": "shape",
}

# All ascending: PostgreSQL compares rows as a whole only where all columns run the same
# way.
_NEVER = Func(template="timestamptz 'infinity'", output_field=DateTimeField())
_ORDERS: Mapping[str, tuple[Any, ...]] = {
    "oldest": (or_never("review__late_since"), F("review__held_at"), F("review__pk")),
    "riskiest": (
        Func(
            F("review__risk"),
            template="(-%(expressions)s)",
            output_field=IntegerField(),
        ),
        F("review__held_at"),
        F("review__pk"),
    ),
    "soonest": (ENDS, F("held_at"), F("pk")),
    "newest": (F("changed_at"), F("pk")),
    "held": (F("held_at"), F("pk")),
}


class _KindsOf(Subquery):
    """The number of rows of a query, and of those without the most common amounts."""

    template = (
        "(SELECT ARRAY[coalesce(sum(n), 0), coalesce(sum(n) - max(n), 0)]::int[] FROM"
        " (SELECT count(*) AS n FROM (%(subquery)s) AS one GROUP BY one.amounts) AS kinds)"
    )
    output_field = ArrayField(IntegerField())


class QueueQuerySet(DeskMessageQuerySet):
    """The queue as people look at it."""

    def of_tab(self, actor: Actor, tab: str) -> Self:
        """Return the messages of a tab for this person."""
        return {
            "waiting": lambda: self.waiting_for(actor),
            "mine": lambda: self.of(actor),
            "leaving": lambda: self.visible_to(actor).leaving(),
            "unknown": lambda: self.visible_to(actor).in_doubt(),
            "failed": lambda: self.visible_to(actor).failed(),
            "done": lambda: self.visible_to(actor).decided(),
        }[tab]()

    def in_queue(self) -> Self:
        """As for all messages, asked of their reviews: a list needs those, and they
        have its orders (review_by_…).
        """
        return self.awaiting_review().filter(
            review__is_held=True, review__is_apart=False
        )

    def matching(self, filters: Filters) -> Self:
        """Only what the filters ask for (relies on message_search, review_rules and the
        indexes of the held).

        Times are those by which a tab is sorted: when something last happened, or since
        when it is held.
        """
        if not filters.narrows:
            return self
        at = "changed_at" if filters.newest_first else "held_at"
        equal = {
            f"{at}__gte": filters.begins,
            f"{at}__lt": filters.ends,
            "mailbox": filters.mailbox,
            "started_by": filters.started,
            "thread_id": filters.thread,
            "run_id": filters.run,
            "shape": filters.alike,
        }
        found = self.filter(**{name: value for name, value in equal.items() if value})
        if filters.risk:
            # What nobody has read yet has nothing seen in it either.
            level = "" if filters.risk == "none" else filters.risk
            found = found.filter(review__risk_level=level, revision__isnull=False)
        if filters.has:
            found = found.filter(has_attachments=True)
        if filters.rule:
            found = found.filter(review__rules__contains=[filters.rule])
        if filters.standing:
            found = found.leaving_by_standing()
        words = (
            asked(filters.text, ""),
            asked(filters.to, TO),
            asked(filters.from_, FROM),
            asked(filters.by, BY),
        )
        return found.holding(" & ".join(filter(None, words)))

    def holding(self, words: str) -> Self:
        """Only those that hold these words, written as PostgreSQL reads them; all for
        none (message_search).
        """
        if not words:
            return self
        query = Func(
            Value(words, output_field=CharField()),
            template="%(expressions)s::tsquery",
        )
        return self.filter(_condition(F("search"), query, "@@"))

    def unsearched(self) -> Self:
        """Those whose content is still being fetched, so that no word of it is found."""
        return self.filter(revision=None)

    def in_order(self, order: str) -> Self:
        """Sort as one of ORDERS or, as "newest", by when something last happened."""
        return self.order_by(*_sorted(order))

    def following(self, order: str, position: Position | None) -> Self:
        """What comes after a position in this order (keyset; relies on the index of the
        order).
        """
        if position is None:
            return self
        values: list[Combinable] = []
        for name, number in zip(COMPARED[order], position.values, strict=True):
            if number is None:
                values.append(_NEVER)
            elif name == "risk":
                values.append(Value(-number))
            else:
                values.append(Value(at_time(number), output_field=DateTimeField()))
        # PostgreSQL compares rows as a whole, of which an index can make use.
        rows = (_row(*_ORDERS[order]), _row(*values, Value(position.key)))
        return self.filter(_condition(*rows, "<" if order == "newest" else ">"))

    def gathered(self, filters: Filters) -> Self:
        """Keep one message of each group, annotated with the group's size and how its
        messages differ.

        A flood is represented by its oldest message, for each risk: riskier messages
        always have a row of their own.
        """
        if filters.gathers_floods:
            first = Subquery(self._alike().values("pk")[:1])
            # Compared as values, because PostgreSQL would turn EXISTS into a join of
            # everything. By columns of reviews alone: as a condition of a join,
            # PostgreSQL would ask it of all that waits.
            apart = self.filter(
                Q(review__shape="")
                | Q(review__pk=first)
                | Q(IsNull(self._last_of_flood(), True))
            )
            return apart._counted(self._alike())
        key = _GROUPS.get(filters.group)
        if key is None:
            return self
        one_of_each = (
            self.exclude(**{key: ""})
            .order_by(key, *_sorted(filters.row_order))
            .distinct(key)
            .values("pk")
        )
        apart = self.filter(Q(**{key: ""}) | Q(pk__in=one_of_each))
        return apart._counted(self.filter(**{key: OuterRef(key)}).exclude(**{key: ""}))

    def in_floods(self, messages: Iterable[Message]) -> Self:
        """Those of these messages that are in floods (review_alike)."""
        return self.filter(
            IsNull(self._last_of_flood(), False), pk__in=[one.pk for one in messages]
        )

    def _alike(self) -> Self:
        same = self.filter(
            review__shape=OuterRef("review__shape"),
            review__risk=OuterRef("review__risk"),
        )
        return same.exclude(review__shape="").order_by("review__held_at", "review__pk")

    def _last_of_flood(self) -> Subquery:
        """Return the key of the message that makes similar ones a flood; NULL where
        there are too few.
        """
        return Subquery(self._alike().values("pk")[FLOOD - 1 : FLOOD])

    def _counted(self, others: Self) -> Self:
        """Annotate each row with its group's counts, which PostgreSQL computes only for
        the page's rows.
        """
        return self.annotate(
            kinds=_KindsOf(others.order_by().values("amounts")[: COUNTED + 1])
        )


def queue_messages() -> QueueQuerySet:
    """Return all messages, for the reads above."""
    return QueueQuerySet(Message).defer("search")


def position_at(message: Any, order: str) -> Position:
    """Return a message's position in an order."""
    values = [
        getattr(message.review if name in OF_REVIEW else message, name)
        for name in COMPARED[order]
    ]
    numbers = (
        as_number(value) if isinstance(value, datetime) else value for value in values
    )
    return Position(tuple(numbers), message.pk)


def _sorted(order: str) -> tuple[Any, ...]:
    return ("-changed_at", "-pk") if order == "newest" else _ORDERS[order]


def _row(*values: Any) -> Func:
    return Func(*values, function="ROW", output_field=BooleanField())


def _condition(left: Combinable, right: Combinable, sign: str) -> Func:
    return Func(
        left,
        right,
        template="(%(expressions)s)",
        arg_joiner=f" {sign} ",
        output_field=BooleanField(),
    )
