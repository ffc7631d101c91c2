"""How an export is wanted."""

from django import forms

from audit.export.formats import Format, format_of


class ExportForm(forms.Form):
    """The format, and whether names, addresses, subjects and reasons are in it."""

    format = forms.ChoiceField(choices=[("csv", "CSV"), ("jsonl", "JSON Lines")])
    details = forms.BooleanField(required=False)

    def wanted(self) -> Format:
        """Return what was chosen."""
        return format_of(self.cleaned_data["format"], has_details=self.cleaned_data["details"])
