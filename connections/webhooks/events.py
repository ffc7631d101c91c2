"""The events that a webhook can subscribe to, by the names in MultiMail's API reference
and on its pages about Discord and Inngest.
"""

_API = "MultiMail's API"
_OURS = "our gateway"
_DISCORD = "MultiMail's Discord page"
_INNGEST = "MultiMail's Inngest page"

# By group and by what happened: each name of the event, and where it comes from.
Groups = dict[str, dict[str, dict[str, str]]]
GROUPS: Groups = {
    "Held mail": {
        "A message is waiting for review": {
            "oversight.pending": _API,
            "message.pending_approval": _DISCORD,
        },
        "It was approved or rejected; “decision” says which": {
            "email.decided": _INNGEST
        },
        "It was approved": {
            "oversight.approved": _API,
            "message.approved": _DISCORD,
        },
        "It was rejected": {
            "oversight.rejected": _API,
            "message.rejected": _DISCORD,
        },
    },
    "Delivery": {
        "It was handed to the mail server": {"message.sent": _API},
        "A mail server accepted it; that does not mean that it was read": {
            "message.delivered": _API
        },
        "It bounced": {"message.bounced": _API},
        "A recipient marked it as spam": {"message.complained": _API},
        "A recipient opened it; our gateway does not track this and never sends it": {
            "message.opened": _API
        },
    },
    "Received mail": {
        "A message arrived that the agent can read": {
            "message.received": _API,
            "email.received": _INNGEST,
        }
    },
}
# Only the built-in gateway sends these.
OWN_GROUPS: Groups = {
    "Only our gateway": {
        "It was cancelled": {"message.cancelled": _OURS},
        "It could not be sent": {"message.failed": _OURS},
        "An allowlist refused it": {"message.refused": _OURS},
    }
}
EVENTS = [
    name
    for events in (GROUPS | OWN_GROUPS).values()
    for names in events.values()
    for name in names
]
