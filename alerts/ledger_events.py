"""The events that a destination can be notified about. Each event stands for one or
more actions of entries in the ledger.
"""

from collections.abc import Collection
from dataclasses import dataclass

from audit.models import Entry


@dataclass(frozen=True)
class Event:
    """An event that a route can name."""

    # The name that webhooks receive. A route in the database stores the actions instead.
    name: str
    # The end of a sentence that begins “is notified when”.
    words: str
    # The actions of the ledger that it stands for.
    actions: tuple[str, ...]


# A name, words, and actions.
EVENTS = [
    Event(name, words, tuple(actions.split()))
    for name, words, actions in (
        ("email.held", "a message is held for review", "message.held"),
        ("email.expiring", "a held message expires soon", "message.expiring"),
        (
            "email.late",
            "a held message is late, by a step of its review plan",
            "message.late",
        ),
        (
            "email.approval",
            "somebody approves a message that others have to approve too",
            "approval.recorded",
        ),
        (
            "email.decided",
            "a message is approved or rejected",
            "message.approved message.released message.rejected",
        ),
        ("email.sent", "a message is sent", "message.sent"),
        ("email.delivered", "a message is delivered", "message.delivered"),
        ("email.bounced", "a message bounces", "message.bounced"),
        (
            "email.complained",
            "a recipient marks a message as spam",
            "message.complained",
        ),
        ("email.failed", "a message cannot be sent", "message.failed"),
        ("email.cancelled", "a message is cancelled", "message.cancelled"),
        ("email.received", "a message is received", "message.received"),
        (
            "email.refused",
            "a message to a blocked recipient is refused",
            "message.refused_at_gate",
        ),
        (
            "decision.unknown",
            "the outcome of a decision is unknown",
            "decision.unknown decision.unattributed",
        ),
        (
            "brake.opened",
            "a limit is exceeded, and messages wait apart",
            "brake.opened",
        ),
        ("connection.failing", "a connection cannot be reached", "connection.failing"),
        (
            "connection.paused",
            "a connection is paused",
            "connection.paused connection.paused_by_hand",
        ),
        (
            "connection.recovered",
            "a connection is reached again",
            "connection.recovered connection.resumed",
        ),
        (
            "connection.capabilities",
            "MultiMail gains or loses a feature, or refuses a field of the desk's calls",
            "connection.capability_changed connection.fields_refused",
        ),
        (
            "mailbox.looser",
            "a mailbox is made looser at MultiMail",
            "mailbox.seen_looser",
        ),
        (
            "desk.bypassed",
            "several messages are decided elsewhere at once",
            "connection.decided_elsewhere",
        ),
        (
            "ledger.checked",
            "the whole ledger was checked, with its newest checkpoint",
            "ledger.checked",
        ),
        ("change.waiting", "a change waits for a second admin", "change.asked"),
    )
]
# Its entry is about no message of the desk: an allowlist refused the mail before it was
# held. Each refusal has its own card.
REFUSED = "message.refused_at_gate"
# Their entries are about no message and no connection. Each has its own card.
CHANGE_ASKED = "change.asked"
LEDGER_CHECKED = "ledger.checked"
# A brake is one flood of messages that are set apart, because a cap was passed. It has
# its own card, which destinations with cards about held messages get too.
BRAKE = "brake.opened"
HELD = "message.held"
# Actions that update the card of a connection or a flood, but never create one.
ENDS = ("connection.removed", "brake.ended")
OF_BRAKE = (BRAKE, "brake.ended")
# The event to which an action belongs.
EVENT_OF = {action: event for event in EVENTS for action in event.actions}


def actions_of(names: Collection[str]) -> list[str]:
    """Return the actions of the ledger that the events of these names stand for."""
    return [
        action for event in EVENTS if event.name in names for action in event.actions
    ]


def about_key(entry: Entry) -> str:
    """Return the key of the card for an entry that is about no message: "connection/4",
    "brake/9" for a flood, "refusal/171" or "change/171" by the key of the entry. Empty
    if such an entry has no card.
    """
    if entry.action in OF_BRAKE:
        return f"brake/{entry.details.get('brake', '')}"
    if entry.action == REFUSED:
        return f"refusal/{entry.pk}"
    if entry.action in (CHANGE_ASKED, LEDGER_CHECKED):
        return f"change/{entry.pk}"
    has_card = entry.action in EVENT_OF or entry.action in ENDS
    if entry.connection is not None and has_card:
        return f"connection/{entry.connection}"
    return ""
