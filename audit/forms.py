"""Parsing of what people send to the ledger; its address line is read by `searching.filters`."""

from django import forms


class SavedSearchForm(forms.Form):
    """A name for what the ledger is searched for now."""

    name = forms.CharField(
        max_length=60,
        error_messages={"required": "Give the search a name.", "max_length": "Keep the name under 60 characters."},
    )
    query = forms.CharField(required=False, max_length=4000, strip=False)
    shared = forms.BooleanField(required=False)

    def first_error(self) -> str:
        """Return the first thing that is wrong, as a sentence."""
        return next((str(errors[0]) for errors in self.errors.values() if errors), "")


class TraceForm(forms.Form):
    """After which entry a page of a trace begins."""

    after = forms.IntegerField(required=False, min_value=0, max_value=2**63 - 1)

    def place(self) -> int:
        """Return the number of the entry, or 0 for the beginning: so also for what is no number."""
        return int(self.cleaned_data["after"] or 0) if self.is_valid() else 0


class ProofForm(forms.Form):
    """Whether a proof tells the personal details, or only shows that there were some."""

    details = forms.ChoiceField(choices=[("yes", "With details"), ("no", "Without")], required=False)

    def wants_details(self) -> bool:
        """With them, unless somebody said otherwise. What is not understood gives nothing away."""
        return self.is_valid() and self.cleaned_data["details"] != "no"
