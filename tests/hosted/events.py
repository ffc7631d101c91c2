"""Webhooks: the four shapes of an event, its signature, and a thread that delivers."""

import hashlib
import hmac
import http.client
import json
import queue
import threading
import time
from dataclasses import dataclass, field
from urllib.parse import urlsplit

# The names of each kind, by envelope: patterns page, Discord page, Inngest page,
# webhooks page.
NAMES = {
    "pending": (
        "oversight.pending",
        "message.pending_approval",
        "email.pending",
        "message.pending_send_approval",
    ),
    "approved": (
        "oversight.approved",
        "message.approved",
        "email.decided",
        "email.approved",
    ),
    "rejected": (
        "oversight.rejected",
        "message.rejected",
        "email.decided",
        "email.rejected",
    ),
    "sent": ("message.sent", "message.sent", "email.sent", "email.sent"),
    "delivered": (
        "message.delivered",
        "message.delivered",
        "email.delivered",
        "delivery",
    ),
    "received": ("message.received", "message.received", "email.received", "inbound"),
    "bounced": ("message.bounced", "message.bounced", "email.bounced", "bounce"),
    "complained": (
        "message.complained",
        "message.complained",
        "email.complained",
        "complaint",
    ),
    "opened": ("message.opened", "message.opened", "email.opened", "open"),
}
KINDS = {
    name: kind
    for kind, names in NAMES.items()
    for name in names
    if name != "email.decided"
}
DECIDED = {"email.decided": {"approved", "rejected"}}
RETRIES = 3


def wants(names, kind):
    """Whether a subscription to these names takes events of this kind."""
    return any(
        KINDS.get(name) == kind or kind in DECIDED.get(name, ()) for name in names
    )


def envelope(shape, kind, facts, at):
    """Return the event in one of the shapes A to D. `facts` has id, thread_id, mailbox,
    from, to and others.
    """
    name = NAMES[kind]["ABCD".index(shape)]
    decision = {"decision": kind} if kind in ("approved", "rejected") else {}
    told = {key: facts[key] for key in ("from", "subject", "metadata") if key in facts}
    email_id = facts["id"]
    to = facts["to"]
    if shape == "A":
        data = {"email_id": email_id, "to": to, "direction": facts["direction"], **told}
        return {
            "event": name,
            "timestamp": at,
            "data": data | {"has_attachments": facts["has_attachments"]},
        }
    if shape == "B":
        return {
            "type": name,
            "data": {"message_id": email_id, "to": ", ".join(to), **told},
        }
    if shape == "C":
        return {
            "type": name,
            ("message_id" if decision else "id"): email_id,
            "to": ", ".join(to),
            **told,
            **decision,
        }
    where = {
        "message_id": email_id,
        "thread_id": facts["thread_id"],
        "mailbox": facts["mailbox"],
    }
    return {
        "event_type": name,
        "timestamp": at,
        **where,
        "from": facts["from"],
        "subject": facts["subject"],
    }


@dataclass
class Webhook:
    """One subscription."""

    id: str
    url: str
    events: list[str]
    secret: str
    mailbox_id: str | None
    created_at: str


@dataclass
class Delivery:
    """One event on its way to one subscription."""

    id: str
    webhook: Webhook
    event_type: str
    body: bytes
    created_at: str
    status: str = "pending"
    attempts: int = 0
    response_status: int | None = None


@dataclass
class Deliverer:
    """Sends events in their order, each up to four times, in a thread of its own."""

    retry_pause: float = 0.2
    waiting: "queue.Queue[Delivery]" = field(default_factory=queue.Queue)
    kept_back: list[Delivery] = field(default_factory=list)

    def __post_init__(self):
        threading.Thread(target=self._run, daemon=True).start()

    def release(self, *, backwards):
        """Send what was kept back, in its order or backwards."""
        kept = self.kept_back
        self.kept_back = []
        for delivery in reversed(kept) if backwards else kept:
            self.waiting.put(delivery)

    def _run(self):
        while True:
            delivery = self.waiting.get()
            for attempt in range(1 + RETRIES):
                if attempt:
                    time.sleep(self.retry_pause * 2**attempt)
                delivery.attempts += 1
                delivery.response_status = _post(delivery)
                if delivery.response_status and 200 <= delivery.response_status < 300:
                    break
            answered = delivery.response_status or 0
            delivery.status = "delivered" if 200 <= answered < 300 else "failed"
            self.waiting.task_done()


def _post(delivery):
    address = urlsplit(delivery.webhook.url)
    kind = (
        http.client.HTTPSConnection
        if address.scheme == "https"
        else http.client.HTTPConnection
    )
    connection = kind(address.hostname or "", address.port, timeout=10)
    digest = hmac.new(
        delivery.webhook.secret.encode(), delivery.body, hashlib.sha256
    ).hexdigest()
    headers = {
        "Content-Type": "application/json",
        "X-MultiMail-Signature": f"sha256={digest}",
    }
    try:
        connection.request("POST", address.path or "/", delivery.body, headers)
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def raw(payload):
    """Return the bytes of a webhook's body."""
    return json.dumps(payload, ensure_ascii=False).encode()
