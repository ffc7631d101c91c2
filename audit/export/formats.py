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
