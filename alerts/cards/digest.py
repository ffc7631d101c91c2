"""One card that stands for many: how many there are of each kind, the newest few, and the way to all of them."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from django.db.models import Case, Count, When

from alerts.cards.card import COLOURS, OPEN_TONES, payload
from alerts.cards.facts import link_to, status_on_card
from alerts.channels.discord.markdown import literal
from alerts.models import Destination, Digest
from approvals.decisions.status import status_of
from approvals.querysets.messages import desk_messages, read_decisions
from mirror.models import Message
from mirror.states import MessageState

MOST_LISTED, MOST_READ = 10, 200
# The worst that is among them gives the colour.
_WORST_FIRST = ("orange", "amber", "violet", "rose", "blue", "plain", "green")
_RISKS = (("high", "high risk"), ("notice", "to be looked at"))


@dataclass(frozen=True)
class Row:
    """One of the messages on a digest; `title` is empty where it must not be told. Without a link, so many of them."""

    word: str
    tone: str
    title: str
    link: str
    risk_level: str = ""
    number: int = 1


def rows_of(digest: Digest, destination: Destination) -> list[Row]:
    """Return the messages that a digest stands for: those that wait first, then the newest.

    Of a storm the first MOST_READ are read, and the others counted: each edit of the digest asks for all of it.
    """
    there = desk_messages().filter(cards__digest=digest)
    is_over = Case(When(state=MessageState.HELD, then=0), default=1)
    messages = list(there.for_rows().order_by(is_over, "-held_at", "-pk")[:MOST_READ])
    read_decisions(messages)
    is_minimal = destination.privacy == Destination.Privacy.MINIMAL
    rows = [_row(message, is_minimal=is_minimal) for message in messages]
    if len(messages) < MOST_READ:
        return rows
    others = there.exclude(pk__in=[one.pk for one in messages]).order_by().values_list("state")
    return rows + [_counted(state, number) for state, number in others.annotate(Count("pk"))]


def digest_body(rows: Sequence[Row], link: str) -> dict[str, Any]:
    """Return the body of a digest; it is made anew whenever one of its messages turns."""
    waiting = [row for row in rows if row.tone in OPEN_TONES]
    listed = [row for row in waiting or rows if row.link][:MOST_LISTED]
    tones = {row.tone for row in rows}
    call = f"\n[Read them and decide]({link})" if waiting else f"\n[See them on the desk]({link})"
    fields = [{"name": "By state", "value": _counts((row.word, row.number) for row in rows), "inline": True}]
    risks = [(words, row.number) for row in waiting for level, words in _RISKS if row.risk_level == level]
    if risks:
        fields.append({"name": "Risk, of those that wait", "value": _counts(risks), "inline": True})
    if listed:
        more = _number(waiting or rows) - len(listed)
        fields.append(
            {
                "name": "Newest that wait" if waiting else "Newest",
                # Ten lines of the longest kind are more than a field takes: a description takes them all.
                "value": _within([_line(row) for row in listed], more),
                "inline": False,
            }
        )
    card = {
        "title": digest_words(rows),
        "url": link,
        "description": f"**They came faster than a channel can be read, so one card stands for all.**{call}",
        "color": COLOURS[next((tone for tone in _WORST_FIRST if tone in tones), "plain")],
        "fields": fields,
        "footer": {"text": "Countersign · kept up to date"},
    }
    return payload(card)


def digest_words(rows: Sequence[Row]) -> str:
    """Return what a digest shows, in a few words."""
    waiting, number = _number(row for row in rows if row.tone in OPEN_TONES), _number(rows)
    messages = f"{number} message{'' if number == 1 else 's'}"
    if not waiting:
        return f"{messages}, none of them waiting"
    return f"{messages}, {'all' if waiting == number else waiting} waiting"


def _number(rows: Iterable[Row]) -> int:
    return sum(row.number for row in rows)


def _counted(state: str, number: int) -> Row:
    status = status_of(Message(state=state), None)
    return Row(status.word, status.tone, "", "", number=number)


def _row(message: Message, *, is_minimal: bool) -> Row:
    status = status_on_card(message)
    title = "" if is_minimal else message.subject.strip() or "(no subject)"
    return Row(status.word, status.tone, title, link_to(message), message.risk_level)


def _counts(words: Iterable[tuple[str, int]]) -> str:
    counted: Counter[str] = Counter()
    for word, number in words:
        counted[word] += number
    lines = [f"{number} · {literal(word, 60)}" for word, number in counted.most_common(12)]
    return "\n".join(lines) or "—"


def _line(row: Row) -> str:
    risk = " · high risk" if row.risk_level == "high" else ""
    return f"{literal(row.title or 'A message', 90)} · {literal(row.word, 40)}{risk}"


def _within(lines: list[str], more: int) -> str:
    kept: list[str] = []
    for line in lines:
        if sum(len(one.encode("utf-16-le")) // 2 + 1 for one in (*kept, line)) > 980:
            break
        kept.append(line)
    rest = more + len(lines) - len(kept)
    return "\n".join([*kept, *([f"and {rest} more"] if rest else [])])
