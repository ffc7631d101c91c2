"""One act as an event for a program: what it contains at each level of privacy, and
that every attempt sends the same.

minimal: which message, and what became of it; no subject, no free text, addresses
masked, people named by role alone. headers: also subject, addresses, who decided and
why, and the sender's metadata. full: also the text of the message.
"""

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from django.conf import settings

from alerts.cards.message import read_message
from alerts.channels import channel_of
from alerts.channels.base import Posted
from alerts.ledger_events import event_of
from alerts.models import Delivery, Destination
from audit.models import Entry
from common.mail_addresses import masked_address, without_addresses
from common.references import without_references
from mirror.models import Connection, Message
from mirror.models.messages import NAMED
from mirror.states import DecisionState, MessageState, Outcome
from outgoing.guarded import TOTAL_TIMEOUT
from policy.models import standing_words

# Together they stay under Inngest's 256 KB for an event, however much of it has to be
# escaped.
MAX_RECIPIENTS = 100
MAX_METADATA = 16_000
MAX_WORDS = 2_000
MAX_TEXT = 64_000
# The longest address that RFC 5321 allows.
MAX_ADDRESS = 320
# What was decided, by an act, by the state of a message, or by our own decision.
_DECIDED: dict[str, str] = {
    "message.approved": "approved",
    "message.released": "approved",
    "message.rejected": "rejected",
    MessageState.APPROVED: "approved",
    MessageState.SCHEDULED_APPROVED: "approved",
    MessageState.RELEASED: "approved",
    MessageState.REJECTED: "rejected",
    Outcome.APPROVE: "approved",
    Outcome.REJECT: "rejected",
    Outcome.SEND_BACK: "rejected",
}


def send_event(delivery: Delivery, destination: Destination) -> Posted:
    """Post the event of this delivery once, the same at every attempt. Raises as every
    channel does.
    """
    # Made for another level of privacy, it could reveal more than it may now.
    if (
        not delivery.request
        or json.loads(delivery.request)["data"]["privacy"] != destination.privacy
    ):
        entry = Entry.objects.with_details().get(pk=delivery.entry or 0)
        if delivery.message_id is not None:
            delivery.message = read_message(delivery.message_id)
        delivery.event_id = _event_id(entry)
        delivery.request = event_body(entry, delivery.message, destination)
        stored = Delivery.objects.filter(pk=delivery.pk, erased_at=None)
        stored.update(event_id=delivery.event_id, request=delivery.request)
    channel: Any = channel_of(destination.kind)
    posted: Posted = channel.post_event(
        destination,
        delivery.request.encode(),
        event_id=delivery.event_id,
        limit=TOTAL_TIMEOUT,
    )
    return posted


def event_body(entry: Entry, message: Message | None, destination: Destination) -> str:
    """Return what the destination receives for this act, as it is posted: with the
    names of MultiMail's own events; of the message, as it is now.
    """
    event = event_of(entry.action)
    name = event.name if event else entry.action
    privacy = destination.privacy
    connections = Connection.objects.filter(pk=entry.connection or 0)
    data = {
        "event_id": _event_id(entry),
        "event": name,
        "at": entry.at.isoformat(),
        "connection": connections.values_list("slug", flat=True).first(),
        "privacy": privacy,
    }
    if message:
        data |= _message_data(entry, message, privacy)
    else:
        data |= _details_data(entry, privacy)
    if entry.action == "approval.recorded":
        data["approvals"] = entry.details.get("approvals") or None
    if explanation := entry.details.get("explanation"):
        data["explanation"] = _words(explanation, privacy)
    channel: Any = channel_of(destination.kind)
    return json.dumps(
        channel.envelope(name, entry.at, _event_id(entry), data), ensure_ascii=False
    )


def _event_id(entry: Entry) -> str:
    """The id of an act is the same at every destination, and unique across desks: its
    hash is salted.
    """
    return f"evt_{entry.hash[:32]}"


