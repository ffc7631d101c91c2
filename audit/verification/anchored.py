"""Compares the anchors with each other and with the seals' file: whether one that was written is still there."""

import json
import os
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db.models import Max

from audit.models import Anchor
from audit.verifier.countersign_verify import Report
from common.postgres.rows import run

# Only the end of the seals' file is read: each seal covers all earlier entries.
_TAIL = 4 * 1024 * 1024

# Each anchor names the seal that was written to the same place before it.
_REMOVED = """
SELECT previous, kind, seal FROM audit_anchor later
 WHERE previous > 0
   AND NOT EXISTS (SELECT FROM audit_anchor earlier WHERE earlier.kind = later.kind AND earlier.seal = later.previous)
 ORDER BY previous
"""
_IN_FILE = """
SELECT before.number, before.signature, after.number, after.signature
  FROM audit_anchor anchor
  JOIN audit_seal before ON before.number = anchor.previous
  JOIN audit_seal after ON after.number = anchor.seal
 WHERE anchor.kind = %s AND anchor.seal >= %s ORDER BY anchor.seal
"""


def read_end_of_file() -> bytes:
    """Return the whole lines at the end of the seals' file. Raises OSError."""
    with Path(settings.SEAL_FILE).open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL))
        is_cut, data = file.tell() > 0, file.read()
    return data.partition(b"\n")[2] if is_cut else data


def check_anchors(report: Report) -> None:
    """Find anchors and lines of the seals' file that were removed."""
    newest = Anchor.objects.aggregate(seal=Max("seal"))["seal"] or 0
    last = report.last.number if report.last else 0
    if newest > last:
        report.find(f"Seal {newest} was written outside, and the last one here is {last}: the end was deleted.")
    for previous, kind, seal in run(_REMOVED).rows:
        where = "to the seals' file" if kind == Anchor.Kind.FILE else "to Discord"
        report.find(f"Seal {previous} was written {where} before seal {seal}, and its anchor was removed.")
    _check_file(report)


def _check_file(report: Report) -> None:
    """Find lines that were removed. The file is read after the anchors: a line is written before its anchor."""
    try:
        lines = _lines(read_end_of_file())
    except OSError:
        return
    if not lines:
        return
    places = {line: place for place, line in enumerate(lines)}
    lowest = min(number for number, _ in lines)
    gone = set()
    # Several hosts may have a file each: a pair counts where one of the two is in this one.
    for before, before_signature, after, after_signature in run(_IN_FILE, [Anchor.Kind.FILE, lowest]).rows:
        first = places.get((before, before_signature))
        second = places.get((after, after_signature))
        if first is not None and second is None:
            gone.add(after)
        elif first is None and second:
            gone.add(before)
    for number in sorted(gone):
        report.find(f"Seal {number} was written to the seals' file, and its line is gone.")


def _lines(data: bytes) -> list[tuple[Any, Any]]:
    """Return number and signature of each line. One that is no seal has been reported already."""
    found = []
    for line in data.splitlines():
        try:
            seal = json.loads(line)
            found.append((int(seal["number"]), str(seal["signature"])))
        except (ValueError, TypeError, KeyError, RecursionError):
            continue
    return found
