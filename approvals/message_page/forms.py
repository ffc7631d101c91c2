"""What the message page sends by itself: what was on screen."""

from django import forms

from common.fingerprint import FINGERPRINT


class PartForm(forms.Form):
    """A part of the letter that only the page itself can tell to have been on screen."""

    part = forms.ChoiceField(choices=[("links", "The links")])


class OpenedForm(forms.Form):
    """The version that was on a person's screen; nonsense is read as the current one."""

    fingerprint = forms.RegexField(FINGERPRINT, required=False)

    def fingerprint_shown(self) -> str:
        """Return its fingerprint, empty where none is given."""
        self.is_valid()
        return str(self.cleaned_data.get("fingerprint") or "")
