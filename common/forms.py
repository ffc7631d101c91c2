"""Pieces of forms: a field for text of several lines, and the first error as a sentence."""

from typing import Any

from django import forms


class WordsField(forms.CharField):
    """Text of several lines, counted as the browser counts it: a form sends each end of line as two characters."""

    def to_python(self, value: Any) -> Any:
        return (super().to_python(value) or "").replace("\r\n", "\n")


class SentenceForm(forms.Form):
    """A form whose page shows one error at a time."""

    def first_error(self) -> str:
        """Return the first thing that is wrong, as a sentence."""
        return next((str(errors[0]) for errors in self.errors.values() if errors), "")
