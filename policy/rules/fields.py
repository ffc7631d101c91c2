"""Fields of the forms of rules and passes. Each cleans what was typed to the value that
a rule stores.
"""

from collections.abc import Callable, Collection, Mapping
from typing import Any

from django import forms

from common.pages import MultilineField

# Characters of a field with one address on each line.
MAX_LINES = 20_000
# How many addresses and domains a rule can name.
MOST_ENTRIES = 500


class ChecksField(forms.TypedMultipleChoiceField):
    """A list of choices as checkboxes. `of` is the kind of the `Names` that a form
    offers.
    """

    widget = forms.CheckboxSelectMultiple

    def __init__(
        self, label: str, of: str, coerce: Callable[[str], Any] = str, **more: Any
    ) -> None:
        super().__init__(label=label, coerce=coerce, **{"required": False, **more})
        self.of = of

    def prepare_value(self, value: Any) -> list[Any]:
        return list(value or ())

    def clean(self, value: Any) -> frozenset[Any]:
        return frozenset(super().clean(value))


class ReadField(MultilineField):
    """A text of which `read` makes the value; its ValueErrors are shown."""

    def __init__(self, label: str, read: Callable[[str], Any], **more: Any) -> None:
        super().__init__(label=label, required=False, **more)
        self.read = read

    def clean(self, value: Any) -> Any:
        try:
            return self.read(super().clean(value))
        except ValueError as error:
            raise forms.ValidationError(str(error)) from None


class EntriesField(ReadField):
    """Values, one on each line, each read by `read_one`, as a set or another `kind`."""

    widget = forms.Textarea(
        {"rows": 3, "spellcheck": "false", "autocapitalize": "none"}
    )

    def __init__(
        self,
        label: str,
        read_one: Callable[[str], Any],
        help_text: str = "An address, a domain or *.domain on each line.",
        *,
        most: int = MOST_ENTRIES,
        kind: type[Collection[Any]] = frozenset,
        **more: Any,
    ) -> None:
        def read(typed: str) -> Any:
            entries = []
            for number, line in enumerate(typed.split("\n"), start=1):
                try:
                    if line.strip():
                        entries.append(read_one(line.strip()))
                except ValueError as error:
                    raise ValueError(f"Line {number}: {error}") from None
            if len(entries) > most:
                raise ValueError(f"Write at most {most:,} lines.")
            return kind(entries)  # type: ignore[call-arg]

        more = {"max_length": MAX_LINES, **more}
        super().__init__(label, read, help_text=help_text, **more)

    def prepare_value(self, value: Any) -> Any:
        is_typed = isinstance(value, str | None)
        return value if is_typed else "\n".join(sorted(value))


def amount_field(label: str, help_text: str) -> forms.DecimalField:
    """Return a field for a sum of money; empty for none."""
    return forms.DecimalField(
        label=label,
        help_text=help_text,
        required=False,
        min_value=0,
        max_digits=17,
        # "1.000" may mean a thousand.
        decimal_places=2,
        widget=forms.TextInput,
    )


def currency_field(help_text: str) -> ReadField:
    """Return a field for the code of a currency; empty for none."""
    return ReadField("Currency", _read_currency, help_text=help_text)


def _read_currency(typed: str) -> str:
    if typed and not (len(typed) == 3 and typed.isascii() and typed.isalpha()):
        raise ValueError("Write three letters, such as EUR.")
    return typed.upper()


def number_field(
    label: str, most: int, help_text: str = "", *, least: int = 1, **more: Any
) -> forms.IntegerField:
    """Return a field for a whole number within bounds."""
    return forms.IntegerField(
        label=label,
        help_text=help_text,
        min_value=least,
        max_value=most,
        **{"required": False, **more},
    )


def tick_field(label: str, help_text: str = "") -> forms.BooleanField:
    """Return a checkbox that need not be ticked."""
    return forms.BooleanField(label=label, help_text=help_text, required=False)


def pick_field(
    label: str, choices: Mapping[str, str], help_text: str = ""
) -> forms.ChoiceField:
    """Return a drop-down list of these choices."""
    return forms.ChoiceField(
        label=label, help_text=help_text, required=False, choices=list(choices.items())
    )
