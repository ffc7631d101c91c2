"""Builds the sentences of an audit trail from pieces, so that templates can show each
piece in its own way: our own words, times, and text that others wrote, which may be
hostile.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from audit.models import Entry
from common.fingerprint import short_fingerprint


@dataclass(frozen=True)
class Piece:
    """One piece of a sentence. Its kind is "words" (our own text), "moment" (the time
    `at`), "code" (such as an id), or "theirs": text of a person or program that may lie
    or contain hidden characters.
    """

    kind: str
    text: str = ""
    at: datetime | None = None


Sentence = tuple[Piece, ...]

_PARTS = re.compile(r"\[([^\[\]]*+)\]|([^\[]++)")
_FIELD = re.compile(r"\{(\w+)(?::(\w+))?\}")


def sentence(template: str, line: Entry | None = None, **values: Any) -> Sentence:
    """Return the sentence of a template, which may contain only our own words.

    `{name}` inserts a value. Its text counts as written by others, unless `{name:code}`
    or `{name:words}` gives another kind; a time becomes a "moment". A part in `[...]`
    is left out if one of its values is empty.

    Values are the keyword arguments and those of the entry `line`: its details,
    `actor`, `at`, and `mark`, the short fingerprint.
    """
    if line:
        values = {
            **line.details,
            "actor": line.actor,
            "at": line.at,
            "mark": short_fingerprint(line.fingerprint) if line.fingerprint else "",
            **values,
        }
    pieces = []
    for optional, fixed in _PARTS.findall(template):
        if not all(values.get(name) for name, _ in _FIELD.findall(optional)):
            continue
        # The pattern has two groups, so this is: words, name, kind, words, name, ...
        parts = _FIELD.split(optional or fixed)
        pieces.append(Piece("words", parts[0]))
        for name, kind, words in zip(
            parts[1::3], parts[2::3], parts[3::3], strict=True
        ):
            value = values[name]
            if isinstance(value, datetime):
                pieces.append(Piece("moment", at=value))
            else:
                pieces.append(Piece(kind or "theirs", str(value)))
            pieces.append(Piece("words", words))
    return tuple(piece for piece in pieces if piece.text or piece.at)


def plain(one: Sentence) -> str:
    """Return a sentence as plain text, for a file."""
    text = ""
    for piece in one:
        text += in_utc(piece.at) if piece.at else piece.text
    return text


def in_utc(at: datetime) -> str:
    """Return a time in UTC, for a file that may be read in any time zone."""
    return f"{at.astimezone(UTC):%-d %b %Y, %H:%M:%S} UTC"


def duration(seconds: float) -> str:
    """Return a duration for people: "40 seconds", "2 h 5 min", "3 days"."""
    whole = int(seconds)
    if whole < 60:
        return f"{whole} second{'' if whole == 1 else 's'}"
    if whole < 3600:
        return f"{whole // 60} min"
    if whole < 86_400:
        rest = whole % 3600 // 60
        return f"{whole // 3600} h{f' {rest} min' if rest else ''}"
    return f"{whole // 86_400} day{'' if whole < 172_800 else 's'}"
