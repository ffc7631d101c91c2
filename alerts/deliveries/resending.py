"""Makes deliveries that were given up due again, when an admin asks for it."""

from django.db import transaction
from django.db.models import Q
from django.db.models.functions import Now

from alerts import tasks
from alerts.models import Card, Delivery
from alerts.models.deliveries import DeliveryQuerySet
from audit.recording import record
from common.actors import Actor
from common.pages import only_for

# The most that one request sends again, so that it cannot flood a channel.
MAX_AGAIN = 100


@transaction.atomic
def resend(deliveries: DeliveryQuerySet, actor: Actor) -> int:
    """Make the oldest of these deliveries that were given up due again, at most
    MAX_AGAIN; return how many. Raises PermissionDenied.

    A card is edited in place; one that was deleted in the channel is posted again. An
    event keeps its id and body, so that its receiver can recognise a repeated one.
    """
    only_for("an admin of everything", actor.is_admin_of_all)
    can_be_sent = (
        deliveries.filter(
            state=Delivery.State.FAILED,
            erased_at=None,
            destination__switched_off_at=None,
            destination__removed_at=None,
        )
        .exclude(card__about__startswith="digest/", card__removed=True)
        .select_for_update(of=("self",), no_key=True)
        .order_by("pk")
    )
    failed = list(can_be_sent[:MAX_AGAIN])
    for one in failed:
        is_gone = Q(removed=True) | Q(digest__removed=True)
        Card.objects.filter(is_gone, pk=one.card_id).update(
            removed=False, post_id="", digest=None
        )
        # One attempt stays counted, so that the card goes on no digest: it may have a
        # post of its own.
        Delivery.objects.filter(pk=one.pk).update(
            state=Delivery.State.DUE, attempts=1, next_attempt_at=Now(), last_error=""
        )
        details = {"destination": one.destination.name}
        record("alert.sent_again", actor=actor, details=details, **one.ledger_subject)
    for destination in {one.destination_id for one in failed}:
        tasks.drain.delay_on_commit(destination)
    return len(failed)
