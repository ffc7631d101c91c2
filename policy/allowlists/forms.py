"""The forms of allowlists: a change, also as a CSV file, a search, and an operator's
code.
"""

from datetime import UTC, datetime
from typing import Any

from django import forms
from django.utils import timezone

from common.mail_addresses import read_pattern
from common.pages import LenientForm, SentenceForm
from people.models import Person
from policy.allowlists.changes import MAX_NOTE, Change, WantedEntry
from policy.allowlists.files import read_file
from policy.models import AllowEntry, Allowlist

MAX_LINES = 20_000
# The preview sends the file's text again, and a form may have one mebibyte.
MAX_BYTES = 900_000


class ChangeForm(SentenceForm):
    """A change of a list as its pages offer it: entries to put in, typed or as a file,
    entries to take out, or another mode. The preview sends it again, with the version
    that it showed.
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
        error_messages={"invalid": "Enter a date and time, or leave it empty."},
    )
    file = forms.FileField(required=False)
    # The text of the file, as the preview sends it.
    csv = forms.CharField(required=False, strip=False)
    # Whether entries that the file does not name are removed.
    whole = forms.BooleanField(required=False)
    # In the request as often as something is ticked.
    remove = forms.Field(required=False, widget=forms.MultipleHiddenInput)
    mode = forms.ChoiceField(
        required=False,
        error_messages={"invalid_choice": "Choose one of the modes."},
    )

    def __init__(self, *args: Any, at: Allowlist, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["mode"].choices = [(one.mode, one.name) for one in at.modes]  # type: ignore[attr-defined]
        # What the lines or the file put in by pattern, and the others by number with what is wrong.
        self.put: dict[str, WantedEntry] = {}
        self.problems: list[tuple[int, str]] = []

    def clean_note(self) -> str:
        return " ".join(str(self.cleaned_data["note"]).split())

    def clean_owner(self) -> int | None:
        typed = str(self.cleaned_data["owner"]).strip()
        if not typed:
            return None
        owner = _owners().get(typed.lower())
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

    def clean_file(self) -> str:
        upload = self.cleaned_data["file"]
        if upload is None:
            return ""
        if upload.size > MAX_BYTES:
            raise forms.ValidationError(
                "The file is larger than 900 KB. Split it into several files."
            )
        try:
            text = str(upload.read().decode("utf-8-sig"))
        except UnicodeDecodeError:
            text = "\0"
        if "\0" in text:
            raise forms.ValidationError(
                "The file is not text in UTF-8. Save it as CSV in UTF-8, then try again."
            )
        return text

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if self.errors:
            return cleaned
        cleaned["csv"] = cleaned["csv"] or cleaned["file"]
        field = "file" if cleaned["csv"] else "lines"
        try:
            if cleaned["csv"]:
                self.put, self.problems = read_file(cleaned["csv"], people=_owners())
        except ValueError as error:
            self.add_error("file", str(error))
            return cleaned
        if cleaned["whole"] and self.problems:
            line, sentence = self.problems[0]
            self.add_error(
                "file",
                f"Line {line}: {sentence} A file that replaces the list must have no errors.",
            )
        about = {name: cleaned[name] for name in ("note", "owner", "expires_at")}
        for number, line in enumerate(cleaned["lines"].splitlines(), start=1):
            try:
                if line.strip():
                    pattern = read_pattern(line)
                    self.put[pattern] = WantedEntry(pattern, **about)
            except ValueError as error:
                self.problems.append((number, str(error)))
        if len(self.put) > MAX_LINES:
            self.add_error(field, f"Enter at most {MAX_LINES:,} at a time.")
        if not (self.put or cleaned["remove"] or cleaned["mode"]):
            self.add_error(field, "Enter at least one valid address or domain.")
        return cleaned

    def wanted(self, at: Allowlist) -> Change:
        """Return the change that was asked for, of the list as it is now."""
        cleaned = self.cleaned_data
        remove = [str(one)[:320] for one in cleaned["remove"]]
        if cleaned["csv"] and cleaned["whole"]:
            present = AllowEntry.objects.of_list(at).for_page("")
            remove = [one.pattern for one in present if one.pattern not in self.put]
        return Change(cleaned["mode"] or None, tuple(self.put.values()), tuple(remove))


def _owners() -> dict[str, int]:
    """Return the keys of those who can answer for an entry, by address in lower case."""
    active = Person.objects.filter(is_active=True).values_list("email", "pk")
    return {email.lower(): pk for email, pk in active}


class FindForm(LenientForm):
    """A search of entries by words or an address, and where a page begins."""

    q = forms.CharField(required=False, max_length=254)
    after = forms.CharField(required=False, max_length=254)
    # The row that a page begins behind.
    before = forms.IntegerField(required=False, min_value=0, max_value=2**63 - 1)


class CodeForm(LenientForm):
    """An operator's code; empty tries without."""

    code = forms.CharField(required=False, max_length=40)
