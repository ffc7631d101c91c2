"""Single-key shortcuts: what each does, which key it has, and which keys a person may give it.

A key is stored as the character it types, so that it works on any keyboard layout; a capital is the key with Shift.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django import forms

GROUPS = ("Navigation", "Deciding", "Bulk", "Reading", "Go to")


@dataclass(frozen=True)
class Shortcut:
    """One action with a key: `name` is stored in Person.key_map, `key` is the key until somebody changes it."""

    name: str
    key: str
    words: str
    group: str


SHORTCUTS = (
    Shortcut("next", "j", "Open the next message in the list", GROUPS[0]),
    Shortcut("previous", "k", "Open the previous message", GROUPS[0]),
    Shortcut("to_list", "u", "Back to the list", GROUPS[0]),
    Shortcut("new", "n", "Show new messages", GROUPS[0]),
    Shortcut("approve", "a", "Approve", GROUPS[1]),
    Shortcut("approve_later", "w", "Approve for later", GROUPS[1]),
    Shortcut("reject", "r", "Reject", GROUPS[1]),
    Shortcut("send_back", "b", "Request changes", GROUPS[1]),
    Shortcut("undo", "z", "Undo", GROUPS[1]),
    Shortcut("snooze", "s", "Snooze", GROUPS[1]),
    Shortcut("claim", "c", "Claim or unclaim", GROUPS[1]),
    Shortcut("comment", "m", "Comment", GROUPS[1]),
    Shortcut("select", "x", "Select the message", GROUPS[2]),
    Shortcut("select_range", "X", "Select all up to this one", GROUPS[2]),
    Shortcut("bulk", "A", "Review selected messages together", GROUPS[2]),
    Shortcut("tab", "v", "Next view of the message", GROUPS[3]),
    Shortcut("links", "l", "Links", GROUPS[3]),
    Shortcut("thread", "t", "Thread", GROUPS[3]),
    Shortcut("go", "g", "Go to: then Q queue, H history, A audit", GROUPS[4]),
    Shortcut("search", "/", "Search", GROUPS[4]),
    Shortcut("help", "?", "Keyboard shortcuts", GROUPS[4]),
)
NAMES = {one.name: one for one in SHORTCUTS}


def keys_of(changes: Mapping[str, Any] | None) -> dict[str, str]:
    """Return the key of each action, by name. `changes` are a person's own keys; invalid ones are ignored."""
    known = changes if isinstance(changes, Mapping) else {}
    return {one.name: key if is_key(key := str(known.get(one.name, ""))) else one.key for one in SHORTCUTS}


def changes_of(keys: Mapping[str, str]) -> dict[str, str]:
    """Return only the keys that differ from the default."""
    return {name: key for name, key in keys.items() if key != NAMES[name].key}


def is_key(key: str) -> bool:
    """Whether this can be a key: one character that one press types. Digits are taken: they choose a reason."""
    return len(key) == 1 and key.isprintable() and not key.isspace() and not key.isdigit()


def find_error(keys: Mapping[str, str]) -> tuple[str, str]:
    """Return the first action with an invalid key, and why; two empty strings if all are valid."""
    used: dict[str, str] = {}
    for name, key in keys.items():
        words = NAMES[name].words
        if key.isdigit():
            return name, f"“{key}” cannot be the shortcut for “{words}”: digits choose a reason."
        if not is_key(key):
            return name, f"Give “{words}” a shortcut: one letter or character."
        if key in used:
            return name, f"“{shown(key)}” is used twice: for “{NAMES[used[key]].words}” and “{words}”."
        used[key] = name
    return "", ""


def shown(key: str) -> str:
    """Return a key's label: `a` is A, and `A` is Shift A."""
    if key.isalpha() and key != key.lower():
        return f"Shift {key}"
    # The capital of some letters has several characters.
    return key.upper() if len(key.upper()) == 1 else key


class KeysForm(forms.Form):
    """A key for each action. They are validated together, because two actions may swap keys."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for one in SHORTCUTS:
            self.fields[one.name] = forms.CharField(required=False, max_length=10)

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        name, sentence = find_error({one.name: str(cleaned.get(one.name, "")) for one in SHORTCUTS})
        if sentence:
            self.add_error(name, sentence)
        return cleaned
