"""The dataclasses that rendering a message returns: its document and text, links,
remote pictures and differences. They come back from the parser as JSON.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from simple_form.result import HIDING, PREHEADER, Change

# The reason that is shown above the source of a message over which the parser was
# killed.
NOT_SAFE = "it could not be read safely"

# Flags of a link (see `rendering.links`) that need a mark in the message.
ALARMING = frozenset(
    "text_says_other_domain unusual_scheme credentials_in_url mixed_script ip_address disguised_dot "
    "hidden_recipient".split()
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
    """What the recipient may see differently, and the id of its box in the frame."""

    mark: str = ""


@dataclass(frozen=True)
class Link:
    """A link: its text, and where it goes. `domain` is the registered domain.
    `is_openable` says whether people may open it from the desk.
    """

    text: str
    target: str
    host: str
    domain: str
    flags: Sequence[str] = ()
    # an address in plain text, which mail programs turn into a link by themselves
    written_out: bool = False
    mark: str = ""  # its id in the frame
    claim: str = ""  # its text that names an address to which it does not go
    is_openable: bool = False

    @property
    def is_alarming(self) -> bool:
        """Whether its true target is written next to it in the message."""
        return not ALARMING.isdisjoint(self.flags)


@dataclass(frozen=True)
class RenderedMessage:
    """A message that is safe to show.

    `document` is the HTML for the frame, `text` the same as text with marks, `plain`
    its words alone. `doubt` says why its source is shown instead; it is empty if the
    message is shown rendered.
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
    # the text of the drawn document; `text` is the same, except for a message written
    # as Markdown, of which it is the Markdown
    read: str = ""
    # its words without those that have a line through them; empty if there are none
    unstruck: str = ""
    # whether its recipient sees what the document shows: all of the original is written
    # as it is
    is_exact: bool = False

    @property
    def tracking_pixels(self) -> int:
        """How many of its remote pictures seem to be tracking pixels."""
        return sum(bool(one.tracking) for one in self.blocked)

    @property
    def preheader(self) -> str:
        """Words that only lists of messages show."""
        return " ".join(
            one.passage for one in self.differences if one.code == PREHEADER
        )

    @property
    def hidden(self) -> tuple[Difference, ...]:
        """Words of the original that are hidden in a plain way."""
        return tuple(one for one in self.differences if one.code in HIDING)

    @property
    def may_differ(self) -> bool:
        """Whether its recipient may see it differently. A preheader is no part of what
        is seen in it.
        """
        codes = {one.code for one in self.differences}
        return bool(self.doubt) or not codes <= {PREHEADER}

    @property
    def says_more(self) -> bool:
        """Whether the reviewer needs to see more than its text."""
        return bool(self.blocked or self.may_differ)

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        """Return the message from its fields as read from JSON."""
        fields = dict(stored)
        for name, kind in (
            ("blocked", RemotePicture),
            ("differences", Difference),
            ("links", Link),
        ):
            fields[name] = tuple(kind(**one) for one in stored[name])
        return cls(**fields)


# Stands for a tag in an outline. `without_marks` removes it from the text of a message.
TAG = "\ue000"
# Characters for private use, which no message needs. The first is `TAG`; code that
# compares texts uses the others.
_MARKS = dict.fromkeys(range(0xE000, 0xE010), "\ufffd")


def without_marks(text: str) -> str:
    """Return `text` with U+FFFD in place of the characters that are used as marks."""
    return text.translate(_MARKS)


@dataclass(frozen=True)
class Outline:
    """The text of a message body with a mark (`TAG`) in place of each tag, and a digest
    of the tags and their attributes.
    """

    text: str
    markup: str = ""


@dataclass(frozen=True)
class ParsedContent:
    """A message's content as the parser read it, for findings, search and comparison
    with earlier messages. It stays in the parser.

    `shown` is the rendered message. `text_part` is the rendered text part of a message
    that has HTML too, or whose Markdown has what its HTML may not show. `differences`
    are passages of HTML and text that differ. `words` is all text of its HTML, visible
    or not; `template` is the same with line ends and the targets of links. `outlines`
    has the outline of each body.
    """

    shown: RenderedMessage
    text_part: RenderedMessage | None = None
    differences: Sequence[tuple[str, str, bool]] = ()
    words: str = ""
    template: str = ""
    outlines: tuple[Outline, ...] = ()

    @property
    def renderings(self) -> list[RenderedMessage]:
        """The rendered message, and its text part if it has one."""
        return [self.shown, self.text_part] if self.text_part else [self.shown]
