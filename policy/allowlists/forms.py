"""The forms of the allowlist pages: a change of a list (typed or as a CSV file), a
search of entries, and the code with which an operator of a gate confirms a change.
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

# Entries that can be added at a time.
MAX_LINES = 20_000
# Of an uploaded file. The preview's form sends its text again, and a form may have at
# most one mebibyte.
MAX_BYTES = 900_000


class ChangeForm(SentenceForm):
    """A change of a list: entries to add (typed or as a file), entries to remove, or
    another mode. The preview's page sends the same form again to save it, with the
    version of the list that it showed.
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
    # The text of the uploaded file, when the preview's page sends the form again.
    csv = forms.CharField(required=False, strip=False)
    # Whether the file replaces the list: entries that it does not name are removed.
    whole = forms.BooleanField(required=False)
    # The patterns of ticked entries; the request has the field once for each.
    remove = forms.Field(required=False, widget=forms.MultipleHiddenInput)
    mode = forms.ChoiceField(
        required=False, error_messages={"invalid_choice": "Choose one of the modes."}
    )

    def __init__(self, *args: Any, at: Allowlist, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["mode"].choices = [(one.mode, one.name) for one in at.modes]  # type: ignore[attr-defined]
        # The entries to add, by pattern; and faulty lines as (number, the fault).
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

    def clean(self) -> None:
        cleaned = self.cleaned_data
        if self.errors:
            return
        cleaned["csv"] = cleaned["csv"] or cleaned["file"]
        field = "file" if cleaned["csv"] else "lines"
        try:
            if cleaned["csv"]:
                self.put, self.problems = read_file(cleaned["csv"], people=_owners())
        except ValueError as error:
            self.add_error("file", str(error))
            return
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

    def wanted(self, at: Allowlist) -> Change:
        """Return the change of this list that was filled in. A file that replaces the
        list removes the entries that the list has now and the file lacks.
        """
        cleaned = self.cleaned_data
        remove = [str(one)[:320] for one in cleaned["remove"]]
        if cleaned["csv"] and cleaned["whole"]:
            present = AllowEntry.objects.of_list(at).for_page("")
            remove = [one.pattern for one in present if one.pattern not in self.put]
        return Change(cleaned["mode"] or None, tuple(self.put.values()), tuple(remove))


def _owners() -> dict[str, int]:
    """Return the keys of the people who can own an entry, by address in lower case."""
    active = Person.objects.filter(is_active=True).values_list("email", "pk")
    return {email.lower(): pk for email, pk in active}


class FindForm(LenientForm):
    """The query of a list page: the text to search for (`q`), and after which pattern
    or before which row the page begins.
    """

    q = forms.CharField(required=False, max_length=254)
    after = forms.CharField(required=False, max_length=254)
    # The key of the row after which a page of refusals begins, newest first.
    before = forms.IntegerField(required=False, min_value=0, max_value=2**63 - 1)


class CodeForm(LenientForm):
    """The code with which an operator of a gate confirms a list; empty for none."""

    code = forms.CharField(required=False, max_length=40)
