"""What becomes of an export: asked for, running, done or broken off. Each step is one transaction with its entry."""

from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from django.db import OperationalError, connection, transaction
from django.db.models import QuerySet
from django.db.models.functions import Now

from audit.export.formats import FORMATS, Format
from audit.export.snapshot import entries_of, no_longer_than, take_cut
from audit.models import Export
from audit.recording import ActorLike, record
from audit.search.filters import Filters
from common.postgres.anew import atomic_anew

# Of a person, and in all: each holds one of the web process's four threads.
MOST_OF_ONE, MOST = 1, 2
# What has not moved for so long has lost its process. Longer than a reader may take for one part (handing_out.SLOWEST).
LOST_AFTER = timedelta(minutes=5)
# Seconds for counting what there is.
COUNTED_WITHIN = 30
_LOCK = (0x5EA1, 7)
LOST = "The process that wrote it ended."


class NotExported(Exception):
    """It cannot begin now; the sentence says why."""

    def __init__(self, sentence: str) -> None:
        super().__init__(sentence)
        self.sentence = sentence


@dataclass(frozen=True)
class Exporter:
    """The desk itself, where nobody else can tell what became of an export."""

    kind: str = "worker"
    id: str = "exporter"
    label: str = "the exporter"
    surface: str = "worker"
    address: str = ""
    proof: tuple[tuple[str, str], ...] = ()


@atomic_anew
def begin_export(*, actor: ActorLike, filters: Filters, wanted: Format) -> Export:
    """Fix what is exported, and note that it is. Raises NotExported."""
    cut = take_cut()
    # Times as moments: “today” must mean the same when the download is begun again tomorrow.
    pinned = filters.pinned()
    query = pinned.query(before=None, after=None)
    if len(query) > Export._meta.get_field("query").max_length:  # type: ignore[operator]
        raise NotExported("This filter is too long to be kept with the export. Search for less at once.")
    try:
        with no_longer_than(COUNTED_WITHIN):
            number = entries_of(pinned, cut, actor).count()
    except OperationalError:
        raise NotExported("This filter takes too long to search. Narrow it by a time or a kind of act.") from None
    export = Export.objects.create(
        person=int(actor.id), query=query, format=wanted.name, snapshot=str(cut), rows_total=number
    )
    record("ledger.exported", actor=actor, details=_details(export))
    return export


@atomic_anew
def ask_again(*, actor: ActorLike, export: UUID) -> None:
    """Let an export that was broken off begin once more, over the same entries. Raises NotExported."""
    _note_lost()
    anew = Export.objects.filter(pk=export, state=Export.State.BROKEN_OFF)
    if not anew.update(state=Export.State.ASKED, rows_done=0, sha256="", changed_at=Now()):
        raise NotExported("This export is not one that was broken off.")
    record("ledger.exported", actor=actor, details={**_details(Export.objects.get(pk=export)), "again": "yes"})


@atomic_anew
def start_export(export: UUID) -> Export:
    """Take an export up that was asked for. Raises NotExported where it is none, or too many run."""
    with connection.cursor() as cursor:
        # Held to the end of this transaction: of two that look at once, one sees the other.
        cursor.execute("SELECT pg_advisory_xact_lock(%s, %s)", _LOCK)
    _note_lost()
    running = list(Export.objects.running())
    found = Export.objects.get(pk=export)
    if found.state != Export.State.ASKED:
        raise NotExported("This export was begun already.")
    if sum(one.person == found.person for one in running) >= MOST_OF_ONE:
        raise NotExported("Another export of yours is still running. Begin this one when it has ended.")
    if len(running) >= MOST:
        raise NotExported(f"{MOST} exports are running, and no more at once. Begin this one in a moment.")
    Export.objects.filter(pk=export).update(state=Export.State.RUNNING, rows_done=0, changed_at=Now())
    return found


def note_progress(export: UUID, rows: int) -> bool:
    """Note how far it is; False where it was broken off meanwhile."""
    return bool(_running(export).update(rows_done=rows, changed_at=Now()))


@transaction.atomic
def end_export(*, actor: ActorLike, export: UUID, rows: int, sha256: str) -> bool:
    """Note that all of it was handed out, and what it was; False where it was broken off meanwhile."""
    done = {"state": Export.State.DONE, "rows_done": rows, "sha256": sha256, "changed_at": Now()}
    if not _running(export).update(**done):
        return False
    told = {**_details(Export.objects.get(pk=export)), "rows": str(rows), "sha256": sha256}
    record("ledger.export_ended", actor=actor, details=told)
    return True


@transaction.atomic
def break_off(*, actor: ActorLike, export: UUID, rows: int, reason: str) -> None:
    """Note that only a part of it was handed out."""
    broken = {"state": Export.State.BROKEN_OFF, "rows_done": rows, "changed_at": Now()}
    if _running(export).update(**broken):
        told = {**_details(Export.objects.get(pk=export)), "handed_out": str(rows), "reason": reason}
        record("ledger.export_broken_off", actor=actor, details=told)


@transaction.atomic
def note_lost_exports() -> None:
    """Note as broken off what no process writes any more."""
    _note_lost()


def _note_lost() -> None:
    for lost in Export.objects.running().idle_for(LOST_AFTER):
        break_off(actor=Exporter(), export=lost.pk, rows=lost.rows_done, reason=LOST)


def _running(export: UUID) -> QuerySet[Export]:
    return Export.objects.filter(pk=export, state=Export.State.RUNNING)


def _details(export: Export) -> dict[str, str]:
    """Return what every entry of an export tells of it."""
    return {
        "export": str(export.pk),
        "filter": export.query or "everything",
        "format": FORMATS[export.format].label,
        "rows": str(export.rows_total),
    }
