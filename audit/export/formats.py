"""How a file of entries is written: CSV for spreadsheets, JSON Lines for programs; with
personal details or without.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC

from django import forms

from audit.models import Entry
from common.csv_rows import csv_row
from common.fingerprint import FINGERPRINT, short_fingerprint

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
        if self.kind == "csv":
            return csv_row(_cells(line, seal))
        columns = line.as_json()
        if not self.has_details:
            # The ledger may still have the details that are left out here.
            del columns["details"], columns["details_removed"]
        return _json_line(columns)

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


def _cells(entry: Entry, seal: int | None) -> tuple[object, ...]:
    details = entry.details
    others = {
        name: text
        for name, text in details.items()
        if name not in _OWN and not name.startswith("trigger.")
    }
    whole = entry.fingerprint
    return (
        entry.pk,
        entry.at.astimezone(UTC).isoformat(timespec="microseconds"),
        entry.action,
        entry.sentence,
        entry.actor,
        entry.actor_kind,
        entry.actor_id,
        entry.surface,
        details.get("address", ""),
        entry.connection or "",
        entry.message or "",
        entry.subject,
        short_fingerprint(whole) if FINGERPRINT.fullmatch(whole) else "",
        whole,
        entry.trace,
        details.get("reason", ""),
        "; ".join(f"{name}: {value}" for name, value in entry.trigger.items()),
        json.dumps(others, ensure_ascii=False, sort_keys=True) if others else "",
        entry.hash,
        seal or "",
    )


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
