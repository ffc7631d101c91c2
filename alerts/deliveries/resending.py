"""Sends once more what was delivered or given up, because somebody asked for it: a delivery of its own."""

from django.db import transaction

from alerts.errors import AlertsError
from alerts.models import Card, Delivery
from audit.recording import record
from common.nudge import nudge
from people.actors import Actor, Role


class NotSentAgain(AlertsError):
    """There is nowhere to send it, or it goes out by itself."""


@transaction.atomic
def send_again(delivery_id: int, actor: Actor, *, unless_done: bool = False) -> Delivery:
    """Plan the same once more, and return it. The caller has looked whether the actor may see the delivery.

    With `unless_done` not where somebody did so already, also at this moment.

    A card is brought up to date where it stands; one that was deleted in Discord is posted anew. An event goes with
    the id and the body that it had, so that who got it before can tell.
    """
    if not actor.acting_as(Role.ADMIN).sees_all():
        raise NotSentAgain("Only an admin of everything can send alerts once more.")
    known = Delivery.objects.select_related("destination", "message", "card", "digest").filter(pk=delivery_id)
    found = known.select_for_update(of=("self",), no_key=True).first()
    if found is None:
        raise NotSentAgain("This delivery is not there any more.")
    if found.destination.removed_at or found.destination.switched_off_at:
        raise NotSentAgain("Nothing goes there: the destination is switched off. Switch it on first.")
    if found.state in (Delivery.State.DUE, Delivery.State.SENDING):
        raise NotSentAgain("It still waits to be sent, and goes by itself.")
    if found.erased_at:
        raise NotSentAgain("What this told was erased with its message: there is nothing to send.")
    if unless_done and Delivery.objects.filter(again_of=found).exists():
        raise NotSentAgain("Somebody else had it sent once more.")
    if found.digest is not None and found.digest.removed:
        raise NotSentAgain("Somebody deleted this digest in Discord. Its messages are on the desk.")
    if found.card is not None and found.card.removed:
        Card.objects.filter(pk=found.card.pk).update(removed=False, discord_message_id="", digest=None)
    return _planned(found, actor)


def _planned(found: Delivery, actor: Actor) -> Delivery:
    kept = {"event_id": found.event_id, "request": found.request} if found.kind == Delivery.Kind.EVENT else {}
    again = Delivery.objects.create(
        kind=found.kind,
        destination=found.destination,
        card=found.card,
        digest=found.digest,
        message=found.message,
        entry=found.entry,
        action=found.action,
        trace=found.trace,
        again_of=found,
        **kept,
    )
    message = found.message
    record(
        "alert.sent_again",
        actor=actor,
        connection=message.connection_id if message else None,
        message=message.public_id if message else None,
        details={"destination": found.destination.name},
        words=message.ledger_words() if message else (),
    )
    nudge("alerts.tasks.deliver", again.pk)
    return again
