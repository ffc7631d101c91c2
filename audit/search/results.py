"""Reads one page of the ledger for a filter, with its facets: how many entries match, by kind.

PostgreSQL does not know how rare a word is by its beginning, nor that a time is a stretch of entry numbers; guessing
wrong, it would walk through the whole ledger for the newest hundred. So `quickly` looks up both first.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import reduce
from operator import or_
from typing import Any

from django.apps import apps
from django.db import OperationalError, models, transaction
from django.db.models import CharField, F, Func, Q, Value

from audit.models import Entry, EntryQuerySet
from audit.search.filters import Filters, actions_of, fingerprint_prefixes
from audit.trail import Line, lines, with_subjects
from common.postgres.rows import Answer, batch, run, run_apart
from common.words import BY, TO, asked

PAGE = 100
# Counted up to here; beyond it the page says that there are more.
COUNTED = 2_000
# A search that takes longer than this asks for too much at once.
LONGEST = "4s"
# A word that is found this often is met soon enough by walking through the entries, newest first.
RARE = 20_000
MOST_STRAYS = 10_000

_CANCELLED = "57014"


class SearchTooLongError(Exception):
    """The ledger could not be searched for this within the time that a page has."""


@contextmanager
def within_time() -> Iterator[None]:
    """Run the block in a transaction. Raises SearchTooLongError where a statement of it was cancelled."""
    try:
        with transaction.atomic():
            yield
    except OperationalError as error:
        if not _is_cancelled(error):
            raise
        raise SearchTooLongError from error


def _is_cancelled(error: OperationalError) -> bool:
    return getattr(error.__cause__, "sqlstate", "") == _CANCELLED


# --- Which entries match --------------------------------------------------------------------------------------------


class _HasWords(Func):
    """Whether an entry's details are found by these words, written as PostgreSQL reads a tsquery."""

    template = "%(expressions)s::tsquery"
    arg_joiner = " @@ "
    output_field = models.BooleanField()

    def __init__(self, words: str) -> None:
        super().__init__(F("detail__words"), Value(words, output_field=CharField()))


class _AnyId(Func):
    """Whether a key is in a list, which is sent as one array however long it is."""

    template = "(%(expressions)s::bigint[]))"
    arg_joiner = " = ANY ("
    output_field = models.BooleanField()

    def __init__(self, keys: list[int]) -> None:
        super().__init__("pk", Value("{" + ",".join(map(str, keys)) + "}", output_field=CharField()))


def matching(entries: EntryQuerySet, filters: Filters) -> EntryQuerySet:
    """Return those of the entries that match (relies on the indexes of each field; of times, on their BRIN)."""
    kind, _, key = filters.actor.partition("/")
    equal = {
        "actor_kind": kind,
        "actor_id": key,
        "surface": filters.surface,
        "connection": filters.connection,
        "message": filters.message,
        "at__gte": filters.begins,
        "at__lt": filters.ends,
    }
    found = entries.filter(**{name: value for name, value in equal.items() if value})
    if filters.action:
        actions = actions_of(filters.action)
        found = found.filter(action=actions[0]) if len(actions) == 1 else found.filter(action__in=actions)
    if filters.fingerprint:
        forms = [Q(fingerprint__startswith=one) for one in fingerprint_prefixes(filters.fingerprint)]
        # The condition of the index, repeated.
        found = found.filter(reduce(or_, forms), ~Q(fingerprint=""))
    if filters.trace:
        found = found.filter(~Q(trace=""), trace__startswith=filters.trace)
    words = _tsquery(filters)
    return found.filter(_HasWords(words)) if words else found


def _tsquery(filters: Filters) -> str:
    labelled = ((filters.text, ""), (filters.to, TO), (filters.by, BY))
    return " & ".join(filter(None, (asked(text, label) for text, label in labelled)))


_FOUND = "SELECT entry_id FROM audit_entrydetail WHERE words @@ %s::tsquery LIMIT %s"

