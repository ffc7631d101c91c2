"""Pieces of forms: rows to choose from, a field for text of several lines, forms that
say what is wrong, and forms that refuse nothing.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from django import forms
from django.db.models import Model


def first_error(form: forms.BaseForm) -> tuple[str, str]:
    """Return the first field with an error, and the error; two empty strings where the
    form is valid.
    """
    return next(
        ((str(name), str(errors[0])) for name, errors in form.errors.items() if errors),
        ("", ""),
    )


def always(sentence: str) -> dict[str, str]:
    """Return the error messages of a field that says one thing, whatever is wrong."""
    bounds = ("min_value", "max_value", "min_length", "max_length")
    return dict.fromkeys(("required", "invalid", "invalid_choice", *bounds), sentence)


def by_key(rows: Iterable[Model]) -> dict[str, str]:
    """Return rows to choose from, by what a form sends for them."""
    return {str(one.pk): str(one) for one in rows}


class WordsField(forms.CharField):
    """Text of several lines, counted as the browser counts it: a form sends each end of
    line as two characters.
    """

    def to_python(self, value: Any) -> Any:
        return (super().to_python(value) or "").replace("\r\n", "\n")


class SentenceForm(forms.Form):
    """A form whose errors are sentences: one at a time, or the first of each field."""

    def first_error(self) -> str:
        """Return the first thing that is wrong, as a sentence."""
        return first_error(self)[1]

    def errors_by_field(self) -> dict[str, str]:
        """Return the first thing that is wrong with each field, by its name."""
        return {name: str(errors[0]) for name, errors in self.errors.items() if errors}


class ChoicesForm(SentenceForm):
    """A form with fields whose choices, by the field's name, depend on who fills it in."""

    def __init__(
        self,
        *args: Any,
        choices: Mapping[str, Iterable[tuple[str, str]]],
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        for name, offered in choices.items():
            self.fields[name].choices = list(offered)  # type: ignore[attr-defined]


class LenientForm(forms.Form):
    """A form of optional fields in which what is ill-formed counts as left out."""

    def value(self, name: str) -> Any:
        """Return the value of a field, as its empty value or None where none is given."""
        self.is_valid()
        return self.cleaned_data.get(name)
