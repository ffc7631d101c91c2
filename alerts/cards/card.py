"""The card of a message as a Discord embed: a pure function of what is known now.

Limits and escaping follow Discord's documented embed limits and Markdown; everything that comes from mail is escaped
and cut without breaking a character.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from alerts.channels.discord import markdown as text
from alerts.channels.discord.markdown import MAX_SHORT, MAX_TITLE, literal, stamp
from approvals.decisions.status import Status
from common.mail_addresses import masked_address, without_addresses

AMBER = 0xF59E0B
COLOURS = {
    "amber": AMBER,
    # Held, and not for long any more: the one tone that pages do not have.
    "orange": 0xEA580C,
    "green": 0x16A34A,
    "rose": 0xDC2626,
    "blue": 0x2563EB,
    "violet": 0x7C3AED,
    "plain": 0x6B7280,
}
OPEN_TONES = ("amber", "orange")
MAX_SEEN, MAX_NAME = 512, 100
# Of the letter itself, at the fullest level: enough to know it by; who decides reads it on the desk.
MAX_EXCERPT = 400
MOST_RECIPIENTS, MOST_FILES = 5, 5


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
    held_at: datetime | None = None
    expires_at: datetime | None = None
    # Who has taken it on, where somebody has.
    claimed_by: str = ""
    risk_level: str = ""
    # Who else gets it, and what is enclosed: as far as the content is here.
    copies: tuple[str, ...] = ()
    blind_copies: tuple[str, ...] = ()
    files: tuple[str, ...] = ()


def is_open(status: Status) -> bool:
    """Whether the card asks for a decision."""
    return status.tone in OPEN_TONES


def embed(facts: CardFacts, status: Status) -> dict[str, Any]:
    """Return the embed: the amber card while the message is held, and its outcome in colour and words afterwards."""
    minimal = facts.privacy == "minimal"
    title = "A message" if minimal else facts.subject.strip() or "(no subject)"
    # Whoever decides elsewhere may put an address there.
    told = literal(without_addresses(status.detail) if minimal else status.detail)
    return {
        "title": literal(title, MAX_TITLE),
        "url": facts.link,
        "description": _headline(status, facts.link, told),
        "color": COLOURS[status.tone],
        "fields": [*_envelope(facts), *(_waiting(facts) if is_open(status) else ()), *_content(facts)],
        "footer": {"text": f"Countersign · alert {facts.alert}"},
    }


def payload(card: dict[str, Any], components: Sequence[dict[str, Any]] | None = None) -> dict[str, Any]:
    """Return the body for Discord: one embed, and nobody is pinged whatever stands in it.

    No kind of mention is looked for; nobody is replied to. Where `components` are given, and be it none, they take the
    place of those that stand there.
    """
    body: dict[str, Any] = {"embeds": [card], "allowed_mentions": {"parse": []}}
    return body if components is None else {**body, "components": list(components)}


def triggered_by(trigger: dict[str, Any]) -> str:
    """Return who or what started the message, as its sender says."""
    user = trigger.get("discord_user")
    channel = trigger.get("discord_channel")
    guild = trigger.get("discord_guild")
    if user:
        where = f" in #{str(channel).lstrip('#')}" if channel else ""
        # Discord names a server to programs by its number alone, which tells people nothing.
        is_named = guild and not str(guild).isdigit()
        return f"{user}{where}{f' ({guild})' if is_named else ''}"
    run = trigger.get("run_id") or trigger.get("runId")
    return f"run {run}" if run else "an agent, through the API"


def _envelope(facts: CardFacts) -> list[dict[str, Any]]:
    minimal = facts.privacy == "minimal"
    started = triggered_by(facts.trigger)
    also = (("Cc", facts.copies), ("Bcc", facts.blind_copies))
    return [
        text.field("From", masked_address(facts.sender) if minimal else facts.sender, MAX_SHORT, inline=True),
        _addresses("To", facts.recipients, text.MAX_VALUE, minimal=minimal),
        # In rows of their own, as all below: in a row of three, no column is wide enough for an address.
        *({**_addresses(name, some, MAX_SEEN, minimal=minimal), "inline": False} for name, some in also if some),
        *([_enclosed(facts.files, minimal=minimal)] if facts.files else []),
        text.field("Triggered by", without_addresses(started) if minimal else started, MAX_SHORT),
    ]


def _addresses(name: str, some: Sequence[str], limit: int, *, minimal: bool) -> dict[str, Any]:
    few = some[:MOST_RECIPIENTS]
    told = ", ".join(masked_address(one) if minimal else one for one in few)
    return _with_the_rest(name, told, len(some) - len(few), limit, inline=len(few) < 2)


def _enclosed(files: Sequence[str], *, minimal: bool) -> dict[str, Any]:
    """Return how many files go with it, and their names where the letter's subject may be told too."""
    if minimal:
        return text.field("Files", str(len(files)), MAX_SHORT, inline=True)
    few = files[:MOST_FILES]
    return _with_the_rest("Files", ", ".join(few), len(files) - len(few), MAX_SEEN, inline=False)


def _with_the_rest(name: str, told: str, rest: int, limit: int, *, inline: bool) -> dict[str, Any]:
    more = f" and {rest} more" if rest else ""
    # What is told of the rest stands in any case, however long the first ones are.
    shown = text.field(name, told, limit - len(more), inline=inline)
    return {**shown, "value": shown["value"] + more}


def _waiting(facts: CardFacts) -> list[dict[str, Any]]:
    """Since when it waits, until when, and with whom. The times are ours, never from mail, and live by themselves."""
    if facts.held_at is None:
        return []
    fields = [{"name": "Held", "value": stamp(facts.held_at), "inline": True}]
    if facts.expires_at:
        fields.append({"name": "Expires", "value": stamp(facts.expires_at), "inline": True})
    fields.append(text.field("Claimed by", facts.claimed_by or "nobody", MAX_NAME, inline=True))
    return fields


def _content(facts: CardFacts) -> list[dict[str, Any]]:
    fields = []
    if facts.risk:
        name = "Findings · high risk" if facts.risk_level == "high" else "Findings"
        fields.append(text.field(name, facts.risk, MAX_SEEN))
    if facts.privacy == "full" and facts.letter.strip():
        fields.append(text.field("Letter", facts.letter.strip(), MAX_EXCERPT))
    fields.append(text.field("Message ID", facts.upstream_id, MAX_SHORT, inline=True))
    if facts.fingerprint:
        fields.append(text.field("Fingerprint", facts.fingerprint, MAX_SHORT, inline=True))
    return fields


def _headline(status: Status, link: str, told: str) -> str:
    action = f"\n[Read it and decide]({link})" if is_open(status) else ""
    if told.startswith(f"{status.word} by "):
        # Approved by Ana, and not: Approved. Approved by Ana.
        return f"**{status.word}**{_ended(told.removeprefix(status.word))}{action}"
    return f"**{status.word}.**{f' {_ended(told)}' if told else ''}{action}"


def _ended(told: str) -> str:
    return told if told.endswith("…") else f"{told}."
