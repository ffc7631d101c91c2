"""Exports of what a filter shows, as CSV or JSON Lines, with personal details or
without.

An export holds the entries that were there when it was asked for, however long it runs:
it goes by PostgreSQL's snapshot of that moment, and no transaction is held open.
`Download` streams it to the browser, some entries at a time; the file is never stored
on the server, so nothing has to be guarded and deleted. It costs a thread of the web
process for as long as it runs, so only a few run at once (MOST), a reader who reads
nothing loses the connection (dashboard/asgi.py), and one who reads too slowly is broken
off here. The page is in `people.exports`, because it asks people to confirm who they
are.
"""

import hashlib
import json
import logging
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC
from weakref import WeakSet

from django import forms
from django.db import DatabaseError, transaction
from django.db.models import BooleanField, Func, Max, Q, Value

from audit.fields import TransactionIdField
from audit.models import Entry, EntryQuerySet, SealedEntry
from audit.recording import record
from audit.search.filters import Filters
from audit.search.results import SearchTooLongError, readable, within_time
from audit.trail import lines, with_subjects
from common.actors import Actor
from common.csv_rows import csv_row
from common.fingerprint import FINGERPRINT, short_fingerprint
from common.logs import trace_id, traced
from common.postgres import (
    atomic_with_retry,
    current_snapshot,
    statements_within,
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


def _json_line(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")) + "\n"


class ExportForm(forms.Form):
    """The format, and whether names, addresses, subjects and reasons are in it."""

    format = forms.ChoiceField(choices=[("csv", "CSV"), ("jsonl", "JSON Lines")])
    details = forms.BooleanField(required=False)

    def wanted(self) -> Format:
        """Return what was chosen."""
        return Format(self.cleaned_data["format"], self.cleaned_data["details"])


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
# Each holds one of the web process's four threads.
MOST = 2
_running: WeakSet["Download"] = WeakSet()
_guard = threading.Lock()


class NotExported(Exception):
    """The export cannot begin now; the sentence says why."""


class _BrokenOff(Exception):
    """Why the export ends here."""


@atomic_with_retry
def begin_export(
    *, actor: Actor, filters: Filters, wanted: Format, stays: Callable[[], bool]
) -> "Download":
    """Fix what is exported, note that it is, and return the file. `stays` says whether
    the person may still have it. Raises NotExported.
    """
    with _guard:
        if len(_running) >= MOST:
            raise NotExported(
                f"{MOST} exports are running, which is the limit. Try again in a moment."
            )
        try:
            with within_time():
                entries = entries_of(filters, take_cut(), actor).oldest_first()
        except SearchTooLongError:
            raise NotExported(
                "This filter takes too long to search. Narrow it by time or action."
            ) from None
        # Times as moments: "today" says nothing in an entry.
        query = filters.pinned().query(before=None, after=None)
        details = {"filter": query or "everything", "format": wanted.label}
        record("ledger.exported", actor, details=details)
        export = Download(entries, wanted, actor=actor, details=details, stays=stays)
        _running.add(export)
        return export


class Download:
    """The parts of one export, produced as the server iterates. `close` ends it early,
    also before the first part.
    """

    def __init__(
        self,
        entries: EntryQuerySet,
        wanted: Format,
        *,
        actor: Actor,
        details: dict[str, str],
        stays: Callable[[], bool],
    ) -> None:
        self._entries = entries
        self._format = wanted
        self._actor = actor
        self._details = details
        self._stays = stays
        self._sum = hashlib.sha256()
        self._rows = 0
        # A server iterates when the request's own trace has ended.
        self._trace = trace_id.get()

    def close(self) -> None:
        """End the export now. Does nothing after its end."""
        self._break_off(GONE)

    def __iter__(self) -> Iterator[bytes]:
        try:
            yield self._part(self._format.head())
            for found in self._batches():
                began = time.monotonic()
                yield self._part("".join(found))
                if time.monotonic() - began > SLOWEST:
                    raise _BrokenOff(SLOW)
                self._rows += len(found)
            self._end(
                "ledger.export_ended",
                rows=str(self._rows),
                sha256=self._sum.hexdigest(),
            )
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
        is_csv = self._format.kind == "csv"
        last = 0
        while True:
            if not self._stays():
                raise _BrokenOff(NO_LONGER)
            with statements_within(READ_WITHIN):
                found = lines(self._entries.after(last)[:AT_ONCE])
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
        try:
            self._end(
                "ledger.export_broken_off", handed_out=str(self._rows), reason=sentence
            )
        except DatabaseError as error:
            log.warning(
                "end of an export not noted", extra={"reason": type(error).__name__}
            )

    def _end(self, action: str, **more: str) -> None:
        """Record how the export ended, once, and make room for another."""
        if self not in _running:
            return
        _running.discard(self)
        with traced(self._trace), transaction.atomic():
            record(action, self._actor, details=self._details | more)
