"""Turns a card into Slack's format, Block Kit.

In every text, Slack reads the signs & < > as markup for links, mentions and times, so
all three are escaped. Text that needs no formatting goes into plain_text objects, in
which Slack reads no other markup.
"""

import re
from collections.abc import Sequence
from datetime import datetime

from alerts.cards.buttons import buttons_of
from alerts.cards.markup import MAX_SHORT, Card, Field, Markup, cut, visible
from alerts.channels.requests import Json

# The button that opens the desk. Slack tells of its press, too.
OPEN = "open"
# Slack's styles of buttons.
_STYLES = {"approve": "primary", "reject": "danger"}
# Block Kit's limits, in characters.
MAX_LABEL = 75
MAX_HEADER = 150
MAX_SECTION = 3000
MAX_FIELD = 2000
MAX_FIELDS = 10
MAX_URL = 3000
_ENTITIES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})
# In formatted text these signs cannot be escaped, so signs that look like them replace
# them.
_LOOKALIKES = str.maketrans("*_~`", "∗＿∼ˋ")
# The colon that begins the name of an emoji.
_EMOJI = re.compile(r":(?=[\w+'-]+:)")
_HALF_ENTITY = re.compile(r"&[a-z]{0,3}…$")


class Mrkdwn(Markup):
    """How cards are written for Slack."""

    def plain(self, text: str, limit: int = MAX_SHORT) -> str:
        return cut_entities(visible(text[: 8 * limit]).translate(_ENTITIES), limit)

    def literal(self, text: str, limit: int = MAX_SHORT) -> str:
        return _EMOJI.sub("∶", self.plain(text, limit)).translate(_LOOKALIKES)

    def bold(self, text: str) -> str:
        return f"*{text}*"

    def link(self, label: str, url: str) -> str:
        return f"<{url.translate(_ENTITIES)}|{label}>"

    def aligned(self, lines: Sequence[str]) -> str:
        shown = super().aligned(lines).replace("`", "ˋ").translate(_ENTITIES)
        return f"```\n{shown}\n```"

    def moment(self, at: datetime) -> str:
        return f"<!date^{int(at.timestamp())}^{{date_short_pretty}}, {{time}}|{at:%Y-%m-%d %H:%M} UTC>"


MARKUP = Mrkdwn()


def card_body(card: Card, *, has_buttons: bool) -> Json:
    """Return the body that shows a card: a header, the status, the fields, buttons that
    decide (`has_buttons`) and one that opens the desk, and a footer.
    """
    blocks: list[Json] = [
        {"type": "header", "text": plain_text(card.title, MAX_HEADER)},
        {"type": "section", "text": mrkdwn(card.description)},
    ]
    blocks += [
        {
            "type": "section",
            "fields": [_field(one) for one in card.fields[first : first + MAX_FIELDS]],
        }
        for first in range(0, len(card.fields), MAX_FIELDS)
    ]
    pressed = buttons_of(card) if has_buttons else []
    buttons = [
        _button(label, action, value=custom_id) for action, label, custom_id in pressed
    ]
    if card.url and len(card.url) <= MAX_URL:
        buttons.append(_button("Open", OPEN, url=card.url))
    if buttons:
        blocks.append({"type": "actions", "elements": buttons})
    if card.footer:
        blocks.append(
            {"type": "context", "elements": [plain_text(card.footer, MAX_SECTION)]}
        )
    return text_body(f"{card.title}: {card.word}" if card.word else card.title, blocks)


def text_body(text: str, blocks: list[Json]) -> Json:
    """Return a body with these blocks. Notifications show `text`, in which Slack makes
    no links, mentions or formatting of its own.
    """
    return {
        "text": text,
        "mrkdwn": False,
        "blocks": blocks,
        "unfurl_links": False,
        "unfurl_media": False,
        "link_names": False,
        "parse": "none",
    }


def cut_entities(text: str, limit: int) -> str:
    """Return `text` cut to `limit`, never in the middle of an entity such as &amp;."""
    return _HALF_ENTITY.sub("…", cut(text, limit))


def _field(field: Field) -> Json:
    if field.is_formatted:
        return mrkdwn(f"*{field.name}*\n{field.value}", MAX_FIELD)
    return plain_text(f"{field.name}\n{field.value}", MAX_FIELD)


def _button(label: str, action: str, **more: str) -> Json:
    text = {"type": "button", "text": plain_text(label), "action_id": action}
    style = {"style": _STYLES[action]} if action in _STYLES else {}
    return {**text, **style, **more}


def plain_text(text: str, limit: int = MAX_LABEL) -> Json:
    """Return a text in which Slack reads no markup."""
    return {"type": "plain_text", "text": cut_entities(text, limit), "emoji": False}


def mrkdwn(text: str, limit: int = MAX_SECTION) -> Json:
    """Return a text in Slack's markup."""
    # Verbatim: Slack does not turn names of channels and people into links.
    return {"type": "mrkdwn", "text": cut_entities(text, limit), "verbatim": True}
