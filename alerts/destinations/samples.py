"""What a destination would be told, by made-up acts and the code that makes the real thing: seen before it is sent."""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from alerts.cards.card import COLOURS, CardFacts, embed
from alerts.cards.notice import notice_body
from alerts.deliveries.events import event_body
from alerts.destinations.levels import TO_PEOPLE, TO_PROGRAMS
from alerts.destinations.sample_acts import (
    LETTER,
    RECIPIENT,
    RUN,
    SENDER,
    SUBJECT,
    UPSTREAM_ID,
    sample_entry,
    sample_message,
)
from alerts.events import Event, about_of, event_of
from alerts.models import Destination
from approvals.decisions.status import Status

_HELD = Status("Held", "amber", "Waiting for a decision")
# How the card stands when it tells of these; of the others it is the held one.
_STATUSES = {
    "email.expiring": Status("Held, expires soon", "orange", "Waiting for a decision"),
    "email.decided": Status("Approved", "green", "On its way to delivery"),
    "email.sent": Status("Sent", "green"),
    "email.delivered": Status("Delivered", "green"),
    "email.bounced": Status("Bounced", "rose", "The receiving server refused it"),
    "email.complained": Status("Called spam", "rose"),
    "email.failed": Status("Failed", "rose", "It could not be sent"),
    "email.cancelled": Status("Cancelled", "plain"),
    "email.received": Status("Received", "plain"),
    "decision.unknown": Status("Not known", "rose", "Nobody knows whether the decision took effect"),
}
_FACTS: Mapping[str, Any] = {
    "upstream_id": UPSTREAM_ID,
    "link": "",
    "subject": SUBJECT,
    "sender": SENDER,
    "recipients": (RECIPIENT,),
    "trigger": {"run_id": RUN},
    "fingerprint": "7F3A-19C2-K0QD",
    "risk": "first message to this address",
    "letter": LETTER,
}
_TONES = {colour: tone for tone, colour in COLOURS.items()}


@dataclass(frozen=True)
class Card:
    """A card as Discord would show it."""

    title: str
    headline: str
    fields: tuple[tuple[str, str], ...]
    tone: str


@dataclass(frozen=True)
class Level:
    """One level of privacy, with what people see at it and what programs get."""

    value: str
    label: str
    to_people: str
    to_programs: str
    card: Card
    body: str


@dataclass(frozen=True)
class Told:
    """One event as a destination is told of it: people by a card, a program by a body."""

    words: str
    card: Card | None
    body: str


def levels(kind: str) -> list[Level]:
    """Return each level, the most discreet first; without a kind, as a signed webhook gets it too."""
    return [_level(value, kind or Destination.Kind.SIGNED_WEBHOOK) for value in TO_PEOPLE]


def told_of(events: Iterable[Event], destination: Destination, connection: int | None) -> list[Told]:
    """Return what the destination would be told of these events, in a connection that is there, if there is one."""
    return [
        Told(event.words, _card_of(event, destination, connection), "")
        if destination.is_discord
        else Told(event.words, None, _body_of(event, destination, connection))
        for event in events
    ]


def _level(value: str, kind: str) -> Level:
    held = event_of("message.held")
    assert held is not None
    program = Destination(kind=kind, privacy=value)
    body = "" if program.is_discord else _body_of(held, program, None)
    label = Destination.Privacy(value).label
    return Level(value, label, TO_PEOPLE[value], TO_PROGRAMS[value], _letter_card(value, _HELD), body)


def _card_of(event: Event, destination: Destination, connection: int | None) -> Card:
    if event.about == "message":
        return _letter_card(destination.privacy, _STATUSES.get(event.name, _HELD))
    entry = sample_entry(event.actions[0], connection)
    about = about_of(entry.action, entry=entry.pk, connection=connection)
    return _shown(notice_body(about, entry, destination)["embeds"][0])


def _letter_card(privacy: str, status: Status) -> Card:
    return _shown(embed(CardFacts(**_FACTS, privacy=privacy), status))


def _shown(card: dict[str, Any]) -> Card:
    told = tuple((_bare(one["name"]), _bare(one["value"])) for one in card["fields"])
    headline = card["description"].splitlines()[0].replace("**", "")
    return Card(_bare(card["title"]), _bare(headline), told, _TONES[card["color"]])


def _bare(text: str) -> str:
    """The text as Discord shows it: times in words, no backslashes that keep it from being read as Markdown."""
    return re.sub(r"<t:[0-9]+:R>", "2 minutes ago", text).replace("\\", "")


def _body_of(event: Event, destination: Destination, connection: int | None) -> str:
    entry = sample_entry(event.actions[0], connection)
    body = event_body(entry, sample_message(entry.action), destination)
    return json.dumps(json.loads(body), ensure_ascii=False, indent=2)
