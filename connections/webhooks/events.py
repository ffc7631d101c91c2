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
_KEY = "01JD6Q2B4C6E8G0J2M4P6R8T0V"
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
# It is about no message.
_REFUSED = {
    "refusal_id": "01JD6Q3XAB3C5D7E9F1G3H5J7K",
    **_MAILBOX,
    "key_id": _KEY,
    "key_name": "Support bot",
    "recipients": _TO,
    "refused_recipients": _TO,
    "rule": "not on the list",
    "metadata": {},
    "sandbox": False,
}


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
        WebhookTopic(
            "An allowlist refused it", "", {"message.refused": _OURS}, _REFUSED
        ),
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
    pages = {BY_NAME[name].names[name] for name in names if name in BY_NAME}
    receivers = {"Discord bot": _DISCORD, "Inngest": _INNGEST}
    found = [words for words, page in receivers.items() if page in pages]
    return found[0] if len(found) == 1 else ""


def sample_bodies(names: Collection[str]) -> list[tuple[str, str, str]]:
    """Return each of these names with its event as JSON, as a webhook that subscribes
    to all of them would get it.

    If several names mean the same event, only the first has a body; the others have the
    first name as third item.
    """
    decided = BY_NAME["email.decided"]
    decisions = (BY_NAME["oversight.approved"], BY_NAME["oversight.rejected"])
    # The first name of each event, by its words. email.decided means both decisions.
    first: dict[str, str] = {}
    bodies = []
    for name, event in BY_NAME.items():
        if name in names:
            is_told = event in decisions and "email.decided" in names
            earlier = first.setdefault((decided if is_told else event).words, name)
            body = _sample_body(name, event) if earlier == name else ""
            bodies.append((name, body, "" if body else earlier))
    return bodies


def _sample_body(name: str, event: WebhookTopic) -> str:
    common: dict[str, Any] = {
        "event_id": "01JD6Q3W2N6R8S0T1V3X5Y7Z9A",
        "timestamp": "2026-01-15T09:31:07.000Z",
    }
    if event.status:
        came_in = event.status == "unread"
        agent = _MAILBOX["mailbox"]
        to = [agent] if came_in else _TO
        author = {"discord_user": "ana#1", "discord_channel": "outreach"}
        common |= {
            "id": _ID,
            "email_id": _ID,
            "message_id": _ID,
            "thread_id": "01JD6Q3V8TB2D4F6H8K0M2P4R6",
            **_MAILBOX,
            "from": _TO[0] if came_in else agent,
            "to": ", ".join(to),
            "to_addresses": to,
            "subject": "Your refund",
            "direction": "inbound" if came_in else "outbound",
            "status": event.status,
            "has_attachments": False,
            "sandbox": False,
            "metadata": {} if came_in else author,
            "sent_by_key": None if came_in else _KEY,
            "sent_by_key_name": None if came_in else "Support bot",
        }
    common |= event.details
    whole = {"event": name, "type": name, "event_type": name, **common, "data": common}
    return json.dumps(whole, ensure_ascii=False, indent=2)
