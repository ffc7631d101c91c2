"""The little that is told where Discord refused the whole: what is no matter of doubt, so that nobody goes untold."""

import re
from typing import Any

from alerts.channels.discord.markdown import cut

MAX_TITLE, MAX_LINES = 100, 200
_COLOUR = 0x6B7280
_SAID_LESS = "Discord did not take the whole card. The message is on the desk."
_KEPT = ("Message ID",)


def shortened(body: dict[str, Any]) -> dict[str, Any]:
    """Return a form of `body` that Discord takes, whatever it found wrong with it.

    No address as such, which Discord judges by rules of its own; no button, for the same reason, but where there were
    some they are taken off. What is kept was escaped when the whole was made.
    """
    card = _first(body.get("embeds"))
    lines = str(card.get("description") or body.get("content") or "").splitlines()
    colour = card.get("color")
    less: dict[str, Any] = {
        "title": _text(card.get("title"), MAX_TITLE) or "A message",
        "description": "\n".join(filter(None, (_text(_unlinked(lines[0]) if lines else "", MAX_LINES), _SAID_LESS))),
        "color": colour if type(colour) is int and 0 <= colour <= 0xFFFFFF else _COLOUR,
        "fields": [
            {"name": str(one["name"]), "value": _text(one.get("value"), MAX_TITLE) or "—", "inline": False}
            for one in card.get("fields") or ()
            if isinstance(one, dict) and one.get("name") in _KEPT
        ][:1],
    }
    if told_by := _text((card.get("footer") or {}).get("text"), MAX_TITLE):
        # By its number a post that stands twice is known.
        less["footer"] = {"text": told_by}
    short: dict[str, Any] = {"embeds": [less], "allowed_mentions": {"parse": []}}
    return {**short, "components": []} if "components" in body else short


def _first(embeds: Any) -> dict[str, Any]:
    return embeds[0] if isinstance(embeds, list) and embeds and isinstance(embeds[0], dict) else {}


def _text(value: Any, limit: int) -> str:
    text = str(value or "").encode("utf-16", "replace").decode("utf-16", "replace")
    return cut(text, limit).strip()


def _unlinked(line: str) -> str:
    """The line without links of ours; those of others are escaped and stay as they are."""
    return re.sub(r"(?<!\\)\[([^\]\\]*)\]\(https?://[^)]*\)", r"\1", line)
