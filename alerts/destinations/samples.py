"""What a destination would show or receive, from made-up acts and the code of the real
thing. Nothing is stored.
"""

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

from alerts.cards.markup import Markup
from alerts.cards.message import CardFacts, message_card
from alerts.cards.notice import notice_card
from alerts.channels import channel_of
from alerts.deliveries.event_bodies import event_body
from alerts.destinations.wording import TO_PEOPLE, TO_PROGRAMS
from alerts.ledger_events import CHANGE_ASKED, REFUSED, Event, about_key, event_of
from alerts.models import Destination
from approvals.decisions.status import Status, StatusCode, status_of
from audit.models import Entry
from mirror.models import Connection, Mailbox, Message, Revision
from mirror.states import MessageState

SUBJECT = "Your refund for order 4471"
SENDER = "support@yourteam.example"
RECIPIENT = "dana@northwind.example"
TEXT = "Hello Dana, your refund of 84 euros is on its way and arrives within five days."
UPSTREAM_ID = "01JSAMPLE"
RUN = "refund-7"
_HASH = sha256(TEXT.encode()).hexdigest()
# Shown as 7F3A-19C2-K0QD.
_FINGERPRINT = "3bc6a0a582982ed"
_AT = datetime(2026, 1, 15, 10, 42, tzinfo=UTC)
# The acts after which the message, as the desk and as MultiMail have it, is in the state
# of the same name; after others it is held.
_ENDS = "approved sent delivered bounced complained failed cancelled received".split()
_DETAILS = {
    REFUSED: {
        "mailbox": SENDER,
        "recipients": RECIPIENT,
        "refused": RECIPIENT,
        "trigger.run_id": RUN,
    },
    "brake.opened": {
        "explanation": "Messages from the key “Invoices”: more than 300 an hour."
    },
    CHANGE_ASKED: {
        "kind": "Oversight mode",
        "change": f"{SENDER}: Oversight mode",
        "before": "Oversight mode: Hold outgoing mail (gated_send)",
        "after": "Oversight mode: Monitored (monitored)",
        "asked_by": "Rita Moreno",
        "reason": "Replies to known customers only.",
    },
    "approval.recorded": {"approvals": "1 of 2"},
    "connection.failing": {"explanation": "It did not answer within 10 seconds."},
    "connection.paused": {"explanation": "MultiMail no longer accepts the key."},
}
# Where the card shows more than the message's state; the words are the real card's.
_STATUSES = {
    "email.expiring": Status(
        StatusCode.HELD, "orange", "Waiting for a decision", "Held, expires soon"
    ),
    "decision.unknown": Status(
        StatusCode.UNKNOWN, "violet", "It is being checked with MultiMail"
    ),
}
_MARKUP = Markup()


# A sample has a label, and a card for people or a body for a program.
Sample = dict[str, Any]


def privacy_samples(kind: str) -> list[Sample]:
    """Return a sample for each level of privacy, the most discreet first."""
    held = event_of("message.held")
    assert held is not None
    notes = TO_PEOPLE if channel_of(kind).posts_cards else TO_PROGRAMS
    return [
        {
            "label": Destination.Privacy(level).label,
            "value": level,
            "note": note,
            **_shown(held, Destination(kind=kind, privacy=level)),
        }
        for level, note in notes.items()
    ]


def event_samples(events: Iterable[Event], destination: Destination) -> list[Sample]:
    """Return a sample for each event."""
    return [{"label": event.words, **_shown(event, destination)} for event in events]


def _shown(event: Event, destination: Destination) -> Sample:
    action = event.actions[0]
    entry = Entry(
        id=0,
        at=_AT,
        action=action,
        connection=Connection.objects.values_list("pk", flat=True).first(),
        hash=_HASH,
        fingerprint=_HASH,
    )
    entry.details = _DETAILS.get(action, {})
    message = _sample_message(action) if event.about == "message" else None
    if not channel_of(destination.kind).posts_cards:
        body = event_body(entry, message, destination)
        return {"body": json.dumps(json.loads(body), ensure_ascii=False, indent=2)}
    if message is None:
        return {"card": notice_card(about_key(entry), entry, destination, _MARKUP)}
    # It was decided at this desk.
    message.upstream_decided_by = ""
    status = _STATUSES.get(event.name) or status_of(message, None)
    facts = CardFacts(
        message, destination.privacy, risk="first message to this address"
    )
    return {"card": message_card(facts, status, _MARKUP)}


def _sample_message(action: str) -> Message:
    """Return the message after this act."""
    state = action.removeprefix("message.")
    status = state
    if state not in _ENDS:
        state = MessageState.HELD
        status = "pending_send_approval"
    is_inbound = state == MessageState.RECEIVED
    sender, recipient = (RECIPIENT, SENDER) if is_inbound else (SENDER, RECIPIENT)
    return Message(
        id=0,
        upstream_id=UPSTREAM_ID,
        mailbox=Mailbox(upstream_id="01JMAILBOX", address=SENDER),
        direction="inbound" if is_inbound else "outbound",
        upstream_status=status,
        state=state,
        sender=sender,
        recipients=[recipient],
        subject=SUBJECT,
        trigger={} if is_inbound else {"run_id": RUN},
        revision=Revision(
            content={"markdown": TEXT}, coverage=["cc", "bcc"], fingerprint=_FINGERPRINT
        ),
        upstream_decided_by="Rita Moreno" if state == MessageState.APPROVED else "",
    )
