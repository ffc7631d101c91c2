"""Makes one attempt at the next delivery of a destination: claims its row, builds what
to post, sends it, and records the outcome.

The oldest delivery comes first, except that events about one message keep their order.
If more cards wait than a channel accepts, one post, the digest, replaces them and is
edited in place. A card has a post of its own or is on one digest, never both: a card
whose own post may have been sent already does not go on a digest.
"""

import json
import logging
import random
from dataclasses import replace
from datetime import timedelta
from typing import Any

from django.contrib.postgres.expressions import ArraySubquery
from django.db import transaction
from django.db.models import Exists, F, OuterRef, Q
from django.db.models.functions import Now

from alerts.cards.markup import Card as CardContent
from alerts.cards.markup import shortened
from alerts.cards.message import card_status, message_card, message_facts, read_message
from alerts.cards.notice import digest_card, newest_entry, notice_card
from alerts.channels import channel_of
from alerts.channels.base import CardChannel, Posted
from alerts.channels.requests import (
    CardFixed,
    CardGone,
    CardRefused,
    DestinationGone,
    Refused,
    RetryLater,
)
from alerts.deliveries.event_bodies import send_event
from alerts.deliveries.mentions import send_mention
from alerts.deliveries.personal import drop_ended, send_notices
from alerts.deliveries.waits import ACTOR, hold_back, switch_off
from alerts.models import Card, Delivery, Destination
from approvals.models import Snooze
from audit.recording import record
from common.logs import traced
from outgoing.backoff import retry_after_attempt
from outgoing.models import LEASE

log = logging.getLogger(__name__)

# The seconds that a delivery waits after each failed attempt.
BACKOFF = (5, 15, 60, 300, 900, 3600)
# A failure of the last of these attempts ends the delivery. If the row is claimed once
# more, the worker died instead: something is wrong with the row itself.
MAX_ATTEMPTS = len(BACKOFF) + 1
UNKNOWN = "The worker ended while it handed this over: whether it arrived is not known."
# How many seconds a destination rests, by the number of its failures in a row, so that
# one that is down does not occupy workers. After the first there is no rest: that
# failure may be due to one card.
REST_AFTER = (0, 5, 15, 30, 60)
# In characters: a card has at most 6,000, and each may take six in JSON.
MAX_STORED = 40_000
# If more cards than this wait for a post of their own, they go on a digest.
MAX_WAITING = 20
# How long a digest accepts more cards. Later ones get a new digest, at the end of the
# channel, where people look.
OPEN_FOR = timedelta(minutes=15)


@transaction.atomic
def claim(destination_id: int) -> tuple[Delivery | None, str]:
    """Claim the next delivery of a destination for one attempt, and return it; or None,
    and why nothing was claimed, which is empty if nothing is due.

    If too many cards are due, they are put on a digest first.
    """
    due = Delivery.objects.due().filter(destination=OuterRef("pk"))
    destination: Any = (
        Destination.objects.locked()
        .annotate(
            is_waiting=Q(waits_until__gt=Now(), switched_off_at=None),
            # For each due delivery, up to so many, the digest with its card, or None.
            digests=ArraySubquery(due.values("card__digest")[: MAX_WAITING + 1]),
        )
        .get(pk=destination_id)
    )
    if not destination.digests:
        return None, ""
    if destination.is_waiting:
        return None, "not due"
    if destination.owner is not None:
        drop_ended(destination)
    are_many = len(destination.digests) > MAX_WAITING or any(destination.digests)
    if are_many and channel_of(destination.kind).posts_cards:
        _put_on_digests(destination)
    # Expired leases do not count: otherwise the rows of dead workers would block the
    # destination. The cards on a digest are sent with it.
    sending = Delivery.objects.filter(
        destination=destination,
        state="sending",
        lease_until__gte=Now(),
        card__digest=None,
    )
    told_before = Delivery.objects.filter(
        destination=destination,
        message=OuterRef("message"),
        state=Delivery.State.DELIVERED,
    )
    delivery: Any = (
        Delivery.objects.due()
        .filter(~Exists(sending), destination=destination)
        .in_turn()
        .annotate(now=Now(), is_told_before=Exists(told_before))
        .select_related("card", "notice")
        .select_for_update(of=("self",), skip_locked=True)
        .order_by("pk")
        .first()
    )
    if delivery is None:
        return None, ""
    delivery.state = Delivery.State.SENDING
    delivery.attempts += 1
    delivery.lease_until = delivery.now + LEASE
    delivery.save(update_fields=["state", "attempts", "lease_until"])
    delivery.destination = destination
    # This post makes others too, which are claimed for the same time: of a digest those
    # that are due (later ones are for its next edit), of notices all that the person has
    # not snoozed, so that many make one mail. What comes in quiet hours brings nothing
    # with it that does not.
    others = delivery.joined()
    if delivery.notice is None:
        others = others.due()
    elif delivery.may_have_left:
        others = others.due().filter(may_have_left=True)
    else:
        snoozes = Snooze.objects.in_force().of_person(delivery.notice.person_id)
        others = others.filter(
            state="due", in_quiet_time=delivery.in_quiet_time
        ).exclude(message__in=snoozes.values("message"))
    not_locked = others.select_for_update(of=("self",), skip_locked=True)
    keys = list(not_locked.values_list("pk", flat=True))
    Delivery.objects.filter(pk__in=keys).update(
        state=Delivery.State.SENDING,
        attempts=F("attempts") + 1,
        lease_until=delivery.lease_until,
    )
    return delivery, ""


