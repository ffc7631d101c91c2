"""Fields of the forms of rules and passes. Each cleans what was typed to the value that
a rule stores.
"""

import re
from collections.abc import Callable, Collection, Mapping
from decimal import Decimal
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


def money_in_words(amount: Decimal, currency: str) -> str:
    """Return a sum as pages print it, such as "EUR 1,225.00"."""
    return f"{currency} {amount:,.2f}".strip()


# The whole part in thousands or without, the cents after another separator, and the
# currency before or after it.
_MONEY = re.compile(
    r"(?P<before>[A-Z]{3} ?)?(?P<whole>\d{1,3}(?:(?P<mark>[., '’])\d{3})(?:(?P=mark)\d{3}){0,3}|\d{1,15})"
    r"(?:(?!(?P=mark))[.,](?P<cents>\d{1,2}))?(?P<after> ?[A-Z]{3})?",
    re.ASCII,
)
# One or a thousand, unless it is written as pages print a thousand.
_IN_TWO_WAYS = re.compile(r"\d{1,3}\.\d{3}|0+,\d{3}")


def _read_money(typed: str) -> tuple[Decimal, str] | None:
    if not typed:
        return None
    one_line = " ".join(typed.upper().replace("€", "EUR").split())
    found = _MONEY.fullmatch(one_line)
    if found is None or (found["before"] and found["after"]):
        raise ValueError("Write an amount such as 1,225.00 or EUR 1,225.00.")
    whole, cents = found["whole"], found["cents"]
    if _IN_TWO_WAYS.fullmatch(whole) and not cents:
        raise ValueError("This can be read in two ways. Write it as in 1,000.00.")
    digits = "".join(filter(str.isdigit, whole))
    currency = found["before"] or found["after"] or ""
    return Decimal(f"{digits}.{cents or 0}"), currency.strip()


def money_field(label: str, help_text: str) -> ReadField:
    """Return a field for a sum, written as in most countries, with its currency or
    without; empty for none.
    """
    such = "Such as EUR 1,225.00 or EUR 1.225,00; 1,000 is a thousand."
    return ReadField(label, _read_money, help_text=f"{such} {help_text}", max_length=40)


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


def pick_field(
    label: str, choices: Mapping[str, str], help_text: str = ""
) -> forms.ChoiceField:
    """Return a drop-down list of these choices."""
    return forms.ChoiceField(
        label=label, help_text=help_text, required=False, choices=list(choices.items())
    )