def _message_data(entry: Entry, message: Message, privacy: str) -> dict[str, Any]:
    data = {
        # The programs in MultiMail's documentation read either name.
        "id": message.upstream_id,
        "message_id": message.upstream_id,
        "thread_id": message.thread_id or None,
        "mailbox_id": message.mailbox.upstream_id if message.mailbox else None,
        "mailbox": _address(str(message.mailbox or ""), privacy),
        "direction": message.direction,
        "from": _address(message.sender, privacy),
        "to": [
            _address(str(one), privacy) for one in message.recipients[:MAX_RECIPIENTS]
        ],
        "status": message.upstream_status,
        "state": message.state,
        "sandbox": message.sandbox,
        **_decision_data(entry.action, message, privacy),
        "fingerprint": entry.fingerprint or message.fingerprint or None,
        "metadata": _metadata(message.trigger, privacy),
        "link": f"{settings.PUBLIC_URL}/approvals/{quote(message.upstream_id, safe='')}/",
    }
    if privacy != Destination.Privacy.MINIMAL:
        data["subject"] = message.subject[:MAX_WORDS]
    if privacy == Destination.Privacy.FULL and message.revision:
        # As much as fits, counted in bytes as it is sent.
        text = str(message.revision.content.get("markdown") or "")[:MAX_TEXT]
        while len(json.dumps(text, ensure_ascii=False).encode()) > MAX_TEXT:
            text = text[: len(text) * 3 // 4]
        data["text"] = text
    return data


def _details_data(entry: Entry, privacy: str) -> dict[str, Any]:
    """Return what the ledger has about no message of the mirror, such as a refusal at
    the gate.
    """
    details = entry.details
    data: dict[str, Any] = {}
    for name, key in (("to", "recipients"), ("refused", "refused")):
        if details.get(key):
            data[name] = [
                _address(one, privacy)
                for one in details[key].split(", ")[:MAX_RECIPIENTS]
            ]
    if details.get("mailbox"):
        data["mailbox"] = _address(details["mailbox"], privacy)
    if details.get("rule"):
        data["rule"] = _words(details["rule"], privacy)
    for name in ("change", "before", "after", "asked_by", "reason"):
        # At the minimal level only of which kind it is: a change may name people.
        if details.get(name) and privacy != Destination.Privacy.MINIMAL:
            data[name] = details[name][:MAX_WORDS]
    if details.get("kind"):
        data["kind"] = details["kind"]
    if entry.trigger:
        data["metadata"] = _metadata(entry.trigger, privacy)
    return data


def _decision_data(
    action: str, message: Message, privacy: str
) -> dict[str, str | None]:
    """Return what was decided, by whom and why; our own decision says more than what
    MultiMail repeats of it.
    """
    ended = [
        one for one in message.decisions.all() if one.state == DecisionState.APPLIED
    ]
    applied = max(ended, key=lambda one: one.pk, default=None)
    ours = _DECIDED[applied.outcome] if applied else None
    decision = _DECIDED.get(action) or _DECIDED.get(message.state) or ours
    reason = name = role = ""
    if applied and decision == ours:
        reason = applied.reason
        name = applied.giver
        role = (
            "a reviewer"
            if applied.given_by_id
            else standing_words(applied.rule) or name
        )
    elif decision is not None:
        reason = without_references(message.upstream_reason)
        name = message.upstream_decided_by
        role = "somebody elsewhere"
    # A role contains no name.
    shown = role if privacy == Destination.Privacy.MINIMAL else name[:200]
    return {
        "decision": decision,
        "reason": _words(reason, privacy) or None,
        "decided_by": shown or None,
    }


def _metadata(trigger: Mapping[str, Any], privacy: str) -> dict[str, Any]:
    """Return what the sender claimed about the cause, by which a waiting function
    recognises its own message.
    """
    if (
        privacy != Destination.Privacy.MINIMAL
        and len(json.dumps(trigger)) <= MAX_METADATA
    ):
        return dict(trigger)
    # Names that every sender uses. What else a sender puts there may be anything.
    shown: dict[str, Any] = {}
    for name in NAMED:
        value = trigger.get(name)
        if isinstance(value, str):
            shown[name] = _words(value, privacy)[:500]
        elif isinstance(value, int):
            shown[name] = value
    return shown


def _address(address: str, privacy: str) -> str:
    if address and privacy == Destination.Privacy.MINIMAL:
        address = masked_address(address)
    return address[:MAX_ADDRESS]


def _words(text: str, privacy: str) -> str:
    """Return what somebody wrote, without the addresses in it at the minimal level."""
    if privacy == Destination.Privacy.MINIMAL:
        text = without_addresses(text)
    return text[:MAX_WORDS]
