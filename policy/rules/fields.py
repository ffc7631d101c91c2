"""Fields of the forms of rules and passes. Each cleans what was typed to the value that
a rule stores.
"""

from collections.abc import Callable, Mapping
from typing import Any

from django import forms

from common.durations import MAX_WRITTEN, minutes_in_words, read_minutes
from common.pages import MultilineField, same_error

# Characters of a field with one address on each line.
MAX_LINES = 20_000
# How many addresses and domains a rule can name.
MOST_ENTRIES = 500
# A list with more options than this scrolls.
LONG = 12
CHOOSE = same_error("Choose from the list.") | {"invalid_list": "Choose from the list."}


class ChecksField(forms.TypedMultipleChoiceField):
    """A list of choices as checkboxes; the ticked ones come first if it scrolls. `of` is
    the kind of the `Names` that a form offers.
    """

    widget = forms.CheckboxSelectMultiple

    def __init__(
        self,
        label: str,
        of: str,
        coerce: Callable[[str], Any] = str,
        help_text: str = "",
        *,
        required: bool = False,
    ) -> None:
        super().__init__(
            label=label,
            coerce=coerce,
            help_text=help_text,
            required=required,
            error_messages=CHOOSE | {"required": "Choose at least one."},
        )
        self.of = of

    def prepare_value(self, value: Any) -> list[str]:
        return [str(one) for one in value or ()]

    def get_bound_field(self, form: Any, field_name: str) -> forms.BoundField:
        bound = super().get_bound_field(form, field_name)
        ticked = bound.value() or ()
        choices: Any = self.choices
        if len(choices) > LONG:
            self.choices = sorted(choices, key=lambda one: one[0] not in ticked)
        return bound

    def clean(self, value: Any) -> frozenset[Any]:
        return frozenset(super().clean(value))


class ReadField(forms.CharField):
    """A text of which `read` makes the value; its ValueErrors are shown."""

    def __init__(self, label: str, read: Callable[[str], Any], **more: Any) -> None:
        super().__init__(label=label, required=False, **more)
        self.read = read

    def clean(self, value: Any) -> Any:
        try:
            return self.read(super().clean(value))
        except ValueError as error:
            raise forms.ValidationError(str(error)) from None


class EntriesField(MultilineField):
    """Values, one on each line, each read by `read`, whose ValueErrors are shown."""

    widget = forms.Textarea(
        {"rows": 3, "spellcheck": "false", "autocapitalize": "none"}
    )

    def __init__(
        self,
        label: str,
        read: Callable[[str], str],
        help_text: str = "An address, a domain or *.domain on each line.",
        *,
        most: int = MOST_ENTRIES,
        has_commas: bool = True,
    ) -> None:
        super().__init__(
            label=label, help_text=help_text, required=False, max_length=MAX_LINES
        )
        self.read = read
        self.most = most
        self.has_commas = has_commas

    def prepare_value(self, value: Any) -> Any:
        return "\n".join(sorted(value)) if isinstance(value, frozenset) else value

    def clean(self, value: Any) -> frozenset[str]:
        typed = super().clean(value)
        lines = typed.replace(",", "\n" if self.has_commas else ",").split("\n")
        typed_values = [one.strip() for one in lines if one.strip()]
        if len(typed_values) > self.most:
            raise forms.ValidationError(f"Write at most {self.most} lines.")
        try:
            return frozenset(map(self.read, typed_values))
        except ValueError as error:
            raise forms.ValidationError(str(error)) from None


class AmountField(forms.DecimalField):
    """A sum of money; empty for none."""

    def __init__(self, label: str, help_text: str) -> None:
        super().__init__(
            label=label,
            help_text=help_text,
            required=False,
            min_value=0,
            max_digits=17,
            # "1.000" may mean a thousand.
            decimal_places=2,
            widget=forms.TextInput,
            error_messages=same_error("Write an amount such as 1000 or 49.90."),
        )

    def to_python(self, value: Any) -> Any:
        return super().to_python(str(value or "").replace(" ", "").replace("'", ""))


class CurrencyField(forms.RegexField):
    """The code of a currency, such as EUR; empty for none."""

    def __init__(self, help_text: str) -> None:
        super().__init__(
            r"\A[A-Za-z]{3}\Z",
            label="Currency",
            help_text=help_text,
            required=False,
            error_messages={"invalid": "Write three letters, such as EUR."},
        )

    def clean(self, value: Any) -> str:
        return str(super().clean(value)).upper()


class MinutesField(forms.CharField):
    """A duration in minutes, as people write it; empty for none."""

    def __init__(self, label: str, help_text: str) -> None:
        super().__init__(
            label=label, help_text=help_text, required=False, max_length=MAX_WRITTEN
        )

    def prepare_value(self, value: Any) -> Any:
        return minutes_in_words(value) if isinstance(value, int) else value

    def clean(self, value: Any) -> Any:
        typed = super().clean(value)
        try:
            return read_minutes(typed) or None if typed else None
        except ValueError as error:
            raise forms.ValidationError(str(error)) from None


class NumberField(forms.IntegerField):
    """A whole number within bounds."""

    def __init__(
        self, label: str, most: int, help_text: str = "", *, least: int = 1, **more: Any
    ) -> None:
        super().__init__(
            label=label,
            help_text=help_text,
            min_value=least,
            max_value=most,
            error_messages=same_error(
                f"Write a whole number from {least} to {most:,}."
            ),
            **{"required": False, **more},
        )


class TickField(forms.BooleanField):
    """A checkbox that need not be ticked."""

    def __init__(self, label: str, help_text: str = "") -> None:
        super().__init__(label=label, help_text=help_text, required=False)


class PickField(forms.ChoiceField):
    """One of these choices, in a drop-down list."""

    def __init__(
        self, label: str, choices: Mapping[str, str], help_text: str = ""
    ) -> None:
        super().__init__(
            label=label,
            help_text=help_text,
            required=False,
            choices=list(choices.items()),
            error_messages=CHOOSE,
        )
