"""A card and its fields, and the markup in which a channel writes them.

Lengths are counted in UTF-16 units, the strictest way in which chat clients count.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from rendering.invisibles import Tally, pieces

MAX_TITLE = 256
MAX_VALUE = 1024
# Short values of others; all parts of a card together stay under Discord's 6,000, the
# lowest limit of any channel.
MAX_SHORT = 256
# Discord accepts no longer address under a button.
MAX_LINK = 512
OPEN_TONES = ("amber", "orange")
# A cut must not leave a lone joiner, combining mark or half an escape: it would change
# the character before it.
_HALF = re.compile(r"(?<![\\\u200d\ufe0f])[\\\u200d\ufe0f]++$")
_LINES = re.compile("[\t\n\v\f\r\x1c-\x1e\x85\u2028\u2029]+")


@dataclass(frozen=True)
class Field:
    """A name and its value; with `is_formatted` the value holds markup, otherwise plain
    text.
    """

    name: str
    value: str
    inline: bool = False
    is_formatted: bool = False


@dataclass(frozen=True)
class Card:
    """What a channel shows, with every text in its markup. `word` is the status;
    buttons need `message`.
    """

    title: str
    url: str
    description: str
    tone: str
    fields: Sequence[Field]
    footer: str = "Countersign"
    word: str = ""
    message: UUID | None = None
    revision: int | None = None

    @property
    def is_open(self) -> bool:
        """Whether the card asks for a decision."""
        return self.tone in OPEN_TONES

    @property
    def headline(self) -> str:
        """The first line of the description."""
        return self.description.partition("\n")[0]


class Markup:
    """How a channel writes text. What others wrote passes through `literal` or `plain`,
    and is cut to `limit`.

    As it is here it has no markup at all: for samples on our own pages, which escape
    for themselves.
    """

    def literal(self, text: str, limit: int = MAX_SHORT) -> str:
        """Return text for use within formatted text, escaped so that none of it acts as
        markup.
        """
        return self.plain(text, limit)

    def plain(self, text: str, limit: int = MAX_SHORT) -> str:
        """Return text for a title or a field's value, which have no markup around them."""
        return cut(text, limit)

    def bold(self, text: str) -> str:
        """Return our own text in bold."""
        return text

    def link(self, label: str, url: str) -> str:
        """Return a link to the desk."""
        return label

    def quote(self, text: str) -> str:
        """Return a line as a quotation, written the same everywhere."""
        return f"> {text}"

    def aligned(self, lines: Sequence[str]) -> str:
        """Return lines of others in letters of one width, literally."""
        return "\n".join(map(visible, lines))

    def moment(self, at: datetime) -> str:
        """Return a moment that the channel shows relative to now."""
        return "2 minutes ago"


def visible(text: str) -> str:
    """Return `text` on one line, with each invisible character replaced by U+FFFD."""
    return "".join(
        "\ufffd" if is_mark else piece
        for is_mark, piece in pieces(_LINES.sub(" ", text), Tally())
    )


def units(text: str) -> int:
    """Return the length of `text` in UTF-16 units."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def cut(text: str, limit: int) -> str:
    """Return `text` within `limit` UTF-16 units, never ending in half a character or an
    escape.
    """
    if units(text) <= limit:
        return text
    while units(text) > limit - 1:
        text = text[: max(0, min(len(text) - 1, limit - 1))]
    return _HALF.sub("", text) + "…"


class Fields(list[Field]):
    """The fields of a card, as its channel writes them."""

    def __init__(self, markup: Markup) -> None:
        super().__init__()
        self.markup = markup

    def text(
        self,
        name: str,
        value: str,
        limit: int = MAX_VALUE,
        *,
        rest: int = 0,
        inline: bool = False,
    ) -> None:
        """Add text of others, and how many more there are: there is always space for
        their number. Channels accept no field without a value.
        """
        more = f" and {rest} more" if rest > 0 else ""
        shown = self.markup.plain(value, limit - len(more)).strip() or "—"
        self.append(Field(name, shown + more, inline))

    def moment(self, name: str, at: datetime) -> None:
        """Add a moment."""
        value = self.markup.moment(at)
        self.append(Field(name, value, inline=True, is_formatted=True))
