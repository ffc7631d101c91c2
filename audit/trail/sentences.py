"""Sentences whose pieces keep what they are: our words, moments, and words that somebody else wrote."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

Kind = Literal["words", "moment", "theirs", "code"]


@dataclass(frozen=True)
class Piece:
    """One piece. `theirs` was written by a person or a program that may be lying, or that may hide characters."""

    kind: Kind
    text: str = ""
    at: datetime | None = None


@dataclass(frozen=True)
class Sentence:
    """One sentence; `standing` says what it rests on where that matters: "says" or "proved"."""

    pieces: tuple[Piece, ...]
    standing: str = ""
    # Where to look at it, as a number of a verdict.
    verdict: str = ""

    @property
    def plain(self) -> str:
        """The sentence as text alone, with times in UTC."""
        return "".join(_plain(piece) for piece in self.pieces)


@dataclass(frozen=True)
class Answer:
    """A question that everybody asks of a message, and its answer."""

    question: str
    sentences: tuple[Sentence, ...]


def theirs(text: str) -> Piece:
    return Piece("theirs", text)


def code(text: str) -> Piece:
    return Piece("code", text)


def sentence(*pieces: "str | datetime | Piece", standing: str = "", verdict: str = "") -> Sentence:
    """Return a sentence of these: text is our own, a time is shown in the reader's zone."""
    return Sentence(tuple(map(_piece, pieces)), standing, verdict)


def listed(texts: Sequence[str], *, most: int = 12) -> list["str | Piece"]:
    """Return words of others with commas between them; of very many the first, and how many more there are."""
    pieces: list[str | Piece] = []
    for place, text in enumerate(texts[:most]):
        pieces += [", " * bool(place), theirs(text)]
    return [*pieces, f" and {len(texts) - most:,} more"] if len(texts) > most else pieces


def addresses_of(text: str) -> list[str]:
    """Return the addresses of a detail, which keeps them with commas between."""
    return [one.strip() for one in text.split(",") if one.strip()]


def lines_of(text: str) -> list[str]:
    """Return the lines of a detail that keeps one thing a line."""
    return [line for line in text.split("\n") if line]


def lasted(seconds: float) -> str:
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


def in_utc(at: datetime) -> str:
    """Return a moment as a file tells it, which is read anywhere."""
    return f"{at.astimezone(UTC):%-d %b %Y, %H:%M:%S} UTC"


def _piece(one: "str | datetime | Piece") -> Piece:
    if isinstance(one, Piece):
        return one
    return Piece("moment", at=one) if isinstance(one, datetime) else Piece("words", one)


def _plain(piece: Piece) -> str:
    return in_utc(piece.at) if piece.at is not None else piece.text
