"""What a card shows at each level, by the card of a made-up letter: an admin sees it before anybody else does."""

from dataclasses import dataclass
from typing import Any

from alerts.cards.card import CardFacts, embed
from alerts.models import Destination
from approvals.deciding.status import Status

_ABOUT = {
    "minimal": "That there is a message. No subject, and addresses are masked.",
    "headers": "Subject, addresses, who started it, and what is risky. Never the letter.",
    "full": "The same, and how the letter begins; a program gets all of it. For where everybody may read it.",
}
_LETTER = {
    "upstream_id": "01JSAMPLE",
    "link": "",
    "subject": "Your refund for order 4471",
    "sender": "support@yourteam.example",
    "recipients": ("dana@northwind.example",),
    "trigger": {"run_id": "refund-7"},
    "fingerprint": "7F3A-19C2-K0QD",
    "risk": "first letter to this address",
    "letter": "Hello Dana, your refund of 84 euros is on its way and arrives within five days.",
}
# How the card stands when it tells of these; of the others it is the held one.
_STATUSES = {
    "email.decided": Status("Approved", "green", "On its way to delivery"),
    "email.sent": Status("Sent", "green"),
    "email.delivered": Status("Delivered", "green"),
    "email.bounced": Status("Bounced", "rose", "The receiving server refused it"),
    "email.complained": Status("Called spam", "rose"),
    "email.failed": Status("Failed", "rose", "It could not be sent"),
    "email.cancelled": Status("Cancelled", "plain"),
    "email.received": Status("Received", "plain"),
    "email.refused": Status("Refused at the gate", "rose"),
    "decision.unknown": Status("Not known", "rose", "Nobody knows whether the decision took effect"),
}


@dataclass(frozen=True)
class Sample:
    """One level with its card, as Discord would show it."""

    value: str
    label: str
    about: str
    title: str
    headline: str
    fields: tuple[tuple[str, str], ...]


def samples() -> list[Sample]:
    """Return a sample for each level, the most discreet first."""
    return [_sample(level) for level in _ABOUT]


def _sample(level: str) -> Sample:
    return _card(level, Status("Held", "amber", "Waiting for a decision"))


def sample_of(event: str, level: str) -> Sample:
    """Return the card that this event would show at this level."""
    return _card(level, _STATUSES.get(event, Status("Held", "amber", "Waiting for a decision")))


def _card(level: str, status: Status) -> Sample:
    facts: dict[str, Any] = {**_LETTER, "privacy": level}
    card = embed(CardFacts(**facts), status)
    told = tuple((one["name"], _bare(one["value"])) for one in card["fields"])
    headline = card["description"].splitlines()[0].replace("**", "")
    return Sample(level, Destination.Privacy(level).label, _ABOUT[level], _bare(card["title"]), headline, told)


def _bare(text: str) -> str:
    """The text as Discord shows it, without the backslashes that keep it from being read as Markdown."""
    return text.replace("\\", "")