def _put_on_digests(destination: Destination) -> None:
    """Put the due cards on a digest if they are too many, and plan a delivery for each
    digest on which a card has changed.

    The caller must have locked the destination.
    """
    due = Delivery.objects.due().filter(
        destination=destination, kind=Delivery.Kind.CARD
    )
    # Only cards of messages that have no post, and of which no attempt may have posted
    # one.
    unposted = due.filter(
        card__about="", card__digest=None, card__post_id="", card__removed=False
    )
    attempted = Delivery.objects.filter(card=OuterRef("card"), attempts__gt=0)
    cards = list(unposted.exclude(Exists(attempted)).values_list("card", flat=True))
    if len(cards) > MAX_WAITING:
        digests = Card.objects.filter(
            destination=destination, about__startswith="digest/", removed=False
        )
        digest = digests.filter(made_at__gte=Now() - OPEN_FOR).order_by("-pk").first()
        digest = digest or Card.objects.create(
            destination=destination, about=f"digest/{cards[0]}"
        )
        Card.objects.filter(pk__in=cards, post_id="").update(digest=digest)
    with_delivery = Delivery.objects.unfinished().filter(card=OuterRef("card__digest"))
    not_covered = due.exclude(card__digest=None).exclude(Exists(with_delivery))
    for digest_id in not_covered.values_list("card__digest", flat=True).distinct():
        Delivery.objects.create(
            destination=destination, card_id=digest_id, action="alerts.collapsed"
        )


def deliver(*, destination_id: int) -> str:
    """Make one attempt at the next delivery of a destination, and return in a few words
    how it ended; empty if nothing is due.
    """
    delivery, why_not = claim(destination_id)
    if delivery is None:
        return why_not
    destination = delivery.destination
    post = delivery.card
    error_sentence = ""
    if destination.switched_off_at:
        how = "removed" if destination.removed_at else "switched off"
        error_sentence = f"It was {how}."
    elif post is not None and post.removed:
        error_sentence = "Its post no longer exists."
    elif delivery.may_have_left:
        error_sentence = UNKNOWN
    elif delivery.attempts > MAX_ATTEMPTS:
        error_sentence = "The worker failed each time."
    with traced(delivery.trace):
        if error_sentence:
            _give_up(delivery, error_sentence)
            return "failed"
        try:
            card, posted = _send(delivery)
        except RetryLater as later:
            return _retry_later(delivery, later)
        except Refused as refused:
            now = Destination.objects.get(pk=destination.pk)
            if now.address_parts != destination.address_parts:
                return _retry_later(
                    delivery,
                    RetryLater("The address of its destination was changed."),
                    is_ours=True,
                )
            outcome = "refused"
            if isinstance(refused, DestinationGone):
                outcome = "switched off"
                switch_off(destination, str(refused))
            elif isinstance(refused, CardGone) and post is not None:
                outcome = "card gone"
                post.removed = True
                post.save(update_fields=["removed"])
            delivery.answer = refused.answer
            _give_up(delivery, str(refused), status=refused.status)
            return outcome
        except Exception as error:
            # An error in the desk's code. The delivery is postponed at once, so that it
            # does not occupy the destination until its lease ends.
            log.exception("alert not built", extra={"delivery": delivery.pk})
            return _retry_later(
                delivery,
                RetryLater(f"It could not be built ({type(error).__name__})."),
                is_ours=True,
            )
        return _delivered(delivery, card, posted)


def card_content(delivery: Delivery) -> CardContent:
    """Return the card that a delivery posts, built from the present state of what it is
    about. Its footer has the number of the delivery.
    """
    destination = delivery.destination
    channel: Any = channel_of(destination.kind)
    markup = channel.markup
    assert delivery.card is not None, "the delivery of a card has one"
    about = delivery.card.about
    if delivery.card.is_digest:
        card = digest_card(delivery.card, destination, markup)
    elif about:
        entry = newest_entry(about, delivery.entry)
        card = notice_card(about, entry, destination, markup)
    else:
        # Set on the delivery too: the ledger entry about the delivery names the
        # message.
        message = delivery.message = read_message(delivery.card.message_id)
        facts = message_facts(message, destination)
        card = message_card(facts, card_status(message), markup)
    # The number identifies a post that arrived twice.
    return replace(card, footer=f"{card.footer} · alert {delivery.pk}")


# What sends the deliveries that are no cards, by their kind.
_SENDS = {"event": send_event, "notice": send_notices, "mention": send_mention}


