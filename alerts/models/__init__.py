"""Destinations with their routes, deliveries, cards, and what people did on Discord.
Rows and queries alone: they know no channel. Start reading at destinations.py.
"""

from alerts.models.deliveries import (
    Card,
    Delivery,
    Digest,
    Interaction,
    UnplannedAct,
)
from alerts.models.destinations import Destination, Route

__all__ = [
    "Card",
    "Delivery",
    "Destination",
    "Digest",
    "Interaction",
    "Route",
    "UnplannedAct",
]
