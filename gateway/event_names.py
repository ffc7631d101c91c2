"""The names of webhook events: MultiMail's own, and every other spelling that its pages and clients use."""

from collections.abc import Iterable

RECEIVED = "message.received"
SENT = "message.sent"
DELIVERED = "message.delivered"
BOUNCED = "message.bounced"
COMPLAINED = "message.complained"
PENDING = "oversight.pending"
APPROVED = "oversight.approved"
REJECTED = "oversight.rejected"
OPENED = "message.opened"
# These have no public name upstream: only who names them gets them.
CANCELLED = "message.cancelled"
FAILED = "message.failed"
REFUSED = "message.refused"
TEST = "webhook.test"

SPELLINGS: dict[str, frozenset[str]] = {
    RECEIVED: frozenset({RECEIVED, "email.received", "inbound"}),
    SENT: frozenset({SENT, "email.sent"}),
    DELIVERED: frozenset({DELIVERED, "email.delivered", "delivery"}),
    BOUNCED: frozenset({BOUNCED, "email.bounced", "bounce"}),
    COMPLAINED: frozenset({COMPLAINED, "email.complained", "complaint"}),
    PENDING: frozenset({PENDING, "message.pending_approval", "email.pending", "message.pending_send_approval"}),
    APPROVED: frozenset({APPROVED, "message.approved", "email.approved", "email.decided"}),
    REJECTED: frozenset({REJECTED, "message.rejected", "email.rejected", "email.decided"}),
    OPENED: frozenset({OPENED, "open"}),
    CANCELLED: frozenset({CANCELLED}),
    FAILED: frozenset({FAILED}),
    REFUSED: frozenset({REFUSED}),
}
KNOWN = frozenset().union(*SPELLINGS.values())

# Subscribers of these put `to` into a field that must be text.
_TEXT_TO = frozenset({"message.pending_approval", "message.approved", "message.rejected", "email.decided"})


def spelling_for(events: Iterable[str], name: str) -> str | None:
    """Return the first of the subscriber's spellings that means event `name`, or None when it is not wanted."""
    return next((event for event in events if event in SPELLINGS[name]), None)


def wants_text_to(events: Iterable[str]) -> bool:
    """Whether the subscriber needs `to` as text, and not as an array."""
    return not _TEXT_TO.isdisjoint(events)
