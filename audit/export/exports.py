"""The life of an export: requested, running, done or interrupted. Each step is one transaction with its entry.

An export holds the entries that were there when it was asked for, however long it runs. PostgreSQL's snapshot of that
moment is stored as text, so no transaction is held open.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Self
from uuid import UUID

from django.db import OperationalError, transaction
from django.db.models import BooleanField, CharField, F, Func, Q, QuerySet, Value
from django.db.models.functions import Now

from audit.export.formats import FORMATS, Format
from audit.models import EntryQuerySet, Export
from audit.recording import ActorLike, SystemActor, record
from audit.search.filters import Filters
from audit.search.results import readable
from common.postgres.retry import atomic_with_retry
from common.postgres.rows import run

# Limits per person and in total: each export holds one of the web process's four threads.
MOST_OF_ONE, MOST = 1, 2
# An export without progress for so long has lost its process; longer than download.SLOWEST.
LOST_AFTER = timedelta(minutes=5)
# The time limit of the count, in seconds.
COUNTED_WITHIN = 30
_LOCK = (0x5EA1, 7)
_EXPORTER = SystemActor("worker", "exporter", "the exporter")
LOST = "The process that wrote it ended."


class NotExported(Exception):
    """The export cannot begin now; the sentence says why."""


@atomic_with_retry
def begin_export(*, actor: ActorLike, filters: Filters, wanted: Format) -> Export:
    """Fix what is exported, and note that it is. Raises NotExported."""
    cut = take_cut()
    # Times as moments: “today” must mean the same when the download is begun again tomorrow.
    pinned = filters.pinned()
    query = pinned.query(before=None, after=None)
    if len(query) > Export._meta.get_field("query").max_length:  # type: ignore[operator]
        raise NotExported("This filter is too long to be stored with the export. Shorten it.")
    try:
        with no_longer_than(COUNTED_WITHIN):
            number = entries_of(pinned, cut, actor).count()
    except OperationalError:
        raise NotExported("This filter takes too long to search. Narrow it by time or action.") from None
    export = Export.objects.create(
        person=int(actor.id), query=query, format=wanted.name, snapshot=str(cut), rows_total=number
    )
    record("ledger.exported", actor=actor, details=_details(export))
    return export


@atomic_with_retry
def request_again(*, actor: ActorLike, export: UUID) -> None:
    """Let an interrupted export begin again, with the same entries. Raises NotExported."""
    note_lost_exports()
    broken_off = Export.objects.filter(pk=export, state=Export.State.BROKEN_OFF)
    if not broken_off.update(state=Export.State.ASKED, rows_done=0, sha256="", changed_at=Now()):
        raise NotExported("This export was not interrupted.")
    record("ledger.exported", actor=actor, details={**_details(Export.objects.get(pk=export)), "again": "yes"})


@atomic_with_retry
def start_export(export: UUID) -> Export:
    """Start an export that was asked for. Raises NotExported where it is none, or too many run."""
    # Held to the end of this transaction: of two that start at once, one sees the other.
    run("SELECT pg_advisory_xact_lock(%s, %s)", _LOCK)
    note_lost_exports()
    running = list(Export.objects.running())
    found = Export.objects.get(pk=export)
    if found.state != Export.State.ASKED:
        raise NotExported("This export has already been started.")
    if sum(one.person == found.person for one in running) >= MOST_OF_ONE:
        raise NotExported("Another of your exports is still running. Start this one when it has finished.")
    if len(running) >= MOST:
        raise NotExported(f"{MOST} exports are running, which is the limit. Try again in a moment.")
    Export.objects.filter(pk=export).update(state=Export.State.RUNNING, rows_done=0, changed_at=Now())
    return found


def note_progress(export: UUID, rows: int) -> bool:
    """Store the progress; False where the export was interrupted meanwhile."""
    return bool(_running(export).update(rows_done=rows, changed_at=Now()))


@transaction.atomic
def end_export(*, actor: ActorLike, export: UUID, rows: int, sha256: str) -> bool:
    """Record that the export was sent completely, and its totals; False where it was interrupted meanwhile."""
    done = {"state": Export.State.DONE, "rows_done": rows, "sha256": sha256, "changed_at": Now()}
    if not _running(export).update(**done):
        return False
    details = {**_details(Export.objects.get(pk=export)), "rows": str(rows), "sha256": sha256}
    record("ledger.export_ended", actor=actor, details=details)
    return True


@transaction.atomic
def break_off(*, actor: ActorLike, export: UUID, rows: int, reason: str) -> None:
    """Record that only a part of the export was sent."""
    broken = {"state": Export.State.BROKEN_OFF, "rows_done": rows, "changed_at": Now()}
    if _running(export).update(**broken):
        details = {**_details(Export.objects.get(pk=export)), "handed_out": str(rows), "reason": reason}
        record("ledger.export_broken_off", actor=actor, details=details)


@transaction.atomic
def note_lost_exports() -> None:
    """Record exports whose process has died as interrupted."""
    for lost in Export.objects.running().idle_for(LOST_AFTER):
        break_off(actor=_EXPORTER, export=lost.pk, rows=lost.rows_done, reason=LOST)


def _running(export: UUID) -> QuerySet[Export]:
    return Export.objects.filter(pk=export, state=Export.State.RUNNING)


def _details(export: Export) -> dict[str, str]:
    """Return the details that every entry about an export has."""
    return {
        "export": str(export.pk),
        "filter": export.query or "everything",
        "format": FORMATS[export.format].label,
        "rows": str(export.rows_total),
    }


# --- Which entries it holds ------------------------------------------------------------------------------------------

# After a restore old entries have ids of another cluster's transactions, which say nothing here. They are known by
# being there although the snapshot does not see them. Relies on entry_to_seal.
_CUT = """
SELECT pg_current_snapshot()::text, coalesce(max(id), 0), (SELECT coalesce(max(id), 0) FROM audit_entry)
  FROM audit_entry
 WHERE xid >= pg_snapshot_xmin(pg_current_snapshot()) AND NOT pg_visible_in_snapshot(xid, pg_current_snapshot())
"""


class _VisibleIn(Func):
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
    def read(cls, stored: str) -> Self:
        """Return the cut that was written down."""
        after_id, last, snapshot = stored.split(" ")
        return cls(snapshot, int(after_id), int(last))

    def __str__(self) -> str:
        return f"{self.after_id} {self.last} {self.snapshot}"


@contextmanager
def no_longer_than(seconds: int) -> Iterator[None]:
    """Set the time limit of each statement in the block. Raises OperationalError."""
    with transaction.atomic():
        run(f"SET LOCAL statement_timeout = '{seconds}s'")
        yield
        # Later statements have their own limit.
        run("SET LOCAL statement_timeout = DEFAULT")


def take_cut() -> Cut:
    """Return the ledger's current cut. The transaction must not have written anything yet."""
    return Cut(*run(_CUT).row())


def entries_of(filters: Filters, cut: Cut, actor: Any) -> EntryQuerySet:
    """Return what the filters showed to the actor at that moment."""
    there = Q(id__lte=cut.after_id) | Q(_VisibleIn(cut.snapshot))
    return readable(actor, filters).filter(there, id__lte=cut.last)


def seals_of(entries: list[int]) -> dict[int, int]:
    """Return the seals of these entries. Their ids are sent as one array, however many there are."""
    keys = "{" + ",".join(map(str, entries)) + "}"
    return dict(run("SELECT entry, seal FROM audit_sealedentry WHERE entry = ANY (%s::bigint[])", [keys]).rows)
