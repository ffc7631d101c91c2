"""Exports the entries of the ledger that match a filter, as a CSV or JSON Lines file,
with or without personal details.

An export contains the entries that existed when it was asked for, however long it runs:
it remembers PostgreSQL's snapshot of that moment, without holding a transaction open.
`Download` streams the file to the browser, some entries at a time; it is never stored
on the server.

Each export occupies a thread of the web process, so at most MOST run at once. A browser
that reads too slowly is cut off here, and one that reads nothing in dashboard/asgi.py.
The page is in `people.exports`, because it asks people to confirm who they are.
"""

import hashlib
import json
import logging
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakSet

from django import forms
from django.db import DatabaseError, transaction
from django.db.models import BooleanField, Func, Max, Q, Value

from audit.fields import TransactionIdField
from audit.models import Entry, EntryQuerySet, SealedEntry, written_time
from audit.recording import record
from audit.search.filters import Filters
from audit.search.results import SearchTooLongError, readable, within_time
from audit.trail import lines, with_subjects
from common.actors import Actor
from common.csv_rows import MARK, csv_row
from common.fingerprint import FINGERPRINT, short_fingerprint
from common.logs import trace_id, traced
from common.pages import DrawnForm, NotedChoice, same_error, tick_field
from common.postgres import atomic_with_retry, current_snapshot, statements_within

# --- How a file is written ------------------------------------------------------------


COLUMNS = tuple(
    """
    id at action outcome sentence actor actor_kind actor_id surface address connection
    message subject fingerprint fingerprint_sha256 trace reason origin
    details hash seal
    """.split()
)
# In characters. Excel's cells hold 32,767 UTF-16 units, and puts more into others; one
# character can be two units, or need an apostrophe.
MAX_CELL = 16_000
CUT = "(Cut: a spreadsheet's cell holds no more. The whole is in the export as JSON Lines.)"
# Control characters as visible signs: at some, programs end the file. Then those that
# turn the direction of what follows.
_PICTURES = {code: 0x2400 + code for code in range(32) if chr(code) not in "\t\n\r"}
_PICTURES |= dict.fromkeys((*range(0x202A, 0x202F), *range(0x2066, 0x206A)), 0xFFFD)
# Signs at which some programs end a line of JSON.
_LINE_ENDS = {code: f"\\u{code:04x}" for code in (0x85, 0x2028, 0x2029)}
# Details that have their own column in a CSV file.
_OWN = frozenset({"actor", "address", "subject", "reason"})


@dataclass(frozen=True)
class Format:
    """The format of a file: `kind` is "csv" or "jsonl"."""

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
        return MARK + csv_row(COLUMNS) if self.kind == "csv" else ""

    def row(self, line: Entry, seal: int | None) -> str:
        """Return the line of one entry, which the seal of this number covers."""
        if self.kind != "csv":
            columns = line.as_json()
            if not self.has_details:
                # `details_removed` would be wrong: the ledger may still have them.
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
            written_time(line.at),
            line.action,
            line.outcome,
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
        return csv_row(_in_cell(one) if isinstance(one, str) else one for one in cells)

    def broken(self, sentence: str) -> str:
        """Return the last line of an incomplete file, which does not look like an entry."""
        notice = f"INTERRUPTED, this file is incomplete: {sentence}"
        if self.kind == "csv":
            return csv_row((notice,))
        return _json_line({"broken_off": notice})


def _json_line(value: object) -> str:
    line = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return f"{line.translate(_LINE_ENDS)}\n"


def _in_cell(text: str) -> str:
    text = text.translate(_PICTURES)
    return text if len(text) <= MAX_CELL else f"{text[:MAX_CELL]}… {CUT}"


class ExportForm(DrawnForm):
    """The format, and whether names, addresses, subjects and reasons are in it."""

    format = forms.ChoiceField(
        label="Format",
        choices=[
            (
                "csv",
                NotedChoice(
                    "CSV",
                    "For spreadsheets. One column per field; an apostrophe is put before anything that a spreadsheet "
                    "would run as a formula.",
                ),
            ),
            (
                "jsonl",
                NotedChoice(
                    "JSON Lines",
                    "For programs. One line per entry, exactly as recorded.",
                ),
            ),
        ],
        widget=forms.RadioSelect,
        error_messages=same_error("Choose CSV or JSON Lines."),
    )
    details = tick_field(
        "With names, addresses, subjects and reasons",
        "Without them the file says what happened and when, and identifies people by number only. It can "
        "still be compared with the ledger.",
    )

    def wanted(self) -> Format:
        """Return the chosen format."""
        return Format(self.cleaned_data["format"], self.cleaned_data["details"])


# --- Which entries it holds ----------------------------------------------------------


class _VisibleIn(Func):
    """A database expression: whether a snapshot sees the rows of a transaction."""

    function = "pg_visible_in_snapshot"
    output_field = BooleanField()


@dataclass(frozen=True)
class Cut:
    """A moment of the ledger, as a snapshot of PostgreSQL. Entries with numbers up to
    `after_id` are from earlier epochs, and existed then; those above `last` did not.
    """

    snapshot: str
    after_id: int
    last: int


