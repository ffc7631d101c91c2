"""The forms of allowlists: a change, a file, a search, and an operator's code. Files
are CSV as spreadsheet programs write it, with the errors by line.
"""

import csv
import io
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from typing import Any

from django import forms
from django.utils import timezone

from common.csv_rows import csv_row, without_escapes
from common.mail_addresses import MAX_TYPED, domain_of, read_pattern
from common.pages import LenientForm, SentenceForm
from people.models import Person
from policy.allowlists.changes import MAX_NOTE, WantedEntry
from policy.allowlists.preview import MAX_OFFERED, Draft
from policy.models import Allowlist

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


def read_file(raw: bytes, *, people: Mapping[str, int]) -> ParsedEntries:
    """Read a CSV file. `people` are the keys of those who can be owners, by address.
    Raises ValidationError where the file as a whole cannot be read.
    """
    rows = _rows(raw)
    _, first = next(rows, (1, []))
    names = [" ".join(cell.lower().split()) for cell in first]
    header = [_SPELLINGS.get(name, name) for name in names]
    if "pattern" not in header:
        raise forms.ValidationError(
            "The first line must name the columns: pattern, and optionally note, owner and expires_at."
        )
    unknown = [name for name in header if name not in COLUMNS]
    if unknown or len(set(header)) < len(header):
        raise forms.ValidationError(
            f"The first line has an unknown or repeated column: {', '.join(unknown or header)!a}. "
            "Columns are pattern, note, owner and expires_at."
        )
    wanted: dict[str, WantedEntry] = {}
    first_at: dict[str, int] = {}
    problems = []
    for number, (line, cells) in enumerate(rows, start=1):
        if number > MAX_ROWS:
            raise forms.ValidationError(
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
        raise forms.ValidationError(
            "The file is larger than 1 MB. Split it into several files."
        )
    if b"\0" in raw:
        raise forms.ValidationError(
            "The file contains zero bytes, so it is not UTF-8 text. Save it as CSV in UTF-8."
        )
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise forms.ValidationError(
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
        raise forms.ValidationError(
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


_TIMES = ["%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M", "%Y-%m-%d"]
SHOWN = (
    ("", "all"),
    ("ending", "ending within two weeks"),
    ("expired", "expired"),
    ("unused", "never used"),
)


class NoteForm(SentenceForm):
    """What is typed about entries."""

    note = forms.CharField(
        required=False,
        max_length=MAX_NOTE,
        error_messages={"max_length": f"Keep the note under {MAX_NOTE} characters."},
    )

    def clean_note(self) -> str:
        return " ".join(str(self.cleaned_data["note"]).split())


class ChangeForm(NoteForm):
    """A change of a list as its pages offer it: entries to put in, entries to take out,
    or another mode.
    """

    lines = forms.CharField(required=False, widget=forms.Textarea)
    owner = forms.CharField(required=False, max_length=254)
    expires_at = forms.DateTimeField(
        required=False,
        input_formats=_TIMES,
        error_messages={"invalid": "Enter a date and time, or leave it empty."},
    )
    # In the request as often as something is ticked.
    remove = forms.Field(required=False, widget=forms.MultipleHiddenInput)
    mode = forms.ChoiceField(
        required=False,
        choices=Allowlist.Mode.choices,
        error_messages={"invalid_choice": "Choose one of the modes."},
    )

    parsed = ParsedEntries()

    def __init__(self, *args: Any, at: Allowlist, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.at = at

    def clean_owner(self) -> int | None:
        typed = str(self.cleaned_data["owner"]).strip()
        if not typed:
            return None
        owner = owners().get(typed.lower())
        if owner is None:
            raise forms.ValidationError(
                "Nobody here has this address. Leave it empty, or enter somebody at this desk."
            )
        return owner

    def clean_expires_at(self) -> datetime | None:
        typed: datetime | None = self.cleaned_data["expires_at"]
        if typed is None:
            return None
        typed = typed.replace(tzinfo=UTC)
        if typed <= timezone.now():
            raise forms.ValidationError("This time has passed. Times are UTC.")
        return typed

    def clean_mode(self) -> str:
        mode = str(self.cleaned_data["mode"])
        if self.at.is_bypass and mode == Allowlist.Mode.CONTACTS:
            raise forms.ValidationError(
                "A list of mail sent without review cannot use contacts."
            )
        return mode

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if not self.errors:
            self.parsed = read_lines(
                cleaned["lines"],
                note=cleaned["note"],
                owner=cleaned["owner"],
                expires_at=cleaned["expires_at"],
            )
            if not (self.parsed.put or cleaned["remove"] or cleaned["mode"]):
                why = "Enter at least one address or domain."
                if self.parsed.problems:
                    why = "No line is an address or a domain."
                self.add_error("lines", why)
        return cleaned

    def draft(self) -> Draft:
        """Return the change that was asked for."""
        cleaned = self.cleaned_data
        return Draft(
            cleaned["mode"] or None,
            self.parsed.put,
            tuple(str(one)[:320] for one in cleaned["remove"]),
        )


class AllowBlockedForm(NoteForm):
    """Which of the recipients that a change would block are allowed with it: addresses
    or whole domains.
    """

    # In the request as often as something is ticked.
    allow = forms.Field(
        widget=forms.MultipleHiddenInput,
        error_messages={"required": "Select at least one address or domain."},
    )

    def clean_allow(self) -> list[str]:
        ticked = [
            one[:MAX_TYPED] for one in self.cleaned_data["allow"][: 2 * MAX_OFFERED]
        ]
        try:
            chosen = list(dict.fromkeys(map(read_pattern, ticked)))
        except ValueError as error:
            raise forms.ValidationError(str(error)) from None
        # Without the addresses of a domain that is among them as a whole.
        return [one for one in chosen if "@" not in one or domain_of(one) not in chosen]

    def put(self, *, owner: int) -> tuple[WantedEntry, ...]:
        """Return the entries that were ticked, with the note."""
        return tuple(
            WantedEntry(pattern, self.cleaned_data["note"], owner)
            for pattern in self.cleaned_data["allow"]
        )


class ImportForm(SentenceForm):
    """A file of entries, and whether entries that it does not name are removed."""

    file = forms.FileField(
        error_messages={
            **dict.fromkeys(("required", "missing", "invalid"), "Choose a CSV file."),
            "empty": "The file is empty.",
        },
    )
    how = forms.ChoiceField(
        choices=[("add", "Add and change"), ("replace", "Replace the whole list")],
        error_messages={
            "required": "Choose what happens to the other entries.",
            "invalid_choice": "Choose one.",
        },
    )

    parsed = ParsedEntries()

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        upload = cleaned.get("file")
        if upload is None or self.errors:
            return cleaned
        try:
            self.parsed = read_file(upload.read(MAX_BYTES + 1), people=owners())
        except forms.ValidationError as error:
            self.add_error("file", error)
            return cleaned
        if self.parsed.problems and cleaned["how"] == "replace":
            first = self.parsed.problems[0]
            self.add_error(
                "file",
                f"Line {first.line}: {first.sentence} A file that replaces the list must have no errors "
                f"({len(self.parsed.problems)} to correct).",
            )
        elif not self.parsed.put and cleaned["how"] == "add":
            self.add_error("file", "This file has no valid entry.")
        return cleaned

    def draft(self) -> Draft:
        """Return the change that the file asks for."""
        return Draft(
            put=self.parsed.put,
            whole=self.cleaned_data["how"] == "replace",
            is_import=True,
        )


class FindForm(LenientForm):
    """A search of entries: words or an address, and which of them."""

    q = forms.CharField(required=False, max_length=254)
    show = forms.ChoiceField(required=False, choices=SHOWN)
    after = forms.CharField(required=False, max_length=254)
    # The row that a page begins behind.
    before = forms.IntegerField(required=False, min_value=0, max_value=2**63 - 1)

    def found(self) -> tuple[str, str, str]:
        """Return words, filter, and the pattern to begin after; empty where they are
        invalid.
        """
        q, show, after = (self.value(name) or "" for name in ("q", "show", "after"))
        return q, show, after


class CodeForm(LenientForm):
    """An operator's code; empty tries without."""

    code = forms.CharField(required=False, max_length=40)


def owners() -> dict[str, int]:
    """Return the keys of those who can answer for an entry, by address in lower case."""
    return {
        email.lower(): pk
        for email, pk in Person.objects.filter(is_active=True).values_list(
            "email", "pk"
        )
    }
