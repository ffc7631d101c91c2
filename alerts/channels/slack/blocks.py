"""A card as Slack's Block Kit, and text of others so that Slack shows it literally.

Slack reads & < > as the beginning of links, mentions and moments in every text object,
so all three become entities. What needs no formatting goes into plain_text objects,
where nothing else is read as markup either.
"""

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from alerts.cards.markup import MAX_SHORT, Card, Field, Markup, cut, visible

# Block Kit's limits, in characters.
MAX_HEADER = 150
MAX_SECTION = 3000
MAX_FIELD = 2000
MAX_FIELDS = 10
MAX_URL = 3000
_ENTITIES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})
# Within formatted text there is no escape for these, so characters that look like them
# stand there.
_LOOKALIKES = str.maketrans({"*": "∗", "_": "＿", "~": "∼", "`": "ˋ"})
_HALF_ENTITY = re.compile(r"&[a-z]{0,3}…$")


class Mrkdwn(Markup):
    """How cards are written for Slack."""

    def plain(self, text: str, limit: int = MAX_SHORT) -> str:
        return cut_entities(visible(text[: 8 * limit]).translate(_ENTITIES), limit)

    def literal(self, text: str, limit: int = MAX_SHORT) -> str:
        return self.plain(text, limit).translate(_LOOKALIKES)

    def bold(self, text: str) -> str:
        return f"*{text}*"

    def link(self, label: str, url: str) -> str:
        return f"<{url.translate(_ENTITIES)}|{label}>"

    def aligned(self, lines: Sequence[str]) -> str:
        shown = "\n".join(
            visible(line).replace("`", "ˋ").translate(_ENTITIES) for line in lines
        )
        return f"```\n{shown}\n```"

    def moment(self, at: datetime) -> str:
        return f"<!date^{int(at.timestamp())}^{{date_short_pretty}}, {{time}}|{at:%Y-%m-%d %H:%M} UTC>"


def card_body(card: Card) -> dict[str, Any]:
    """Return the body for Slack: a header, the status, the fields, a button to the
    desk, and a footer.
    """
    blocks: list[dict[str, Any]] = [
        {"type": "header", "text": _plain_text(card.title, MAX_HEADER)},
        {"type": "section", "text": _mrkdwn(card.description, MAX_SECTION)},
    ]
    blocks += [
        {
            "type": "section",
            "fields": [_field(one) for one in card.fields[first : first + MAX_FIELDS]],
        }
        for first in range(0, len(card.fields), MAX_FIELDS)
    ]
    if card.url and len(card.url) <= MAX_URL:
        button = {"type": "button", "text": _plain_text("Open", 75), "url": card.url}
        blocks.append({"type": "actions", "elements": [button]})
    if card.footer:
        blocks.append(
            {"type": "context", "elements": [_plain_text(card.footer, MAX_SECTION)]}
        )
    return text_body(f"{card.title}: {card.word}" if card.word else card.title, blocks)


def short_body(body: dict[str, Any]) -> dict[str, Any]:
    """Return a body without blocks, for one that Slack refused."""
    return text_body(
        f"{body['text']}\nSlack did not accept the full card. Open the message on the desk.",
        [],
    )


def text_body(text: str, blocks: list[dict[str, Any]]) -> dict[str, Any]:
    """Return a body: `text` is for notifications, and nothing in it becomes a link or a
    mention by itself.
    """
    quiet = {
        "unfurl_links": False,
        "unfurl_media": False,
        "link_names": False,
        "parse": "none",
    }
    return {"text": text, "blocks": blocks, **quiet}


def cut_entities(text: str, limit: int) -> str:
    """Return `text` within `limit`, never ending in half an entity."""
    return _HALF_ENTITY.sub("…", cut(text, limit))


def _field(field: Field) -> dict[str, Any]:
    if field.is_formatted:
        return _mrkdwn(f"*{field.name}*\n{field.value}", MAX_FIELD)
    return _plain_text(f"{field.name}\n{field.value}", MAX_FIELD)


def _plain_text(text: str, limit: int) -> dict[str, Any]:
    return {"type": "plain_text", "text": cut_entities(text, limit), "emoji": False}


def _mrkdwn(text: str, limit: int) -> dict[str, Any]:
    # Verbatim: names of channels and people are not looked for.
    return {"type": "mrkdwn", "text": cut_entities(text, limit), "verbatim": True}
