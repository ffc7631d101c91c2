"""One card that stands for many: how many there are of each kind, the newest few, and the way to all of them."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from alerts.cards.card import COLOURS, OPEN_TONES, payload
from alerts.cards.facts import link_to, status_on_card
from alerts.cards.text import literal
from alerts.models import Destination, Digest
from approvals.models import Message
from approvals.querysets.standing import read_decisions

MOST_LISTED, MAX_LINE = 10, 160
# The worst that is among them gives the colour.
_WORST_FIRST = ("orange", "amber", "violet", "rose", "blue", "plain", "green")
_RISKS = (("high", "high risk"), ("notice", "to be looked at"))


@dataclass(frozen=True)
class Row:
    """One of the messages on a digest; `title` is empty where it must not be told."""

    word: str
    tone: str
    title: str
    link: str
    risk_level: str = ""


def rows_of(digest: Digest, destination: Destination) -> list[Row]:
    """Return the messages that a digest stands for, the newest first."""
    messages = list(Message.objects.filter(cards__digest=digest).for_rows().order_by("-held_at", "-pk"))
    read_decisions(messages)
    is_minimal = destination.privacy == Destination.Privacy.MINIMAL
    return [_row(message, is_minimal=is_minimal) for message in messages]


def digest_body(rows: Sequence[Row], link: str) -> dict[str, Any]:
    """Return the body of a digest; it is made anew whenever one of its messages turns."""
    waiting = [row for row in rows if row.tone in OPEN_TONES]
    listed = (waiting or list(rows))[:MOST_LISTED]
    tones = {row.tone for row in rows}
    call = f"\n[Read them and decide]({link})" if waiting else f"\n[See them on the desk]({link})"
    fields = [{"name": "By state", "value": _counts(row.word for row in rows), "inline": True}]
    risks = [words for row in waiting for level, words in _RISKS if row.risk_level == level]
    if risks:
        fields.append({"name": "Risk, of those that wait", "value": _counts(risks), "inline": True})
    if listed:
        more = len(waiting or rows) - len(listed)
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
    waiting = sum(row.tone in OPEN_TONES for row in rows)
    messages = f"{len(rows)} message{'' if len(rows) == 1 else 's'}"
    if not waiting:
        return f"{messages}, none of them waiting"
    return f"{messages}, {'all' if waiting == len(rows) else waiting} waiting"


def _row(message: Message, *, is_minimal: bool) -> Row:
    status = status_on_card(message)
    title = "" if is_minimal else message.subject.strip() or "(no subject)"
    return Row(status.word, status.tone, title, link_to(message), message.risk_level)


def _counts(words: Any) -> str:
    counted = Counter(words).most_common()
    lines = [f"{number} · {literal(word, 60)}" for word, number in counted[:12]]
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