# Halves the ledger until it has the first entry that is no older than a time: some twenty looks into the primary key.
_FIRST_SINCE = """
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

# Strays are entries of a time whose number says otherwise: written by a clock that was set, or by somebody's hand.
# Relies on entry_at_brin, which knows the least and the largest of both columns in each stretch of the table.
_BOUNDS = """
WITH bounds AS MATERIALIZED (SELECT {first} AS first, {last} AS last)
SELECT first, last, ARRAY(
  (SELECT id FROM audit_entry WHERE {time} AND id < bounds.first LIMIT {most})
  UNION ALL (SELECT id FROM audit_entry WHERE {time} AND id >= bounds.last LIMIT {most})
) FROM bounds
"""


def quickly(entries: EntryQuerySet, filters: Filters, *, longest: str = "") -> EntryQuerySet:
    """Return those of the entries that match, found by the rarest of what is asked for.

    From here on no statement of the transaction may take longer than `longest`.
    """
    words, prints = _tsquery(filters), matching(EntryQuerySet(Entry), Filters(fingerprint=filters.fingerprint))
    with batch():
        if longest:
            run("SELECT set_config('statement_timeout', %s, true)", [longest])
        by_words = run(_FOUND, [words, RARE + 1]) if words else None
        by_print = run(*prints.values("pk")[: RARE + 1].query.sql_with_params()) if filters.fingerprint else None
        bounds = _bounds(filters) if filters.begins or filters.ends else None
    # If these are all matches, a second query would take as long again.
    if (keys := _all_keys(by_words)) is not None:
        entries, filters = entries.filter(_AnyId(keys)), replace(filters, text="", to="", by="")
    if (keys := _all_keys(by_print)) is not None:
        entries, filters = entries.filter(_AnyId(keys)), replace(filters, fingerprint="")
    found = matching(entries, filters)
    if bounds is None:
        return found
    first, last, strays = bounds.row()
    if len(strays) >= MOST_STRAYS:
        # The entries' numbers do not follow their times here.
        return found
    within = Q(id__gte=first, id__lt=last)
    return found.filter(within | Q(_AnyId(strays)) if strays else within)


def _all_keys(answer: Answer | None) -> list[int] | None:
    """Return the keys that were found, None where they are too many to be all."""
    if answer is None or len(answer.rows) > RARE:
        return None
    return [key for (key,) in answer.rows]


def _bounds(filters: Filters) -> Answer:
    """Ask which numbers the entries of a time have, and which of them are strays."""
    begins, ends = filters.begins, filters.ends
    sides = ("at >= %(begins)s" if begins else "", "at < %(ends)s" if ends else "")
    sql = _BOUNDS.format(
        first=_FIRST_SINCE.format(at="%(begins)s::timestamptz") if begins else "0::bigint",
        last=_FIRST_SINCE.format(at="%(ends)s::timestamptz") if ends else f"{2**62}::bigint",
        time=" AND ".join(filter(None, sides)),
        most=MOST_STRAYS,
    )
    return run(sql, {"begins": begins, "ends": ends})


def readable(actor: Any, filters: Filters) -> EntryQuerySet:
    """Return every entry that the actor may read and that matches; from here on the transaction is short of time."""
    return quickly(Entry.objects.readable_by(actor), filters, longest=LONGEST)


def shown_of(entries: EntryQuerySet, filters: Filters) -> EntryQuerySet:
    """Return those of the matches that the page shows: without technical ones where these are folded."""
    return entries.without_technical() if filters.folds else entries


# --- A page of them -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Page:
    """A page of the ledger, newest first, with the keys of the previous and the next page."""

    lines: list[Line]
    older: int | None = None
    newer: int | None = None


def page_of(entries: EntryQuerySet, filters: Filters) -> Page:
    """Return the page that the filters name; whatever is appended meanwhile moves nothing on it."""
    if filters.after:
        found = lines(entries.after(filters.after).oldest_first()[: PAGE + 1])
        if len(found) > PAGE:
            shown = found[PAGE - 1 :: -1]
            return Page(with_subjects(shown), older=shown[-1].entry.pk, newer=shown[0].entry.pk)
    # Less than a page before the newest entries: show the newest page.
    found = lines((entries.before(filters.before) if filters.before else entries).newest_first()[: PAGE + 1])
    shown = found[:PAGE]
    older = shown[-1].entry.pk if len(found) > PAGE else None
    newer = (shown[0].entry.pk if shown else filters.before - 1) if filters.before else None
    return Page(with_subjects(shown), older=older, newer=newer)


def decision_of(page: Page, *, actor: Any) -> Line | None:
    """Return a person's newest decision, where every entry of the page is about one and the same message.

    None where it stands first anyway.
    """
    about = {line.entry.message for line in page.lines}
    if len(about) != 1 or None in about:
        return None
    given = Entry.objects.readable_by(actor).of_message(about.pop()).of_action("verdict.given")
    found = lines(given.filter(actor_kind="person").newest_first()[:1])
    return with_subjects(found)[0] if found and found[0].entry.pk != page.lines[0].entry.pk else None


def hidden_by_filters(actor: Any, filters: Filters) -> int:
    """Count the entries that only the other filters keep from a search for words, up to one more than COUNTED."""
    words = Filters(text=filters.text, to=filters.to, by=filters.by)
    if not words.narrows or words.pairs() == filters.pairs():
        return 0
    return readable(actor, words)[: COUNTED + 1].count()


# --- Counts beside it -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Count:
    """How many of the newest matches have one value, and the value's label."""

    value: str
    number: int
    label: str = ""


