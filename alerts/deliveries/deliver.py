"""Makes one attempt at one delivery, of whatever kind, and records what came of it."""

import json
import logging
from dataclasses import replace
from typing import Any

from django.conf import settings
from django.db import transaction
from django.urls import reverse

from alerts.cards.answer import answer_card
from alerts.cards.digest import digest_card, digest_rows
from alerts.cards.markup import Card as CardContent
from alerts.cards.message import card_of_message
from alerts.cards.notice import newest_entry, notice_card
from alerts.cards.reading import read_message
from alerts.channels import channel_of
from alerts.channels.base import CardChannel, CardGone, CardRefused, DestinationGone, Posted, RetryLater
from alerts.deliveries import digests
from alerts.deliveries.claims import TO_BE_FOLDED, Claim, claim, delivered, lock
from alerts.deliveries.event_bodies import send_event
from alerts.deliveries.waits import ACTOR, hold_back, hold_back_service, note_answer, note_failure, switch_off
from alerts.models import Card, Delivery, Destination
from audit.models import Entry
from audit.recording import record
from common.logs import traced
from outgoing.backoff import retry_after_attempt

log = logging.getLogger(__name__)

BACKOFF = (5, 15, 60, 300, 900, 3600)
# Delivered, and nothing else was due there when that was recorded.
DELIVERED_LAST = "delivered, nothing left"
# After more attempts than this the worker died each time: something is wrong with the row itself.
MAX_ATTEMPTS = len(BACKOFF) + 1
# A card has at most 6,000 characters, and each may take six in JSON.
MAX_STORED = 40_000


def deliver(*, destination_id: int, only: int | None = None) -> str:
    """Make one attempt at the next delivery of a destination, or at `only` this one, and return what came of it.

    Empty where nothing is due.
    """
    claimed, why_not = claim(destination_id, only=only, fold_above=None if only else digests.MAX_WAITING)
    if why_not == TO_BE_FOLDED:
        digests.fold(destination_id)
        claimed, why_not = claim(destination_id)
    if claimed is None:
        return why_not
    with traced(claimed.delivery.trace):
        if error := _obsolete(claimed):
            _end(claimed, error)
            return "gone"
        if claimed.delivery.attempts > MAX_ATTEMPTS:
            _end(claimed, "The worker failed each time.")
            return "failed"
        return _attempt(claimed)


def card_content(delivery: Delivery, destination: Destination) -> CardContent:
    """Return the card that a delivery posts, built from what is true now; its footer has the delivery's number."""
    channel = _card_channel(destination)
    if delivery.digest is not None:
        rows, queue = digest_rows(delivery.digest, destination), f"{settings.PUBLIC_URL}{reverse('queue')}"
        card = digest_card(rows, queue, channel.markup)
    elif delivery.card is None:
        message = delivery.message = read_message(delivery.message_id)
        entry = Entry.objects.select_related("detail").get(pk=delivery.entry or 0)
        card = answer_card(message, entry, destination, channel.markup)
    elif about := delivery.card.about:
        card = notice_card(about, newest_entry(about, delivery.entry), destination, channel.markup)
    else:
        # The entry about the delivery names it too.
        message = delivery.message = read_message(delivery.card.message_id)
        card = card_of_message(message, destination, channel.markup)
    # The number identifies a post that arrived twice.
    return replace(card, footer=f"{card.footer} · alert {delivery.pk}")


def _card_channel(destination: Destination) -> CardChannel:
    channel = channel_of(destination.kind)
    assert isinstance(channel, CardChannel), "only events are delivered to the other kinds"
    return channel


def _obsolete(claimed: Claim) -> str:
    post = claimed.delivery.card or claimed.delivery.digest
    if claimed.destination.switched_off_at:
        return "It was removed." if claimed.destination.removed_at else "It was switched off."
    return "Its post no longer exists." if post is not None and post.removed else ""


def _attempt(claimed: Claim) -> str:
    delivery, destination = claimed.delivery, claimed.destination
    try:
        card, posted = _send(delivery, destination)
    except RetryLater as later:
        return _retry_later(claimed, later)
    except DestinationGone as gone:
        switch_off(destination, str(gone))
        _end(claimed, str(gone), status=gone.status, answer=gone.answer)
        return "switched off"
    except CardGone as gone:
        post = delivery.card or delivery.digest
        if post is not None:
            post.removed = True
            post.save(update_fields=["removed"])
        _end(claimed, str(gone), status=gone.status, answer=gone.answer)
        return "card gone"
    except CardRefused as refused:
        _end(claimed, str(refused), status=refused.status, answer=refused.answer)
        return "refused"
    except Exception as error:
        # An error of our own. The destination must not stay claimed until the lease ends.
        log.exception("alert not built", extra={"delivery": delivery.pk})
        return _retry_later(claimed, RetryLater(f"It could not be built ({type(error).__name__})."), is_ours=True)
    return _delivered(claimed, card, posted)


