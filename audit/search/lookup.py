"""Says to PostgreSQL where in the ledger to look, where it could only guess.

It does not know how rare a word is by its beginning, nor that a time is a stretch of entry numbers; guessing wrong, it
would walk through the whole ledger for the newest hundred.
"""

from dataclasses import replace

from django.db.models import BooleanField, CharField, Func, Q, Value

from audit.models.entries import Entry, EntryQuerySet, words_asked
from audit.search.filters import Filters
from common.postgres.rows import Answer, run, together

# Found so often, a word is met soon enough by looking at one entry after the other, newest first.
RARE = 20_000

_FOUND = "SELECT entry_id FROM audit_entrydetail WHERE words @@ %s::tsquery LIMIT %s"

# Halves the ledger until it has the first entry that is no older than a time: some twenty looks into the primary key.
_PLACE = """
(WITH RECURSIVE ends AS (SELECT coalesce(min(id), 0) AS low, coalesce(max(id), 0) + 1 AS high FROM audit_entry),
step (low, high, round) AS (
  SELECT low, high, 0 FROM ends
  UNION ALL
  SELECT CASE WHEN probe.at < {at} THEN probe.id + 1 ELSE low END, CASE WHEN probe.at < {at} THEN high ELSE middle END,
    round + 1
  FROM step, LATERAL (SELECT (low + high) / 2 AS middle) AS half,
    LATERAL (SELECT id, at FROM audit_entry WHERE id >= middle ORDER BY id LIMIT 1) AS probe
  WHERE low < high
)
SELECT low FROM step ORDER BY round DESC LIMIT 1)
"""

# Entries of a time that stand elsewhere than their time says: by a clock that was set, or by somebody's hand.
# Relies on entry_at_brin, which knows the least and the largest of both columns in each stretch of the table.
_BOUNDS = """
WITH place AS MATERIALIZED (SELECT {first} AS first, {last} AS last)
SELECT first, last, ARRAY(
  (SELECT id FROM audit_entry WHERE {time} AND id < place.first LIMIT {most})
  UNION ALL (SELECT id FROM audit_entry WHERE {time} AND id >= place.last LIMIT {most})
) FROM place
"""
MOST_STRAYS = 10_000


class AnyId(Func):
    """Whether a key is among some; they travel as one value, however many they are."""

    template = "(%(expressions)s::bigint[]))"
    arg_joiner = " = ANY ("
    output_field = BooleanField()

    def __init__(self, keys: list[int]) -> None:
        super().__init__("pk", Value("{" + ",".join(map(str, keys)) + "}", output_field=CharField()))


def quickly(entries: EntryQuerySet, filters: Filters, *, longest: str = "") -> EntryQuerySet:
    """Return those of the entries that match, found where they can be.

    From here on no statement may take longer than `longest`.
    """
    words, prints = words_asked(filters), EntryQuerySet(Entry).matching(Filters(fingerprint=filters.fingerprint))
    with together():
        if longest:
            run("SELECT set_config('statement_timeout', %s, true)", [longest])
        by_words = run(_FOUND, [words, RARE + 1]) if words else None
        by_print = run(*prints.values("pk")[: RARE + 1].query.sql_with_params()) if filters.fingerprint else None
        bounds = _bounds(filters) if filters.begins or filters.ends else None
    if (keys := _few(by_words)) is not None:
        # These are all: looking for the words once more would take as long again.
        entries, filters = entries.filter(AnyId(keys)), replace(filters, text="", to="", by="")
    if (keys := _few(by_print)) is not None:
        entries, filters = entries.filter(AnyId(keys)), replace(filters, fingerprint="")
    found = entries.matching(filters)
    return found.filter(_between(*bounds.row())) if bounds else found


def _few(answer: Answer | None) -> list[int] | None:
    """Return the keys that were found, None where they are too many to be all."""
    if answer is None or answer.rows is None or len(answer.rows) > RARE:
        return None
    return [key for (key,) in answer.rows]


def _bounds(filters: Filters) -> Answer:
    """Ask which numbers the entries of a time have, and which of them stand elsewhere."""
    begins, ends = filters.begins, filters.ends
    sides = ("at >= %(begins)s" if begins else "", "at < %(ends)s" if ends else "")
    sql = _BOUNDS.format(
        first=_PLACE.format(at="%(begins)s::timestamptz") if begins else "0::bigint",
        last=_PLACE.format(at="%(ends)s::timestamptz") if ends else f"{2**62}::bigint",
        time=" AND ".join(filter(None, sides)),
        most=MOST_STRAYS,
    )
    return run(sql, {"begins": begins, "ends": ends})


def _between(first: int, last: int, strays: list[int]) -> Q:
    if len(strays) >= MOST_STRAYS:
        # Numbers say nothing about time here.
        return Q()
    within = Q(id__gte=first, id__lt=last)
    return within | Q(AnyId(strays)) if strays else within
