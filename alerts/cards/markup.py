"""The data of a card and its fields, and the markup in which a channel writes them:
`Markup` has a subclass for each chat service.

Lengths are counted in UTF-16 units, because the strictest chat services count so.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from alerts.models import Destination
from rendering.invisibles import Tally, pieces

MAX_TITLE = 256
MAX_VALUE = 1024
# For short values. The limits are chosen so that a whole card stays under the 6,000 of
# Discord, the lowest limit of any channel.
MAX_SHORT = 256
# For values of which a card may have several, and how many addresses or files one of them names.
MAX_FIELD = 512
MAX_LISTED = 5
# Discord does not accept a longer address for a button.
MAX_LINK = 512
_SHORTENED = "The full card was not accepted. Open the message on the desk."
# The colours of messages that wait for a decision.
OPEN_TONES = ("amber", "orange")
# Text that is cut must not end in a joiner or half an escape sequence, which would
# change how the character beside it is shown.
_HALF = "\\\u200d\ufe0f"


@dataclass(frozen=True)
class Field:
    """A name and its value. With `is_formatted` the value contains markup, else it is
    plain text.
    """

    name: str
    value: str
    inline: bool = False
    is_formatted: bool = False


@dataclass(frozen=True)
class Card:
    """What a post shows. Every text is already escaped and cut for its channel."""

    title: str
    url: str
    description: str
    # The colour, by a name such as "amber".
    tone: str
    fields: Sequence[Field]
    footer: str = "Countersign"
    # The status, as a word or two.
    word: str = ""
    # The message and its version; a card without them has no buttons to decide.
    message: UUID | None = None
    revision: int | None = None
    # Whether it shows all that the recipients get, so that it can be approved from it.
    shows_all: bool = False

    @property
    def is_open(self) -> bool:
        """Whether the card asks for a decision."""
        return self.tone in OPEN_TONES


def shortened(card: Card) -> Card:
    """Return a short form of a card that a service refused: no links, no buttons to
    decide, and few words. The number in its footer leads to the message.
    """
    first = card.description.partition("\n")[0]
    return replace(
        card,
        title=_short(card.title) or "A message",
        url="",
        description=f"{_short(first, MAX_SHORT)}\n{_SHORTENED}".strip(),
        fields=(),
        footer=_short(card.footer),
        revision=None,
    )


def _short(text: str, limit: int = 100) -> str:
    whole = text.encode("utf-16", "replace").decode("utf-16", "replace")
    return cut(whole, limit).strip()


class Markup:
    """How a channel writes text. What others wrote passes through `literal` or `plain`,
    and is cut to `limit`.

    As it is here it has no markup at all: for services that read none in plain text.
    """

    def literal(self, text: str, limit: int = MAX_SHORT) -> str:
        """Return text to put into formatted text, escaped so that it is shown as it is
        written.
        """
        return self.plain(text, limit)

    def plain(self, text: str, limit: int = MAX_SHORT) -> str:
        """Return text for a title or the value of a field, where no markup surrounds it."""
        return cut(visible(text[: 8 * limit]), limit)

    def bold(self, text: str) -> str:
        """Return text in bold. It is not escaped, so it must be the desk's own."""
        return text

    def link(self, label: str, url: str) -> str:
        """Return a link to a page of the desk."""
        return label

    def answer_link(self, label: str, url: str) -> str:
        """Return a link as it stands in the answer to somebody who pressed a button."""
        return self.link(label, url)

    def aligned(self, lines: Sequence[str]) -> str:
        """Return lines in a monospaced font, with each invisible character replaced."""
        return "\n".join(map(visible, lines))

    def moment(self, at: datetime) -> str:
        """Return a time, which the channel shows relative to now, if it can."""
        return f"{at:%Y-%m-%d %H:%M} UTC"


def visible(text: str) -> str:
    """Return `text` on one line, with each invisible character replaced by U+FFFD."""
    line = ""
    lines = filter(None, text.replace("\t", "\n").splitlines())
    for is_mark, piece in pieces(" ".join(lines), Tally()):
        line += "\ufffd" if is_mark else piece
    return line


def units(text: str) -> int:
    """Return the length of `text` in UTF-16 units."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def cut(text: str, limit: int) -> str:
    """Return `text` cut to `limit` UTF-16 units, never in the middle of a code point or
    after the backslash of an escape.
    """
    if units(text) <= limit:
        return text
    if limit < 1:
        return ""
    while units(text) > limit - 1:
        text = text[: max(0, min(len(text) - 1, limit - 1))]
    return text.rstrip(_HALF) + "…"


class Fields(list[Field]):
    """The list of a card's fields, with methods that add one in the channel's markup,
    as far as the destination's level of privacy allows.
    """

    def __init__(self, markup: Markup, destination: Destination) -> None:
        super().__init__()
        self.markup = markup
        self.destination = destination

    def text(
        self,
        name: str,
        value: str,
        limit: int = MAX_SHORT,
        *,
        rest: int = 0,
        inline: bool = False,
    ) -> None:
        """Add a field with text that other people wrote. With `rest`, "and 3 more"
        follows, for which space is kept.
        """
        more = f" and {rest} more" if rest > 0 else ""
        shown = self.markup.plain(self.destination.shown_text(value), limit - len(more))
        # Channels refuse a field without a value.
        self.append(Field(name, (shown.strip() or "—") + more, inline))

    def addresses(self, name: str, addresses: Sequence[str]) -> None:
        """Add a field with the first of these addresses."""
        first = [str(one) for one in addresses[:MAX_LISTED]]
        shown = ", ".join(map(self.destination.shown_address, first))
        rest = len(addresses) - MAX_LISTED
        # A column is too narrow for several.
        inline = len(addresses) < 2
        self.text(name, shown, MAX_FIELD, rest=rest, inline=inline)

    def moment(self, name: str, at: datetime) -> None:
        """Add a field with a time."""
        self.append(Field(name, self.markup.moment(at), inline=True, is_formatted=True))
