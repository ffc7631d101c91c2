"""Allowlists as CSV: reads files of spreadsheet programs, with problems by line, and
writes harmless ones. Pure.
"""

import csv
import io
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time

from common.csv_rows import csv_row, without_escapes
from common.patterns import read_pattern
from policy.allowlists.changes import MAX_NOTE, WantedEntry

COLUMNS = ("pattern", "note", "owner", "expires_at")
_SPELLINGS = {
    "owner email": "owner",
    "owner_email": "owner",
    "expires at": "expires_at",
    "expires": "expires_at",
}
MAX_BYTES = 1024 * 1024
MAX_ROWS = 20_000


@dataclass(frozen=True)
class LineError:
    """An invalid line: its number, its text, and why."""

    line: int
    text: str
    sentence: str


@dataclass(frozen=True)
class ParsedEntries:
    """Parsed entries, each pattern once, and the errors of the other lines."""

    put: tuple[WantedEntry, ...] = ()
    problems: tuple[LineError, ...] = ()


class UnreadableFile(Exception):
    """The file as a whole cannot be read; the sentence says why."""


def read_file(raw: bytes, *, people: Mapping[str, int]) -> ParsedEntries:
    """Read a CSV file. `people` are the keys of those who can be owners, by address.
    Raises UnreadableFile.
    """
    rows = _rows(raw)
    _, first = next(rows, (1, []))
    names = [" ".join(cell.lower().split()) for cell in first]
    header = [_SPELLINGS.get(name, name) for name in names]
    if "pattern" not in header:
        raise UnreadableFile(
            "The first line must name the columns: pattern, and optionally note, owner and expires_at."
        )
    unknown = [name for name in header if name not in COLUMNS]
    if unknown or len(set(header)) < len(header):
        raise UnreadableFile(
            f"The first line has an unknown or repeated column: {', '.join(unknown or header)!a}. "
            "Columns are pattern, note, owner and expires_at."
        )
    wanted: dict[str, WantedEntry] = {}
    first_at: dict[str, int] = {}
    problems = []
    for number, (line, cells) in enumerate(rows, start=1):
        if number > MAX_ROWS:
            raise UnreadableFile(
                f"The file has more than {MAX_ROWS:,} rows. Split it into several files."
            )
        if not any(cell.strip() for cell in cells):
            continue
        values = [without_escapes(cell.strip(" ")) for cell in cells]
        row = dict(zip(header, values, strict=False))
        try:
            if len(cells) > len(header):
                raise ValueError(
                    f"It has {len(cells)} columns, and the header {len(header)}."
                )
            one = _wanted(row, people)
            if one.pattern in wanted:
                raise ValueError(
                    f"{one.pattern} is already on line {first_at[one.pattern]}, which counts."
                )
        except ValueError as error:
            problems.append(LineError(line, row.get("pattern", "")[:200], str(error)))
            continue
        wanted[one.pattern] = one
        first_at[one.pattern] = line
    return ParsedEntries(tuple(wanted.values()), tuple(problems))


def read_lines(
    text: str, *, note: str, owner: int | None, expires_at: datetime | None
) -> ParsedEntries:
    """Read entries as they are typed, one a line."""
    wanted: dict[str, WantedEntry] = {}
    problems = []
    for number, line in enumerate(text.splitlines()[: MAX_ROWS + 1], start=1):
        if not line.strip():
            continue
        try:
            if number > MAX_ROWS:
                raise ValueError(
                    f"More than {MAX_ROWS:,} lines are not read. Split them into several files."
                )
            pattern = read_pattern(line)
            if pattern in wanted:
                raise ValueError(f"{pattern} is listed twice.")
        except ValueError as error:
            problems.append(LineError(number, line.strip()[:200], str(error)))
            continue
        wanted[pattern] = WantedEntry(pattern, note, owner, expires_at)
    return ParsedEntries(tuple(wanted.values()), tuple(problems))


def written(rows: Iterable[tuple[str, str, str, datetime | None]]) -> Iterator[str]:
    """Yield a file line by line: pattern, note, owner's address, end."""
    yield csv_row(COLUMNS)
    for pattern, note, owner, expires_at in rows:
        ends = expires_at.astimezone(UTC).isoformat() if expires_at else ""
        yield csv_row((pattern, note, owner, ends))


def _rows(raw: bytes) -> Iterator[tuple[int, list[str]]]:
    if len(raw) > MAX_BYTES:
        raise UnreadableFile(
            "The file is larger than 1 MB. Split it into several files."
        )
    if b"\0" in raw:
        raise UnreadableFile(
            "The file contains zero bytes, so it is not UTF-8 text. Save it as CSV in UTF-8."
        )
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise UnreadableFile(
            f"Line {line} is not in UTF-8. Save the file as CSV in UTF-8, then try again."
        ) from None
    head = text.partition("\n")[0]
    reader = csv.reader(
        io.StringIO(text, newline=""), delimiter=max(",;\t", key=head.count)
    )
    before = 0
    try:
        for cells in reader:
            # A cell may hold ends of line: a row's number is the line on which it
            # begins.
            yield before + 1, cells
            before = reader.line_num
    except csv.Error as error:
        raise UnreadableFile(
            f"Line {reader.line_num} cannot be read as CSV: {error}."
        ) from None


def _wanted(row: Mapping[str, str], people: Mapping[str, int]) -> WantedEntry:
    note = " ".join(row.get("note", "").split())
    owner = row.get("owner", "").strip()
    pattern = read_pattern(row.get("pattern", ""))
    if len(note) > MAX_NOTE:
        raise ValueError(f"The note is longer than {MAX_NOTE} characters.")
    if owner and owner.lower() not in people:
        raise ValueError(
            f"Nobody here has the address {owner[:80]!a}, so it cannot be the owner."
        )
    ends = _moment(row.get("expires_at", "").strip())
    return WantedEntry(pattern, note, people.get(owner.lower()), ends)


def _moment(text: str) -> datetime | None:
    """Return when an entry ends; a date means the end of that day, and a time without a
    zone is UTC.
    """
    if not text:
        return None
    try:
        if len(text) == len("2026-11-20"):
            return datetime.combine(date.fromisoformat(text), time(23, 59, 59), UTC)
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError(
            f"{text[:40]!a} is not a date or time such as 2026-12-31 or 2026-12-31T18:00."
        ) from None
