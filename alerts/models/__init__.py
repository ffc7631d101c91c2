"""The tables of alerts: destinations with their routes, cards, deliveries, and what
people pressed and typed on Discord. Only rows and queries: no file here knows a
channel. Start reading at destinations.py.
"""

from alerts.models.deliveries import Card, Delivery, Interaction, UnplannedAct
from alerts.models.destinations import Destination, Route