@dataclass(frozen=True)
class Facets:
    """The values of the newest matches with their counts, the most frequent first."""

    total: int = 0
    is_cut: bool = False
    # How many entries that match are folded.
    folded: int = 0
    # By the field of `Filters` that narrows by them.
    counts: dict[str, list[Count]] = field(default_factory=dict)

    @property
    def is_one(self) -> bool:
        """Whether there is exactly one entry."""
        return self.total == 1 and not self.is_cut

    @property
    def shown(self) -> str:
        """The number as people read it."""
        return f"more than {COUNTED:,}" if self.is_cut else f"{self.total:,}"

    @property
    def folded_shown(self) -> str:
        """The number of folded entries as people read it."""
        return f"{COUNTED:,}+" if self.folded > COUNTED else f"{self.folded:,}"


# The columns by which a search can be narrowed, grouped by one statement over the newest that match. Of each value the
# newest entry has its name, unless its details were removed.
_COUNTED = """
WITH newest AS MATERIALIZED ({newest}),
counted AS (
  SELECT grouping(action, actor_kind, surface, connection) AS kind, action, actor_kind, actor_id, surface, connection,
    count(*) AS number, max(id) AS last
  FROM (SELECT * FROM newest ORDER BY id DESC LIMIT {counted}) AS the_newest
  GROUP BY GROUPING SETS ((action), (actor_kind, actor_id), (surface), (connection), ())
),
ranked AS (SELECT *, row_number() OVER (PARTITION BY kind ORDER BY number DESC, last DESC) AS rank FROM counted)
(SELECT kind, coalesce(action, actor_kind || '/' || actor_id, surface, connection::text, ''),
  CASE kind WHEN 15 THEN (SELECT count(*) FROM newest) ELSE number END,
  CASE kind WHEN 11 THEN (SELECT fields ->> 'actor' FROM audit_entrydetail WHERE entry_id = last) END
FROM ranked WHERE rank <= 30 ORDER BY kind, rank)
UNION ALL SELECT 99, '', (SELECT count(*) FROM ({folded}) AS folded), ''
"""
_FIELDS = {7: "action", 11: "actor", 13: "surface", 14: "connection"}
_TOTAL, _FOLDED = 15, 99


def facets_of(entries: EntryQuerySet, filters: Filters, *, actor: Any) -> Facets | None:
    """Count the values of the newest matches that are shown, and those that are folded; None if that takes too long."""
    columns = ("id", "action", "actor_kind", "actor_id", "surface", "connection")
    shown = shown_of(entries, filters).newest_first().values(*columns)
    sql, values = shown[: COUNTED + 1].query.sql_with_params()
    folded, more = "SELECT 1 WHERE false", ()
    if filters.folds:
        technical = entries.technical().order_by().values("pk")
        folded, more = technical[: COUNTED + 1].query.sql_with_params()
    try:
        rows = run_apart(_COUNTED.format(newest=sql, counted=COUNTED, folded=folded), (*values, *more)).rows
    except OperationalError as error:
        if not _is_cancelled(error):
            raise
        return None
    counts: dict[str, list[Count]] = {name: [] for name in _FIELDS.values()}
    total = folded_number = 0
    for kind, value, number, label in rows:
        if kind == _TOTAL:
            total = number
        elif kind == _FOLDED:
            folded_number = number
        elif value:
            counts[_FIELDS[kind]].append(Count(value, number, label or ""))
    # A single connection needs no name.
    keys = [one.value for one in counts["connection"]]
    names = _names_of_connections(actor, keys) if len(keys) > 1 or filters.connection else {}
    counts["connection"] = [replace(one, label=names[one.value]) for one in counts["connection"] if one.value in names]
    return Facets(min(total, COUNTED), total > COUNTED, folded_number, counts)


def _names_of_connections(actor: Any, keys: list[str]) -> dict[str, str]:
    connections: Any = apps.get_model("mirror", "Connection")._default_manager
    found = connections.visible_to(actor).filter(pk__in=keys).values_list("pk", "name")
    return {str(key): name for key, name in found}
