"""The kinds of files that the desk can tell apart, by their first bytes, their
extension or their declared type; what was detected about a file; and the reasons why a
file is not shown.
"""

import codecs
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from common.ascii import lowered, trimmed
from common.tables import table_rows
from common.unique_keys import Json
from rendering import found_in
from risk.check_files import last_part, why_dangerous


@dataclass(frozen=True)
class Kind:
    """One kind of file."""

    name: str
    # Image, text, document, archive, program, media or other.
    family: str
    words: str
    # Extensions and media types that claim this kind, separated by blanks.
    endings: str
    types: str


_TABLE = Path(__file__).with_name("kinds.txt").read_text("utf-8")
KINDS = {row[0]: Kind(*row) for row in table_rows(_TABLE)}

_BY_ENDING = {
    ending: kind for kind in KINDS.values() for ending in kind.endings.split()
}
_BY_TYPE = {name: kind for kind in KINDS.values() for name in kind.types.split()}

# Magic bytes: a kind, an offset, and what a file of the kind has there.
MAGIC = [
    (
        kind,
        int(offset),
        tuple(
            codecs.decode(start, "unicode_escape").encode("latin-1")
            for start in starts.split()
        ),
    )
    for kind, offset, starts in table_rows(
        Path(__file__).with_name("magic.txt").read_text("utf-8")
    )
]


def by_magic(content: bytes) -> str:
    """Return the kind of a file by its magic bytes; empty if it has none of them."""
    kinds = (
        kind for kind, offset, starts in MAGIC if content.startswith(starts, offset)
    )
    return next(kinds, "")


def claimed_by_ending(ending: str) -> Kind | None:
    """Return the kind that a file name with this extension (`ending_of`) claims; None
    if none.
    """
    return _BY_ENDING.get(ending)


def claimed_by_type(content_type: str) -> Kind | None:
    """Return the kind that a declared media type claims; None for a type that says
    nothing, such as application/octet-stream.
    """
    return _BY_TYPE.get(lowered(trimmed(content_type.partition(";")[0])))


# --- What is known of a file ----------------------------------------------------------


@dataclass(frozen=True)
class Flag:
    """One thing that a reviewer must know about a file; `level` is high or notice.
    `means` is "named" if its name or declared type tells so, "runs" if the file can run
    code, "hides" if it may hold files of kinds that are not known, else empty.
    """

    level: str
    sentence: str
    means: str = ""


@dataclass(frozen=True)
class Event:
    """One event of a calendar file. Its times are as in ISO 8601: a date for whole
    days, in UTC, or without an offset if `zone` is not known.
    """

    # What the file asks for, such as REQUEST or CANCEL.
    method: str
    summary: str
    starts: str
    # For whole days the last one.
    ends: str
    # The name of its zone in the file.
    zone: str
    # Its rule, as in the file.
    repeats: str
    location: str
    organizer: str
    attendees: tuple[str, ...]
    # How many attendees are not listed.
    more: int


@dataclass(frozen=True)
class Detection:
    """What was detected about a file by its bytes."""

    kind: str
    flags: Sequence[Flag] = ()
    # Everything that it may be: families and kinds, also those of the files in it.
    kinds: Sequence[str] = ()
    # The names of the files in an archive, and how many more it has.
    members: Sequence[str] = ()
    more: int = 0
    # Of a picture, in pixels; 0 if not known.
    width: int = 0
    height: int = 0
    # Of a text.
    encoding: str = ""
    # Of a calendar.
    events: Sequence[Event] = ()
    # The `Sums` in the lines of a calendar and in the names of the files in an archive.
    sums: Json = field(default_factory=dict)
    # The hosts that a calendar names.
    hosts: Sequence[str] = ()
    # Whether the parser had to be killed twice while it read the file.
    is_unsafe: bool = False


def flags_of_name(name: str, content_type: str) -> tuple[Flag, ...]:
    """Return the flags that follow from the name and the declared type, before any byte
    was fetched.
    """
    why, level = why_dangerous(name, content_type)
    flags = [Flag(level, f"Be careful: {why}.", "named")] if why else []
    if invisible := found_in(name):
        flags.append(
            Flag(
                "high",
                f"Its name contains invisible characters: {', '.join(invisible).lower()}.",
                "named",
            )
        )
    return tuple(flags)


def claimed_kinds(name: str, content_type: str = "") -> set[str]:
    """Return the families and kinds that a file claims to be of by its name and its
    declared type. What these say that it runs is a program.
    """
    claims = (claimed_by_ending(ending_of(name)), claimed_by_type(content_type))
    kinds = {word for one in claims if one for word in (one.family, one.name)}
    if why_dangerous(name, content_type)[1] == "high":
        kinds.add("program")
    return kinds or {"other", "unknown"}


def ending_of(name: str) -> str:
    """Return the extension of a file name, in lower case and without the dot."""
    last = last_part(name).strip().rstrip(". ")
    return lowered(last.rpartition(".")[2].strip()) if "." in last else ""


def with_article(words: str) -> str:
    """Return the words of a kind with an article: "a PDF", "an SVG drawing"."""
    return f"{'an' if words[0].lower() in 'aeio' or words.startswith(('SVG', 'XML')) else 'a'} {words}"


# --- Why a file is not shown ----------------------------------------------------------


SENTENCES = {
    "broken": "It is damaged, or in a form that cannot be read here.",
    "busy": "Other files are being prepared. Open it again in a moment.",
    "entities": "Its XML declares entities of its own, which can fill the memory or fetch files. It was not read.",
    "form": "It is in a form that cannot be shown here.",
    "locked": "It is encrypted with a password, so its content cannot be shown.",
    "no_page": "It has no such page, or the page is beyond those shown here.",
    "no_room": "The desk's disk is full, so it cannot be prepared.",
    "pixels": "It claims more pixels than fit in the memory.",
    "too_large": "It unpacks to far more than any message needs, so it was not read.",
    "too_much": "Showing it takes too much memory or time, or crashes the renderer.",
}


class Refused(Exception):
    """The file is not rendered; `reason` is a key of SENTENCES, `broken` for any other."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason if reason in SENTENCES else "broken"