def take_cut() -> Cut:
    """Return the present moment of the ledger. The transaction must not have written
    anything yet.
    """
    # After a restore, old entries have transaction ids of another cluster, which cannot
    # be compared with the snapshot. They are recognised by this: they can be read
    # although the snapshot does not see their transactions. Uses the index
    # entry_to_seal.
    snapshot_now = Func(function="pg_current_snapshot")
    xmin = Func(
        snapshot_now, function="pg_snapshot_xmin", output_field=TransactionIdField()
    )
    after_id = (
        Entry.objects.filter(xid__gte=xmin)
        .exclude(_VisibleIn("xid", snapshot_now))
        .aggregate(last=Max("pk"))["last"]
        or 0
    )
    snapshot = current_snapshot()
    last = Entry.objects.aggregate(last=Max("pk"))["last"] or 0
    return Cut(snapshot.text, after_id, last)


def entries_of(filters: Filters, cut: Cut, actor: Actor) -> EntryQuerySet:
    """Return the entries that match the filters, that the actor may read, and that
    existed at the moment of the cut.
    """
    snapshot = Func(Value(cut.snapshot), template="%(expressions)s::pg_snapshot")
    existed = Q(id__lte=cut.after_id) | Q(_VisibleIn("xid", snapshot))
    return readable(actor, filters).filter(existed, id__lte=cut.last)


# --- The download ---------------------------------------------------------------------


log = logging.getLogger(__name__)

# How many entries are one part of the file.
AT_ONCE = 1_000
# How many seconds a browser may take to receive one part.
SLOWEST = 120.0
# How many milliseconds the database may take for one part.
READ_WITHIN = 30_000

# The reasons why an export is interrupted, for the file's last line and the ledger.
GONE = "The browser closed the connection."
NO_LONGER = (
    "The person who requested it has signed out, or may no longer see all of it."
)
SLOW = "The browser was too slow."
FAILED = "The database did not answer in time."
WRONG = "The desk had an error."
# How many exports run at once. Each occupies one of the web process's four threads.
MOST = 2
_running: WeakSet["Download"] = WeakSet()
_guard = threading.Lock()


class NotExported(Exception):
    """The export cannot begin now; the sentence says why."""


class _BrokenOff(Exception):
    """The export must be interrupted; the message is the reason."""


@atomic_with_retry
def begin_export(
    *, actor: Actor, filters: Filters, wanted: Format, stays: Callable[[], bool]
) -> "Download":
    """Determine which entries are exported, record the export, and return the file.

    `stays` is called before each part, and returns whether the person may still have
    it. Raises NotExported if too many exports run, or if the filter takes too long.
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
        # With exact times: in an entry, "today" would not say which day.
        query = filters.pinned().query(before=None, after=None)
        details = {"filter": query or "everything", "format": wanted.label}
        record("ledger.exported", actor, details=details)
        export = Download(entries, wanted, actor, details, stays)
        _running.add(export)
        return export


@dataclass(eq=False)
class Download:
    """One export as an iterator over the parts of the file, which the server sends to
    the browser. `close` ends it early, also before the first part.
    """

    entries: EntryQuerySet
    wanted: Format
    actor: Actor
    details: dict[str, str]
    stays: Callable[[], bool]
    rows: int = 0
    digest: Any = field(default_factory=hashlib.sha256)
    # Kept for the last entry: the server iterates after the request has ended.
    trace: str = field(default_factory=trace_id.get)

    def close(self) -> None:
        """Interrupt the export, unless it has ended."""
        self._break_off(GONE)

    def __iter__(self) -> Iterator[bytes]:
        try:
            yield self._part(self.wanted.head())
            for rows in self._batches():
                began = time.monotonic()
                yield self._part("".join(rows))
                if time.monotonic() - began > SLOWEST:
                    raise _BrokenOff(SLOW)
                self.rows += len(rows)
            self._end(
                "ledger.export_ended",
                rows=str(self.rows),
                sha256=self.digest.hexdigest(),
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
        # The server ends the response as if it were complete, so the file has to say
        # that it is not.
        yield self.wanted.broken(sentence).encode()

    def _batches(self) -> Iterator[list[str]]:
        """Yield the lines of the file, AT_ONCE at a time, the oldest entries first.
        Keyset paging costs the same at any point of the ledger.
        """
        is_csv = self.wanted.kind == "csv"
        last = 0
        while True:
            if not self.stays():
                raise _BrokenOff(NO_LONGER)
            with statements_within(READ_WITHIN):
                entries = lines(self.entries.filter(pk__gt=last)[:AT_ONCE])
                if not self.wanted.has_details:
                    for entry in entries:
                        entry.details = {}
                elif is_csv:
                    with_subjects(entries)
            if not entries:
                return
            last = entries[-1].pk
            seals = {}
            if is_csv:
                seals = dict(
                    SealedEntry.objects.filter(
                        entry__in=[one.pk for one in entries]
                    ).values_list("entry", "seal")
                )
            yield [self.wanted.row(one, seals.get(one.pk)) for one in entries]

    def _part(self, text: str) -> bytes:
        part = text.encode()
        self.digest.update(part)
        return part

    def _break_off(self, sentence: str) -> None:
        try:
            self._end(
                "ledger.export_broken_off", handed_out=str(self.rows), reason=sentence
            )
        except DatabaseError as error:
            log.warning(
                "end of an export not noted", extra={"reason": type(error).__name__}
            )

    def _end(self, action: str, **more: str) -> None:
        """Record how the export ended, only once, and let another one begin."""
        if self not in _running:
            return
        _running.discard(self)
        with traced(self.trace), transaction.atomic():
            record(action, self.actor, details=self.details | more)
