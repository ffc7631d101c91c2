"""The names of webhook events; and `announce`, which adds a delivery for each
subscription that wants an event.

The names are MultiMail's own, with every other spelling that its pages and clients use;
three events exist at this gateway only. An event holds no body text, except the text
that a person who rejects a message suggests. Only commands call `announce`, inside
their transaction and after the status has changed.
"""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.utils import timezone

from common.identifiers import ulid
from common.tables import table_rows
from common.unique_keys import Json
from gateway import tasks
from gateway.models import Email, Refusal, Webhook, WebhookDelivery
from gateway.states import WITHHELD, Direction
from gateway.timestamps import iso

RECEIVED = "message.received"
SENT = "message.sent"
DELIVERED = "message.delivered"
BOUNCED = "message.bounced"
COMPLAINED = "message.complained"
PENDING = "oversight.pending"
APPROVED = "oversight.approved"
REJECTED = "oversight.rejected"
OPENED = "message.opened"
# These have no public name at MultiMail: only subscribers that name them get them.
CANCELLED = "message.cancelled"
FAILED = "message.failed"
REFUSED = "message.refused"
# For each event, the names under which a subscriber can ask for it.
SPELLINGS = {
    name: {name, *others.split()}
    for name, others in table_rows("""
message.received | email.received inbound
message.sent | email.sent
message.delivered | email.delivered delivery
message.bounced | email.bounced bounce
message.complained | email.complained complaint
oversight.pending | message.pending_approval email.pending message.pending_send_approval
oversight.approved | message.approved email.approved email.decided
oversight.rejected | message.rejected email.rejected email.decided
message.opened | open
message.cancelled |
message.failed |
message.refused |
""")
}
KNOWN: set[str] = set().union(*SPELLINGS.values())
# Built once: every email that is sent or received asks for its account's subscriptions.
_SUBSCRIPTIONS = Webhook.objects.alive().values_list(
    "id", "events", "sandbox", "include_sandbox", "mailbox_id"
)


def announce(
    email: Email, *names: str, at: datetime | None = None, **details: Any
) -> None:
    """Add a delivery of each event in `names`, in this order, for each subscription
    that wants it; on commit, send tasks that deliver them.

    `at` is the time that the email stores for what happened; without it, it happens
    now.
    """
    facts = {
        **email.ids(),
        "thread_id": email.thread_id,
        "mailbox": email.mailbox.address,
        "mailbox_id": email.mailbox_id,
        "from": email.from_address,
        # Text, because programs put it into fields that must be text; `to_addresses` is
        # the array.
        "to": ", ".join(email.to),
        "to_addresses": email.to,
        "subject": email.subject,
        "direction": email.direction,
        "status": email.status,
        "has_attachments": email.has_attachments,
        "sandbox": email.sandbox,
        "metadata": email.metadata,
        "message_id_header": email.message_id_header,
        "sent_by_key": email.sent_by_key_id,
        "sent_by_key_name": email.sent_by_key.name if email.sent_by_key else None,
        **email.outcome(),
        **details,
    }
    if email.direction == Direction.INBOUND and email.status in WITHHELD:
        # No agent may read its words before a person lets it in.
        to = email.mailbox.address
        facts |= {"subject": "", "metadata": {}, "to": to, "to_addresses": [to]}
        facts["message_id_header"] = None
    _add_deliveries(names, email, facts, at or timezone.now())


def announce_refusal(refusal: Refusal, facts: Json) -> None:
    """Announce a refusal. The event has no message id, because there is no message, and
    a receiver would look for it.
    """
    _add_deliveries((REFUSED,), refusal, facts, refusal.created_at)


def listening(about: Email | Refusal) -> list[tuple[str, list[str]]]:
    """Return id and wanted events of each subscription that may want an event about
    this email or refusal, oldest first; uses the index webhook_listening.
    """
    # An account has few subscriptions, so the rest is done in Python.
    rows = sorted(_SUBSCRIPTIONS.filter(account_id=about.account_id))
    return [
        (pk, events)
        for pk, events, only_sandbox, with_sandbox, mailbox_id in rows
        if mailbox_id in (None, about.mailbox_id)
        and (only_sandbox or with_sandbox if about.sandbox else not only_sandbox)
    ]


def _add_deliveries(
    names: Sequence[str], about: Email | Refusal, facts: Json, at: datetime
) -> None:
    email = about if isinstance(about, Email) else None
    rows = []
    subscribed = listening(about)
    for name in names:
        event_id = ulid()
        for webhook_id, events in subscribed:
            # The first of the subscriber's spellings that means this event.
            spelling = next((word for word in events if word in SPELLINGS[name]), None)
            if not spelling:
                continue
            rows.append(
                WebhookDelivery(
                    webhook_id=webhook_id,
                    email=email,
                    event_id=event_id,
                    event=spelling,
                    body=envelope(spelling, event_id=event_id, now=at, facts=facts),
                    trace=(email and email.trace) or event_id,
                )
            )
    with_task: set[str] = set()
    for delivery in WebhookDelivery.objects.bulk_create(rows):
        # One task for each subscription: after its first delivery it goes on with the
        # others.
        if delivery.webhook_id not in with_task:
            tasks.deliver_webhook.delay_on_commit(delivery.pk)
        with_task.add(delivery.webhook_id)


def envelope(spelling: str, *, event_id: str, now: datetime, facts: Json) -> bytes:
    """Return the body of one event, in a form that satisfies every published variant of
    MultiMail's webhooks.
    """
    common = {"event_id": event_id, "timestamp": iso(now), **facts}
    whole = {
        "event": spelling,
        "type": spelling,
        "event_type": spelling,
        **common,
        "data": common,
    }
    return json.dumps(whole, ensure_ascii=False, separators=(",", ":")).encode()
