"""The forms of allowlists: a change, a file, a search, and an operator's code."""

from datetime import UTC, datetime
from typing import Any

from django import forms
from django.utils import timezone

from common.forms import LenientForm, SentenceForm
from common.patterns import MAX_TYPED, read_pattern
from people.models import Person
from policy.allowlists.changes import MAX_NOTE, WantedEntry
from policy.allowlists.csv_files import (
    MAX_BYTES,
    ParsedEntries,
    UnreadableFile,
    read_file,
    read_lines,
)
from policy.allowlists.drafts import MAX_OFFERED, Draft, without_repeats
from policy.models import Allowlist

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
            return without_repeats([read_pattern(one) for one in ticked])
        except ValueError as error:
            raise forms.ValidationError(str(error)) from None

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
        except UnreadableFile as error:
            self.add_error("file", str(error))
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
