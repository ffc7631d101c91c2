"""Exports of what a filter shows, as CSV or JSON Lines, with personal details or
without: requested, running, done or interrupted. Each step is one transaction with its
entry.

An export holds the entries that were there when it was asked for, however long it runs.
PostgreSQL's snapshot of that moment is stored as text, so no transaction is held open.
`Download` streams it to the browser, some entries at a time; the file is never stored
on the server, so nothing has to be guarded and deleted, and it works on any number of
hosts. It costs a thread of the web process for as long as it runs, so only a few run at
once (MOST), a reader who reads nothing loses the connection (dashboard/asgi.py), and
one who reads too slowly is broken off here. The pages are in `people.exports`, because
they ask people to confirm who they are.
"""

import hashlib
import json
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, timedelta
from typing import Self
from uuid import UUID

from django import forms
from django.db import DatabaseError, OperationalError, transaction
from django.db.models import BooleanField, Func, Max, Q, Value
from django.db.models.functions import Now

from audit.fields import TransactionIdField
from audit.models import Entry, EntryQuerySet, Export, SealedEntry
from audit.recording import record
from audit.search.filters import Filters
from audit.search.results import readable
from audit.trail import lines, with_subjects
from common.actors import Actor
from common.csv_rows import csv_row
from common.fingerprint import FINGERPRINT, short_fingerprint
from common.logs import trace_id, traced
from common.postgres import (
    atomic_with_retry,
    current_snapshot,
    statements_within,
    take_lock,
)

# --- How a file is written ------------------------------------------------------------


COLUMNS = tuple(
    """
    id at action sentence actor actor_kind actor_id surface address connection
    message subject fingerprint fingerprint_sha256 trace reason origin
    details hash seal
    """.split()
)
# Details that have a column of their own.
_OWN = frozenset({"actor", "address", "subject", "reason"})
# The byte order mark: without it spreadsheet programs read UTF-8 as another encoding.
_MARK = "\ufeff"


@dataclass(frozen=True)
class Format:
    """One way to write; `kind` is csv or jsonl."""

    name: str
    kind: str
    has_details: bool

    @property
    def label(self) -> str:
        """The format's name for people."""
        kind = "CSV" if self.kind == "csv" else "JSON Lines"
        return kind if self.has_details else f"{kind} without personal details"

    @property
    def content_type(self) -> str:
        kind = "text/csv" if self.kind == "csv" else "application/jsonl"
        return f"{kind}; charset=utf-8"

    def head(self) -> str:
        """Return what comes before the first entry."""
        return _MARK + csv_row(COLUMNS) if self.kind == "csv" else ""

    def row(self, line: Entry, seal: int | None) -> str:
        """Return one entry, with the end of its line."""
        if self.kind != "csv":
            columns = line.as_json()
            if not self.has_details:
                # The ledger may still have the details that are left out here.
                del columns["details"], columns["details_removed"]
            return _json_line(columns)
        details = line.details
        others = {
            name: text
            for name, text in details.items()
            if name not in _OWN and not name.startswith("trigger.")
        }
        whole = line.fingerprint
        cells = (
            line.pk,
            line.at.astimezone(UTC).isoformat(timespec="microseconds"),
            line.action,
            line.sentence,
            line.actor,
            line.actor_kind,
            line.actor_id,
            line.surface,
            details.get("address", ""),
            line.connection or "",
            line.message or "",
            line.subject,
            short_fingerprint(whole) if FINGERPRINT.fullmatch(whole) else "",
            whole,
            line.trace,
            details.get("reason", ""),
            "; ".join(f"{name}: {value}" for name, value in line.trigger.items()),
            json.dumps(others, ensure_ascii=False, sort_keys=True) if others else "",
            line.hash,
            seal or "",
        )
        return csv_row(cells)

    def broken(self, sentence: str) -> str:
        """Return the last line of an incomplete file, which no reader can mistake for
        an entry.
        """
        notice = f"INTERRUPTED, this file is incomplete: {sentence}"
        if self.kind == "csv":
            return csv_row((notice,))
        return _json_line({"broken_off": notice})


# The name is stored in the row of the export.
FORMATS: Mapping[str, Format] = {
    one.name: one
    for one in (
        Format("csv", "csv", True),
        Format("jsonl", "jsonl", True),
        Format("csv-bare", "csv", False),
        Format("jl-bare", "jsonl", False),
    )
}


