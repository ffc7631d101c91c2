"""What one delivery shows, built from what is true at the moment when it is sent."""

from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from django.conf import settings

from alerts.cards.card import CardFacts, embed, payload
from alerts.models import Card, Delivery, Destination, Digest
from approvals.deciding.standing import shown_status
from approvals.desk.weights import weights_to_show
from approvals.models import Message
from approvals.risk import risk_words_of


@dataclass(frozen=True)
class Shown:
    """A body for Discord, and what it shows: the state in a word, and the version of the message."""

    body: dict[str, Any]
    word: str
    revision: int | None = None


def of_card(card: Card, destination: Destination, *, alert: int) -> Shown:
    """Return the card of a message."""
    message = Message.objects.for_list().get(pk=card.message_id)
    status = shown_status(message)
    facts = card_facts(message, privacy=destination.privacy, alert=alert)
    return Shown(payload(embed(facts, status)), status.word, message.revision_id)


def of_digest(digest: Digest) -> Shown:
    """Return the one post that stands for many cards."""
    number = digest.cards.count()
    word = f"{number} messages in one place"
    return Shown(payload({"title": word, "url": f"{settings.PUBLIC_URL}/queue/"}), word)


def of_answer(delivery: Delivery, destination: Destination) -> Shown:
    """Return what a channel is told of a message that one of its commands started."""
    return Shown(payload({"title": delivery.action}), delivery.action)


def less_of(body: dict[str, Any]) -> dict[str, Any]:
    """Return a shorter form of a body that was refused."""
    return payload({"title": "A message", "url": body["embeds"][0].get("url", settings.PUBLIC_URL)})


def card_facts(message: Message, *, privacy: str, alert: int) -> CardFacts:
    """Return what the card of `message` may tell at this level of privacy."""
    findings = message.revision.findings if message.revision else []
    letter = str(message.revision.content.get("markdown") or "") if message.revision and privacy == "full" else ""
    return CardFacts(
        upstream_id=message.upstream_id,
        link=f"{settings.PUBLIC_URL}/approvals/{quote(message.upstream_id, safe='')}/",
        subject=message.subject,
        sender=message.sender,
        recipients=tuple(message.recipients),
        trigger=message.trigger,
        fingerprint=message.revision.short_fingerprint if message.revision else "",
        risk=", ".join(risk_words_of(findings, weights_to_show())) if findings else "",
        privacy=privacy,
        alert=alert,
        letter=letter,
    )
