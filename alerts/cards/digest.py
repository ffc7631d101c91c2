"""Builds the card of a digest, one post in place of many cards: how many messages it
has and how many of them wait, the subjects of the newest few, and a link to the queue.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from alerts.cards.markup import Card, Field, Markup
from alerts.models import Card as CardRow
from alerts.models import Destination
from approvals.desk_messages import desk_messages
from mirror.states import MessageState

# How many messages the card lists by subject, each in so many UTF-16 units.
MAX_LISTED = 10
_MAX_TITLE = 90


@dataclass(frozen=True)
class DigestFacts:
    """What a digest shows. `subjects` are those of the newest waiting messages, or of
    the newest of all if none waits; empty if they may not be shown.
    """

    total: int
    waiting: int
    high_risk: int = 0
    subjects: Sequence[str] = ()


def digest_facts(digest: CardRow, destination: Destination) -> DigestFacts:
    """Return what a digest shows now."""
    messages = desk_messages().filter(cards__digest=digest)
    waiting = messages.filter(state=MessageState.HELD)
    number = waiting.count()
    subjects: Sequence[str] = ()
    if not destination.is_minimal:
        newest = (waiting if number else messages).order_by("-held_at", "-pk")
        subjects = list(newest.values_list("subject", flat=True)[:MAX_LISTED])
    high_risk = waiting.filter(review__risk_level="high").count()
    return DigestFacts(messages.count(), number, high_risk, subjects)


def digest_card(facts: DigestFacts, link: str, markup: Markup) -> Card:
    """Return the card of a digest. It is built again whenever one of its messages
    changes.
    """
    plural = "" if facts.total == 1 else "s"
    title = f"{facts.total} message{plural}, {facts.waiting or 'none'} waiting"
    fields = []
    if facts.high_risk:
        fields.append(Field("High risk", str(facts.high_risk), inline=True))
    lines = [
        markup.plain(one.strip() or "(no subject)", _MAX_TITLE)
        for one in facts.subjects
    ]
    if lines:
        name = "Newest waiting" if facts.waiting else "Newest"
        fields.append(Field(name, "\n".join(lines)))
    why = (
        "They arrived too quickly for separate cards, so this card is for all of them."
    )
    return Card(
        title=title,
        url=link,
        description=f"{markup.bold(why)}\n{markup.link('Open the queue', link)}",
        tone="amber" if facts.waiting else "plain",
        fields=fields,
        footer="Countersign · updated automatically",
        word=title,
    )
