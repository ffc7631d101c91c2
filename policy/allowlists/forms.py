"""The forms of the allowlist pages: a new list, a change of its entries (typed or as a
CSV file), a search.
"""

from typing import Any

from django import forms

from common.actors import Actor
from common.drawn_forms import DrawnForm
from common.mail_addresses import read_pattern
from common.pages import LenientForm
from mirror.models import Connection, Mailbox
from people.models import Person
from policy.allowlists.changes import MAX_NOTE, Change, WantedEntry
from policy.allowlists.files import read_file
from policy.models import Allowlist

# Entries that can be added at a time.
MAX_LINES = 20_000
# Of an uploaded file. The preview's form sends its text again, and a form may have at
# most one mebibyte.
MAX_BYTES = 900_000


class ListForm(DrawnForm):
    """A new list: its name, and what it is for."""

    name = forms.CharField(max_length=Allowlist._meta.get_field("name").max_length)
    connection = forms.ModelChoiceField(
        Connection.objects.none(), required=False, empty_label="All connections"
    )
    mailbox = forms.ModelChoiceField(
        Mailbox.objects.none(), required=False, empty_label="All mailboxes"
    )

    def __init__(self, *args: Any, actor: Actor, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name, model in (("connection", Connection), ("mailbox", Mailbox)):
            visible = model.objects.at_work().visible_to(actor)
            self.fields[name].queryset = visible  # type: ignore[attr-defined]

    def clean(self) -> None:
        if self.cleaned_data.get("connection") and self.cleaned_data.get("mailbox"):
            self.add_error("mailbox", "Choose a connection or a mailbox, not both.")


class ChangeForm(DrawnForm):
    """A change of a list: entries to add (typed or as a file), or to remove. The
    preview's page sends the same form again to save it, with the version of the list
    that it showed.
    """

    version = forms.IntegerField(required=False, min_value=0)
    lines = forms.CharField(
        label="Addresses and domains, one a line",
        required=False,
        help_text="dana@x.example, x.example, or *.x.example for its subdomains alone.",
        widget=forms.Textarea({"spellcheck": "false"}),
    )
    note = forms.CharField(
        required=False,
        max_length=MAX_NOTE,
        error_messages={"max_length": f"Keep the note under {MAX_NOTE} characters."},
    )
    owner = forms.ModelChoiceField(
        Person.objects.filter(is_active=True).order_by("name", "email"),
        required=False,
        empty_label="No owner",
        to_field_name="email",
    )
    expires_at = forms.DateTimeField(
        label="Ends (UTC), empty for never",
        required=False,
        error_messages={"invalid": "Enter a date and time, or leave it empty."},
        widget=forms.DateTimeInput({"type": "datetime-local"}),
    )
    file = forms.FileField(required=False)
    # The text of the uploaded file, when the preview's page sends the form again.
    csv = forms.CharField(required=False, strip=False)
    # Whether the file replaces the list: entries that it does not name are removed.
    whole = forms.BooleanField(required=False)
    # The patterns of ticked entries; the request has the field once for each.
    remove = forms.Field(required=False, widget=forms.MultipleHiddenInput)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # The entries to add, by pattern; and faulty lines as (number, the fault).
        self.put: dict[str, WantedEntry] = {}
        self.problems: list[tuple[int, str]] = []

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
        people = Person.objects.filter(is_active=True).values_list("email", "pk")
        keys = {email.lower(): pk for email, pk in people}
        try:
            if cleaned["csv"]:
                self.put, self.problems = read_file(cleaned["csv"], people=keys)
        except ValueError as error:
            self.add_error("file", str(error))
            return
        if cleaned["whole"] and self.problems:
            line, sentence = self.problems[0]
            self.add_error(
                "file",
                f"Line {line}: {sentence} A file that replaces the list must have no errors.",
            )
        owner = cleaned["owner"].pk if cleaned["owner"] else None
        for number, line in enumerate(cleaned["lines"].splitlines(), start=1):
            try:
                if line.strip():
                    pattern = read_pattern(line)
                    self.put[pattern] = WantedEntry(
                        pattern, cleaned["note"], owner, cleaned["expires_at"]
                    )
            except ValueError as error:
                self.problems.append((number, str(error)))
        if len(self.put) > MAX_LINES:
            self.add_error(field, f"Enter at most {MAX_LINES:,} at a time.")
        if not (self.put or cleaned["remove"]):
            self.add_error(field, "Enter at least one valid address or domain.")

    def wanted(self, at: Allowlist) -> Change:
        """Return the change of this list that was filled in. A file that replaces the
        list removes the entries that the list has now and the file lacks.
        """
        cleaned = self.cleaned_data
        remove = [str(one)[:320] for one in cleaned["remove"]]
        if cleaned["csv"] and cleaned["whole"]:
            present = at.entries.not_removed().values_list("pattern", flat=True)
            remove = [one for one in present if one not in self.put]
        return Change(tuple(self.put.values()), tuple(remove))


class FindForm(LenientForm):
    """The query of a list page: the text to search for (`q`), and after which pattern
    or before which row the page begins.
    """

    q = forms.CharField(required=False, max_length=254)
    after = forms.CharField(required=False, max_length=254)
    # The key of the row after which a page of refusals begins, newest first.
    before = forms.IntegerField(required=False, min_value=0, max_value=2**63 - 1)
