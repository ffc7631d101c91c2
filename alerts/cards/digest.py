"""Builds the card of a digest, one post in place of many cards: how many messages are
in each state, the subjects of the newest few, and a link to the queue.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from django.db.models import Case, Count, When

from alerts.cards.markup import OPEN_TONES, Card, Field, Markup, units
from alerts.cards.message import card_status
from alerts.models import Destination, Digest
from approvals.decisions.status import status_of
from approvals.desk_messages import desk_messages
from mirror.models import Message
from mirror.states import MessageState

# How many messages the card lists by subject, and how many are read at all. The others
# are only counted.
MAX_LISTED = 10
MAX_READ = 200
# In UTF-16 units: a field takes 1,024, and a line such as "and 12 more" follows.
_MAX_LINES = 980
# The card has the colour of the most serious state.
_WORST_FIRST = "orange amber violet rose blue plain green".split()
_RISKS = {"high": "high risk", "notice": "notice"}


@dataclass(frozen=True)
class Row:
    """A message on a digest, or `number` messages that are only counted."""

    # The status of the message, and its colour.
    word: str
    tone: str
    # The subject; empty if it may not be shown.
    title: str = ""
    risk_level: str = ""
    number: int = 1
    is_listed: bool = True


def digest_rows(digest: Digest, destination: Destination) -> list[Row]:
    """Return the messages of a digest: the held ones first, each part newest first.

    Only the first MAX_READ get a row of their own. The others are counted by state,
    because all of this is read again for each edit of the digest.
    """
    all_messages = desk_messages().filter(cards__digest=digest)
    is_over = Case(When(state=MessageState.HELD, then=0), default=1)
    messages = list(
        all_messages.for_rows().order_by(is_over, "-held_at", "-pk")[:MAX_READ]
    )
    is_minimal = destination.privacy == Destination.Privacy.MINIMAL
    rows = []
    for message in messages:
        status = card_status(message)
        title = "" if is_minimal else message.subject.strip() or "(no subject)"
        rows.append(Row(status.word, status.tone, title, message.review.risk_level))
    if len(messages) < MAX_READ:
        return rows
    others = (
        all_messages.exclude(pk__in=[one.pk for one in messages])
        .order_by()
        .values_list("state", "sandbox")
    )
    for state, sandbox, number in others.annotate(Count("pk")):
        status = status_of(Message(state=state, sandbox=sandbox), None)
        rows.append(Row(status.word, status.tone, number=number, is_listed=False))
    return rows


def digest_card(rows: Sequence[Row], link: str, markup: Markup) -> Card:
    """Return the card of a digest. It is built again whenever one of its messages
    changes.
    """
    waiting = [row for row in rows if row.tone in OPEN_TONES]
    listed = [row for row in waiting or rows if row.is_listed][:MAX_LISTED]
    tones = {row.tone for row in rows}
    states = _counts(((row.word, row.number) for row in rows), markup)
    fields = [Field("By state", states, inline=True)]
    risks = [
        (_RISKS[row.risk_level], row.number)
        for row in waiting
        if row.risk_level in _RISKS
    ]
    if risks:
        fields.append(
            Field("Risk of waiting messages", _counts(risks, markup), inline=True)
        )
    total = sum(row.number for row in rows)
    number_waiting = sum(row.number for row in waiting)
    if listed:
        lines: list[str] = []
        for row in listed:
            risk = " · high risk" if row.risk_level == "high" else ""
            subject = markup.plain(row.title or "A message", 90)
            line = f"{subject} · {markup.plain(row.word, 40)}{risk}"
            if sum(units(one) + 1 for one in (*lines, line)) > _MAX_LINES:
                break
            lines.append(line)
        if number_left := (number_waiting or total) - len(lines):
            lines.append(f"and {number_left} more")
        name = "Newest waiting" if waiting else "Newest"
        fields.append(Field(name, "\n".join(lines)))
    title = f"{total} message{'' if total == 1 else 's'}, "
    if number_waiting:
        title += f"{'all' if number_waiting == total else number_waiting} waiting"
    else:
        title += "none of them waiting"
    why = "They arrived too quickly for separate cards, so this card lists them all."
    way_on = "Read them and decide" if waiting else "See them on the desk"
    return Card(
        title=title,
        url=link,
        description=f"{markup.bold(why)}\n{markup.link(way_on, link)}",
        tone=next((tone for tone in _WORST_FIRST if tone in tones), "plain"),
        fields=fields,
        footer="Countersign · updated automatically",
        word=title,
    )


def _counts(words: Iterable[tuple[str, int]], markup: Markup) -> str:
    # Lines such as "12 · Held", the highest number first.
    counted: Counter[str] = Counter()
    for word, number in words:
        counted[word] += number
    lines = [
        f"{number} · {markup.plain(word, 60)}"
        for word, number in counted.most_common(12)
    ]
    return "\n".join(lines) or "—"
