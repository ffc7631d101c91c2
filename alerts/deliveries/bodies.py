"""What one delivery shows, built from what is true at the moment when it is sent."""

from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.urls import reverse

from alerts.cards.answer import answer_body, answer_word
from alerts.cards.card import embed, is_open, payload
from alerts.cards.digest import digest_body, digest_words, rows_of
from alerts.cards.facts import facts_of, status_on_card
from alerts.cards.notice import entry_now, notice_body, notice_word
from alerts.channels.discord.buttons import components
from alerts.channels.discord.shortened import shortened as less_of
from alerts.models import Card, Delivery, Destination, Digest
from approvals.querysets.messages import desk_messages
from audit.models import Entry

__all__ = ["Shown", "less_of", "of_answer", "of_card", "of_digest"]


@dataclass(frozen=True)
class Shown:
    """A body for Discord, and what it shows: the state in a word, and the version of the message."""

    body: dict[str, Any]
    word: str
    revision: int | None = None


def of_card(card: Card, destination: Destination, *, alert: int, entry: int | None = None) -> Shown:
    """Return the card of a message, or of what else it is about."""
    if card.about:
        newest = entry_now(card.about, entry)
        return Shown(_marked(notice_body(card.about, newest, destination), alert), notice_word(newest))
    message = desk_messages().for_list().get(cards=card.pk)
    status, facts = status_on_card(message), facts_of(message, destination, alert)
    # Of what a webhook posts, Discord would tell presses to nobody.
    buttons = (
        components(message.public_id, message.revision_id, facts.link, is_open(status))
        if destination.kind == Destination.Kind.DISCORD_BOT
        else None
    )
    return Shown(payload(embed(facts, status), buttons), status.word, message.revision_id)


def of_digest(digest: Digest, destination: Destination, *, alert: int) -> Shown:
    """Return the one post that stands for many cards."""
    rows = rows_of(digest, destination)
    body = digest_body(rows, f"{settings.PUBLIC_URL}{reverse('queue')}")
    return Shown(_marked(body, alert), digest_words(rows))


def of_answer(delivery: Delivery, destination: Destination) -> Shown:
    """Return what a channel is told of a message that one of its commands started."""
    message = desk_messages().for_list().get(deliveries=delivery.pk)
    entry = Entry.objects.select_related("detail").get(pk=delivery.entry or 0)
    body = answer_body(message, entry, destination)
    return Shown(_marked(body, delivery.pk), answer_word(message, entry))


def _marked(body: dict[str, Any], alert: int) -> dict[str, Any]:
    """Return the body with the number of the alert in its footer: a post that stands twice is known by it."""
    (card,) = body["embeds"]
    return {**body, "embeds": [{**card, "footer": {"text": f"{card['footer']['text']} · alert {alert}"}}]}
