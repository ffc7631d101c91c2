"""What the message pane says beyond the rows: address lines, what cannot be seen, what a decision does or waits for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from approvals.models import Decision, Message
from approvals.states import MessageState
from common.fingerprint import FIELDS, Content, normalise_address

# Beyond so many the findings say it once, and a mark at each address would only bury them.
MAX_MARKED = 4
# So close to its end the time that is left is shown in red, or at all where there is little room.
NEAR, NEAR_SHARE = timedelta(minutes=15), 0.1
SOON, SOON_SHARE = timedelta(hours=1), 0.2


@dataclass(frozen=True)
class Address:
    """One address with the name that recipients see beside it, and what was found about it: level and a few words."""

    value: str
    marks: tuple[tuple[str, str], ...] = ()
    name: str = ""


@dataclass(frozen=True)
class Expiry:
    """When the message is rejected by itself. `is_over`: that time has come, and the rule is about to act."""

    at: datetime
    is_soon: bool
    is_near: bool
    is_over: bool


@dataclass(frozen=True)
class Field:
    """One address line. Not `covered`: the key of this connection does not show the field, which is not "empty"."""

    label: str
    addresses: tuple[Address, ...]
    covered: bool = True


def address_fields(content: Content | None, message: Message, findings: Sequence[Mapping[str, Any]]) -> list[Field]:
    """Return the address lines, whole; those that are known to be empty are left out."""
    if content is None:
        known = [("From", (message.sender,) if message.sender else ()), ("To", tuple(message.recipients))]
        return [Field(label, tuple(map(Address, values))) for label, values in known]
    rows = [
        ("From", "from", (content.sender,)),
        ("Reply-To", "reply_to", (content.reply_to,) if content.reply_to else ()),
        ("To", "to", content.to),
        ("Cc", "cc", content.cc),
        ("Bcc", "bcc", content.bcc),
    ]
    fields = [
        Field(
            label,
            tuple(
                Address(value, _marks(value, findings), content.sender_name if name == "from" else "")
                for value in values
            ),
            name in content.coverage,
        )
        for label, name, values in rows
    ]
    return [field for field in fields if field.addresses or not field.covered]


def _marks(address: str, findings: Sequence[Mapping[str, Any]]) -> tuple[tuple[str, str], ...]:
    marks = []
    for finding in findings:
        evidence = [str(piece).lower() for piece in finding.get("evidence", ())]
        if finding.get("rule") == "lookalike_recipient" and evidence[:1] == [address.lower()]:
            marks.append((finding["level"], f"Looks like {evidence[1]}" if len(evidence) > 1 else "Mixed alphabets"))
        elif finding.get("rule") == "first_contact" and address.lower() in evidence and len(evidence) <= MAX_MARKED:
            marks.append((finding["level"], "First contact"))
    return tuple(marks)


def approve_label(content: Content | None, message: Message) -> str:
    """Return the words on the button: what happens when it is pressed, and to how many."""
    if message.direction == "inbound":
        return "Release to the agent"
    if content is None:
        return "Approve"
    added = [content.additions.get(name, "") for name in ("auto_cc", "auto_bcc")]
    copies = [one for addresses in added for one in addresses.split(",") if one.strip()]
    people = len({normalise_address(one) for one in (*content.to, *content.cc, *content.bcc, *copies)})
    least = "" if {"cc", "bcc"} <= set(content.coverage) else "at least "
    verb = "Approve and schedule" if content.send_at else "Approve and send"
    return f"{verb} to {least}{people} {'person' if people == 1 else 'people'}"


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
