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
