"""The forms of allowlists: a change, a search, and an operator's code."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django import forms
from django.utils import timezone

from common.mail_addresses import read_pattern
from common.pages import LenientForm, SentenceForm
from people.models import Person
from policy.allowlists.changes import MAX_NOTE, Change, WantedEntry
from policy.models import Allowlist

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


_TIMES = ["%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M", "%Y-%m-%d"]


class ChangeForm(SentenceForm):
    """A change of a list as its pages offer it: entries to put in, entries to take out,
    or another mode. The preview sends it again, with the version that it showed.
    """

    version = forms.IntegerField(required=False, min_value=0)
    note = forms.CharField(
        required=False,
        max_length=MAX_NOTE,
        error_messages={"max_length": f"Keep the note under {MAX_NOTE} characters."},
    )
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

    def clean_note(self) -> str:
        return " ".join(str(self.cleaned_data["note"]).split())

    def clean_owner(self) -> int | None:
        typed = str(self.cleaned_data["owner"]).strip()
        if not typed:
            return None
        active = Person.objects.filter(is_active=True, email=typed.lower())
        owner = active.values_list("pk", flat=True).first()
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

    def wanted(self) -> Change:
        """Return the change that was asked for."""
        cleaned = self.cleaned_data
        return Change(
            cleaned["mode"] or None,
            self.parsed.put,
            tuple(str(one)[:320] for one in cleaned["remove"]),
        )


class FindForm(LenientForm):
    """A search of entries by words or an address, and where a page begins."""

    q = forms.CharField(required=False, max_length=254)
    after = forms.CharField(required=False, max_length=254)
    # The row that a page begins behind.
    before = forms.IntegerField(required=False, min_value=0, max_value=2**63 - 1)


class CodeForm(LenientForm):
    """An operator's code; empty tries without."""

    code = forms.CharField(required=False, max_length=40)
