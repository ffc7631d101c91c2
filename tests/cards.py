"""Makes alert cards in Discord's form, directly from messages and ledger entries,
without a delivery.
"""

from alerts.cards.message import (
    CardFacts,
    card_status,
    message_card,
    message_facts,
)
from alerts.cards.notice import notice_card
from alerts.channels import channel_of
from alerts.channels.discord import embeds
from alerts.channels.discord.embeds import MARKDOWN, payload
from alerts.deliveries.deliver import card_content
from alerts.models import Delivery, Destination
from mirror.models import Message, Revision

HEADERS = Destination()


def facts_of(
    *, cc=(), bcc=(), files=(), text="", destination=HEADERS, facts=(), **fields
):
    """The facts of a card about a message with these fields. `facts` adds others."""
    ordinary = {
        "upstream_id": "01E",
        "subject": "Your refund",
        "sender": "support@yourteam.example",
        "recipients": ["dana@northwind.example"],
    }
    message = Message(**ordinary | fields)
    # The database cannot store lone surrogates.
    message.upstream_id = message.upstream_id.encode(errors="replace").decode()
    message.revision = Revision(
        content={
            "cc": cc,
            "bcc": bcc,
            "attachments": [{"name": name} for name in files],
            "markdown": text,
        },
        coverage=["cc", "bcc"],
        fingerprint="3bc6a0a582982ed",
    )
    return CardFacts(message, destination, **dict(facts))


def embed(facts, status):
    """The embed of a message's card, with the footer of alert 1."""
    return {
        **embeds.embed(message_card(facts, status, MARKDOWN)),
        "footer": {"text": "Countersign · alert 1"},
    }


def embed_of(message, destination):
    """The embed of this message's card at this destination."""
    return embed(message_facts(message, destination), card_status(message))


def notice_body(about, entry, destination):
    """The body of a card about a connection or the desk."""
    return payload(embeds.embed(notice_card(about, entry, destination, MARKDOWN)))


def notice_word(about, entry):
    """The status word on such a card."""
    return notice_card(about, entry, Destination(), MARKDOWN).word


def posted(destination, *, card, pk=1):
    """The body that a delivery of this card posts, and the card's word."""
    delivery = Delivery(pk=pk, destination=destination, card=card)
    content = card_content(delivery)
    return channel_of(destination.kind).body(content, destination), content.word
