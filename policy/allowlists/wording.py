"""What the kinds and modes of allowlists mean, in words. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class ModeWords:
    """A mode of a kind: its name, its tone, and what it does."""

    mode: str
    name: str
    tone: str
    means: str


KINDS: Mapping[str, str] = {"restriction": "Allowed recipients", "bypass": "Whose mail need not wait"}

_RESTRICTION = (
    ModeWords("off", "Off", "plain", "Refuses nobody; its entries do not count."),
    ModeWords("monitor", "Monitor", "blue", "Refuses nobody, and notes who would be refused."),
    ModeWords("contacts", "Contacts and entries", "green", "Lets through who is a contact of the account, or named."),
    ModeWords("enforce", "Enforce", "green", "Lets through only who is named. An empty list blocks everyone."),
)
_BYPASS = (
    ModeWords("off", "Off", "plain", "Everything waits for a decision."),
    ModeWords("monitor", "Monitor", "blue", "Everything waits; what would not have waited is noted."),
    ModeWords("enforce", "Enforce", "rose", "Mail leaves unread where all of its recipients are named."),
)


def modes_of(kind: str) -> tuple[ModeWords, ...]:
    """Return the modes that a list of this kind can have."""
    return _BYPASS if kind == "bypass" else _RESTRICTION


def mode_words(kind: str, mode: str) -> ModeWords:
    """Return the words of one mode."""
    return next((one for one in modes_of(kind) if one.mode == mode), _RESTRICTION[0])