def _json_line(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")) + "\n"


class ExportForm(forms.Form):
    """The format, and whether names, addresses, subjects and reasons are in it."""

    format = forms.ChoiceField(choices=[("csv", "CSV"), ("jsonl", "JSON Lines")])
    details = forms.BooleanField(required=False)

    def wanted(self) -> Format:
        """Return what was chosen."""
        chosen = (self.cleaned_data["format"], self.cleaned_data["details"])
        return next(
            one for one in FORMATS.values() if (one.kind, one.has_details) == chosen
        )


# --- The life of an export ------------------------------------------------------------


# Limits per person and in total: each export holds one of the web process's four
# threads.
MOST_OF_ONE = 1
MOST = 2
# An export without progress for so long has lost its process; longer than SLOWEST.
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
    return bool(
        Export.objects.running()
        .filter(pk=export)
        .update(rows_done=rows, changed_at=Now())
    )


@transaction.atomic
def end_export(
    export: UUID, *, actor: Actor, rows: int, sha256: str = "", reason: str = ""
) -> bool:
    """Record that the export was sent completely, or for what reason only a part of
    it; False where it was interrupted meanwhile.
    """
    state = Export.State.BROKEN_OFF if reason else Export.State.DONE
    running = Export.objects.running().filter(pk=export)
    if not running.update(state=state, rows_done=rows, sha256=sha256, changed_at=Now()):
        return False
    ended = Export.objects.get(pk=export)
    if reason:
        action = "ledger.export_broken_off"
        _record(action, ended, actor, handed_out=str(rows), reason=reason)
    else:
        _record("ledger.export_ended", ended, actor, rows=str(rows), sha256=sha256)
    return True


@transaction.atomic
def note_lost_exports() -> None:
    """Record exports whose process has died as interrupted."""
    for lost in Export.objects.running().idle_for(LOST_AFTER):
        end_export(lost.pk, actor=_EXPORTER, rows=lost.rows_done, reason=LOST)


def _record(action: str, export: Export, actor: Actor, **more: str) -> None:
    details = {
        "export": str(export.pk),
        "filter": export.query or "everything",
        "format": FORMATS[export.format].label,
        "rows": str(export.rows_total),
    }
    record(action, actor, details=details | more)


# --- Which entries it holds ----------------------------------------------------------


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
    after_id = (
        Entry.objects.filter(xid__gte=xmin)
        .exclude(_VisibleIn("xid", now))
        .aggregate(last=Max("pk"))["last"]
        or 0
    )
    snapshot = current_snapshot()
    last = Entry.objects.aggregate(last=Max("pk"))["last"] or 0
    return Cut(snapshot.text, after_id, last)


def entries_of(filters: Filters, cut: Cut, actor: Actor) -> EntryQuerySet:
    """Return what the filters showed to the actor at that moment."""
    snapshot = Func(Value(cut.snapshot), template="%(expressions)s::pg_snapshot")
    there = Q(id__lte=cut.after_id) | Q(_VisibleIn("xid", snapshot))
    return readable(actor, filters).filter(there, id__lte=cut.last)


# --- The download ---------------------------------------------------------------------


log = logging.getLogger(__name__)

AT_ONCE = 1_000
# Seconds that a reader may take for one part.
SLOWEST = 120.0
# Milliseconds that the database may take for one part.
READ_WITHIN = 30_000

GONE = "The browser closed the connection."
NO_LONGER = (
    "The person who requested it has signed out, or may no longer see all of it."
)
SLOW = "The browser was too slow."
FAILED = "The database did not answer in time."
WRONG = "The desk had an error."
TAKEN = "It was interrupted in the meantime."


class _BrokenOff(Exception):
    """Why the export ends here."""


class Download:
    """The parts of one export, produced as the server iterates. `close` ends it early,
    also before the first part.
    """

    def __init__(
        self, export: Export, *, actor: Actor, stays: Callable[[], bool]
    ) -> None:
        self._export = export
        self._actor = actor
        self._stays = stays
        self._format = FORMATS[export.format]
        self._sum = hashlib.sha256()
        self._rows = 0
        self._is_open = True
        # A server iterates when the request's own trace has ended.
        self._trace = trace_id.get()
        self._parts = self._produced()

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        with traced(self._trace):
            return next(self._parts)

    def close(self) -> None:
        """End the export now. Does nothing after its end."""
        with traced(self._trace):
            self._break_off(GONE)

    def _produced(self) -> Iterator[bytes]:
        try:
            yield self._part(self._format.head())
            for found in self._batches():
                began = time.monotonic()
                yield self._part("".join(found))
                if time.monotonic() - began > SLOWEST:
                    raise _BrokenOff(SLOW)
                self._rows += len(found)
                if not note_progress(self._export.pk, self._rows):
                    raise _BrokenOff(TAKEN)
            digest = self._sum.hexdigest()
            if not end_export(
                self._export.pk, actor=self._actor, rows=self._rows, sha256=digest
            ):
                raise _BrokenOff(TAKEN)
            self._is_open = False
            return
        except _BrokenOff as broken:
            sentence = str(broken)
        except DatabaseError as error:
            log.warning("export broken off", extra={"reason": type(error).__name__})
            sentence = FAILED
        except Exception:
            log.exception("export broken off")
            sentence = WRONG
        self._break_off(sentence)
        # The server would end the answer as if it were whole.
        yield self._format.broken(sentence).encode()

    def _batches(self) -> Iterator[list[str]]:
        """Yield rows, oldest first: a file reads from the beginning, and keyset paging
        costs the same anywhere.
        """
        filters = Filters.from_query(self._export.query)
        cut = Cut.read(self._export.snapshot)
        with statements_within(READ_WITHIN):
            entries = entries_of(filters, cut, self._actor).oldest_first()
        is_csv = self._format.kind == "csv"
        last = 0
        while True:
            if not self._stays():
                raise _BrokenOff(NO_LONGER)
            with statements_within(READ_WITHIN):
                found = lines(entries.after(last)[:AT_ONCE])
                if not self._format.has_details:
                    for entry in found:
                        entry.details = {}
                elif is_csv:
                    with_subjects(found)
            if not found:
                return
            last = found[-1].pk
            seals = {}
            if is_csv:
                seals = dict(
                    SealedEntry.objects.filter(
                        entry__in=[one.pk for one in found]
                    ).values_list("entry", "seal")
                )
            yield [self._format.row(one, seals.get(one.pk)) for one in found]

    def _part(self, text: str) -> bytes:
        part = text.encode()
        self._sum.update(part)
        return part

    def _break_off(self, sentence: str) -> None:
        if not self._is_open:
            return
        self._is_open = False
        try:
            end_export(
                self._export.pk, actor=self._actor, rows=self._rows, reason=sentence
            )
        except DatabaseError as error:
            # A later check records it as an export that lost its process.
            log.warning(
                "end of an export not noted", extra={"reason": type(error).__name__}
            )
