"""The result of rendering a message: plain values, nothing that could act."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from simple_form.result import Change

# Why a message is shown as its source after the parser was killed over it.
NOT_SAFE = "it could not be read safely"

ALARMING = frozenset(
    "text_says_other_domain unusual_scheme credentials_in_url mixed_script ip_address disguised_dot".split()
)


@dataclass(frozen=True)
class RemotePicture:
    """A picture that the message would load from elsewhere: its address, the id of its
    box in the frame, and why it seems to be a tracking pixel.
    """

    source: str
    host: str
    mark: str = ""
    tracking: str = ""


@dataclass(frozen=True)
class Difference(Change):
    """What may look different to the recipient, and the id of its box in the frame."""

    mark: str = ""


@dataclass(frozen=True)
class Link:
    """A link as it reads, and where it really goes."""

    text: str
    target: str
    host: str
    domain: str
    flags: tuple[str, ...] = ()
    # an address in plain text, which mail programs turn into a link by themselves
    written_out: bool = False
    mark: str = ""  # its id in the frame
    claim: str = ""  # the words that name another address than the one it goes to

    @property
    def is_alarming(self) -> bool:
        """Whether its true target is written next to it in the message."""
        return not ALARMING.isdisjoint(self.flags)


@dataclass(frozen=True)
class RenderedMessage:
    """A message that is safe to show. `doubt` says why its source is shown instead;
    empty where it is not.
    """

    document: str
    text: str
    plain: str
    blocked: tuple[RemotePicture, ...] = ()  # each as often as it stands in the message
    differences: tuple[Difference, ...] = ()
    links: tuple[Link, ...] = ()
    invisibles: Mapping[str, int] = field(default_factory=dict)
    inked: str = ""  # the id of the first mark for an invisible character
    doubt: str = ""
    # as text, what its recipient reads; `text` of a message that was written as text is
    # what was written
    read: str = ""

    @property
    def tracking_pixels(self) -> int:
        """How many of its remote pictures seem to be tracking pixels."""
        return sum(bool(one.tracking) for one in self.blocked)

    @property
    def word_differences(self) -> tuple[Difference, ...]:
        """What could hide, cover, cut off, move or add words."""
        return tuple(one for one in self.differences if one.concerns_words)

    @property
    def says_more(self) -> bool:
        """Whether there is more to say of it than its text."""
        return bool(self.word_differences or self.blocked or self.doubt)

    @property
    def shows_pictures(self) -> bool:
        """Whether it carries pictures that are drawn, which no text can tell."""
        return "<img " in self.document

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        """Return the message whose fields were written as JSON."""
        return cls(
            **{
                **stored,
                "blocked": tuple(RemotePicture(**one) for one in stored["blocked"]),
                "differences": tuple(
                    Difference(**one) for one in stored["differences"]
                ),
                "links": tuple(
                    Link(**{**one, "flags": tuple(one["flags"])})
                    for one in stored["links"]
                ),
            }
        )


# Stands for a tag in an outline. No text of a message holds it: see `without_marks`.
TAG = "\ue000"
# Characters for private use, which no message needs. The first is `TAG`; the others are
# for whoever compares texts.
_MARKS = re.compile("[\ue000-\ue00f]")


def without_marks(text: str) -> str:
    """Return `text` with a sign in place of the characters that are used as marks."""
    return _MARKS.sub("\ufffd", text)


@dataclass(frozen=True)
class Outline:
    """The text of a body with a mark (`TAG`) in the place of each tag, and a digest of
    what the tags are.
    """

    text: str
    markup: str = ""


def outline_of_text(source: str) -> Outline:
    """Return the outline of a body whose markup is not read."""
    return Outline(without_marks(source))


@dataclass(frozen=True)
class ParsedContent:
    """A content as the parser read it, for findings, search and comparison with earlier
    messages.

    `shown` is the message as its recipient gets it. Of a message with two parts,
    `text_part` is its text alone. `words` is the text of its HTML, whether it shows or
    not; `template` the same with line ends and the targets of links. `outlines` are
    those of its bodies, for comparison.
    """

    shown: RenderedMessage
    text_part: RenderedMessage | None = None
    words: str = ""
    template: str = ""
    outlines: tuple[Outline, ...] = ()

    @property
    def is_unsafe(self) -> bool:
        """Whether it could not be read safely, so that only its source is known."""
        return self.shown.doubt == NOT_SAFE

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        """Return what was read whose fields were written as JSON."""
        renderings = {
            name: RenderedMessage.from_json(stored[name]) if stored[name] else None
            for name in ("shown", "text_part")
        }
        outlines = tuple(Outline(**one) for one in stored["outlines"])
        return cls(**{**stored, **renderings, "outlines": outlines})
