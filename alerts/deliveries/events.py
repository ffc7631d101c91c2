"""Sends one act as an event to a program: to Inngest, or to a signed webhook. Every attempt sends the same body."""

import json
from datetime import datetime
from typing import Any
from uuid import uuid4

from alerts.channels.http import no_answer_in_words
from alerts.channels.inngest import channel as inngest
from alerts.channels.outcomes import CardRefused, DestinationGone, Later, Posted, Tried
from alerts.channels.signed_webhook import channel as standard_webhooks
from alerts.deliveries.event_data import data_of
from alerts.events import event_of
from alerts.models import Delivery, Destination
from audit.models import Entry
from common.postgres import clock
from mirror.models import Message
from outgoing.guarded import TOTAL_TIMEOUT

# Inngest's names have the product in front, as MultiMail's page on it shows.
_FAMILY = "multimail/"
TEST = "desk.test"


def send_event(delivery: Delivery, destination: Destination) -> Posted:
    """Post the event of this delivery once. Raises as outcomes.py says."""
    _prepare(delivery, destination)
    return _post(destination, delivery.request, event_id=delivery.event_id, limit=TOTAL_TIMEOUT)


def body_of(delivery: Delivery) -> dict[str, Any]:
    """Return what this delivery tells: made at the first attempt, and kept in Delivery.request."""
    _prepare(delivery, delivery.destination)
    body: dict[str, Any] = json.loads(delivery.request)
    return body


def try_event(destination: Destination, *, within: float) -> Tried:
    """Post a test for somebody who waits for it, and tell in words what came of it and what to do."""
    is_inngest = destination.kind == Destination.Kind.INNGEST
    who = "Inngest" if is_inngest else "The receiver"
    words = inngest.IN_WORDS if is_inngest else standard_webhooks.IN_WORDS
    data = {"event": TEST, "text": "A test from Countersign. Nobody is waiting for anything."}
    event_id = f"evt_{uuid4().hex}"
    try:
        posted = _post(
            destination, _envelope(destination, TEST, clock(), event_id, data), event_id=event_id, limit=within
        )
    except Later as later:
        return Tried(False, words.get(later.status or 0) or _later_in_words(later, who))
    except (DestinationGone, CardRefused) as refused:
        return Tried(False, words.get(refused.status or 0, str(refused)))
    if is_inngest and not posted.message_id:
        return Tried(False, "Something answered there, but not as Inngest does. Look whether the address is right.")
    if is_inngest:
        return Tried(True, f"Inngest took the test. Its event stands there as {_FAMILY}{TEST}.")
    return Tried(True, f"The receiver took the test, an event of the type {TEST}.")


def _later_in_words(later: Later, who: str) -> str:
    if later.seconds is not None:
        return f"{who} asks to wait {later.seconds:.0f} seconds. The address works; test it then."
    if later.status is None:
        return no_answer_in_words(later, who)
    if 300 <= later.status < 400:
        return (
            f"{who} sends us elsewhere ({later.status}), and nothing is posted there. Put in the address it leads to."
        )
    if later.status >= 500:
        return f"{who} answered {later.status}: something is wrong on its side. Test again in a few minutes."
    return f"{who} answered {later.status}. Look whether the address is right."


def _prepare(delivery: Delivery, destination: Destination) -> None:
    """Have in `delivery` what is sent, with its id: kept from before, or made and kept now."""
    if _fits(delivery.request, destination):
        return
    assert delivery.entry is not None, "an event tells of an act"
    entry = Entry.objects.select_related("detail").get(pk=delivery.entry)
    known = Message.objects.select_related("mailbox", "revision").filter(public_id=entry.message)
    event_id = delivery.event_id or _id_of(entry)
    request = event_body(entry, known.first() if entry.message else None, destination, event_id=event_id)
    Delivery.objects.filter(pk=delivery.pk, erased_at=None).update(event_id=event_id, request=request)
    delivery.event_id, delivery.request = event_id, request


def event_body(entry: Entry, message: Message | None, destination: Destination, *, event_id: str = "") -> str:
    """Return what the destination is told of this act, as it is posted."""
    event, event_id = event_of(entry.action), event_id or _id_of(entry)
    name = event.name if event else entry.action
    data = data_of(entry, message, name=name, privacy=destination.privacy)
    return _envelope(destination, name, entry.at, event_id, {"event_id": event_id, **data})


def _fits(request: str, destination: Destination) -> bool:
    """Whether this was made, and for the level of privacy that holds now: no repetition tells more than may be told."""
    return bool(request) and json.loads(request)["data"]["privacy"] == destination.privacy


def _id_of(entry: Entry) -> str:
    """The id of an act is the same wherever it is told, and no other desk has it: its hash holds a salt."""
    return f"evt_{entry.leaf_hash[:32]}"


def _envelope(destination: Destination, name: str, at: datetime, event_id: str, data: dict[str, Any]) -> str:
    body: dict[str, Any] = {"type": name, "timestamp": at.isoformat(), "data": data}
    if destination.kind == Destination.Kind.INNGEST:
        body = {"name": f"{_FAMILY}{name}", "id": event_id, "ts": int(at.timestamp() * 1000), "data": data}
    return json.dumps(body, ensure_ascii=False)


def _post(destination: Destination, body: str, *, event_id: str, limit: float) -> Posted:
    if destination.kind == Destination.Kind.INNGEST:
        return inngest.post(destination.url, body.encode(), limit=limit)
    return standard_webhooks.post(destination, body.encode(), event_id=event_id, limit=limit)