def _send(delivery: Delivery) -> tuple[CardContent | None, Posted]:
    # Posts a card or an event. Returns the card, None for an event, and what was
    # accepted. Raises as the channel does.
    if send := _SENDS.get(delivery.kind):
        return None, send(delivery)
    card = card_content(delivery)
    channel: Any = channel_of(delivery.destination.kind)
    try:
        return card, _post_or_edit(channel, delivery, card)
    except CardRefused:
        # The service refused the card, so a minimal one is sent instead.
        return card, _post_or_edit(channel, delivery, shortened(card))


def _post_or_edit(
    channel: CardChannel, delivery: Delivery, card: CardContent
) -> Posted:
    destination = delivery.destination
    body = channel.body(card, destination)
    delivery.request = json.dumps(body, ensure_ascii=False)[:MAX_STORED]
    post: Any = delivery.card
    if not post.post_id:
        return channel.post(destination, body)
    try:
        return channel.edit(destination, post.post_id, body)
    except CardFixed:
        # What changed gets a new post.
        pass
    except CardGone:
        # Somebody deleted it. If it was about earlier trouble of a connection, what
        # happened now is news.
        if not post.about.startswith("connection/"):
            raise
    Card.objects.filter(pk=post.pk).update(post_id="")
    post.post_id = ""
    return channel.post(destination, body)


@transaction.atomic
def _delivered(delivery: Delivery, card: CardContent | None, posted: Posted) -> str:
    # Stores that the delivery was accepted, with the post's id, and records what the
    # destination has not shown before.
    destination = delivery.destination
    if card is not None:
        now = Destination.objects.locked().get(pk=destination.pk)
        # A post at an earlier address cannot be edited.
        if now.address_parts == destination.address_parts:
            Card.objects.filter(pk=delivery.card_id or 0).update(
                post_id=posted.message_id, revision_shown=card.revision
            )
    if destination.failures:
        Destination.objects.filter(pk=destination.pk).update(failures=0)
    if posted.pause:
        hold_back(destination, posted.pause)
    status = card.word if card else delivery.action
    details = {
        **_receiver(destination, posted.status),
        "card": posted.message_id,
        "shows": status,
    }
    # Of what was over before it was sent, nobody was told.
    for one in _news(delivery) if posted.status else ():
        record("alert.delivered", actor=ACTOR, details=details, **one.ledger_subject)
    delivery.answer = posted.answer
    delivery.delivered(status=posted.status)
    log.info(
        "alert delivered",
        extra={"delivery": delivery.pk, "card": posted.message_id, "shows": status},
    )
    return "delivered"


def _news(delivery: Any) -> list[Delivery]:
    """Return of this delivery, and of those that were claimed with it, which the ledger
    gets: each new post and notice, and the first event about a message.
    """
    if delivery.card is not None:
        return [] if delivery.card.post_id else [delivery]
    if delivery.kind == Delivery.Kind.EVENT:
        return [] if delivery.is_told_before else [delivery]
    return list(delivery.with_others())


@transaction.atomic
def _retry_later(
    delivery: Delivery, later: RetryLater, *, is_ours: bool = False
) -> str:
    # Postpones the delivery, or gives it up after the last attempt. With `is_ours` the
    # error was in the desk's code, so it is no failure of the destination.
    destination = Destination.objects.locked().get(pk=delivery.destination_id)
    delivery.answer = later.answer
    if later.seconds is not None:
        # To be asked to wait is no failure, and the whole destination waits.
        delivery.postponed(
            seconds=later.seconds, error=str(later), status=later.status, counts=False
        )
        hold_back(destination, later.seconds, whole_service=later.whole_service)
        return "asked to wait"
    seconds = retry_after_attempt(delivery.attempts, schedule=BACKOFF, jitter=0.2)
    if not is_ours:
        Destination.objects.filter(pk=destination.pk).update(failures=F("failures") + 1)
        if rest := REST_AFTER[min(destination.failures, len(REST_AFTER) - 1)]:
            hold_back(destination, rest * random.uniform(1, 1.2))
    if seconds is None:
        _give_up(delivery, str(later), status=later.status)
        return "failed"
    delivery.postponed(seconds=seconds, error=str(later), status=later.status)
    log.warning(
        "alert postponed", extra={"delivery": delivery.pk, "reason": str(later)}
    )
    return "postponed"


@transaction.atomic
def _give_up(delivery: Delivery, sentence: str, *, status: int | None = None) -> None:
    # Ends the delivery as failed, and records it; also for the cards on a digest.
    lost = delivery.with_others()
    delivery.failed(error=sentence, status=status)
    for one in lost:
        record(
            "alert.failed",
            actor=ACTOR,
            details={
                **_receiver(delivery.destination, status),
                # What is said of a person's way may name their address.
                "explanation": "" if delivery.destination.owner else sentence,
            },
            **one.ledger_subject,
        )


def _receiver(destination: Destination, status: int | None) -> dict[str, str]:
    """Return to whom or what something was sent, by which way, and the answer's code:
    the details of an entry, which have no addresses.
    """
    return {
        "destination": str(destination.owner or destination.name),
        "way": channel_of(destination.kind).label,
        "answer": str(status or ""),
    }
