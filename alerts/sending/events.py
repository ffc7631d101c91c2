"""Sends one act as an event to a program: to Inngest, or to a signed webhook. The same body in every attempt."""

from typing import Any

from alerts.models import Delivery, Destination
from alerts.sending.outcomes import Posted, Tried


def send_event(delivery: Delivery, destination: Destination) -> Posted:
    """Post the event of this delivery once. Raises as outcomes.py says."""
    raise NotImplementedError


def body_of(delivery: Delivery) -> dict[str, Any]:
    """Return what this delivery tells: made at the first attempt, and kept in Delivery.request."""
    raise NotImplementedError


def try_event(destination: Destination, *, within: float) -> Tried:
    """Post a test for somebody who waits for it, and tell in words what came of it and what to do."""
    raise NotImplementedError
