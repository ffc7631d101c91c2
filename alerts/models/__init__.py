"""Who is told of what, what was delivered, and what was done on Discord."""

from alerts.models.cards import Card, Digest
from alerts.models.deliveries import Delivery
from alerts.models.destinations import Destination, Route
from alerts.models.interactions import Interaction

__all__ = ["Card", "Delivery", "Destination", "Digest", "Interaction", "Route"]
