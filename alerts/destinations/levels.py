"""What is told at each level of privacy, in words, for people who look at it and for programs that get it."""

from collections.abc import Mapping

from alerts.models import Destination

Privacy = Destination.Privacy
TO_PEOPLE: Mapping[str, str] = {
    Privacy.MINIMAL: "That there is a message. No subject, and addresses are masked.",
    Privacy.HEADERS: "Subject, addresses, who started it, and what is risky. Never the message.",
    Privacy.FULL: "The same, and how the message begins. For where everybody may read it.",
}
TO_PROGRAMS: Mapping[str, str] = {
    Privacy.MINIMAL: "Which message, and what became of it. No subject, addresses are masked, nobody is named.",
    Privacy.HEADERS: "Subject, addresses, who decided and why, and what the sender said of it. Never the message.",
    Privacy.FULL: "The same, and the text of the message. For programs that may have all mail.",
}

_IN_SHORT: Mapping[tuple[bool, str], str] = {
    (True, Privacy.MINIMAL): "That there is a message; addresses are masked",
    (True, Privacy.HEADERS): "Subject, addresses and trigger, never the message",
    (True, Privacy.FULL): "Subject, addresses, trigger, and how the message begins",
    (False, Privacy.MINIMAL): "Which message, and what became of it; addresses are masked",
    (False, Privacy.HEADERS): "Subject, addresses, decision and metadata, never the message",
    (False, Privacy.FULL): "Subject, addresses, decision, metadata, and the text of the message",
}


def in_short(destination: Destination) -> str:
    """Return in a few words what this destination is told of a letter."""
    return _IN_SHORT[destination.is_discord, destination.privacy]
