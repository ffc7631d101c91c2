"""A sweep: duties that find what no task was enqueued for. One statement asks whether any has something to do.

A duty mostly has nothing to do, and compiling, sending and planning a statement for each costs far more than running
it. A duty that fails is logged; the others are done all the same.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from django.db import DatabaseError, transaction
from django.db.models import QuerySet

from common.postgres.statements import ValueQuery, list_of, read_values

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Duty:
    """`asks` what there is to do; `do` is called with the answer, unless that is empty or false.

    The query is made once and kept: it must go by the database's clock.
    """

    asks: Callable[[], ValueQuery]
    do: Callable[..., object]


def duty(rows: Callable[[], QuerySet[Any]], do: Callable[..., object], *, most: int | None = 1) -> Duty:
    """Call `do` with the keys of these rows, at most so many, where there are any.

    In an order that an index has, if the table is large: without one PostgreSQL may read all of it for the first row.
    """
    return Duty(lambda: list_of(rows().values("pk")[:most]), do)


@dataclass
class SweepResult:
    """What each duty returned that had something to do, and the names of those that failed."""

    done: dict[str, object] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)


class Sweep:
    """Duties by name, in the order in which they are done."""

    def __init__(self, duties: Mapping[str, Duty]) -> None:
        self._duties = duties

    def run(self, **context: Any) -> SweepResult:
        """Do every duty that has something to do, with its answer and this context."""
        result, answers = SweepResult(), self._ask_all()
        for name, duty in self._duties.items():
            try:
                # Where they could not be asked together, each is asked by itself: only one may be the cause.
                found = (answers or _read({name: self._questions[name]}))[name]
                if found:
                    result.done[name] = duty.do(found, **context)
            except Exception:
                # One failing duty must not keep the others from running.
                log.exception("duty of the sweep failed", extra={"duty": name})
                result.failed.append(name)
        return result

    def _ask_all(self) -> Mapping[str, Any]:
        try:
            return _read(self._questions)
        except DatabaseError as error:
            log.warning("sweep not asked at once", extra={"reason": type(error).__name__})
            return {}

    @cached_property
    def _questions(self) -> Mapping[str, ValueQuery]:
        return {name: duty.asks() for name, duty in self._duties.items()}


def _read(questions: Mapping[str, ValueQuery]) -> Mapping[str, Any]:
    # In a transaction of its own, or a savepoint: a question that fails must not end its caller's.
    with transaction.atomic():
        return read_values(questions)
