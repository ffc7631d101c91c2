"""The events that a webhook can subscribe to, by every name that MultiMail accepts, and
a sample body for each.

The names are those of MultiMail's API, of its pages, and older ones. The bodies are
those of our gateway, which every published receiver understands.
"""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from common.references import via

_API = "MultiMail's API"
_OLDER = "an older name"
_OURS = "our gateway"
_DISCORD = "MultiMail's Discord page"
_INNGEST = "MultiMail's Inngest page"

_ID = "01JD6Q3V8T5X9Z2B4C7E0G1HKM"
_TO = ["dana@northwind.example"]
_MAILBOX = {
    "mailbox": "support@acme.example",
    "mailbox_id": "01JD6Q2A0B1C2D3E4F5G6H7J8K",
}
_DECIDED = {
    "reason": "Checked with Dana.",
    "decision_reference": "KVB8AF7JS5",
    "decided_at": "2026-01-15T09:31:07.000Z",
    "decided_by": via("Ana Ferreira"),
}
_APPROVED = {"decision": "approved", **_DECIDED}
_REJECTED = {"decision": "rejected", **_DECIDED}
_BOUNCED = {
    **_APPROVED,
    "bounce_type": "recipient_refused",
    "bounce_code": 550,
    "diagnostic": "5.1.1 No such mailbox",
    "bounced_recipients": _TO,
}
_COMPLAINED = {**_APPROVED, "complained_recipients": _TO, "feedback_type": "abuse"}
_FAILED = {**_APPROVED, "diagnostic": "The mail server was not reached for two days."}


@dataclass(frozen=True)
class WebhookTopic:
    """One kind of event, with each name under which a webhook can subscribe to it and
    who uses that name.

    `status` is the message's status after the event, empty without a message; `details`
    is the event's other data.
    """

    words: str
    status: str
    names: Mapping[str, str]
    details: Mapping[str, Any] = field(default_factory=dict)


GROUPS: dict[str, tuple[WebhookTopic, ...]] = {
    "Held mail": (
        WebhookTopic(
            "A message is waiting for review",
            "pending_send_approval",
            {
                "oversight.pending": _API,
                "message.pending_approval": _DISCORD,
                "message.pending_send_approval": _OLDER,
                "email.pending": _OLDER,
            },
        ),
        WebhookTopic(
            "It was approved or rejected; “decision” says which",
            "scheduled",
            {"email.decided": _INNGEST},
            _APPROVED,
        ),
        WebhookTopic(
            "It was approved",
            "scheduled",
            {
                "oversight.approved": _API,
                "message.approved": _DISCORD,
                "email.approved": _OLDER,
            },
            _APPROVED,
        ),
        WebhookTopic(
            "It was rejected",
            "rejected",
            {
                "oversight.rejected": _API,
                "message.rejected": _DISCORD,
                "email.rejected": _OLDER,
            },
            _REJECTED,
        ),
    ),
    "Delivery mail": (
        WebhookTopic(
            "It was handed to the mail server",
            "sent",
            {"message.sent": _API, "email.sent": _OLDER},
            _APPROVED,
        ),
        WebhookTopic(
            "A mail server accepted it; that does not mean that it was read",
            "sent",
            {"message.delivered": _API, "email.delivered": _OLDER, "delivery": _OLDER},
            _APPROVED,
        ),
        WebhookTopic(
            "It bounced",
            "sent",
            {"message.bounced": _API, "email.bounced": _OLDER, "bounce": _OLDER},
            _BOUNCED,
        ),
        WebhookTopic(
            "A recipient marked it as spam",
            "sent",
            {
                "message.complained": _API,
                "email.complained": _OLDER,
                "complaint": _OLDER,
            },
            _COMPLAINED,
        ),
        WebhookTopic(
            "A recipient opened it; our gateway does not track this and never sends it",
            "sent",
            {"message.opened": _API, "open": _OLDER},
            _APPROVED,
        ),
    ),
    "Received mail": (
        WebhookTopic(
            "A message arrived that the agent can read",
            "unread",
            {"message.received": _API, "email.received": _INNGEST, "inbound": _OLDER},
        ),
    ),
}
# Only sent by a gateway of this product.
OWN_GROUPS: dict[str, tuple[WebhookTopic, ...]] = {
    "Only our gateway": (
        WebhookTopic("It was cancelled", "cancelled", {"message.cancelled": _OURS}),
        WebhookTopic(
            "It could not be sent", "send_failed", {"message.failed": _OURS}, _FAILED
        ),
        WebhookTopic("An allowlist refused it", "", {"message.refused": _OURS}),
    )
}
BY_NAME = {
    name: one
    for events in (GROUPS | OWN_GROUPS).values()
    for one in events
    for name in one.names
}