def _send(delivery: Delivery, destination: Destination) -> tuple[CardContent | None, Posted]:
    if delivery.kind == Delivery.Kind.EVENT:
        return None, send_event(delivery, destination)
    card, channel = card_content(delivery, destination), _card_channel(destination)
    body = channel.body(card)
    try:
        return card, _post_or_edit(channel, delivery, destination, body)
    except CardRefused:
        # Send a minimal card instead.
        return card, _post_or_edit(channel, delivery, destination, channel.shorten(body))


def _post_or_edit(channel: CardChannel, delivery: Delivery, destination: Destination, body: dict[str, Any]) -> Posted:
    # Stored with the outcome. An erasure removes a digest's from its row while the digest is being sent.
    delivery.request = json.dumps(body, ensure_ascii=False)[:MAX_STORED]
    if delivery.digest_id:
        _store(delivery, request=delivery.request)
    post: Any = delivery.card or delivery.digest
    if post is None or not post.discord_message_id:
        return channel.post(destination, body)
    try:
        return channel.edit(destination, post.discord_message_id, body)
    except CardGone:
        if not (isinstance(post, Card) and post.about.startswith("connection/")):
            raise
    # Somebody deleted the card about a connection's earlier trouble: what happens to it now is news.
    Card.objects.filter(pk=post.pk).update(discord_message_id="")
    post.discord_message_id = ""
    return channel.post(destination, body)


@transaction.atomic
def _delivered(claimed: Claim, card: CardContent | None, posted: Posted) -> str:
    delivery, destination = claimed.delivery, claimed.destination
    word = card.word if card else delivery.action
    is_last = delivered(claimed, posted, card=card)
    if delivery.digest_id:
        digests.posted(claimed, posted)
    note_answer(destination)
    if posted.pause:
        hold_back(destination.pk, posted.pause)
    if posted.channel and posted.channel != destination.posts_in:
        Destination.objects.filter(pk=destination.pk).update(posts_in=posted.channel)
    details = {"destination": destination.name, "card": posted.message_id, "shows": word}
    record("alert.delivered", actor=ACTOR, details=details, **delivery.ledger_subject)
    log.info("alert delivered", extra={"delivery": delivery.pk, "card": posted.message_id, "shows": word})
    return DELIVERED_LAST if is_last else "delivered"


@transaction.atomic
def _retry_later(claimed: Claim, later: RetryLater, *, is_ours: bool = False) -> str:
    delivery, destination = claimed.delivery, claimed.destination
    lock(destination)
    _store(delivery, **_exchanged(delivery, later.answer))
    if later.seconds is not None:
        # Being asked to wait is no failure, and it holds for everything at the same destination. The row goes first,
        # so that nothing newer is due between the two.
        _postpone(claimed, later.seconds, later, counts=False)
        if later.whole_service:
            hold_back_service(destination.kind, later.seconds)
        hold_back(destination.pk, later.seconds)
        return "asked to wait"
    seconds = retry_after_attempt(delivery.attempts, schedule=BACKOFF, jitter=0.2)
    if not is_ours:
        note_failure(destination)
    if seconds is None:
        _end(claimed, str(later), status=later.status, answer=later.answer)
        return "failed"
    _postpone(claimed, seconds, later)
    log.warning("alert postponed", extra={"delivery": delivery.pk, "reason": str(later)})
    return "postponed"


def _postpone(claimed: Claim, seconds: float, later: RetryLater, *, counts: bool = True) -> None:
    claimed.delivery.postponed(seconds=seconds, error=str(later), status=later.status, counts=counts)
    digests.postponed(claimed, seconds=seconds, error=str(later))


@transaction.atomic
def _end(claimed: Claim, sentence: str, *, status: int | None = None, answer: str = "") -> None:
    _store(claimed.delivery, **_exchanged(claimed.delivery, answer))
    claimed.delivery.failed(error=sentence, status=status)
    for one in (claimed.delivery, *digests.failed(claimed, error=sentence)):
        record("alert.failed", actor=ACTOR, details={"explanation": sentence}, **one.ledger_subject)


def _exchanged(delivery: Delivery, answer: str) -> dict[str, str]:
    # An event's request was stored before its first attempt.
    return (
        {"answer": answer} if delivery.kind == Delivery.Kind.EVENT else {"answer": answer, "request": delivery.request}
    )


def _store(delivery: Delivery, **values: str) -> None:
    """Store what went out or what came back, for the log, unless it was erased in the meantime."""
    Delivery.objects.filter(pk=delivery.pk, erased_at=None).update(**values)
