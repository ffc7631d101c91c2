"""Builds the event that a program receives for one act in the ledger, and posts it. The
event is stored, so that every attempt sends the same one.

What it contains depends on the destination's level of privacy. minimal: which message,
and what became of it, without subject or free text; addresses are masked, and people
named only by their role. headers: also subject, addresses, who decided and why, and the
sender's metadata. full: also the text of the message.
"""

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from django.conf import settings

from alerts.cards.message import read_message
from alerts.channels import channel_of
from alerts.channels.base import Posted
from alerts.channels.requests import Json
from alerts.ledger_events import EVENT_OF, LEDGER_CHECKED
from alerts.models import Delivery, Destination
from audit.models import Entry
from audit.sealing.signing import checkpoint
from common.endings import EndedBy
from common.references import without_references
from common.tables import table_pairs
from common.unique_keys import text_in
from mirror.models import Connection, Message
from mirror.models.messages import NAMED
from mirror.states import DecisionState

# With these limits an event stays under the 256 KB that Inngest accepts, even if much
# of it has to be escaped.
MAX_RECIPIENTS = 100
# In characters of JSON.
MAX_METADATA = 16_000
# In characters, for each piece of free text.
MAX_WORDS = 2_000
# In bytes of JSON, for the text of the message.
MAX_TEXT = 64_000
# The longest address that RFC 5321 allows.
MAX_ADDRESS = 320
# The event's word for a decision, by the action of an entry, the state of a message, or
# the outcome of a decision of this desk.
_DECIDED = table_pairs("""
message.approved | approved
message.released | approved
message.rejected | rejected
approved | approved
scheduled_approved | approved
released | approved
rejected | rejected
approve | approved
reject | rejected
send_back | rejected
""")


def send_event(delivery: Delivery) -> Posted:
    """Make one attempt to post the event of this delivery. Raises what the channel's
    `post_event` raises.
    """
    destination = delivery.destination
    # An event that was stored for another level of privacy is built again: it could
    # reveal more than the destination may get now.
    if (
        not delivery.request
        or json.loads(delivery.request)["data"]["privacy"] != destination.privacy
    ):
        entry = Entry.objects.with_details().get(pk=delivery.entry or 0)
        if delivery.message_id is not None:
            delivery.message = read_message(delivery.message_id)
        delivery.event_id = event_id(entry)
        delivery.request = event_body(entry, delivery.message, destination)
    channel: Any = channel_of(destination.kind)
    posted: Posted = channel.post_event(
        destination, delivery.request.encode(), event_id=delivery.event_id
    )
    return posted


def event_body(entry: Entry, message: Message | None, destination: Destination) -> str:
    """Return the body that the destination receives for this act. It names events as
    MultiMail does, and shows the message as it is now.
    """
    event = EVENT_OF.get(entry.action)
    name = event.name if event else entry.action
    connections = Connection.objects.filter(pk=entry.connection or 0)
    connection = message.connection if message else connections.first()
    number = event_id(entry)
    data = {
        "event_id": number,
        "event": name,
        "at": entry.at.isoformat(),
        "connection": connection.slug if connection else None,
        "privacy": destination.privacy,
    }
    if message:
        data |= _message_data(entry, message, destination)
    else:
        data |= _details_data(entry, destination)
    if entry.action == "approval.recorded":
        data["approvals"] = entry.details.get("approvals") or None
    if explanation := entry.details.get("explanation"):
        data["explanation"] = _words(explanation, destination)
    channel: Any = channel_of(destination.kind)
    body = channel.envelope(name, entry.at, number, data)
    return json.dumps(body, ensure_ascii=False)


def event_id(entry: Entry) -> str:
    """Return the id of an event: the same at every destination, and unique among all
    desks, because the entry's hash is salted.
    """
    return f"evt_{entry.hash[:32]}"


