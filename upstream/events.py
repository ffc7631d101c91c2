"""Reads every spelling of MultiMail's webhooks (contract sections 6.2, 6.3 and 6.6) into one small object."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from upstream.texts import storable

_NAMES: Mapping[str, str] = {
    "message.received": "received",
    "email.received": "received",
    "inbound": "received",
    "message.sent": "sent",
    "email.sent": "sent",
    "message.delivered": "delivered",
    "email.delivered": "delivered",
    "delivery": "delivered",
    "message.bounced": "bounced",
    "email.bounced": "bounced",
    "bounce": "bounced",
    "message.complained": "complained",
    "email.complained": "complained",
    "complaint": "complained",
    "oversight.pending": "pending",
    "message.pending_approval": "pending",
    "email.pending": "pending",
    "message.pending_send_approval": "pending",
    "oversight.approved": "approved",
    "message.approved": "approved",
    "email.approved": "approved",
    "oversight.rejected": "rejected",
    "message.rejected": "rejected",
    "email.rejected": "rejected",
    "message.cancelled": "cancelled",
    "message.failed": "failed",
}
_DECISIONS = {"approve": "approved", "approved": "approved", "reject": "rejected", "rejected": "rejected"}
MAX_DEPTH = 40


class UnreadableEvent(Exception):
    """The body is signed, but it is not a JSON object that can be stored and read."""


@dataclass(frozen=True)
class Event:
    """One event. `kind` is empty for a name (or a decision) that is not known; `email_id` for one without a message."""

    kind: str
    name: str
    event_id: str = ""
    email_id: str = ""
    mailbox_id: str = ""
    mailbox: str = ""
    thread_id: str = ""
    sender: str = ""
    to: tuple[str, ...] = ()
    subject: str = ""
    direction: str = "outbound"
    status: str = ""
    reason: str = ""
    decided_by: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    at: datetime | None = None


def parse(body: bytes) -> Event:
    """Read the raw body of a webhook. Raises UnreadableEvent with a sentence that says what is wrong."""
    payload = _load(body)
    inner = payload["data"] if isinstance(payload.get("data"), dict) else {}
    name = next((text for key in ("event", "type", "event_type") if (text := _text(payload.get(key)))), "")
    name = name.removeprefix("multimail/")

    def read(*keys: str) -> Any:
        return next(
            (place[key] for place in (inner, payload) for key in keys if place.get(key) not in (None, "")), None
        )

    email_id = (
        _text(read("email_id", "message_id")) or _text(inner.get("id")) or ("" if inner else _text(payload.get("id")))
    )
    kind = _NAMES.get(name, "")
    if name == "email.decided":
        kind = _DECISIONS.get(_text(read("decision", "action")).lower(), "")
    metadata = read("metadata")
    return Event(
        kind=kind,
        name=name,
        event_id=_text(payload.get("event_id")),
        email_id=email_id,
        mailbox_id=_text(read("mailbox_id")),
        mailbox=_text(read("mailbox")),
        thread_id=_text(read("thread_id")),
        sender=_text(read("from", "from_address", "sender")),
        to=_addresses(read("to_addresses", "to")),
        subject=_text(read("subject")),
        direction="inbound" if _text(read("direction")) == "inbound" or kind == "received" else "outbound",
        status=_text(read("status")),
        reason=_text(read("reason", "decision_reason")),
        decided_by=_text(read("decided_by", "approved_by")),
        metadata=metadata if isinstance(metadata, dict) else {},
        at=read_time(read("timestamp", "received_at", "created_at")),
    )


def read_time(value: Any) -> datetime | None:
    """Return a time given as ISO text or as an epoch in seconds or milliseconds; None for anything else.

    Nothing was mailed here before 2000, and a time before the year 1 in UTC could be stored but never read again.
    """
    try:
        if isinstance(value, str) and not value.isdecimal():
            parsed = datetime.fromisoformat(value)
            parsed = parsed.astimezone(UTC) if parsed.tzinfo else parsed.replace(tzinfo=UTC)
        else:
            number = float(value)
            parsed = datetime.fromtimestamp(number / 1000 if number > 1e11 else number, UTC)
    except (TypeError, ValueError, OverflowError, OSError):
        return None
    return parsed if parsed.year >= 2000 else None


def _load(body: bytes) -> dict[str, Any]:
    try:
        text = body.decode("utf-8")
        if _depth(text) > MAX_DEPTH:
            raise UnreadableEvent(f"The body is nested more than {MAX_DEPTH} levels deep.")
        payload = json.loads(text)
        json.dumps(payload, ensure_ascii=False, allow_nan=False).encode("utf-8")
    except UnicodeError:
        raise UnreadableEvent("The body holds text that is not valid Unicode.") from None
    except (ValueError, RecursionError):
        raise UnreadableEvent("The body is not valid JSON.") from None
    if not isinstance(payload, dict):
        raise UnreadableEvent("The body must be a JSON object.")
    # The raw body is kept as it came.
    cleaned: dict[str, Any] = storable(payload)
    return cleaned


def _depth(text: str) -> int:
    """Return how deep the brackets go, before the parser has to follow them; those inside of texts do not count."""
    deepest = level = 0
    in_text = escaped = False
    for character in text:
        if in_text:
            in_text = escaped or character != '"'
            escaped = character == "\\" and not escaped
        elif character == '"':
            in_text = True
        elif character in "[{":
            level += 1
            deepest = max(deepest, level)
        elif character in "]}":
            level -= 1
    return deepest


def _text(value: Any) -> str:
    return (
        value
        if isinstance(value, str)
        else str(value)
        if isinstance(value, int) and not isinstance(value, bool)
        else ""
    )


def _addresses(value: Any) -> tuple[str, ...]:
    if isinstance(value, str):
        value = value.split(",")
    return (
        tuple(item.strip() for item in value if isinstance(item, str) and item.strip())
        if isinstance(value, list)
        else ()
    )
