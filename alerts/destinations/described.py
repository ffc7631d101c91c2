"""How a destination is set, in words: for the ledger, and without what would let somebody post there."""

from alerts.channels.discord.addresses import masked
from alerts.channels.endpoints import masked_endpoint
from alerts.destinations.sentences import sentence
from alerts.models import Destination


def in_words(destination: Destination) -> str:
    """Return how a destination is set, for the ledger; its address is a secret and is told by its end."""
    routes = destination.routes.select_related("connection", "mailbox").order_by("pk")
    told_when = "; or ".join(sentence(one) for one in routes) or "never"
    return (
        f"kind: {destination.kind}; name: {destination.name}; privacy: {destination.privacy}; told when: {told_when}; "
        f"keeps heads of the ledger: {'yes' if destination.witnesses else 'no'}; address: {address_of(destination)}; "
        f"answers what began in: {destination.answers_channel or 'no channel'}"
    )


def address_of(destination: Destination) -> str:
    """Return where a destination leads, without what would let somebody post there."""
    if destination.kind == Destination.Kind.DISCORD_BOT:
        return f"channel {destination.channel}"
    return masked(destination.url) if destination.is_discord else masked_endpoint(destination.url)
