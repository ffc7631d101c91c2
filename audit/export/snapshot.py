"""Which entries an export holds: those that were there when it was asked for, however long it runs.

PostgreSQL's snapshot of that moment is kept as text, so no transaction is held open. What is appended meanwhile carries
a transaction id that this snapshot does not see.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Self

from django.db import connection, transaction
from django.db.models import BooleanField, CharField, F, Func, Q, Value

from audit.models import EntryQuerySet
from audit.search.filters import Filters
from audit.search.results import readable
from common.postgres.rows import run

# After a restore old entries have ids of another cluster's transactions, which say nothing here. They are known by
# being there although the snapshot does not see them. Relies on entry_to_seal.
_CUT = """
SELECT pg_current_snapshot()::text, coalesce(max(id), 0), (SELECT coalesce(max(id), 0) FROM audit_entry)
  FROM audit_entry
 WHERE xid >= pg_snapshot_xmin(pg_current_snapshot()) AND NOT pg_visible_in_snapshot(xid, pg_current_snapshot())
"""


class SeenIn(Func):
    """Whether a snapshot sees what a transaction wrote."""

    template = "pg_visible_in_snapshot(%(expressions)s::pg_snapshot)"
    output_field = BooleanField()

    def __init__(self, snapshot: str) -> None:
        super().__init__(F("xid"), Value(snapshot, output_field=CharField()))


@dataclass(frozen=True)
class Cut:
    """A moment of the ledger. Entries up to `after_id` are of earlier epochs, and were there; none is after `last`."""

    snapshot: str
    after_id: int
    last: int

    @classmethod
    def read(cls, kept: str) -> Self:
        """Return the cut that was written down."""
        after_id, last, snapshot = kept.split(" ")
        return cls(snapshot, int(after_id), int(last))

    def __str__(self) -> str:
        return f"{self.after_id} {self.last} {self.snapshot}"


@contextmanager
def no_longer_than(seconds: int) -> Iterator[None]:
    """Let no statement of the block take longer. Raises OperationalError."""
    with transaction.atomic():
        run(f"SET LOCAL statement_timeout = '{seconds}s'")
        yield
        # What surrounds the block has its own patience.
        run("SET LOCAL statement_timeout = DEFAULT")


def take_cut() -> Cut:
    """Return the ledger's present moment. Whoever asks has written nothing yet in this transaction."""
    with connection.cursor() as cursor:
        cursor.execute(_CUT)
        return Cut(*cursor.fetchone())


def entries_of(filters: Filters, cut: Cut, actor: Any) -> EntryQuerySet:
    """Return what the filters showed to the actor at that moment."""
    there = Q(id__lte=cut.after_id) | Q(SeenIn(cut.snapshot))
    return readable(actor, filters).filter(there, id__lte=cut.last)


def seals_of(entries: list[int]) -> dict[int, int]:
    """Return under which seals these entries stand. They travel as one value, however many they are."""
    keys = "{" + ",".join(map(str, entries)) + "}"
    return dict(run("SELECT entry, seal FROM audit_leaf WHERE entry = ANY (%s::bigint[])", [keys]).rows or ())
