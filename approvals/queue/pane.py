"""What the message pane says beyond the rows: what cannot be seen, and what a decision does or waits for."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from approvals.models import Decision
from common.fingerprint import FIELDS, Content
from mirror.models import Message
from mirror.states import MessageState
from risk.addresses import everybody

# So close to its end the time that is left is shown in red, or at all where there is little room.
NEAR, NEAR_SHARE = timedelta(minutes=15), 0.1
SOON, SOON_SHARE = timedelta(hours=1), 0.2


@dataclass(frozen=True)
class Expiry:
    """When the message is rejected by itself. `is_over`: that time has come, and the rule is about to act."""

    at: datetime
    is_soon: bool
    is_near: bool
    is_over: bool


def approve_label(content: Content | None, message: Message) -> str:
    """Return the words on the button: what happens when it is pressed, and to how many."""
    if message.direction == "inbound":
        return "Release to the agent"
    if content is None:
        return "Approve"
    people = len(everybody(content))
    least = "" if {"cc", "bcc"} <= set(content.coverage) else "at least "
    verb = "Approve and schedule" if content.send_at else "Approve and send"
    return f"{verb} to {least}{people} {'person' if people == 1 else 'people'}{_outside(message, people)}"


def _outside(message: Message, people: int) -> str:
    """Return how many of them are not of the house; nothing where that was never worked out."""
    if not message.addresses:
        return ""
    if message.outside >= people:
        return " outside"
    return f", {message.outside} outside" if message.outside else " inside"


def unseen_fields(content: Content | None) -> frozenset[str]:
    """Return the fields that the key of this connection does not show: they are unknown, which is not "empty"."""
    return frozenset(FIELDS) - frozenset(content.coverage) if content else frozenset()


def expiry_of(message: Message, *, now: datetime) -> Expiry | None:
    """Return when the message expires; None where it does not, or where that is past."""
    if message.expires_at is None or message.state != MessageState.HELD:
        return None
    left = message.expires_at - now
    whole = message.expires_at - message.held_at
    is_soon, is_near = left <= max(SOON, whole * SOON_SHARE), left <= max(NEAR, whole * NEAR_SHARE)
    return Expiry(message.expires_at, is_soon=is_soon, is_near=is_near, is_over=left <= timedelta(0))


def waits_for(message: Message, decision: Decision | None, *, now: datetime) -> str:
    """Return as a sentence what a decision waits for that is not its undo window; empty where nothing keeps it."""
    connection = message.connection
    if connection.paused_at:
        return f"It waits until {connection.name} is well again: {connection.paused_because}"
    if connection.wait_until and connection.wait_until > now:
        return f"MultiMail asked this desk to wait until {connection.wait_until:%H:%M:%S} UTC."
    if decision and decision.attempt and decision.explanation:
        at = f" at {decision.due_at:%H:%M:%S} UTC" if decision.due_at > now else ""
        return f"It is tried again{at}. {decision.explanation}"
    return ""
