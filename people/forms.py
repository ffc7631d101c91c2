"""What people send about themselves: where their keys are."""

from typing import Any

from django import forms

from people.accounts.shortcuts import KEYS, problem_with


class KeysForm(forms.Form):
    """A place for each key. The whole keyboard is judged at once, because two keys may have changed places."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for one in KEYS:
            self.fields[one.name] = forms.CharField(required=False, max_length=10)

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        name, sentence = problem_with({one.name: str(cleaned.get(one.name, "")) for one in KEYS})
        if sentence:
            self.add_error(name, sentence)
        return cleaned

    def first_error(self) -> tuple[str, str]:
        """Return the name of the first key that is wrong, and why as a sentence; two empty ones where none is."""
        return next(((str(name), str(errors[0])) for name, errors in self.errors.items() if errors), ("", ""))
