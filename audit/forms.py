"""The ledger's address line; nonsense is read as the first page."""

from django import forms

from audit.actions import ACTIONS


class LedgerForm(forms.Form):
    """An action to keep to, and the entry that a page ends before."""

    action = forms.ChoiceField(
        choices=[("", "Everything"), *((name, name) for name in sorted(ACTIONS))], required=False
    )
    before = forms.IntegerField(min_value=1, max_value=2**62, required=False)

    def place(self) -> tuple[int | None, str]:
        """Return the entry to begin before, and the action."""
        self.is_valid()
        return self.cleaned_data.get("before"), self.cleaned_data.get("action") or ""