def usual_receiver(names: Collection[str]) -> str:
    """Return who a webhook is usually for that subscribes to these names; empty where
    they do not tell.
    """
    used = {BY_NAME[name].names[name] for name in names if name in BY_NAME}
    receivers = {"Discord bot": _DISCORD, "Inngest": _INNGEST}
    found = [
        words
        for words, page in receivers.items()
        if any(one.startswith(page) for one in used)
    ]
    return found[0] if len(found) == 1 else ""


def sample_bodies(names: Collection[str]) -> list[tuple[str, str, str]]:
    """Return each of these names with its event as JSON, as a webhook that subscribes
    to all of them would get it.

    If several names mean the same event, only the first has a body; the others have the
    first name as third item.
    """
    asked = [name for name in BY_NAME if name in names]
    first = {
        name: next(one for one in asked if _subscribes_to(one, name)) for name in asked
    }
    return [
        (name, _sample_body(name, BY_NAME[name]), "")
        if first[name] == name
        else (name, "", first[name])
        for name in asked
    ]


def _subscribes_to(asked: str, name: str) -> bool:
    """Whether a webhook that subscribes to `asked` gets the event called `name`."""
    event = BY_NAME[name]
    is_decision = event in (
        BY_NAME["oversight.approved"],
        BY_NAME["oversight.rejected"],
    )
    return BY_NAME[asked] is event or (asked == "email.decided" and is_decision)


def _sample_body(name: str, event: WebhookTopic) -> str:
    facts = _message(event) if event.status else _refusal()
    common = {
        "event_id": "01JD6Q3W2N6R8S0T1V3X5Y7Z9A",
        "timestamp": "2026-01-15T09:31:07.000Z",
        **facts,
    }
    whole = {"event": name, "type": name, "event_type": name, **common, "data": common}
    return json.dumps(whole, ensure_ascii=False, indent=2)


def _message(event: WebhookTopic) -> dict[str, Any]:
    came_in = event.status == "unread"
    sender, to = (
        (_TO[0], [_MAILBOX["mailbox"]]) if came_in else (_MAILBOX["mailbox"], _TO)
    )
    return {
        "id": _ID,
        "email_id": _ID,
        "message_id": _ID,
        "thread_id": "01JD6Q3V8TB2D4F6H8K0M2P4R6",
        **_MAILBOX,
        "from": sender,
        "to": ", ".join(to),
        "to_addresses": to,
        "subject": "Your refund",
        "direction": "inbound" if came_in else "outbound",
        "status": event.status,
        "has_attachments": False,
        "sandbox": False,
        "metadata": {}
        if came_in
        else {"discord_user": "ana#1", "discord_channel": "outreach"},
        "sent_by_key": None if came_in else "01JD6Q2B4C6E8G0J2M4P6R8T0V",
        "sent_by_key_name": None if came_in else "Support bot",
        **event.details,
    }


def _refusal() -> dict[str, Any]:
    """Return the data of an event that is about no message."""
    return {
        "refusal_id": "01JD6Q3XAB3C5D7E9F1G3H5J7K",
        **_MAILBOX,
        "key_id": "01JD6Q2B4C6E8G0J2M4P6R8T0V",
        "key_name": "Support bot",
        "recipients": _TO,
        "refused_recipients": _TO,
        "rule": "not on the list",
        "metadata": {},
        "sandbox": False,
    }
