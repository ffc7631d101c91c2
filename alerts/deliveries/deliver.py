"""Makes one attempt at one delivery, of whatever kind, and writes down what came of it."""

import json
import logging
from typing import Any

from django.db import transaction

from alerts.channels.discord import transport as discord
from alerts.channels.outcomes import CardGone, CardRefused, DestinationGone, Later, Posted
from alerts.deliveries import bodies, digests
from alerts.deliveries.bodies import Shown
from alerts.deliveries.claims import Claimed, claim, lock
from alerts.deliveries.events import send_event
from alerts.deliveries.waits import ACTOR, hold_back, hold_back_all_of_discord, note_answer, note_failure, switch_off
from alerts.models import Card, Delivery, Destination
from audit.recording import record
from common.logs import traced
from outgoing.backoff import retry_after_attempt

log = logging.getLogger(__name__)

BACKOFF = (5, 15, 60, 300, 900, 3600)
# More than these are claims of rows whose worker died: something about the row itself is wrong.
MAX_ATTEMPTS = len(BACKOFF) + 1
# A card has at most 6,000 characters, and each may take six in JSON.
MOST_KEPT = 40_000


def deliver_card(*, delivery_id: int) -> str:
    """Make one attempt at one delivery and return the state it is in afterwards."""
    claimed, why_not = claim(delivery_id)
    if claimed is None:
        return why_not
    delivery = claimed.delivery
    with traced(delivery.trace):
        if gone := _is_gone(claimed):
            _end(claimed, gone)
            return "gone"
        if delivery.attempts > MAX_ATTEMPTS:
            _end(claimed, "The worker broke over it each time.")
            return "failed"
        return _attempt(claimed)


def _is_gone(claimed: Claimed) -> str:
    post = claimed.delivery.card or claimed.delivery.digest
    if claimed.destination.switched_off_at:
        return "It was removed." if claimed.destination.removed_at else "It was switched off."
    return "Its post is not there any more." if post is not None and post.removed else ""


def _attempt(claimed: Claimed) -> str:
    delivery, destination = claimed.delivery, claimed.destination
    try:
        shown, posted = _send(claimed)
    except Later as later:
        return _later(claimed, later)
    except DestinationGone as gone:
        switch_off(destination, str(gone))
        _end(claimed, str(gone), status=gone.status, answer=gone.answer)
        return "switched off"
    except CardGone as gone:
        _note_removed(delivery)
        _end(claimed, str(gone), status=gone.status, answer=gone.answer)
        return "card gone"
    except CardRefused as refused:
        _end(claimed, str(refused), status=refused.status, answer=refused.answer)
        return "refused"
    except Exception as mistake:
        # Of ours. It must not keep the destination's place taken until the lease ends.
        log.exception("alert not built", extra={"delivery": delivery.pk})
        return _later(claimed, Later(f"It could not be made ({type(mistake).__name__})."), is_theirs=False)
    return _done(claimed, shown, posted)


def _note_removed(delivery: Delivery) -> None:
    post = delivery.card or delivery.digest
    if post is not None:
        post.removed = True
        post.save(update_fields=["removed"])


def _send(claimed: Claimed) -> tuple[Shown | None, Posted]:
    delivery, destination = claimed.delivery, claimed.destination
    if delivery.kind == Delivery.Kind.EVENT:
        return None, send_event(delivery, destination)
    post: Any = delivery.card or delivery.digest
    shown = _shown(delivery, destination)
    _note(delivery, request=json.dumps(shown.body, ensure_ascii=False)[:MOST_KEPT])
    try:
        return shown, _speak(destination, post, shown.body)
    except CardRefused:
        # It tells less then, but it is told.
        less = bodies.less_of(shown.body)
        _note(delivery, request=json.dumps(less, ensure_ascii=False)[:MOST_KEPT])
        return shown, _speak(destination, post, less)


def _shown(delivery: Delivery, destination: Destination) -> Shown:
    if delivery.digest is not None:
        return bodies.of_digest(delivery.digest, destination, alert=delivery.pk)
    if delivery.card is not None:
        return bodies.of_card(delivery.card, destination, alert=delivery.pk, entry=delivery.entry)
    return bodies.of_answer(delivery, destination)


