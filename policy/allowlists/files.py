"""Reads and writes the entries of an allowlist as a CSV file, in the variants that
spreadsheet programs use.
"""

import csv
import io
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, date, datetime, time

from common.csv_rows import MARK, csv_row, without_escapes
from common.mail_addresses import read_pattern
from policy.allowlists.changes import MAX_NOTE, WantedEntry

COLUMNS = ("pattern", "note", "owner", "expires_at")


def read_file(
    text: str, *, people: Mapping[str, int]
) -> tuple[dict[str, WantedEntry], list[tuple[int, str]]]:
    """Return the entries of a file by pattern, and its faulty lines as (number, what is
    wrong). `people` has the keys of those who can be owners of an entry, by address.

    Raises ValueError with a sentence if the file as a whole cannot be read.
    """
    first = text.partition("\n")[0]
    lines = io.StringIO(text, newline="")
    rows = csv.DictReader(lines, restval="", delimiter=max(",;\t", key=first.count))
    entries: dict[str, WantedEntry] = {}
    problems: list[tuple[int, str]] = []
    try:
        names = [" ".join(one.lower().split()) for one in rows.fieldnames or ()]
        if len({*names}) < len(names) or not {"pattern"} <= {*names} <= {*COLUMNS}:
            raise ValueError(
                "The first line must name the columns: pattern, and optionally note, owner and expires_at."
            )
        rows.fieldnames = names
        for row in rows:
            more = row.pop(None, None)
            row = {name: without_escapes(cell.strip(" ")) for name, cell in row.items()}
            if not (more or any(row.values())):
                continue
            try:
                if more:
                    raise ValueError("It has more columns than the first line.")
                pattern = read_pattern(row["pattern"])
                note = " ".join(row.get("note", "").split())
                if len(note) > MAX_NOTE:
                    raise ValueError(f"The note is longer than {MAX_NOTE} characters.")
                owner = row.get("owner", "").strip().lower()
                if owner and owner not in people:
                    raise ValueError(f"Nobody here has the address {owner[:80]!a}.")
                expires_at = _moment(row.get("expires_at", "").strip())
                if pattern in entries:
                    raise ValueError(f"{pattern} is on an earlier line.")
                entries[pattern] = WantedEntry(
                    pattern, note, people.get(owner), expires_at
                )
            except ValueError as error:
                problems.append((rows.line_num, str(error)))
    except csv.Error as error:
        raise ValueError(
            f"Line {rows.line_num} cannot be read as CSV: {error}."
        ) from None
    return entries, problems


def _moment(text: str) -> datetime | None:
    """Return when an entry ends, None for an empty text. A date means the end of that
    day in UTC; a time without a zone is UTC.
    """
    if not text:
        return None
    try:
        if len(text) == len("2026-12-31"):
            return datetime.combine(date.fromisoformat(text), time(23, 59, 59), UTC)
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError(
            f"{text[:40]!a} is not a date or time such as 2026-12-31 or 2026-12-31T18:00."
        ) from None


def written(rows: Iterable[tuple[str, str, str, datetime | None]]) -> Iterator[str]:
    """Yield the lines of a file, for rows of (pattern, note, owner's address, end)."""
    yield MARK + csv_row(COLUMNS)
    for pattern, note, owner, ends in rows:
        yield csv_row((pattern, note, owner or "", ends.isoformat() if ends else ""))
