"""Reads one page of the ledger, and what stands beside it: how many match, and of which kinds they are."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from django.apps import apps
from django.db import OperationalError, transaction

from audit.models.entries import Entry, EntryQuerySet
from audit.search.filters import Filters
from audit.search.lookup import quickly
from audit.trail import Line, lines, with_subjects
from common.postgres.rows import run_apart

PAGE = 100
# Counted up to here; beyond it the page says that there are more.
COUNTED = 10_000
# A search that takes longer than this asks for too much at once.
LONGEST = "4s"

_CANCELLED = "57014"


class SearchTooLongError(Exception):
    """The ledger could not be searched for this within the time that a page has."""


@dataclass(frozen=True)
class Count:
    """How many of the newest that match have one value, and what that value is called."""

    value: str
    number: int
    label: str = ""


@dataclass(frozen=True)
class Facets:
    """What there is among the newest that match, the most frequent first."""

    total: int = 0
    is_cut: bool = False
    actions: list[Count] = field(default_factory=list)
    actors: list[Count] = field(default_factory=list)
    surfaces: list[Count] = field(default_factory=list)
    connections: list[Count] = field(default_factory=list)

    @property
    def is_one(self) -> bool:
        """Whether there is just one."""
        return self.total == 1 and not self.is_cut

    @property
    def shown(self) -> str:
        """The number as people read it."""
        return f"more than {COUNTED:,}" if self.is_cut else f"{self.total:,}"


@dataclass(frozen=True)
class Page:
    """A page of the ledger, newest first, with the keys of the pages beside it."""

    lines: list[Line]
    older: int | None = None
    newer: int | None = None


@contextmanager
def within_time() -> Iterator[None]:
    """Begin a transaction, and say plainly where a statement of it was cancelled. Raises SearchTooLongError."""
    try:
        with transaction.atomic():
            yield
    except OperationalError as error:
        if not _is_cancelled(error):
            raise
        raise SearchTooLongError from error


def _is_cancelled(error: OperationalError) -> bool:
    return getattr(error.__cause__, "sqlstate", "") == _CANCELLED


def readable(actor: Any, filters: Filters) -> EntryQuerySet:
    """Return every entry that the actor may read and that matches; from here on the transaction is short of time."""
    return quickly(Entry.objects.readable_by(actor), filters, longest=LONGEST)


def page_of(entries: EntryQuerySet, filters: Filters) -> Page:
    """Return the page that the filters name; whatever is appended meanwhile moves nothing on it."""
    if filters.after:
        found = lines(entries.after(filters.after).oldest_first()[: PAGE + 1])
        if len(found) > PAGE:
            shown = found[PAGE - 1 :: -1]
            return Page(with_subjects(shown), older=shown[-1].entry.pk, newer=shown[0].entry.pk)
    # What would be less than a page before the newest is the newest page.
    found = lines((entries.before(filters.before) if filters.before else entries).newest_first()[: PAGE + 1])
    shown = found[:PAGE]
    older = shown[-1].entry.pk if len(found) > PAGE else None
    newer = (shown[0].entry.pk if shown else filters.before - 1) if filters.before else None
    return Page(with_subjects(shown), older=older, newer=newer)


# The columns by which a search can be narrowed, grouped by one statement over the newest that match. Of each value the
# newest entry tells its name, where retention has left it.
_COUNTED = """
WITH newest AS MATERIALIZED ({newest}),
counted AS (
  SELECT grouping(action, actor_kind, surface, connection) AS kind, action, actor_kind, actor_id, surface, connection,
    count(*) AS number, max(id) AS last
  FROM (SELECT * FROM newest ORDER BY id DESC LIMIT {counted}) AS the_newest
  GROUP BY GROUPING SETS ((action), (actor_kind, actor_id), (surface), (connection), ())
),
ranked AS (SELECT *, row_number() OVER (PARTITION BY kind ORDER BY number DESC, last DESC) AS place FROM counted)
SELECT kind, coalesce(action, actor_kind || '/' || actor_id, surface, connection::text, ''),
  CASE kind WHEN 15 THEN (SELECT count(*) FROM newest) ELSE number END,
  CASE kind WHEN 11 THEN (SELECT fields ->> 'actor' FROM audit_entrydetail WHERE entry_id = last) END
FROM ranked WHERE place <= 30 ORDER BY kind, place
"""
_KINDS = {7: "actions", 11: "actors", 13: "surfaces", 14: "connections"}
_WHOLE = 15


def facets_of(entries: EntryQuerySet, filters: Filters, *, actor: Any) -> Facets | None:
    """Count what there is among the newest that match; None where that would take too long."""
    columns = ("id", "action", "actor_kind", "actor_id", "surface", "connection")
    newest = entries.newest_first().values(*columns)[: COUNTED + 1]
    sql, values = newest.query.sql_with_params()
    try:
        rows = run_apart(_COUNTED.format(newest=sql, counted=COUNTED), values).rows or ()
    except OperationalError as error:
        if not _is_cancelled(error):
            raise
        return None
    found: dict[str, list[Count]] = {name: [] for name in _KINDS.values()}
    total = 0
    for kind, value, number, label in rows:
        if kind == _WHOLE:
            total = number
        elif value:
            found[_KINDS[kind]].append(Count(value, number, label or ""))
    # Where there is only one, nobody needs its name.
    keys = [one.value for one in found["connections"]]
    names = _names_of_connections(actor, keys) if len(keys) > 1 or filters.connection else {}
    found["connections"] = [replace(one, label=names[one.value]) for one in found["connections"] if one.value in names]
    return Facets(total=min(total, COUNTED), is_cut=total > COUNTED, **found)


def _names_of_connections(actor: Any, keys: list[str]) -> dict[str, str]:
    known: Any = apps.get_model("mirror", "Connection")._default_manager
    found = known.visible_to(actor).filter(pk__in=keys).values_list("pk", "name")
    return {str(key): name for key, name in found}
