"""The life of an export: requested, running, done or interrupted. Each step is one
transaction with its entry.

An export holds the entries that were there when it was asked for, however long it runs.
PostgreSQL's snapshot of that moment is stored as text, so no transaction is held open.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Self
from uuid import UUID

from django.db import OperationalError, transaction
from django.db.models import BooleanField, Func, Max, Q, Value
from django.db.models.functions import Now

from audit.export.formats import FORMATS, Format
from audit.fields import TransactionIdField
from audit.models import Entry, EntryQuerySet, Export
from audit.recording import record
from audit.search.filters import Filters
from audit.search.results import readable
from common.actors import Actor
from common.postgres import statements_within, take_lock
from common.postgres.retry import atomic_with_retry
from common.postgres.server import current_snapshot

# Limits per person and in total: each export holds one of the web process's four
# threads.
MOST_OF_ONE = 1
MOST = 2
# An export without progress for so long has lost its process; longer than
# download.SLOWEST.
LOST_AFTER = timedelta(minutes=5)
# The time limit of the count, in milliseconds.
COUNTED_WITHIN = 4_000
_EXPORTER = Actor("worker", "exporter", "the exporter", "worker")
LOST = "The process that wrote it ended."


class NotExported(Exception):
    """The export cannot begin now; the sentence says why."""


@atomic_with_retry
def begin_export(*, actor: Actor, filters: Filters, wanted: Format) -> Export:
    """Fix what is exported, and note that it is. Raises NotExported."""
    cut = take_cut()
    # Times as moments: “today” must mean the same when the download is begun again
    # tomorrow.
    pinned = filters.pinned()
    query = pinned.query(before=None, after=None)
    if len(query) > Export._meta.get_field("query").max_length:  # type: ignore[operator]
        raise NotExported(
            "This filter is too long to be stored with the export. Shorten it."
        )
    try:
        with statements_within(COUNTED_WITHIN):
            number = entries_of(pinned, cut, actor).count()
    except OperationalError:
        raise NotExported(
            "This filter takes too long to search. Narrow it by time or action."
        ) from None
    export = Export.objects.create(
        person=int(actor.id),
        query=query,
        format=wanted.name,
        snapshot=str(cut),
        rows_total=number,
    )
    _record("ledger.exported", export, actor)
    return export


@atomic_with_retry
def request_again(*, actor: Actor, export: UUID) -> None:
    """Let an interrupted export begin again, with the same entries. Raises NotExported."""
    note_lost_exports()
    broken_off = Export.objects.filter(pk=export, state=Export.State.BROKEN_OFF)
    again = {"state": Export.State.ASKED, "rows_done": 0, "sha256": ""}
    if not broken_off.update(**again, changed_at=Now()):
        raise NotExported("This export was not interrupted.")
    _record("ledger.exported", Export.objects.get(pk=export), actor, again="yes")


@atomic_with_retry
def start_export(export: UUID) -> Export:
    """Start an export that was asked for. Raises NotExported where it is none, or too
    many run.
    """
    # Held to the end of this transaction: of two that start at once, one sees the
    # other.
    take_lock("audit.export")
    note_lost_exports()
    running = list(Export.objects.running())
    found = Export.objects.get(pk=export)
    if found.state != Export.State.ASKED:
        raise NotExported("This export has already been started.")
    if sum(one.person == found.person for one in running) >= MOST_OF_ONE:
        raise NotExported(
            "Another of your exports is still running. Start this one when it has finished."
        )
    if len(running) >= MOST:
        raise NotExported(
            f"{MOST} exports are running, which is the limit. Try again in a moment."
        )
    Export.objects.filter(pk=export).update(
        state=Export.State.RUNNING, rows_done=0, changed_at=Now()
    )
    return found


def note_progress(export: UUID, rows: int) -> bool:
    """Store the progress; False where the export was interrupted meanwhile."""
    return _change_running(export, rows_done=rows) is not None


@transaction.atomic
def end_export(*, actor: Actor, export: UUID, rows: int, sha256: str) -> bool:
    """Record that the export was sent completely, and its totals; False where it was
    interrupted meanwhile.
    """
    done = _change_running(
        export, state=Export.State.DONE, rows_done=rows, sha256=sha256
    )
    if done is None:
        return False
    _record("ledger.export_ended", done, actor, rows=str(rows), sha256=sha256)
    return True


@transaction.atomic
def break_off(*, actor: Actor, export: UUID, rows: int, reason: str) -> None:
    """Record that only a part of the export was sent."""
    broken = _change_running(export, state=Export.State.BROKEN_OFF, rows_done=rows)
    if broken is not None:
        _record(
            "ledger.export_broken_off",
            broken,
            actor,
            handed_out=str(rows),
            reason=reason,
        )


@transaction.atomic
def note_lost_exports() -> None:
    """Record exports whose process has died as interrupted."""
    for lost in Export.objects.running().idle_for(LOST_AFTER):
        break_off(actor=_EXPORTER, export=lost.pk, rows=lost.rows_done, reason=LOST)


def _change_running(export: UUID, **fields: Any) -> Export | None:
    """Change a running export and return it; None where it does not run any more."""
    if Export.objects.running().filter(pk=export).update(**fields, changed_at=Now()):
        return Export.objects.get(pk=export)
    return None


def _record(action: str, export: Export, actor: Actor, **more: str) -> None:
    details = {
        "export": str(export.pk),
        "filter": export.query or "everything",
        "format": FORMATS[export.format].label,
        "rows": str(export.rows_total),
    }
    record(action, actor=actor, details=details | more)


# --- Which entries it holds -----------------------------------------------------------


class _VisibleIn(Func):
    """Whether a snapshot sees what the transaction of an entry wrote."""

    function = "pg_visible_in_snapshot"
    output_field = BooleanField()


@dataclass(frozen=True)
class Cut:
    """A moment of the ledger. Entries up to `after_id` are of earlier epochs, and were
    there; none is after `last`.
    """

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


def take_cut() -> Cut:
    """Return the ledger's current cut. The transaction must not have written anything
    yet.
    """
    # After a restore old entries have ids of another cluster's transactions, which say
    # nothing here. They are known by being there although the snapshot does not see
    # them. Relies on entry_to_seal.
    now = Func(function="pg_current_snapshot")
    xmin = Func(now, function="pg_snapshot_xmin", output_field=TransactionIdField())
    unseen = Entry.objects.filter(xid__gte=xmin).exclude(_VisibleIn("xid", now))
    after_id = unseen.aggregate(last=Max("pk"))["last"] or 0
    snapshot = current_snapshot()
    last = Entry.objects.aggregate(last=Max("pk"))["last"] or 0
    return Cut(snapshot.text, after_id, last)


def entries_of(filters: Filters, cut: Cut, actor: Actor) -> EntryQuerySet:
    """Return what the filters showed to the actor at that moment."""
    snapshot = Func(Value(cut.snapshot), template="%(expressions)s::pg_snapshot")
    there = Q(id__lte=cut.after_id) | Q(_VisibleIn("xid", snapshot))
    return readable(actor, filters).filter(there, id__lte=cut.last)
