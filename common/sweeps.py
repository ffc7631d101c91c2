"""A sweep: duties that find what no task was sent for. One that fails is logged; the
others are done all the same.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from django.db import transaction
from django.db.models import QuerySet

log = logging.getLogger(__name__)

Duty = Callable[[], object]


def duty(
    rows: Callable[[], QuerySet[Any]],
    do: Callable[[list[Any]], object],
    *,
    most: int | None = 1,
) -> Duty:
    """Return a duty that calls `do` with the keys of these rows, at most so many, where
    there are any.

    In an order that an index has, if the table is large: without one PostgreSQL may
    read all of it for the first row.
    """

    def do_if_any() -> object:
        # In a transaction of its own, or a savepoint: a question that fails must not
        # end its caller's.
        with transaction.atomic():
            keys = list(rows().values_list("pk", flat=True)[:most])
        return do(keys) if keys else None

    return do_if_any


@dataclass
class SweepResult:
    """What each duty returned that had something to do, and the names of those that
    failed.
    """

    done: dict[str, object] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)


def do_all(duties: Mapping[str, Duty]) -> SweepResult:
    """Do the duties in their order."""
    result = SweepResult()
    for name, do in duties.items():
        try:
            found = do()
        except Exception:
            # One failing duty must not keep the others from running.
            log.exception("duty of the sweep failed", extra={"duty": name})
            result.failed.append(name)
        else:
            if found:
                result.done[name] = found
    return result
