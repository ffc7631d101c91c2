"""Says to PostgreSQL where in the ledger to look, where it could only guess.

It does not know how rare a word is by its beginning, nor that a time is a stretch of entry numbers; guessing wrong, it
would walk through the whole ledger for the newest hundred.
"""

from datetime import datetime
from typing import Any

from django.db.models import BooleanField, CharField, Func, Q, Value

from audit.models.entries import EntryQuerySet, words_asked
from audit.searching.filters import Filters
from common.postgres.rows import run

# Found so often, a word is met soon enough by looking at one entry after the other, newest first.
RARE = 20_000

_FOUND = "SELECT entry_id FROM audit_entrydetail WHERE words @@ %s::tsquery LIMIT %s"

# Halves the ledger until it has the first entry that is no older than a time: some twenty looks into the primary key.
_PLACE = """
WITH RECURSIVE ends AS (SELECT coalesce(min(id), 0) AS low, coalesce(max(id), 0) + 1 AS high FROM audit_entry),
step (low, high, round) AS (
  SELECT low, high, 0 FROM ends
  UNION ALL
  SELECT CASE WHEN probe.at < {at} THEN probe.id + 1 ELSE low END, CASE WHEN probe.at < {at} THEN high ELSE middle END,
    round + 1
  FROM step, LATERAL (SELECT (low + high) / 2 AS middle) AS half,
    LATERAL (SELECT id, at FROM audit_entry WHERE id >= middle ORDER BY id LIMIT 1) AS probe
  WHERE low < high
)
SELECT low FROM step ORDER BY round DESC LIMIT 1
"""

# Entries of a time that stand elsewhere than their time says: by a clock that was set, or by somebody's hand.
# Relies on entry_at_brin, which knows the least and the largest of both columns in each stretch of the table.
_STRAYS = """
SELECT id FROM audit_entry WHERE {time} AND (id < %(first)s OR id >= %(last)s) LIMIT 10001
"""
MOST_STRAYS = 10_000


class AnyId(Func):
    """Whether a key is among some; they travel as one value, however many they are."""

    template = "(%(expressions)s::bigint[]))"
    arg_joiner = " = ANY ("
    output_field = BooleanField()

    def __init__(self, keys: list[int]) -> None:
        super().__init__("pk", Value("{" + ",".join(map(str, keys)) + "}", output_field=CharField()))


def quickly(entries: EntryQuerySet, filters: Filters) -> EntryQuerySet:
    """Return the same entries, with where they can be."""
    words = words_asked(filters)
    if words:
        found = [key for (key,) in run(_FOUND, [words, RARE + 1]).rows or ()]
        if len(found) <= RARE:
            entries = entries.filter(AnyId(sorted(found, reverse=True)))
    if filters.begins or filters.ends:
        entries = entries.filter(_of_time(filters.begins, filters.ends))
    return entries


def _of_time(begins: datetime | None, ends: datetime | None) -> Q:
    """Return which numbers the entries of a time have."""
    times: dict[str, Any] = {"begins": begins, "ends": ends}
    first = f"({_PLACE.format(at='%(begins)s::timestamptz')})" if begins else "0"
    last = f"({_PLACE.format(at='%(ends)s::timestamptz')})" if ends else str(2**62)
    times["first"], times["last"] = run(f"SELECT {first}, {last}", times).row()
    sides = (begins and "at >= %(begins)s", ends and "at < %(ends)s")
    strays = [key for (key,) in run(_STRAYS.format(time=" AND ".join(filter(None, sides))), times).rows or ()]
    if len(strays) > MOST_STRAYS:
        return Q()
    within = Q(id__gte=times["first"], id__lt=times["last"])
    return within | Q(AnyId(strays)) if strays else within
