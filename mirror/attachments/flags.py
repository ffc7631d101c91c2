"""What is known of a file: the result of looking at its bytes, and what its name and
type alone give away.
"""

import re
from dataclasses import dataclass

from common.fingerprint import Attachment
from rendering import found_in, stripped
from risk.check_attachments import why_dangerous


@dataclass(frozen=True)
class Flag:
    """One thing to know about a file."""

    level: str
    sentence: str


@dataclass(frozen=True)
class Detection:
    """What was seen of a file. `members` are the names in an archive, `more` those that
    are not listed.

    `is_unsafe`: the parser was killed over it twice.
    """

    kind: str
    flags: tuple[Flag, ...] = ()
    members: tuple[str, ...] = ()
    more: int = 0
    width: int = 0
    height: int = 0
    encoding: str = ""
    is_unsafe: bool = False


def flags_of_name(name: str, content_type: str) -> tuple[Flag, ...]:
    """Return what the name and the declared type alone give away, before any byte was
    fetched.
    """
    why, level = why_dangerous(Attachment(name=name, content_type=content_type, size=0))
    flags = [Flag(level, f"Be careful: {why}.")] if why else []
    if invisible := found_in(name):
        flags.append(
            Flag(
                "high",
                f"Its name contains invisible characters: {', '.join(invisible).lower()}.",
            )
        )
    return tuple(flags)


def ending_of(name: str) -> str:
    """Return the file name extension."""
    last = re.split(r"[/\\]", stripped(name))[-1].strip().rstrip(". ")
    return last.rpartition(".")[2].strip().lower() if "." in last else ""


def with_article(words: str) -> str:
    """Return a kind's words as one of its kind: "a PDF", "an SVG drawing"."""
    return f"{'an' if words[0].lower() in 'aeio' or words.startswith(('SVG', 'XML')) else 'a'} {words}"
