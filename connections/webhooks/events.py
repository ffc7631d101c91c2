"""The events that a webhook can subscribe to, by the names of MultiMail's API reference.
It also accepts the names of its other pages and older ones, for which new webhooks have
no use.
"""

# By group: each event's name, and what happened.
GROUPS = {
    "Held mail": {
        "oversight.pending": "A message is waiting for review",
        "oversight.approved": "It was approved",
        "oversight.rejected": "It was rejected",
    },
    "Delivery": {
        "message.sent": "It was handed to the mail server",
        "message.delivered": "A mail server accepted it, which does not mean that it was read",
        "message.bounced": "It bounced",
        "message.complained": "A recipient marked it as spam",
        "message.opened": "A recipient opened it; our gateway never sends this",
    },
    "Received mail": {"message.received": "A message arrived that the agent can read"},
}
# Only our own gateway sends these.
OWN_GROUPS = {
    "Only our gateway": {
        "message.cancelled": "It was cancelled",
        "message.failed": "It could not be sent",
        "message.refused": "An allowlist refused it",
    }
}
# All names of events.
EVENTS = [name for names in (GROUPS | OWN_GROUPS).values() for name in names]
