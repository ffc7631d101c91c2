"""Parts of the sentences about rules and passes: names of what they refer to, lists of
words, durations. Pure: reads no tables.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from common.tables import table_pairs
from mirror.attachments.file_types import KINDS
from risk.rules import RULES

# Where a message may have come from.
ORIGINS = table_pairs("""
agent | an agent by API
discord | a Discord command
edit | an edit at the desk
received | received mail
""")
# The families of attached files, then the kinds. A family of the same name means more.
_FAMILIES = table_pairs("""
image | a picture
text | a text file
document | a document
archive | an archive
program | a program
media | sound or film
other | a file of another kind
""")
FILES = _FAMILIES | {
    one.name: one.words for one in KINDS.values() if one.name not in _FAMILIES
}
FINDINGS = {one.name: one.words for one in RULES.values()}


@dataclass(frozen=True)
class Names:
    """The names of what rules refer to by key, for sentences. What is missing here is
    shown as deleted, by its key.
    """

    mailboxes: Mapping[int, str] = field(default_factory=dict)
    keys: Mapping[str, str] = field(default_factory=dict)
    people: Mapping[int, str] = field(default_factory=dict)
    lists: Mapping[int, str] = field(default_factory=dict)
    groups: Mapping[int, str] = field(default_factory=dict)
    calendars: Mapping[int, str] = field(default_factory=dict)
    connections: Mapping[int, str] = field(default_factory=dict)
    origins: ClassVar[Mapping[str, str]] = ORIGINS
    attachments: ClassVar[Mapping[str, str]] = FILES
    findings: ClassVar[Mapping[str, str]] = FINDINGS

    @property
    def key_owners(self) -> Mapping[int, str]:
        """The names of the owners of API keys."""
        return self.people


def listed(parts: Sequence[str], word: str = "and") -> str:
    """Return parts joined as in a sentence: "a, b and c"."""
    *others, last = parts or [""]
    return f"{', '.join(others)} {word} {last}" if others else last


def any_of(parts: Iterable[str]) -> str:
    """Return parts joined as in a sentence: "a, b or c"."""
    return listed(sorted(parts), "or")


def any_named(names: Mapping[Any, str], keys: Iterable[Any], what: str) -> str:
    """Return the names of what these keys mean, joined; `what` names what is gone."""
    return any_of(name_of(names, one, what) for one in keys)


def name_of(names: Mapping[Any, str], key: object, what: str) -> str:
    """Return the name of what a key means; `what` names it if it is gone."""
    return names.get(key) or f"{what} {key} (deleted)"


def duration_in_words(minutes: int) -> str:
    """Return minutes in the largest unit that divides them: "2 days", "90 minutes"."""
    units = ((60 * 24, "day"), (60, "hour"), (1, "minute"))
    size, unit = next(one for one in units if minutes % one[0] == 0)
    n = minutes // size
    return f"{n} {unit}{'' if n == 1 else 's'}"
