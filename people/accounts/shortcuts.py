"""Single-key shortcuts: what each does, which key it has, and which keys a person may give it.

A key is the character that it types, so that it works on any keyboard; a capital is the key with Shift.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django import forms

GROUPS = ("Moving about", "Deciding", "Several at once", "Reading", "Going places")


@dataclass(frozen=True)
class Key:
    """One action with a key: `name` is stored in Person.key_map, `place` is the key until somebody changes it."""

    name: str
    place: str
    words: str
    group: str


KEYS = (
    Key("next", "j", "Next message in the list", GROUPS[0]),
    Key("previous", "k", "Previous message", GROUPS[0]),
    Key("to_list", "u", "Back to the list", GROUPS[0]),
    Key("new", "n", "Load what is new", GROUPS[0]),
    Key("approve", "a", "Approve", GROUPS[1]),
    Key("reject", "r", "Reject", GROUPS[1]),
    Key("send_back", "b", "Request changes", GROUPS[1]),
    Key("undo", "z", "Undo, while it has not left", GROUPS[1]),
    Key("snooze", "s", "Put off until later", GROUPS[1]),
    Key("claim", "c", "Take it on, or give it back", GROUPS[1]),
    Key("comment", "m", "Comment", GROUPS[1]),
    Key("select", "x", "Select the message", GROUPS[2]),
    Key("select_range", "X", "Select all up to this one", GROUPS[2]),
    Key("bulk", "A", "Decide what is selected, on one sheet", GROUPS[2]),
    Key("tab", "v", "Next way to look at the message", GROUPS[3]),
    Key("links", "l", "Its links", GROUPS[3]),
    Key("thread", "t", "Its thread", GROUPS[3]),
    Key("go", "g", "Go: then Q queue, H history, A audit", GROUPS[4]),
    Key("search", "/", "Search", GROUPS[4]),
    Key("help", "?", "These keys", GROUPS[4]),
)
NAMES = {one.name: one for one in KEYS}


def places_of(moved: Mapping[str, Any] | None) -> dict[str, str]:
    """Return the key of each action, by name; `moved` has a person's changes; what is no key is ignored."""
    known = moved if isinstance(moved, Mapping) else {}
    return {one.name: place if is_place(place := str(known.get(one.name, ""))) else one.place for one in KEYS}


def moved_from(places: Mapping[str, str]) -> dict[str, str]:
    """Return only the keys that differ from the default."""
    return {name: place for name, place in places.items() if place != NAMES[name].place}


def is_place(place: str) -> bool:
    """Whether this can be a key: one character that one press types. Digits choose a reason."""
    return len(place) == 1 and place.isprintable() and not place.isspace() and not place.isdigit()


def problem_with(places: Mapping[str, str]) -> tuple[str, str]:
    """Return the first action whose key is not possible, and why; two empty strings where all are."""
    taken: dict[str, str] = {}
    for name, place in places.items():
        words = NAMES[name].words
        if place.isdigit():
            return name, f"“{place}” cannot be the key for “{words}”: digits choose a reason."
        if not is_place(place):
            return name, f"Give “{words}” a key: one letter or sign."
        if place in taken:
            return name, f"“{shown(place)}” would be two keys: “{NAMES[taken[place]].words}” and “{words}”."
        taken[place] = name
    return "", ""


def shown(place: str) -> str:
    """Return a key as it is printed: `a` is A, and `A` is Shift A."""
    if place.isalpha() and place != place.lower():
        return f"Shift {place}"
    # Some letters have no capital of one character.
    return place.upper() if len(place.upper()) == 1 else place


class KeysForm(forms.Form):
    """A key for each action, validated together, because two actions may have swapped keys."""

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
