"""The ways to look at a letter: their names, and which one an address asks for. Nonsense is read as none asked for."""

from dataclasses import dataclass
from typing import Any

from django import forms

WAYS = {
    "rendered": "Rendered",
    "text": "Text",
    "parts": "HTML against text",
    "source": "Source",
    "headers": "Headers",
    "changes": "Changes",
}


@dataclass(frozen=True)
class Way:
    """How the letter is looked at, and which page of it; `is_asked` where the address says so."""

    name: str
    page: int = 1
    is_asked: bool = False


class WayForm(forms.Form):
    """The part of a message's address that says how its letter is looked at."""

    view = forms.ChoiceField(choices=list(WAYS.items()), required=False)
    page = forms.IntegerField(min_value=1, max_value=1_000_000, required=False)

    def way(self, *, text_first: bool) -> Way:
        """Return what is asked for; without it, text for those who chose so, and the letter laid out for others."""
        self.is_valid()
        asked: dict[str, Any] = self.cleaned_data
        name = asked.get("view") or ("text" if text_first else "rendered")
        return Way(name, asked.get("page") or 1, bool(asked.get("view")))


class TextFirstForm(forms.Form):
    """Whether letters open as text."""

    wanted = forms.ChoiceField(choices=[("on", "As text"), ("off", "Laid out")])

    def is_wanted(self) -> bool:
        """Whether text is wanted; nonsense is read as the letter laid out."""
        return self.is_valid() and self.cleaned_data["wanted"] == "on"
