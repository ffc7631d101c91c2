"""Parses the body of a MultiMail webhook into an `Event`. MultiMail's documentation
spells events and fields in several ways, and all of them are understood
(docs/multimail.md, Webhooks).
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from common.endings import known_ending
from common.mail_addresses import split_addresses
from common.references import with_reported
from common.tables import table_pairs
from common.unique_keys import DuplicateKey, Json, unique_keys

# Each kind of event, and all names that MultiMail's documentation gives it.
_SPELLINGS = {
    "received": "message.received email.received inbound",
    "sent": "message.sent email.sent",
    "delivered": "message.delivered email.delivered delivery",
    "bounced": "message.bounced email.bounced bounce",
    "complained": "message.complained email.complained complaint",
    "pending": "oversight.pending message.pending_approval email.pending message.pending_send_approval",
    "approved": "oversight.approved message.approved email.approved",
    "rejected": "oversight.rejected message.rejected email.rejected",
    "cancelled": "message.cancelled",
    "failed": "message.failed",
}
_NAMES = {name: kind for kind, names in _SPELLINGS.items() for name in names.split()}
PENDING_NAMES = tuple(_SPELLINGS["pending"].split())
# What was decided, by MultiMail's words for it.
DECISIONS = table_pairs("""
approve  | approved
approved | approved
reject   | rejected
rejected | rejected
""")
# This event is about no stored message: the desk reads MultiMail's list of refusals
# instead.
REFUSED = "message.refused"
# The test event, sent on request to see whether events arrive. It is about no message.
TEST = "webhook.test"
# Levels of objects and lists in a body.
MAX_DEPTH = 40


@dataclass(frozen=True)
class Event:
    """One event. `kind` is empty if its name (or its decision) is not known; such an
    event need not name a message.
    """

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
    # A code of `EndedBy`, or empty.
    ended_by: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    # The API key that the message was sent with, and the key's name; only our gateway
    # gives them.
    key: str = ""
    key_name: str = ""
    # Whether the message was sent with a test key: then nobody receives it.
    sandbox: bool = False
    # The Message-ID of the mail, and the mail server's name for it.
    mail_ids: tuple[str, ...] = ()
    at: datetime | None = None


class UnreadableEvent(Exception):
    """The body is not a JSON object that can be stored and read."""


class MisshapenEvent(Exception):
    """The event has a known name, but one of its fields cannot be read or is missing.
    `event` has what could be read.
    """

    def __init__(self, sentence: str, event: Event) -> None:
        super().__init__(sentence)
        self.event = event


def parse(body: bytes) -> Event:
    """Read the raw body of a webhook.

    Raises UnreadableEvent; or MisshapenEvent, if a known event has a field of the wrong
    type or does not name its message. Each has a sentence.
    """
    try:
        text = body.decode()
        payload = _DECODER.decode(text)
        brackets = text.count("[") + text.count("{")
        if brackets > MAX_DEPTH and _depth(payload) > MAX_DEPTH:
            raise RecursionError
        if "\\u" in text:
            # Refuse halves of surrogate pairs and replace U+0000. Both can only come
            # from a \u escape.
            json.dumps(payload, ensure_ascii=False).encode()
            payload = storable(payload)
    except DuplicateKey as error:
        raise UnreadableEvent(str(error)) from None
    except UnicodeError:
        raise UnreadableEvent(
            "The body holds text that is not valid Unicode."
        ) from None
    except RecursionError:
        raise UnreadableEvent(
            f"The body is nested more than {MAX_DEPTH} levels deep."
        ) from None
    except ValueError:
        raise UnreadableEvent("The body is not valid JSON.") from None
    if not isinstance(payload, dict):
        raise UnreadableEvent("The body must be a JSON object.")
    inner = payload["data"] if isinstance(payload.get("data"), dict) else {}
    name = ""
    for key in ("event", "type", "event_type"):
        name = name or _text(payload.get(key))
    name = name.removeprefix("multimail/")
    reader = _Reader(inner, payload)
    kind = _NAMES.get(name, "")
    if name == "email.decided":
        kind = DECISIONS.get(reader.text("decision", "action").lower(), "")
    status = reader.text("status")
    metadata = reader.find("metadata")
    if not isinstance(metadata, dict):
        if metadata is not None:
            reader.wrong.append("metadata")
        metadata = {}
    reason = reader.text("reason", "decision_reason")
    decided_by = reader.text("decided_by", "approved_by")
    email_id = reader.text("email_id", "message_id") or _text(
        (inner or payload).get("id")
    )
    direction = "inbound"
    if kind != "received":
        direction = direction_of(reader.text("direction"), status)
    event = Event(
        kind=kind,
        name=name,
        event_id=_text(payload.get("event_id")),
        email_id=email_id,
        mailbox_id=reader.text("mailbox_id"),
        mailbox=reader.text("mailbox"),
        thread_id=reader.text("thread_id"),
        sender=reader.text("from", "from_address", "sender"),
        to=reader.addresses("to_addresses", "to"),
        subject=reader.text("subject"),
        direction=direction,
        status=status,
        reason=with_reported(reason, reader.find("decision_reference"), decided_by),
        decided_by=decided_by,
        ended_by=known_ending(reader.find("ended_by")),
        metadata=metadata,
        # An unexpected type here is ignored: it does not make the event misshapen.
        key=_text(reader.find("sent_by_key"))[:200],
        key_name=_text(reader.find("sent_by_key_name"))[:200],
        sandbox=reader.find("sandbox") is True,
        mail_ids=mail_ids(payload | inner),
        at=reader.time("timestamp", "received_at", "created_at"),
    )
    if kind and reader.wrong:
        raise MisshapenEvent(
            f"The event's {' and '.join(reader.wrong)} cannot be read: of the wrong kind.",
            event,
        )
    if kind and not event.email_id:
        raise MisshapenEvent("The event does not say which message it is about.", event)
    return event


def direction_of(direction: Any, status: Any) -> str:
    """Return a message's direction. A message that waits for inbound approval is
    inbound, whatever its field `direction` says.
    """
    if direction == "inbound" or status == "pending_inbound_approval":
        return "inbound"
    return "outbound"


def mail_ids(fields: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the Message-ID in an event or answer, and the mail server's name for it."""
    ids = (_text(fields.get(name)) for name in ("message_id_header", "relay_id"))
    return tuple(one[:500] for one in ids if one)


