"""The card of a message as a Discord embed: a pure function of what is known now.

Limits and escaping follow Discord's documented embed limits and Markdown; everything that comes from mail is escaped
and cut without breaking a character.
"""

import re
from dataclasses import dataclass, field
from typing import Any

from approvals.deciding.status import Status
from approvals.showing.invisibles import Tally, pieces

AMBER = 0xF59E0B
COLOURS = {
    "amber": AMBER,
    "green": 0x16A34A,
    "rose": 0xDC2626,
    "blue": 0x2563EB,
    "violet": 0x7C3AED,
    "plain": 0x6B7280,
}
MAX_TITLE, MAX_VALUE = 256, 1024
# Of what others wrote and a card can do without, so much: all parts together must stay under Discord's 6,000.
MAX_SHORT = 256
# Of the letter itself, at the fullest level: enough to know it by; who decides reads it on the desk.
MAX_EXCERPT = 400
_MARKDOWN = re.compile(r"([\\`*_~|>\[\]()#:<@\-])")
# At its beginning, a number with a dot would become a list.
_NUMBERED = re.compile(r"^(\s*[0-9]+)\.")
_LINES = re.compile("[\t\n\v\f\r\x1c-\x1e\x85\u2028\u2029]+")
_ADDRESS = re.compile(r"[^\s<>(),;:\"]+@[^\s<>(),;:\"]+")


@dataclass(frozen=True)
class CardFacts:
    """What a card tells of one message."""

    upstream_id: str
    link: str
    subject: str
    sender: str
    recipients: tuple[str, ...]
    trigger: dict[str, Any] = field(default_factory=dict)
    fingerprint: str = ""
    risk: str = ""
    privacy: str = "headers"
    alert: int = 0
    letter: str = ""


def embed(facts: CardFacts, status: Status) -> dict[str, Any]:
    """Return the embed: the amber card while the message is held, and its outcome in colour and words afterwards."""
    minimal = facts.privacy == "minimal"
    # Whoever writes the trigger, or decides elsewhere, may put an address there.
    told = _without_addresses if minimal else str
    fields = [
        _field("From", _mask(facts.sender) if minimal else facts.sender, MAX_SHORT),
        _field("To", ", ".join(_mask(one) if minimal else one for one in facts.recipients)),
        _field("Triggered by", told(triggered_by(facts.trigger)), MAX_SHORT),
        _field("Message ID", facts.upstream_id, MAX_SHORT),
    ]
    if facts.risk:
        fields.append(_field("Seen in it", facts.risk))
    if facts.fingerprint:
        fields.append(_field("Fingerprint", facts.fingerprint))
    if facts.privacy == "full" and facts.letter.strip():
        fields.append({**_field("Letter", ""), "value": cut(escape(facts.letter.strip()[:MAX_VALUE]), MAX_EXCERPT)})
    title = "A message" if minimal else facts.subject or "(no subject)"
    return {
        "title": cut(escape(title), MAX_TITLE),
        "url": facts.link,
        "description": _headline(status, facts.link, cut(escape(told(status.detail)), MAX_SHORT)),
        "color": COLOURS[status.tone],
        "fields": fields,
        "footer": {"text": f"Countersign · alert {facts.alert}"},
    }


def payload(card: dict[str, Any]) -> dict[str, Any]:
    """Return the body for Discord: one embed, and nobody is pinged whatever stands in it."""
    return {"embeds": [card], "allowed_mentions": {"parse": []}}


def triggered_by(trigger: dict[str, Any]) -> str:
    """Return who or what started the message, as its sender says."""
    user = trigger.get("discord_user")
    channel = trigger.get("discord_channel")
    guild = trigger.get("discord_guild")
    if user:
        where = f" in #{str(channel).lstrip('#')}" if channel else ""
        return f"{user}{where}{f' ({guild})' if guild else ''}"
    run = trigger.get("run_id") or trigger.get("runId")
    return f"run {run}" if run else "an agent, through the API"


def escape(text: str) -> str:
    """Return `text` so that Discord shows it literally: no Markdown, no mentions, no links, no invisible characters."""
    shown = ("\ufffd" if is_mark else piece for is_mark, piece in pieces(_LINES.sub(" ", text), Tally()))
    return _NUMBERED.sub(r"\1\\.", _MARKDOWN.sub(r"\\\1", "".join(shown)))


def cut(text: str, limit: int) -> str:
    """Return `text` within `limit` UTF-16 units, as Discord counts, never ending in half a character or an escape."""
    if len(text.encode("utf-16-le")) // 2 <= limit:
        return text
    while len(text.encode("utf-16-le")) // 2 > limit - 1:
        text = text[: max(0, min(len(text) - 1, limit - 1))]
    # A joiner or mark that lost its partner, or the first half of an escape, would change what stands before it.
    return re.sub(r"[\\\u200d\ufe0f]+$", "", text) + "…"


def _headline(status: Status, link: str, told: str) -> str:
    detail = f" {told}." if told else ""
    action = f"\n[Read it and decide]({link})" if status.tone == "amber" else ""
    return f"**{status.word}.**{detail}{action}"


def _field(name: str, value: str, limit: int = MAX_VALUE) -> dict[str, Any]:
    return {"name": name, "value": cut(escape(value), limit) or "—", "inline": name in ("From", "Triggered by")}


def _mask(address: str) -> str:
    local, at, domain = address.rpartition("@")
    return f"{local[:1]}…{at}{domain}" if at else "…"


def _without_addresses(text: str) -> str:
    return _ADDRESS.sub(lambda found: _mask(found[0]), text)
