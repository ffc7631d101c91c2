"""What an event tells of its message, whenever it comes: fills what is not known yet, and overwrites nothing.

Webhooks come in any order and each dialect leaves something out, so the same rule holds for the first event of a
message and for the last: in any order the same fields come together. What a read brought is not touched.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from mirror import store
from mirror.models import Connection, Message
from mirror.recipients import addresses_of
from upstream.events import Event, direction_of


def fields_of(connection: Connection, event: Event, *, mailbox_id: int | None, now: datetime) -> dict[str, Any]:
    """Return the fields of a message that this event is the first to tell of."""
    return {
        "mailbox_id": mailbox_id if mailbox_id is not None else _find_mailbox(connection, event),
        "direction": event.direction,
        "thread_id": store.fitting("thread_id", event.thread_id),
        "upstream_status": store.fitting("upstream_status", event.status),
        "sender": store.fitting("sender", event.sender),
        "recipients": list(event.to),
        # Of mail that is never held nobody reads more: whom it went to is known from here.
        "addresses": addresses_of(event.to, sender=event.sender, direction=event.direction),
        "subject": event.subject,
        "trigger": dict(event.metadata),
        "upstream_reason": event.reason,
        "upstream_decided_by": store.fitting("upstream_decided_by", event.decided_by),
        "held_at": min(event.at, now) if event.at else now,
    }


def fill(message: Message, event: Event) -> None:
    """Fill what a locked message lacks from one more event about it."""
    told: dict[str, Any] = {
        "thread_id": store.fitting("thread_id", event.thread_id),
        "trigger": dict(event.metadata),
        "upstream_reason": event.reason,
        "upstream_decided_by": store.fitting("upstream_decided_by", event.decided_by),
    }
    if message.hydrated_at is None:
        told |= {
            "sender": store.fitting("sender", event.sender),
            "recipients": list(event.to),
            "subject": event.subject,
        }
    found: dict[str, Any] = {name: value for name, value in told.items() if value and not getattr(message, name)}
    if message.mailbox_id is None:
        found["mailbox_id"] = _find_mailbox(message.connection, event)
    if event.direction == "inbound" and message.hydrated_at is None:
        found["direction"] = "inbound"
    if message.hydrated_at is None:
        by_now = {name: found.get(name, getattr(message, name)) for name in ("recipients", "sender", "direction")}
        found["addresses"] = addresses_of(
            map(str, by_now["recipients"]), sender=by_now["sender"], direction=by_now["direction"]
        )
    if event.at and event.at < message.held_at:
        found["held_at"] = event.at
    changed = {name: value for name, value in found.items() if getattr(message, name) != value}
    for name, value in changed.items():
        setattr(message, name, value)
    if changed:
        message.save(update_fields=changed)


def event_in(said: Mapping[str, Any]) -> Event:
    """Return what MultiMail answers about a message in the form of an event, which fills it by the same rule."""
    content, metadata = store.content_of(said), said.get("metadata")
    return Event(
        kind="",
        name="",
        mailbox_id=str(said.get("mailbox_id") or ""),
        mailbox=str(said.get("mailbox") or ""),
        thread_id=str(said.get("thread_id") or ""),
        sender=content.sender,
        to=content.to,
        subject=content.subject,
        direction=direction_of(said.get("direction"), said.get("status")),
        metadata=metadata if isinstance(metadata, dict) else {},
    )


def _find_mailbox(connection: Connection, event: Event) -> int | None:
    mailbox = store.find_mailbox(connection, upstream_id=event.mailbox_id, address=event.mailbox)
    return mailbox.pk if mailbox else None
