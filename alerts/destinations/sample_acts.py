"""Made-up acts on a made-up letter, never saved: what samples of cards and events are built from by the real code."""

from datetime import UTC, datetime
from hashlib import sha256

from alerts.events import REFUSED, event_of
from audit.models import Entry, EntryDetail
from mirror.models import Mailbox, Message, Revision
from mirror.states import MessageState

SUBJECT = "Your refund for order 4471"
SENDER, RECIPIENT = "support@yourteam.example", "dana@northwind.example"
LETTER = "Hello Dana, your refund of 84 euros is on its way and arrives within five days."
UPSTREAM_ID, RUN = "01JSAMPLE", "refund-7"
_FINGERPRINT = sha256(LETTER.encode()).hexdigest()
_AT = datetime(2026, 1, 15, 10, 42, tzinfo=UTC)
# Where the letter is after each act, as the desk and as MultiMail have it; after the others it is held.
_AFTER = {
    "message.approved": (MessageState.APPROVED, "approved"),
    "message.sent": (MessageState.SENT, "sent"),
    "message.delivered": (MessageState.DELIVERED, "delivered"),
    "message.bounced": (MessageState.BOUNCED, "bounced"),
    "message.complained": (MessageState.COMPLAINED, "complained"),
    "message.failed": (MessageState.FAILED, "failed"),
    "message.cancelled": (MessageState.CANCELLED, "cancelled"),
    "message.received": (MessageState.RECEIVED, "received"),
}
_DETAILS = {
    REFUSED: {"mailbox": SENDER, "recipients": RECIPIENT, "refused": RECIPIENT, "trigger.run_id": RUN},
    "connection.failing": {"explanation": "It did not answer within 10 seconds."},
    "connection.paused": {"explanation": "MultiMail does not accept the key any more."},
}


def sample_entry(action: str, connection: int | None) -> Entry:
    """Return an entry of this act, in a connection that is there, if there is one."""
    entry = Entry(id=0, at=_AT, action=action, connection=connection, leaf_hash=_FINGERPRINT)
    entry.detail = EntryDetail(fields=_DETAILS.get(action, {}))
    return entry


def sample_message(action: str) -> Message | None:
    """Return the letter after this act; none where the act is about no letter of the mirror."""
    event = event_of(action)
    if event is None or event.about != "message":
        return None
    state, status = _AFTER.get(action, (MessageState.HELD, "pending_send_approval"))
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
        revision=Revision(content={"markdown": LETTER}, fingerprint=_FINGERPRINT),
        upstream_decided_by="Rita Moreno" if state == MessageState.APPROVED else "",
    )