class _Reader:
    """Reads fields from the first object that has them: the event's inner object, then
    the whole event. `wrong` collects the names of fields whose value has an unexpected
    type.
    """

    def __init__(self, *objects: Json) -> None:
        self.objects = objects
        self.wrong: list[str] = []

    # Returns the first value under one of these names that is not empty, or None.
    def find(self, *keys: str) -> Any:
        for fields in self.objects:
            for key in keys:
                if (value := fields.get(key)) not in (None, "", [], {}):
                    return value
        return None

    def text(self, *keys: str) -> str:
        value = self.find(*keys)
        text = _text(value)
        if value is not None and not text:
            self.wrong.append(keys[0])
        return text

    def addresses(self, *keys: str) -> tuple[str, ...]:
        value = self.find(*keys)
        items = split_addresses(value) if isinstance(value, str) else value
        if items is None:
            return ()
        if not isinstance(items, list) or not all(
            isinstance(item, str) for item in items
        ):
            self.wrong.append(keys[-1])
            return ()
        return tuple(item.strip() for item in items if item.strip())

    def time(self, *keys: str) -> datetime | None:
        value = self.find(*keys)
        if isinstance(value, dict | list | bool):
            self.wrong.append(keys[0])
        return read_time(value)


def read_time(value: Any) -> datetime | None:
    """Return a time given as ISO text or as an epoch in seconds, milli-, micro- or
    nanoseconds; None for anything else.

    A time before 2000 is refused: no message is that old, and PostgreSQL could store a
    time before the year 1 in UTC, which Python could not read again.
    """
    try:
        if isinstance(value, str) and not value.isdecimal():
            parsed = datetime.fromisoformat(value)
            parsed = (
                parsed.astimezone(UTC) if parsed.tzinfo else parsed.replace(tzinfo=UTC)
            )
        else:
            number = float(value)
            for _ in range(3):
                number = number / 1000 if number > 1e11 else number
            parsed = datetime.fromtimestamp(number, UTC)
    except (TypeError, ValueError, OverflowError, OSError):
        return None
    return parsed if parsed.year >= 2000 else None


def written_time(moment: datetime) -> str:
    """Return a time as our gateway writes it: in UTC, to the millisecond."""
    utc = moment.astimezone(UTC).replace(tzinfo=None)
    return utc.isoformat(timespec="milliseconds") + "Z"


def storable(value: Any) -> Any:
    """Return parsed JSON as PostgreSQL can store it: U+0000 and halves of surrogate
    pairs become a replacement character, and NaN and infinite numbers become null.
    """
    if isinstance(value, str):
        text = value.replace("\0", "\ufffd")
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, list):
        return [storable(item) for item in value]
    if isinstance(value, dict):
        return {storable(key): storable(item) for key, item in value.items()}
    return value


def _number(text: str) -> float:
    """Return a number. Raises ValueError for NaN, Infinity and what is too large for a
    float.
    """
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(text)
    return number


_DECODER = json.JSONDecoder(
    object_pairs_hook=unique_keys, parse_float=_number, parse_constant=_number
)


def _depth(value: Any) -> int:
    """Return how deep the lists and objects of parsed JSON go."""
    if isinstance(value, dict):
        value = list(value.values())
    return 1 + max(map(_depth, value), default=0) if isinstance(value, list) else 0


# Returns a text or whole number as text; empty for anything else.
def _text(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int):
        return ""
    return str(value)
