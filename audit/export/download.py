"""Streams an export to the browser, some entries at a time; the file is never stored on
the server.

So nothing has to be guarded and deleted, and it works on any number of hosts. It costs
a thread of the web process for as long as it runs, so only a few run at once
(exports.MOST), a reader who reads nothing loses the connection (dashboard/asgi.py), and
one who reads too slowly is broken off here.
"""

import hashlib
import logging
import time
from collections.abc import Callable, Iterator

from django.db import DatabaseError

from audit.export.exports import Cut, break_off, end_export, entries_of, note_progress
from audit.export.formats import FORMATS
from audit.models import Export, SealedEntry
from audit.search.filters import Filters
from audit.trail import lines, with_subjects
from common.actors import Actor
from common.logs import trace_id, traced
from common.postgres import statements_within

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
            if not end_export(
                actor=self._actor,
                export=self._export.pk,
                rows=self._rows,
                sha256=self._sum.hexdigest(),
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
                batch = entries.after(last)[:AT_ONCE]
                found = lines(batch) if self._format.has_details else list(batch)
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
                sealed = SealedEntry.objects.filter(entry__in=[one.pk for one in found])
                seals = dict(sealed.values_list("entry", "seal"))
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
            break_off(
                actor=self._actor,
                export=self._export.pk,
                rows=self._rows,
                reason=sentence,
            )
        except DatabaseError as error:
            # A later check records it as an export that lost its process.
            log.warning(
                "end of an export not noted", extra={"reason": type(error).__name__}
            )