def _message_data(entry: Entry, message: Message, destination: Destination) -> Json:
    # What an event says about a message, at this level of privacy.
    data = {
        # The programs in MultiMail's documentation read either name.
        "id": message.upstream_id,
        "message_id": message.upstream_id,
        "thread_id": message.thread_id or None,
        "mailbox_id": message.mailbox.upstream_id if message.mailbox else None,
        "mailbox": _address(str(message.mailbox or ""), destination),
        "direction": message.direction,
        "from": _address(message.sender, destination),
        "to": [
            _address(str(one), destination)
            for one in message.recipients[:MAX_RECIPIENTS]
        ],
        "status": message.upstream_status,
        "state": message.state,
        "sandbox": message.sandbox,
        **_decision_data(entry.action, message, destination),
        "fingerprint": entry.fingerprint or message.fingerprint or None,
        "metadata": _metadata(message.trigger, destination),
        "link": f"{settings.PUBLIC_URL}/approvals/{quote(message.upstream_id, safe='')}/",
    }
    if not destination.is_minimal:
        data["subject"] = message.subject[:MAX_WORDS]
    if destination.privacy == Destination.Privacy.FULL and message.revision:
        # Cut until it fits, counted in the bytes in which it is sent.
        text = text_in(message.revision.content, "markdown", most=MAX_TEXT)
        while len(json.dumps(text, ensure_ascii=False).encode()) > MAX_TEXT:
            text = text[: len(text) * 3 // 4]
        data["text"] = text
    return data


def _details_data(entry: Entry, destination: Destination) -> Json:
    """Return the data of an act that is about no message of the desk, such as mail that
    an allowlist refused.
    """
    details = entry.details
    data: Json = {}
    for name, key in (("to", "recipients"), ("refused", "refused")):
        if details.get(key):
            data[name] = [
                _address(one, destination)
                for one in details[key].split(", ")[:MAX_RECIPIENTS]
            ]
    # At the minimal level only the kind of a change is named: the change itself may
    # name people.
    names = ["mailbox", "rule"]
    if not destination.is_minimal:
        names += "change before after asked_by reason".split()
    for name in names:
        if details.get(name):
            data[name] = _words(details[name], destination)
    if entry.action == LEDGER_CHECKED:
        data["checkpoint"] = checkpoint()
    if details.get("kind"):
        data["kind"] = details["kind"]
    if entry.trigger:
        data["metadata"] = _metadata(entry.trigger, destination)
    return data


def _decision_data(
    action: str, message: Message, destination: Destination
) -> dict[str, str | None]:
    """Return what was decided, by whom and why. If the desk decided, its own row is
    used, which says more than MultiMail reports.
    """
    decisions = message.decisions.all()
    by_us = (one for one in decisions if one.state == DecisionState.APPLIED)
    applied = next(by_us, None)
    our_word = _DECIDED[applied.outcome] if applied else None
    decision = _DECIDED.get(action) or _DECIDED.get(message.state) or our_word
    reason = name = role = ended_by = ""
    if applied and decision == our_word:
        reason = applied.reason
        name = applied.giver
        ruled = "a pass" if applied.pass_id else name
        role = "a reviewer" if applied.given_by_id else ruled
        ended_by = applied.ended_by
    elif decision is not None:
        reason = without_references(message.upstream_reason)
        name = message.upstream_decided_by
        role = "somebody elsewhere"
        ended_by = message.upstream_ended_by or EndedBy.ELSEWHERE
    if ended_by == EndedBy.EXPIRY:
        name = role = ""
    # A role contains no name.
    is_minimal = destination.is_minimal
    decided_by = role if is_minimal else name[:200]
    return {
        "decision": decision,
        "reason": None if is_minimal else reason[:MAX_WORDS] or None,
        "decided_by": decided_by or None,
        "ended_by": ended_by or None,
    }


def _metadata(trigger: Mapping[str, Any], destination: Destination) -> Json:
    """Return the metadata that the sender gave with the message. A program that waits
    for the event recognises its own message by it.
    """
    if not destination.is_minimal and len(json.dumps(trigger)) <= MAX_METADATA:
        return dict(trigger)
    # Only the names that the desk knows: other metadata may contain anything.
    metadata: Json = {}
    for name in NAMED:
        value = trigger.get(name)
        if isinstance(value, str):
            metadata[name] = _words(value, destination)[:500]
        elif isinstance(value, int):
            metadata[name] = value
    return metadata


def _address(address: str, destination: Destination) -> str:
    return destination.shown_address(address)[:MAX_ADDRESS]


def _words(text: str, destination: Destination) -> str:
    """Return free text, cut, and at the minimal level without email addresses."""
    return destination.shown_text(text)[:MAX_WORDS]
