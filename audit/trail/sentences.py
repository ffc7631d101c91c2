"""Sentences made of typed pieces: our own words, moments, and text that others wrote."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from audit.models import Entry
from common.fingerprint import short_fingerprint


@dataclass(frozen=True)
class Piece:
    """One piece: `words` of our own, a `moment`, `code` for machines, or `theirs`.

    The last was written by a person or a program that may be lying, or that may hide
    characters.
    """

    kind: str
    text: str = ""
    at: datetime | None = None


Sentence = tuple[Piece, ...]

_PARTS = re.compile(r"\[([^\[\]]*+)\]|([^\[]++)")
_FIELD = re.compile(r"\{(\w+)(?::(\w+))?\}")


def sentence(template: str, line: Entry | None = None, **values: Any) -> Sentence:
    """Return a sentence of this form. Only words of our own may stand in the template
    itself.

    `{name}` is a value: text counts as written by others, unless `{name:code}` or
    `{name:words}` says otherwise; a time is shown in the reader's zone. `[...]` is left
    out where one of its values is empty. An entry's line gives its details, `actor`,
    `at`, and `mark`, the short fingerprint.
    """
    if line is not None:
        mark = short_fingerprint(line.fingerprint) if line.fingerprint else ""
        values = {
            **line.details,
            "actor": line.actor,
            "at": line.at,
            "mark": mark,
            **values,
        }
    pieces: list[Piece] = []
    for optional, fixed in _PARTS.findall(template):
        if not all(values.get(name) for name, _ in _FIELD.findall(optional)):
            continue
        # Split by two groups: words, the name of a value, its kind, words, and so on.
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
    """Return a sentence as text alone, for a file."""
    return "".join(in_utc(piece.at) if piece.at else piece.text for piece in one)


def in_utc(at: datetime) -> str:
    """Return a moment for a file, which may be read in any time zone."""
    return f"{at.astimezone(UTC):%-d %b %Y, %H:%M:%S} UTC"


def duration(seconds: float) -> str:
    """Return how long, as people say it: `40 seconds`, `2 h 5 min`, `3 days`."""
    whole = int(seconds)
    if whole < 60:
        return f"{whole} second{'' if whole == 1 else 's'}"
    if whole < 3600:
        return f"{whole // 60} min"
    if whole < 86_400:
        rest = whole % 3600 // 60
        return f"{whole // 3600} h{f' {rest} min' if rest else ''}"
    return f"{whole // 86_400} day{'' if whole < 172_800 else 's'}"
