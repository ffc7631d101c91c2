"""The messages that the demo's agent writes, in its order."""

from demo.messages.business import BUSINESS, UNASKED
from demo.messages.message import Message
from demo.messages.risky import RISKY
from demo.messages.support import SUPPORT

_BY_NAME = {
    message.name: message for message in (*UNASKED, *SUPPORT, *BUSINESS, *RISKY)
}

# The messages that are written at once on the first start, for a newcomer to see. The
# mail to the real Acme comes before the one to its look-alike.
_OPENING = """
    received-acme moved-northwind backup-contoso
    invoice refund meeting look-alike outage pings-everyone contract mass-mail program lying-pdf return-label
"""
_LATER = """
    hidden-text outreach leaked-key reminder turned-name bug-fixed internal-thread old-address
"""
OPENING: tuple[Message, ...] = tuple(_BY_NAME[name] for name in _OPENING.split())
MESSAGES: tuple[Message, ...] = (*OPENING, *(_BY_NAME[name] for name in _LATER.split()))
