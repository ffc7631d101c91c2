"""Describes destinations and routes in words, for pages and for the ledger. No
description contains a secret with which somebody could post.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.utils import timezone
from django.utils.text import get_text_list

from alerts.channels import channel_of
from alerts.channels.base import Channel
from alerts.ledger_events import EVENTS
from alerts.models import Destination, Route

TO_PEOPLE = {
    "minimal": "Only that there is a message. No subject; addresses are masked.",
    "headers": "Subject, addresses, who started it, and findings. Never the text.",
    "full": "The same, and the beginning of the text. For channels where everybody may read it.",
}
TO_PROGRAMS = {
    "minimal": "Which message, and its outcome: no subject, addresses masked, no names.",
    "headers": "Subject, addresses, who decided and why, the sender's metadata. Never the text.",
    "full": "The same, and the text. For programs that may have all mail.",
}


def privacy_notes(channel: Channel) -> Mapping[str, str]:
    """Return by level of privacy what a channel shows or receives of a message."""
    return TO_PEOPLE if channel.posts_cards else TO_PROGRAMS


def describe(destination: Destination) -> str:
    """Return a destination's settings in words, for the ledger, with its address
    masked.
    """
    routes = destination.routes.select_related("connection", "mailbox").order_by("pk")
    notified_about = "; or ".join(sentence(one) for one in routes) or "never"
    address = channel_of(destination.kind).address(destination)
    return (
        f"kind: {destination.kind}; name: {destination.name}; privacy: {destination.privacy}; "
        f"notified when: {notified_about}; "
        f"address: {address}; "
        f"answers commands in: {destination.answers_channel or 'no channel'}; "
        f"mentions when a message is late: {destination.mentions or 'nobody'}"
    )


@dataclass(frozen=True)
class DestinationStatus:
    """Whether deliveries arrive at a destination, as a page shows it."""

    # A word, and the name of its colour.
    word: str
    tone: str
    # Why, as sentences.
    reason: str = ""
    # Nothing is sent there before this time.
    until: datetime | None = None


def destination_status(destination: Destination) -> DestinationStatus:
    """Return whether deliveries arrive, wait or are stopped, and why."""
    if destination.switched_off_at:
        return DestinationStatus(
            "Switched off", "rose", destination.switched_off_because
        )
    until = destination.waits_until
    # The pause between two posts is nothing to report.
    if until and until > timezone.now() + timedelta(seconds=10):
        reason = "It asked the desk to wait, its limit is reached, or attempts failed."
        return DestinationStatus("Waiting", "amber", reason, until)
    if destination.failures:
        reason = "The last attempt failed. It is tried again automatically."
        return DestinationStatus("Failing", "amber", reason)
    return DestinationStatus("On", "green")


def sentence(route: Route) -> str:
    """Return a route in words, such as “a message is sent, in all connections”. Its
    `connection` and `mailbox` should be loaded already.
    """
    events, where = event_words(route)
    return f"{get_text_list(events, 'or') or 'nothing happens'}, {where}"


def event_words(route: Route, *, is_hidden: bool = False) -> tuple[list[str], str]:
    """Return a route's events in words, and where they happen, such as "in the mailbox
    a@b.example"; if that `is_hidden`, without the name.
    """
    events = [
        event.words
        for event in EVENTS
        if not set(event.actions).isdisjoint(route.actions)
    ]
    where = "in all connections"
    if is_hidden and (route.mailbox_id or route.connection_id):
        where = "for some of the mail"
    elif route.mailbox is not None:
        where = f"in the mailbox {route.mailbox}"
    elif route.connection is not None:
        where = f"in {route.connection}"
    return events, where
