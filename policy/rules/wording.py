"""Parts of the sentences about rules and passes: names of what they refer to, which are
also the choices of their forms, lists of words, durations. Pure: reads no tables.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from django.utils.text import capfirst

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
# What rules name by key or word, each as one of it is called.
_KINDS = table_pairs("""
connections | connection
mailboxes | mailbox
keys | API key
people | person
lists | list
groups | group
calendars | calendar
origins | origin
findings | finding
attachments | file of kind
""")


@dataclass(frozen=True)
class Names:
    """The names of what rules refer to, by their keys, as far as somebody may see them.

    `gone` has the names of who left and of what was removed, by kind and key. What is
    missing there too was deleted, or, unless `is_whole`, is hidden from the person.
    """

    mailboxes: Mapping[int, str] = field(default_factory=dict)
    keys: Mapping[str, str] = field(default_factory=dict)
    people: Mapping[int, str] = field(default_factory=dict)
    lists: Mapping[int, str] = field(default_factory=dict)
    groups: Mapping[int, str] = field(default_factory=dict)
    calendars: Mapping[int, str] = field(default_factory=dict)
    connections: Mapping[int, str] = field(default_factory=dict)
    gone: Mapping[tuple[str, int], str] = field(default_factory=dict)
    is_whole: bool = True
    origins: ClassVar[Mapping[str, str]] = ORIGINS
    attachments: ClassVar[Mapping[str, str]] = FILES
    findings: ClassVar[Mapping[str, str]] = FINDINGS

    def name_of(self, kind: str, key: Any) -> str:
        """Return the name of one of these kinds, such as "groups"."""
        if name := getattr(self, kind).get(key):
            return str(name)
        if kind == "keys":
            # A key that sent nothing lately has no name here, but may exist.
            return str(key).partition(":")[2]
        if (kind, key) in self.gone:
            return f"{self.gone[kind, key]} (gone)"
        what = _KINDS[kind]
        return f"{what} {key} (deleted)" if self.is_whole else f"another {what}"

    def any_of(self, kind: str, keys: Iterable[Any]) -> str:
        """Return the names of several, joined: "Finance or Legal"."""
        return any_of({self.name_of(kind, one) for one in keys})

    def choices(self, kind: str, named: Iterable[Any]) -> dict[str, str]:
        """Return the choices of a form: all of this kind, and those that are `named`
        already, although they may be gone.
        """
        known = getattr(self, kind)
        labels = {str(key): name for key, name in known.items()}
        labels |= {
            str(key): self.name_of(kind, key) for key in named if key not in known
        }
        if kind in ("origins", "findings", "attachments"):
            return {key: capfirst(name) for key, name in labels.items()}
        return labels


def listed(parts: Sequence[str], word: str = "and") -> str:
    """Return parts joined as in a sentence: "a, b and c"."""
    *others, last = parts or [""]
    return f"{', '.join(others)} {word} {last}" if others else last


def any_of(parts: Iterable[str]) -> str:
    """Return parts joined as in a sentence: "a, b or c"."""
    return listed(sorted(parts), "or")


def duration_in_words(minutes: int) -> str:
    """Return minutes in the largest unit that divides them: "2 days", "90 minutes"."""
    units = ((60 * 24, "day"), (60, "hour"), (1, "minute"))
    size, unit = next(one for one in units if minutes % one[0] == 0)
    n = minutes // size
    return f"{n} {unit}{'' if n == 1 else 's'}"
