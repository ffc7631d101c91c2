"""Parts of the sentences about rules and passes: the names of what they refer to, which
are also the choices of their forms. Pure: reads no tables.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from django.utils.text import get_text_list

from common.tables import table_pairs
from mirror.attachments.file_types import KINDS
from risk.rules import RULES

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
lists | list
groups | group
calendars | calendar
findings | finding
attachments | file of kind
""")


@dataclass(frozen=True)
class Names:
    """The names of what rules refer to, by their keys, as far as somebody may see them.
    What is missing was deleted, or, unless `is_whole`, is hidden from the person.
    """

    connections: Mapping[int, str] = field(default_factory=dict)
    mailboxes: Mapping[int, str] = field(default_factory=dict)
    keys: Mapping[str, str] = field(default_factory=dict)
    lists: Mapping[int, str] = field(default_factory=dict)
    groups: Mapping[int, str] = field(default_factory=dict)
    calendars: Mapping[int, str] = field(default_factory=dict)
    is_whole: bool = True
    attachments: ClassVar[Mapping[str, str]] = FILES
    findings: ClassVar[Mapping[str, str]] = FINDINGS

    def name_of(self, kind: str, key: Any) -> str:
        """Return the name of one of these kinds, such as "groups"."""
        if name := getattr(self, kind).get(key):
            return str(name)
        if kind == "keys":
            # A key that sent nothing lately has no name here, but may exist.
            return str(key).partition(":")[2]
        what = _KINDS[kind]
        return f"{what} {key} (deleted)" if self.is_whole else f"another {what}"

    def any_of(self, kind: str, keys: Iterable[Any]) -> str:
        """Return the names of several, joined: "Finance or Legal"."""
        return any_of({self.name_of(kind, one) for one in keys})

    def choices(self, kind: str, named: Iterable[Any]) -> list[tuple[str, str]]:
        """Return the choices of a form: all of this kind, and those that are `named`
        already, although they may be gone.
        """
        known = getattr(self, kind)
        offered = (*known, *(one for one in named if one not in known))
        return [(str(one), self.name_of(kind, one)) for one in offered]


def any_of(parts: Iterable[str]) -> str:
    """Return parts joined as in a sentence: "a, b or c"."""
    return get_text_list(sorted(parts), "or")
