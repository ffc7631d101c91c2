"""What an event tells a program, at each level of privacy: with the names that MultiMail gives its own events.

minimal: which message, and what became of it. No subject, no free text of the sender's; addresses are masked, and a
person is told by the role alone. headers: subject, addresses, who decided and why, and the sender's metadata; nothing
of the letter. full: the text of the letter too.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from django.conf import settings

from alerts.models import Destination
from approvals.models import Decision
from audit.models import Entry
from common.mail_addresses import masked_address, without_addresses
from common.references import without_references
from mirror.event_details import NAMED
from mirror.models import Connection, Message
from mirror.states import DecisionState, MessageState, Outcome

# All together stay under Inngest's 256 KB for an event, however much of it has to be escaped.
MOST_RECIPIENTS, MOST_METADATA, MOST_WORDS, MOST_TEXT = 100, 16_000, 2_000, 64_000
# An address may be this long, and what is longer is none.
MOST_ADDRESS = 320
_DECIDED_BY_ACT = {"message.approved": "approved", "message.released": "approved", "message.rejected": "rejected"}
_DECIDED_BY_STATE = {
    MessageState.APPROVED: "approved",
    MessageState.SCHEDULED_APPROVED: "approved",
    MessageState.RELEASED: "approved",
    MessageState.REJECTED: "rejected",
}
_OUTCOMES = {Outcome.APPROVE: "approved", Outcome.REJECT: "rejected", Outcome.SEND_BACK: "rejected"}


@dataclass(frozen=True)
class _Decided:
    """`decision` is approved, rejected or None; `role` says no name."""

    decision: str | None = None
    reason: str = ""
    name: str = ""
    role: str = ""


def data_of(entry: Entry, message: Message | None, *, name: str, privacy: str) -> dict[str, Any]:
    """Return what the act of `entry` tells; of the message, how it stands now."""
    details = entry.detail.fields if hasattr(entry, "detail") else {}
    data = {
        "event": name,
        "at": entry.at.isoformat(),
        "connection": _slug(entry.connection) if entry.connection is not None else None,
        "privacy": privacy,
        **(_of_message(entry, message, privacy) if message else _of_details(details, privacy)),
    }
    if explanation := details.get("explanation"):
        data["explanation"] = _words(explanation, privacy)
    return data


def _slug(connection: int) -> str | None:
    return Connection.objects.filter(pk=connection).values_list("slug", flat=True).first()


def _of_message(entry: Entry, message: Message, privacy: str) -> dict[str, Any]:
    decided = _decided(entry.action, message)
    is_minimal = privacy == Destination.Privacy.MINIMAL
    data = {
        # Programs on MultiMail's pages read the one name or the other.
        "id": message.upstream_id,
        "message_id": message.upstream_id,
        "thread_id": message.thread_id or None,
        "mailbox_id": message.mailbox.upstream_id if message.mailbox else None,
        "mailbox": _address(str(message.mailbox or ""), privacy),
        "direction": message.direction,
        "from": _address(message.sender, privacy),
        "to": [_address(str(one), privacy) for one in message.recipients[:MOST_RECIPIENTS]],
        "status": message.upstream_status,
        "state": message.state,
        "sandbox": message.sandbox,
        "decision": decided.decision,
        "reason": _words(decided.reason, privacy) or None,
        "decided_by": (decided.role if is_minimal else decided.name[:200]) or None,
        "fingerprint": entry.fingerprint or (message.revision.fingerprint if message.revision else None),
        "metadata": _metadata(message.trigger, privacy),
        "link": f"{settings.PUBLIC_URL}/approvals/{quote(message.upstream_id, safe='')}/",
    }
    if not is_minimal:
        data["subject"] = message.subject[:MOST_WORDS]
    if privacy == Destination.Privacy.FULL and message.revision:
        data["text"] = _cut(str(message.revision.content.get("markdown") or ""))
    return data


def _of_details(details: Mapping[str, str], privacy: str) -> dict[str, Any]:
    """What the ledger keeps of an act about no message that the mirror has, such as a refusal at the gate."""
    data: dict[str, Any] = {}
    for told, kept in (("to", "recipients"), ("refused", "refused")):
        if details.get(kept):
            data[told] = [_address(one, privacy) for one in details[kept].split(", ")[:MOST_RECIPIENTS]]
    if details.get("mailbox"):
        data["mailbox"] = _address(details["mailbox"], privacy)
    if details.get("rule"):
        data["rule"] = _words(details["rule"], privacy)
    trigger = {key.partition(".")[2]: value for key, value in details.items() if key.startswith("trigger.")}
    if trigger:
        data["metadata"] = _metadata(trigger, privacy)
    return data


def _decided(action: str, message: Message) -> _Decided:
    """What was decided, by whom and why; our own decision tells more than what MultiMail repeats of it."""
    applied = message.decisions.filter(state=DecisionState.APPLIED).select_related("given_by").order_by("-pk").first()
    ours = _OUTCOMES[Outcome(applied.outcome)] if applied else None
    decision = _DECIDED_BY_ACT.get(action) or _DECIDED_BY_STATE.get(MessageState(message.state)) or ours
    if applied and decision == ours:
        return _Decided(decision, applied.reason, applied.giver, _role(applied))
    if decision is None:
        return _Decided()
    return _Decided(
        decision, without_references(message.upstream_reason), message.upstream_decided_by, "somebody elsewhere"
    )


def _role(decision: Decision) -> str:
    return "a reviewer" if decision.given_by_id else decision.giver


def _metadata(trigger: Mapping[str, Any], privacy: str) -> dict[str, Any]:
    """What the sender said of the cause, by which a waiting function knows its own message."""
    if privacy != Destination.Privacy.MINIMAL and len(json.dumps(trigger)) <= MOST_METADATA:
        return dict(trigger)
    # Names that every sender uses. What else a sender says may be anything.
    known = {name: trigger[name] for name in NAMED if isinstance(trigger.get(name), str | int)}
    return {name: _words(value, privacy)[:500] if isinstance(value, str) else value for name, value in known.items()}


def _address(address: str, privacy: str) -> str:
    is_masked = address and privacy == Destination.Privacy.MINIMAL
    return (masked_address(address) if is_masked else address)[:MOST_ADDRESS]


def _words(text: str, privacy: str) -> str:
    """Return what somebody wrote, who may have put an address there."""
    return (without_addresses(text) if privacy == Destination.Privacy.MINIMAL else text)[:MOST_WORDS]


def _cut(text: str) -> str:
    """Return as much of a letter as fits, counted in bytes as it is sent."""
    text = text[:MOST_TEXT]
    while len(json.dumps(text, ensure_ascii=False).encode()) > MOST_TEXT:
        text = text[: len(text) * 3 // 4]
    return text
