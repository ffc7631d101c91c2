"""A card as Discord's embed, the buttons under it, and the short form for a card that
Discord refused. Text of others is shown literally, with invisible characters marked.

A custom id is no secret and proves nothing: a press is judged by who pressed, on what,
and when.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from alerts.cards.markup import MAX_LINK, MAX_SHORT, Card, Markup, cut, visible

AMBER = 0xF59E0B
COLOURS = {
    "amber": AMBER,
    # Held and about to expire: the only tone that pages do not have.
    "orange": 0xEA580C,
    "green": 0x16A34A,
    "rose": 0xDC2626,
    "blue": 0x2563EB,
    "violet": 0x7C3AED,
    "plain": 0x6B7280,
}
_ROW = 1
_BUTTON = 2
_SECONDARY = 2
_SUCCESS = 3
_DANGER = 4
_LINK = 5
_BUTTONS = (
    ("approve", "Approve", _SUCCESS),
    ("reject", "Reject", _DANGER),
    ("claim", "Claim", _SECONDARY),
)
_CUSTOM_ID = re.compile(
    r"cs:(approve|reject|claim):([0-9a-f]{32}):([1-9][0-9]{0,18})", re.ASCII
)
_MAX_REVISION = 2**63 - 1
_SHORT = 100
_SHORT_LINE = 200
_SHORTENED = "Discord did not accept the full card. Open the message on the desk."
_MARKDOWN = re.compile(r"([\\`*_~|>\[\]()#:<@\-])")
# At its beginning, a number with a dot would become a list.
_NUMBERED = re.compile(r"^(\s*[0-9]+)\.")


def escape(text: str) -> str:
    """Return `text` so that Discord shows it literally: no Markdown, no mentions, no
    links, no invisible characters.
    """
    return _NUMBERED.sub(r"\1\\.", _MARKDOWN.sub(r"\\\1", visible(text)))


def literal(text: str, limit: int = MAX_SHORT) -> str:
    """Return as much of `text` as fits, shown literally."""
    # Of a much longer text only the beginning is escaped, because it is cut anyway.
    return cut(escape(text[: 8 * limit]), limit)


class DiscordMarkdown(Markup):
    """How cards are written for Discord."""

    def plain(self, text: str, limit: int = MAX_SHORT) -> str:
        return literal(text, limit)

    def bold(self, text: str) -> str:
        return f"**{text}**"

    def link(self, label: str, url: str) -> str:
        return f"[{label}]({url})"

    def aligned(self, lines: Sequence[str]) -> str:
        # In a block of code nothing but its end is markup.
        return "```\n{}\n```".format(
            "\n".join(visible(line).replace("`", "ˋ") for line in lines)
        )

    def moment(self, at: datetime) -> str:
        # Discord shows it as "3 hours ago" or "in 2 minutes", and updates it.
        return f"<t:{int(at.timestamp())}:R>"


MARKDOWN = DiscordMarkdown()


@dataclass(frozen=True)
class Button:
    """The content of a button's custom id: an action, a message, and the version that
    the card showed.
    """

    action: str
    message: UUID
    revision: int


def embed(card: Card) -> dict[str, Any]:
    """Return the embed of a card."""
    made = {
        "title": card.title,
        "url": card.url,
        "description": card.description,
        "color": COLOURS[card.tone],
        "fields": [
            {"name": one.name, "value": one.value, "inline": one.inline}
            for one in card.fields
        ],
        "footer": {"text": card.footer} if card.footer else None,
    }
    return {name: value for name, value in made.items() if value}


def payload(
    made: dict[str, Any], components: Sequence[dict[str, Any]] | None = None
) -> dict[str, Any]:
    """Return the body for Discord: one embed, and nobody is pinged whatever it
    contains.

    `components`, even none, replace those that are there.
    """
    body: dict[str, Any] = {"embeds": [made], "allowed_mentions": {"parse": []}}
    if components is not None:
        body["components"] = list(components)
    return body


def buttons(card: Card) -> list[dict[str, Any]]:
    """Return the rows of buttons; what is not open, or whose content is not there yet,
    can only be opened.

    Approve is there for risky messages too. If it were missing, people would take it
    for a fault, or think that the message could not be approved at all; pressed, it
    says why this one is decided on the desk, with the link.
    """
    row: list[dict[str, Any]] = []
    if card.is_open and card.message and card.revision is not None:
        row = [
            {
                "type": _BUTTON,
                "style": style,
                "label": label,
                "custom_id": custom_id(action, card.message, card.revision),
            }
            for action, label, style in _BUTTONS
        ]
    if len(card.url) <= MAX_LINK:
        row.append({"type": _BUTTON, "style": _LINK, "label": "Open", "url": card.url})
    return [{"type": _ROW, "components": row}] if row else []


def custom_id(action: str, message: UUID, revision: int) -> str:
    """Return what Discord sends back when the button is pressed."""
    return f"cs:{action}:{message.hex}:{revision}"


def read_custom_id(text: str) -> Button | None:
    """Return the parsed custom id, or None for one that this desk did not write."""
    found = _CUSTOM_ID.fullmatch(text)
    if found is None or int(found[3]) > _MAX_REVISION:
        return None
    return Button(found[1], UUID(hex=found[2]), int(found[3]))


def shortened(body: dict[str, Any]) -> dict[str, Any]:
    """Return a form of a card's `body` that Discord accepts: a few lines, without links
    and buttons.

    What stays was escaped when the whole was made.
    """
    card = body["embeds"][0]
    line = card.get("description", "").partition("\n")[0]
    line = re.sub(r"(?<!\\)\[([^\[\]\\]*+)\]\(https?://[^)\[]*+\)", r"\1", line)
    less = {
        "title": _short(card.get("title", "")) or "A message",
        "description": "\n".join(filter(None, (_short(line, _SHORT_LINE), _SHORTENED))),
        "color": card["color"],
        "fields": [
            {
                "name": "Message ID",
                "value": _short(one["value"]) or "—",
                "inline": False,
            }
            for one in card.get("fields", ())
            if one["name"] == "Message ID"
        ],
    }
    if "footer" in card:
        # Its number identifies a post that arrived twice.
        less["footer"] = {"text": _short(card["footer"]["text"])}
    return payload(less, [] if "components" in body else None)


def _short(text: str, limit: int = _SHORT) -> str:
    return cut(
        text.encode("utf-16", "replace").decode("utf-16", "replace"), limit
    ).strip()
