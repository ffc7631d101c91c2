"""Sends a delivery again on request, as a new delivery."""

from django.db import transaction

from alerts import tasks
from alerts.errors import NotResent
from alerts.models import Card, Delivery
from audit.recording import record
from common.actors import Actor, Role


@transaction.atomic
def resend(delivery_id: int, actor: Actor, *, unless_done: bool = False) -> Delivery:
    """Plan the same again, and return it. The caller has checked that the actor may see
    the delivery.

    With `unless_done` not where somebody did so already. A card is edited in place; one
    that was deleted is posted again. An event keeps its id and body, so that its
    receiver can tell.
    """
    if not actor.acting_as(Role.ADMIN).sees_all():
        raise NotResent("Only an admin of everything can send alerts again.")
    rows = Delivery.objects.select_related(
        "destination", "message", "card", "digest"
    ).filter(pk=delivery_id)
    found = rows.select_for_update(of=("self",), no_key=True).first()
    if found is None:
        raise NotResent("This delivery no longer exists.")
    if found.destination.removed_at or found.destination.switched_off_at:
        raise NotResent("The destination is switched off. Switch it on first.")
    if found.state in (Delivery.State.DUE, Delivery.State.SENDING):
        raise NotResent("It is still waiting and will be sent automatically.")
    if found.erased_at:
        raise NotResent(
            "Its content was erased with its message, so there is nothing to send."
        )
    if unless_done and Delivery.objects.filter(again_of=found).exists():
        raise NotResent("Somebody else has already sent it again.")
    if found.digest is not None and found.digest.removed:
        raise NotResent(
            "Somebody deleted this digest in its channel. Its messages are on the desk."
        )
    if found.card is not None and found.card.removed:
        Card.objects.filter(pk=found.card.pk).update(
            removed=False, discord_message_id="", digest=None
        )
    is_event = found.kind == Delivery.Kind.EVENT
    again = Delivery.objects.create(
        again_of=found,
        kind=found.kind,
        destination=found.destination,
        card=found.card,
        digest=found.digest,
        message=found.message,
        entry=found.entry,
        action=found.action,
        trace=found.trace,
        event_id=found.event_id if is_event else "",
        request=found.request if is_event else "",
    )
    record(
        "alert.sent_again",
        actor=actor,
        details={"destination": found.destination.name},
        **found.ledger_subject,
    )
    tasks.drain.delay_on_commit(again.destination_id)
    return again