def _speak(destination: Destination, post: Any, body: dict[str, Any]) -> Posted:
    if post is None or not post.discord_message_id:
        return discord.post(destination, body)
    try:
        return discord.edit(destination, post.discord_message_id, body)
    except CardGone:
        if not _goes_on(post):
            raise
    # Somebody tidied away what a connection did before: what it does now is news.
    Card.objects.filter(pk=post.pk).update(discord_message_id="")
    post.discord_message_id = ""
    return discord.post(destination, body)


def _goes_on(post: Any) -> bool:
    return isinstance(post, Card) and post.about.startswith("connection/")


@transaction.atomic
def _done(claimed: Claimed, shown: Shown | None, posted: Posted) -> str:
    delivery, destination = claimed.delivery, claimed.destination
    lock(destination)
    word = shown.word if shown else delivery.action
    if delivery.card_id and shown:
        standing = {"status_shown": word[:40], "revision_shown": shown.revision}
        Card.objects.filter(pk=delivery.card_id).update(discord_message_id=posted.message_id, **standing)
    if delivery.digest_id:
        digests.posted(claimed, posted)
    _note(delivery, answer=posted.answer)
    delivery.delivered(status=posted.status)
    note_answer(destination)
    if posted.rests:
        hold_back(destination.pk, posted.rests)
    if posted.channel and posted.channel != destination.posts_in:
        Destination.objects.filter(pk=destination.pk).update(posts_in=posted.channel)
    details = {"destination": destination.name, "card": posted.message_id, "shows": word}
    record("alert.delivered", actor=ACTOR, details=details, **_about(delivery))
    log.info("alert delivered", extra={"delivery": delivery.pk, "card": posted.message_id, "shows": word})
    return "delivered"


@transaction.atomic
def _later(claimed: Claimed, later: Later, *, is_theirs: bool = True) -> str:
    delivery, destination = claimed.delivery, claimed.destination
    lock(destination)
    _note(delivery, answer=later.answer)
    if later.seconds is not None:
        # Being asked to wait is not a failure, and it holds for everything that goes to the same place. First the row
        # and then the place, so that nothing newer is due between the two.
        _postpone(claimed, later.seconds, later, counts=False)
        if later.everywhere:
            hold_back_all_of_discord(later.seconds)
        hold_back(destination.pk, later.seconds)
        return "asked to wait"
    seconds = retry_after_attempt(delivery.attempts, schedule=BACKOFF, jitter=0.2)
    if is_theirs:
        note_failure(destination)
    if seconds is None:
        _end(claimed, str(later), status=later.status, answer=later.answer)
        return "failed"
    _postpone(claimed, seconds, later)
    log.warning("alert postponed", extra={"delivery": delivery.pk, "reason": str(later)})
    return "postponed"


def _postpone(claimed: Claimed, seconds: float, later: Later, *, counts: bool = True) -> None:
    claimed.delivery.postponed(seconds=seconds, error=str(later), status=later.status, counts=counts)
    digests.postponed(claimed, seconds=seconds, error=str(later))


@transaction.atomic
def _end(claimed: Claimed, sentence: str, *, status: int | None = None, answer: str = "") -> None:
    _note(claimed.delivery, answer=answer)
    claimed.delivery.failed(error=sentence, status=status)
    for one in (claimed.delivery, *digests.failed(claimed, error=sentence)):
        record("alert.failed", actor=ACTOR, details={"explanation": sentence}, **_about(one))


def _note(delivery: Delivery, **what: str) -> None:
    """Keep what went out or what came back, for the log; nothing of what was erased in the meantime."""
    Delivery.objects.filter(pk=delivery.pk, erased_at=None).update(**what)


def _about(delivery: Delivery) -> dict[str, Any]:
    message = delivery.message
    if message is None:
        return {}
    return {
        "connection": message.connection_id,
        "message": message.public_id,
        "words": message.ledger_words(),
    }
