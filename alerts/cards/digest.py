"""Builds the card of a digest, one post in place of many cards: how many messages it
has and how many of them wait, the subjects of the newest few, and a link to the queue.
"""

from django.conf import settings
from django.urls import reverse

from alerts.cards.markup import Card, Field, Markup
from alerts.models import Card as CardRow
from alerts.models import Destination
from approvals.desk_messages import desk_messages
from mirror.states import MessageState

# How many messages the card lists by subject, each in so many UTF-16 units.
MAX_LISTED = 10
_MAX_TITLE = 90


def digest_card(digest: CardRow, destination: Destination, markup: Markup) -> Card:
    """Return the card of a digest as it is now. It is built again whenever one of its
    messages changes.
    """
    messages = desk_messages().filter(cards__digest=digest)
    waiting = messages.filter(state=MessageState.HELD)
    total = messages.count()
    number = waiting.count()
    title = f"{total} message{'' if total == 1 else 's'}, {number or 'none'} waiting"
    fields = []
    if high_risk := waiting.filter(review__risk_level="high").count():
        fields.append(Field("High risk", str(high_risk), inline=True))
    if total and not destination.is_minimal:
        newest = (waiting if number else messages).order_by("-held_at", "-pk")
        subjects = [
            markup.plain(one.strip() or "(no subject)", _MAX_TITLE)
            for one in newest.values_list("subject", flat=True)[:MAX_LISTED]
        ]
        name = "Newest waiting" if number else "Newest"
        fields.append(Field(name, "\n".join(subjects)))
    link = f"{settings.PUBLIC_URL}{reverse('queue')}"
    why = (
        "They arrived too quickly for separate cards, so this card is for all of them."
    )
    return Card(
        title=title,
        url=link,
        description=f"{markup.bold(why)}\n{markup.link('Open the queue', link)}",
        tone="amber" if number else "plain",
        fields=fields,
        footer="Countersign · updated automatically",
        word=title,
    )
