"""The message as it was written: its parts, how they differ, its headers, and what this
key does not show. Nothing is left out.

Invisible characters are named. A long text continues on the next page, and the page
says so. Comparing is bounded for hostile messages.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from approvals.message_page.content.word_diff import (
    GONE,
    NEW,
    SAME,
    Effort,
    Piece,
    Step,
    common_blocks,
    joined,
    marked,
    shown_pieces,
    steps_of,
)
from common.fingerprint import Content
from mirror.models import Message
from rendering import RenderedMessage
from rendering.invisibles import Tally, without_surrogates

# The size of one page: browsers lay out some hundred kilobytes quickly, but not a
# megabyte in one line.
STRETCH = 60_000
# A page ends at the end of a line where one is this near.
SLACK = 4_000


@dataclass(frozen=True)
class Stretch:
    """One page of a text: `parts` are its words, with marks for what cannot be seen;
    from `start` to `end`.
    """

    label: str
    parts: tuple[tuple[bool, str], ...]
    start: int
    end: int
    total: int
    page: int
    pages: int
    unmarked: int

    @property
    def is_whole(self) -> bool:
        """Whether this page holds all of the text."""
        return self.pages == 1

    @property
    def first(self) -> int:
        """The number of its first character, as people count."""
        return self.start + 1


def stretch_of(
    text: str, *, page: int = 1, label: str = "", size: int = STRETCH
) -> Stretch:
    """Return one page of a text; a page beyond the last is the last."""
    text = without_surrogates(text)
    cuts = _cuts(text, size)
    page = max(1, min(page, len(cuts) - 1))
    start = cuts[page - 1]
    end = cuts[page]
    tally = Tally()
    parts = tuple(part for part in marked(text[start:end], tally) if part[1])
    return Stretch(
        label, parts, start, end, len(text), page, len(cuts) - 1, tally.unmarked
    )


def source_of(
    content: Content, *, page: int, original: str | None = None
) -> tuple[Stretch, ...]:
    """Return one page of each part that the message has; a part that has no such page
    is left out.

    `original` is its HTML before the gateway simplified it.
    """
    texts: Sequence[tuple[str, str | None]] = (
        ("HTML", content.html),
        ("original", original or None),
        ("Markdown", content.markdown),
    )
    parts = [(label, text) for label, text in texts if text is not None]
    last = max((page_count(text) for _, text in parts), default=1)
    page = max(1, min(page, last))
    return tuple(
        stretch_of(text, page=page, label=label)
        for label, text in parts
        if page <= page_count(text)
    )


def page_count(text: str) -> int:
    """Return the number of pages of a text."""
    return len(_cuts(text, STRETCH)) - 1


def _cuts(text: str, size: int) -> list[int]:
    cuts = [0]
    while len(text) - cuts[-1] > size:
        end = cuts[-1] + size
        line = text.rfind("\n", max(cuts[-1], end - SLACK), end)
        cuts.append(line + 1 if line > cuts[-1] else end)
    return [*cuts, len(text)]


NAMES = {
    "from": "From",
    "from_name": "From name",
    "reply_to": "Reply-To",
    "to": "To",
    "cc": "Cc",
    "bcc": "Bcc",
    "subject": "Subject",
    "markdown": "Text",
    "html": "HTML",
    "in_reply_to": "In-Reply-To",
    "attachments": "Attachments",
    "additions": "Added on sending",
    "send_at": "Send at",
}


# A longer value of a header is shortened, and says so: browsers lay out no more in one
# line.
LONGEST_VALUE = 200_000


@dataclass(frozen=True)
class Header:
    """One line: its name and values. Not `covered`: the key does not show it."""

    name: str
    values: tuple[Stretch, ...] = ()
    covered: bool = True


def headers_of(message: Message, content: Content) -> dict[str, Sequence[Any]]:
    """Return the lines of the message itself, what MultiMail says of the message, what
    the sender said about it, and the names of what this key does not show.
    """
    texts: Mapping[str, Iterable[str | None]] = {
        "from": [content.sender],
        "from_name": [content.sender_name],
        "reply_to": [content.reply_to],
        "to": content.to,
        "cc": content.cc,
        "bcc": content.bcc,
        "subject": [content.subject],
        "in_reply_to": [content.in_reply_to],
        "send_at": [content.send_at],
    }
    lines = [
        _header(NAMES[name], values)
        if name in content.coverage
        else Header(NAMES[name], covered=False)
        for name, values in texts.items()
    ]
    lines += [_header(f"Added: {name}", [it]) for name, it in content.additions.items()]
    about = {
        "MultiMail's id": message.upstream_id,
        "Thread": message.thread_id,
        "Status at MultiMail": message.upstream_status,
        "Direction": message.direction,
        "Mailbox": message.mailbox.address if message.mailbox else "",
        "Sent with the key": message.sent_by_key_name,
        "Held since": _time(message.held_at),
        "Read by the desk": _time(message.hydrated_at),
        "Expires": _time(message.expires_at),
        "Test message": "yes, nobody receives it" if message.sandbox else "",
    }
    stated = []
    for name, value in message.trigger.items():
        if not isinstance(value, str):
            value = json.dumps(value, ensure_ascii=False)
        stated.append(_header(str(name), [value]))
    return {
        "lines": lines,
        "message": [_header(name, [value]) for name, value in about.items() if value],
        "metadata": stated,
        "unseen": [NAMES[name] for name in content.unseen],
    }


def _header(name: str, values: Iterable[str | None]) -> Header:
    shown = (stretch_of(one, size=LONGEST_VALUE) for one in values if one)
    return Header(name, tuple(shown))


def _time(value: datetime | None) -> str:
    return f"{value:%Y-%m-%d %H:%M:%S} UTC" if value else ""


# Steps of the comparison of both parts: some tens of milliseconds.
MAX_EFFORT = 120_000
# How much is shown of each part where they are not compared.
SIDE = 20_000
# Up to this many equal words between two differences are shown as part of them.
CRUMB = 2
MAX_LINKS = 50
_WORD = re.compile(r"\S+\s*")


@dataclass(frozen=True)
class Comparison:
    """How the parts of a message differ. `kind` is unseen, doubt, one, same or differ;
    `only` names the part that there is, where it is one.

    Of the pieces, "gone" stands only in the text and "new" only in the HTML. Where the
    two have too little in common, `sides` holds both, side by side.
    """

    kind: str
    only: str = ""
    pieces: tuple[Piece, ...] = ()
    differences: int = 0
    left_out: int = 0
    sides: tuple[Stretch, ...] = ()
    links_in_html: tuple[str, ...] = ()
    links_in_text: tuple[str, ...] = ()


def compare_parts(
    content: Content, shown: RenderedMessage, written: RenderedMessage | None = None
) -> Comparison:
    """Return how the HTML part and the text part of a message differ. `written` is its
    text, rendered by itself.

    Each part is compared as its reader sees it; layout is no difference, a link's
    target is one.
    """
    if not {"html", "markdown"} <= set(content.coverage):
        return Comparison(
            "unseen", only="html" if "html" in content.coverage else "markdown"
        )
    if content.html is None or content.markdown is None or written is None:
        return Comparison("one", only="markdown" if content.html is None else "html")
    if shown.doubt or written.doubt:
        return Comparison("doubt", sides=_side_by_side(shown, written))
    in_text = _words(written.plain)
    in_html = _words(shown.plain)
    blocks, is_fine = common_blocks(
        [w.strip() for w in in_text], [w.strip() for w in in_html], Effort(MAX_EFFORT)
    )
    to_html = _targets(shown)
    to_text = _targets(written)
    in_html_only = tuple(one for one in to_html if one not in to_text)[:MAX_LINKS]
    in_text_only = tuple(one for one in to_text if one not in to_html)[:MAX_LINKS]
    differences = len(in_html_only) + len(in_text_only)
    pieces: tuple[Piece, ...] = ()
    left_out = 0
    sides: tuple[Stretch, ...] = ()
    if not is_fine:
        differences += 1
        sides = _side_by_side(shown, written)
    else:
        steps = joined(
            steps_of(in_text, in_html, blocks),
            lambda _, step: len(_words(step.same)) <= CRUMB,
        )
        differences += sum(1 for step in steps if step.gone or step.new)
        pieces, left_out = shown_pieces(_pieces(steps), Tally())
    return Comparison(
        "differ" if differences else "same",
        pieces=pieces,
        differences=differences,
        left_out=left_out,
        sides=sides,
        links_in_html=in_html_only,
        links_in_text=in_text_only,
    )


def _words(text: str) -> list[str]:
    return _WORD.findall(text.lstrip())


def _targets(rendered: RenderedMessage) -> tuple[str, ...]:
    return tuple(dict.fromkeys(link.target for link in rendered.links if link.target))


def _side_by_side(
    shown: RenderedMessage, written: RenderedMessage
) -> tuple[Stretch, ...]:
    return (
        stretch_of(shown.text, label="HTML", size=SIDE),
        stretch_of(written.text, label="Text", size=SIDE),
    )


def _pieces(steps: Sequence[Step]) -> list[Piece]:
    """Return the steps in pieces. Blanks after a change are no difference and must not
    be marked as one.
    """
    found = []
    for step in steps:
        changed = step.new or step.gone
        blanks = changed[len(changed.rstrip()) :]
        found += [
            Piece(SAME, step.same),
            Piece(GONE, step.gone.rstrip()),
            Piece(NEW, step.new.rstrip()),
            Piece(SAME, blanks),
        ]
    return [piece for piece in found if piece.text]
