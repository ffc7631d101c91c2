"""Brings one card up to date: claims the delivery, builds the card from what is true now, posts or edits it."""

import logging
from datetime import timedelta
from urllib.parse import quote

from django.conf import settings
from django.db import transaction
from django.db.models import Max
from django.db.models.functions import Now

from alerts.cards.card import CardFacts, embed, payload
from alerts.models import Card, Delivery, Destination
from alerts.sending import discord
from alerts.sending.outcomes import CardGone, CardRefused, DestinationGone, Later, Posted
from approvals.deciding.standing import shown_status
from approvals.desk.weights import weights_to_show
from approvals.models import Message
from approvals.risk import risk_words_of
from audit.recording import changed, record
from common.logs import traced
from courier.backoff import retry_after_attempt
from people.actors import worker

log = logging.getLogger(__name__)

ACTOR = worker("alerts")
BACKOFF = (5, 15, 60, 300, 900, 3600)
# More than these are claims of rows whose worker died: something about the row itself is wrong.
MAX_ATTEMPTS = len(BACKOFF) + 1


def deliver_card(*, delivery_id: int) -> str:
    """Make one attempt at one delivery and return the state it is in afterwards."""
    delivery, why_not = _claim(delivery_id)
    if delivery is None:
        return why_not
    with traced(delivery.trace):
        card = Card.objects.select_related("destination", "message__revision").filter(pk=delivery.card_id).first()
        if card is None:
            return "gone"
        if card.removed or card.destination.switched_off_at:
            _end(delivery, "The card or its destination is gone.")
            return "gone"
        if delivery.attempts > MAX_ATTEMPTS:
            _end(delivery, "The worker broke over it each time.")
            return "failed"
        return _attempt(delivery, card)


@transaction.atomic
def _claim(delivery_id: int) -> tuple[Delivery | None, str]:
    """Claim a delivery, or say why not: a card is brought up to date by one worker at a time."""
    card = Card.objects.select_for_update(no_key=True).filter(deliveries=delivery_id).first()
    if card is None:
        return None, "gone"
    others = Delivery.objects.exclude(pk=delivery_id)
    # Of two whose workers died, neither may wait for the other.
    if others.filter(card=card, state=Delivery.State.SENDING, lease_until__gte=Now()).exists():
        return None, "another one is under way"
    asked = others.filter(destination=card.destination_id, state=Delivery.State.DUE, response_status=429)
    until = asked.filter(next_attempt_at__gt=Now()).aggregate(until=Max("next_attempt_at"))["until"]
    if until is not None:
        # Planned after Discord asked to wait: the wait holds for everything that goes there.
        Delivery.objects.filter(pk=delivery_id, state=Delivery.State.DUE).update(next_attempt_at=until)
    claimed = Delivery.objects.claim(delivery_id)
    return claimed, "" if claimed else "not due"


def _attempt(delivery: Delivery, card: Card) -> str:
    destination = card.destination
    status = shown_status(Message.objects.for_list().get(pk=card.message_id))
    body = payload(embed(card_facts(card.message, privacy=destination.privacy, alert=delivery.pk), status))
    try:
        if card.discord_message_id:
            posted = discord.edit_card(destination.url, card.discord_message_id, body)
        else:
            posted = discord.post_card(destination.url, body)
    except Later as later:
        return _later(delivery, later)
    except DestinationGone as gone:
        switch_off(destination, str(gone))
        _end(delivery, str(gone))
        return "switched off"
    except CardGone as gone:
        Card.objects.filter(pk=card.pk).update(removed=True)
        _end(delivery, str(gone))
        return "card gone"
    except CardRefused as refused:
        _end(delivery, str(refused))
        return "refused"
    return _done(delivery, card, posted, status.word)


@transaction.atomic
def _done(delivery: Delivery, card: Card, posted: Posted, word: str) -> str:
    Card.objects.filter(pk=card.pk).update(discord_message_id=posted.message_id, status_shown=word[:40])
    delivery.delivered(status=posted.status)
    record(
        "alert.delivered",
        actor=ACTOR,
        connection=card.message.connection_id,
        message=card.message.public_id,
        details={"destination": card.destination.name, "card": posted.message_id, "shows": word},
        words=card.message.ledger_words(),
    )
    log.info("card delivered", extra={"delivery": delivery.pk, "card": posted.message_id, "shows": word})
    return "delivered"


def _later(delivery: Delivery, later: Later) -> str:
    if later.seconds is not None:
        # Being asked to wait is not a failure, and it holds for everything that goes to the same place.
        hold_back(Destination.objects.get(card=delivery.card_id), later.seconds)
        delivery.postponed(seconds=later.seconds, error=str(later), status=later.status, counts=False)
        return "asked to wait"
    seconds = retry_after_attempt(delivery.attempts, schedule=BACKOFF, jitter=0.2)
    if seconds is None:
        _end(delivery, str(later))
        return "failed"
    delivery.postponed(seconds=seconds, error=str(later), status=later.status)
    log.warning("card postponed", extra={"delivery": delivery.pk, "reason": str(later)})
    return "postponed"


@transaction.atomic
def _end(delivery: Delivery, sentence: str) -> None:
    delivery.failed(error=sentence)
    message = Message.objects.only("public_id", "connection_id", "subject", "addresses").get(cards=delivery.card_id)
    record(
        "alert.failed",
        actor=ACTOR,
        connection=message.connection_id,
        message=message.public_id,
        details={"explanation": sentence},
        words=message.ledger_words(),
    )


def hold_back(destination: Destination, seconds: float) -> None:
    """Let no card go to this destination for so long."""
    due = Delivery.objects.filter(destination=destination, state=Delivery.State.DUE)
    due.update(next_attempt_at=Now() + timedelta(seconds=seconds))


@transaction.atomic
def switch_off(destination: Destination, because: str) -> None:
    """Let nothing go to a destination any more, and say so in the ledger."""
    on = Destination.objects.filter(pk=destination.pk, switched_off_at=None)
    if on.update(switched_off_at=Now(), switched_off_because=because):
        told = {"destination": destination.name, "explanation": because, **changed(before="on", after="off")}
        record("destination.switched_off", actor=ACTOR, details=told)


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
