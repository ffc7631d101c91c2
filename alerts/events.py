"""What a destination can be told of: each event, and the acts of the ledger that mean it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Event:
    """`words` ends the sentence “is told when …”; `about` is message, connection or desk."""

    name: str
    words: str
    actions: tuple[str, ...]
    about: str = "message"


EVENTS: tuple[Event, ...] = (
    Event("email.held", "mail is held and waits for a decision", ("message.held",)),
    Event(
        "email.decided", "mail is approved or rejected", ("message.approved", "message.released", "message.rejected")
    ),
    Event("email.sent", "mail is handed over to delivery", ("message.sent",)),
    Event("email.delivered", "mail is delivered", ("message.delivered",)),
    Event("email.bounced", "mail bounces", ("message.bounced",)),
    Event("email.complained", "a recipient calls mail spam", ("message.complained",)),
    Event("email.failed", "mail cannot be sent", ("message.failed",)),
    Event("email.cancelled", "mail is taken back", ("message.cancelled",)),
    Event("email.received", "mail comes in", ("message.received",)),
    Event("email.refused", "mail is refused at the gate", ("message.refused_at_gate",)),
    Event("decision.unknown", "nobody knows whether a decision took effect", ("decision.unknown",)),
    Event("connection.failing", "a connection cannot be reached", ("connection.failing",), "connection"),
    Event("connection.paused", "a connection is paused", ("connection.paused",), "connection"),
    Event("connection.recovered", "a connection is reached again", ("connection.recovered",), "connection"),
)
_BY_ACTION = {action: event for event in EVENTS for action in event.actions}


def event_of(action: str) -> Event | None:
    """Return the event that this act means, if it means one."""
    return _BY_ACTION.get(action)
