"""The events that a webhook can subscribe to, by every name that MultiMail accepts: those
in its API reference, those on its pages about Discord and Inngest, and older names.
"""

_API = "MultiMail's API"
_OLDER = "an older name"
_OURS = "our gateway"
_DISCORD = "MultiMail's Discord page"
_INNGEST = "MultiMail's Inngest page"

# By group, then by what happened: each name of the event, and who uses that name.
Groups = dict[str, dict[str, dict[str, str]]]
GROUPS: Groups = {
    "Held mail": {
        "A message is waiting for review": {
            "oversight.pending": _API,
            "message.pending_approval": _DISCORD,
            "message.pending_send_approval": _OLDER,
            "email.pending": _OLDER,
        },
        "It was approved or rejected; “decision” says which": {
            "email.decided": _INNGEST
        },
        "It was approved": {
            "oversight.approved": _API,
            "message.approved": _DISCORD,
            "email.approved": _OLDER,
        },
        "It was rejected": {
            "oversight.rejected": _API,
            "message.rejected": _DISCORD,
            "email.rejected": _OLDER,
        },
    },
    "Delivery": {
        "It was handed to the mail server": {
            "message.sent": _API,
            "email.sent": _OLDER,
        },
        "A mail server accepted it; that does not mean that it was read": {
            "message.delivered": _API,
            "email.delivered": _OLDER,
            "delivery": _OLDER,
        },
        "It bounced": {
            "message.bounced": _API,
            "email.bounced": _OLDER,
            "bounce": _OLDER,
        },
        "A recipient marked it as spam": {
            "message.complained": _API,
            "email.complained": _OLDER,
            "complaint": _OLDER,
        },
        "A recipient opened it; our gateway does not track this and never sends it": {
            "message.opened": _API,
            "open": _OLDER,
        },
    },
    "Received mail": {
        "A message arrived that the agent can read": {
            "message.received": _API,
            "email.received": _INNGEST,
            "inbound": _OLDER,
        }
    },
}
# Only our own gateway sends these.
OWN_GROUPS: Groups = {
    "Only our gateway": {
        "It was cancelled": {"message.cancelled": _OURS},
        "It could not be sent": {"message.failed": _OURS},
        "An allowlist refused it": {"message.refused": _OURS},
    }
}
# All names of events.
EVENTS = [
    name
    for events in (GROUPS | OWN_GROUPS).values()
    for names in events.values()
    for name in names
]
