"""Turns a card into Discord's format: an embed with buttons under it, and a short form
in case Discord refuses the card. Text that other people wrote is shown as written, with
invisible characters marked.
"""

from collections.abc import Sequence
from datetime import datetime

from alerts.cards.buttons import buttons_of
from alerts.cards.markup import MAX_LINK, MAX_SHORT, Card, Markup, cut, visible
from alerts.channels.requests import Json

COLOURS = {
    "amber": 0xF59E0B,
    # Held and about to expire: the only tone that pages do not have.
    "orange": 0xEA580C,
    "green": 0x16A34A,
    "rose": 0xDC2626,
    "blue": 0x2563EB,
    "violet": 0x7C3AED,
    "plain": 0x6B7280,
}
# Discord's numbers: kinds of components, then styles of buttons.
_ROW = 1
_BUTTON = 2
_SECONDARY = 2
_SUCCESS = 3
_DANGER = 4
_LINK = 5
_STYLES = {"approve": _SUCCESS, "reject": _DANGER, "claim": _SECONDARY}
_MARKDOWN = str.maketrans({sign: f"\\{sign}" for sign in "\\`*_~|>[]()#:<@-"})


def escape(text: str) -> str:
    """Return `text` escaped so that Discord shows it as written: without Markdown,
    mentions, links or invisible characters.
    """
    written = visible(text).translate(_MARKDOWN)
    number, dot, rest = written.partition(".")
    # Discord would show a number with a dot at the beginning of a text as a list.
    digits = number.lstrip()
    is_item = digits.isascii() and digits.isdecimal()
    return f"{number}\\{dot}{rest}" if is_item and dot else written


class DiscordMarkdown(Markup):
    """How cards are written for Discord."""

    def plain(self, text: str, limit: int = MAX_SHORT) -> str:
        # Only the beginning of a very long text is escaped, because the rest is cut off.
        return cut(escape(text[: 8 * limit]), limit)

    def bold(self, text: str) -> str:
        return f"**{text}**"

    def link(self, label: str, url: str) -> str:
        return f"[{label}]({url})"

    def answer_link(self, label: str, url: str) -> str:
        # In angle brackets, Discord shows no preview of the page.
        return f"[{label}](<{url}>)"

    def aligned(self, lines: Sequence[str]) -> str:
        # In a code block only a backtick, which could end the block, has a meaning.
        shown = super().aligned(lines).replace("`", "ˋ")
        return f"```\n{shown}\n```"

    def moment(self, at: datetime) -> str:
        # Discord shows it as "3 hours ago" or "in 2 minutes", and updates it.
        return f"<t:{int(at.timestamp())}:R>"


MARKDOWN = DiscordMarkdown()


def embed(card: Card) -> Json:
    content = {
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
    return {name: value for name, value in content.items() if value}


def payload(content: Json) -> Json:
    """Return the body of a request to Discord: one embed, and no mentions, so that it
    notifies nobody whatever its text contains.
    """
    return {"embeds": [content], "allowed_mentions": {"parse": []}}


def buttons(card: Card) -> list[Json]:
    """Return the rows of buttons: those that decide, and Open."""
    row: list[Json] = [
        {
            "type": _BUTTON,
            "style": _STYLES[action],
            "label": label,
            "custom_id": custom_id,
        }
        for action, label, custom_id in buttons_of(card)
    ]
    if 0 < len(card.url) <= MAX_LINK:
        row.append({"type": _BUTTON, "style": _LINK, "label": "Open", "url": card.url})
    return [{"type": _ROW, "components": row}] if row else []
