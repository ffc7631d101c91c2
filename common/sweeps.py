"""A sweep: a list of duties, run periodically, that find rows with work to do whose
task was lost or never sent. If a duty fails, that is logged and the others still run.
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
    """Return a duty that calls `do` with the keys of these rows, at most `most` of them
    (None: all). It does nothing if there are no rows.

    If the table is large, the rows must be in the order of an index: otherwise
    PostgreSQL may read the whole table to find the first row.
    """

    def do_if_any() -> object:
        # In a transaction of its own, or a savepoint: if the query fails, the caller's
        # transaction must stay usable.
        with transaction.atomic():
            keys = list(rows().values_list("pk", flat=True)[:most])
        return do(keys) if keys else None

    return do_if_any


@dataclass
class SweepResult:
    """What each duty that had work returned, by the duty's name; and the names of the
    duties that failed.
    """

    done: dict[str, object] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)


def do_all(duties: Mapping[str, Duty]) -> SweepResult:
    """Run the duties in their order."""
    result = SweepResult()
    for name, do in duties.items():
        try:
            outcome = do()
        except Exception:
            # One failing duty must not keep the others from running.
            log.exception("duty of the sweep failed", extra={"duty": name})
            result.failed.append(name)
        else:
            if outcome:
                result.done[name] = outcome
    return result
