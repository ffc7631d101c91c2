"""A message as it was written, for the tabs "Source", "Headers" and "HTML against
text": the text of its parts, its headers, and how the HTML part differs from the text
part.

Nothing is left out: invisible characters are shown by name, a long text is split into
pages, and fields that this connection's key cannot read are named. What is compared
has a limit, because messages may be hostile.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby, zip_longest
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
from common.tables import table_pairs
from common.time_zones import local_time, zone_word
from mirror.models import Message
from rendering import RenderedMessage
from rendering.invisibles import Tally, without_surrogates

# Characters of one page of a text: browsers lay out some hundred kilobytes quickly, but
# not a megabyte in one line.
STRETCH = 60_000
# A page ends at a line end, if there is one within its last 4,000 characters.
SLACK = 4_000


@dataclass(frozen=True)
class Stretch:
    """One page of a text, by the `code` of its part: the characters from `start` to
    `end` of `total`.

    `parts` are pairs: False with ordinary text, True with the name of an invisible
    character. `unmarked` is how many more invisible characters have no mark.
    """

    code: str
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
        """The number of its first character, counted from 1."""
        return self.start + 1


def stretch_of(
    text: str, *, page: int = 1, code: str = "", size: int = STRETCH
) -> Stretch:
    """Return one page of a text; the last one for a page number beyond it."""
    text = without_surrogates(text)
    cuts = _cuts(text, size)
    page = max(1, min(page, len(cuts) - 1))
    start = cuts[page - 1]
    end = cuts[page]
    tally = Tally()
    parts = tuple(part for part in marked(text[start:end], tally) if part[1])
    return Stretch(
        code, parts, start, end, len(text), page, len(cuts) - 1, tally.unmarked
    )


def source_of(
    content: Content, *, page: int, original: str | None
) -> tuple[Stretch, ...]:
    """Return this page of each part of a message; parts that have fewer pages are left
    out.

    `original` is the message's HTML before our gateway simplified it.
    """
    texts: Sequence[tuple[str, str | None]] = (
        ("html", content.html),
        ("original", original or None),
        ("markdown", content.markdown),
    )
    parts = [(code, text) for code, text in texts if text is not None]
    last = max((page_count(text) for _, text in parts), default=1)
    page = max(1, min(page, last))
    return tuple(
        stretch_of(text, page=page, code=code)
        for code, text in parts
        if page <= page_count(text)
    )


def page_count(text: str) -> int:
    """Return the number of pages of a text."""
    return len(_cuts(text, STRETCH)) - 1


def _cuts(text: str, size: int) -> list[int]:
    # Where each page begins, and the end of the text.
    cuts = [0]
    while len(text) - cuts[-1] > size:
        end = cuts[-1] + size
        line = text.rfind("\n", max(cuts[-1], end - SLACK), end)
        cuts.append(line + 1 if line > cuts[-1] else end)
    return [*cuts, len(text)]


# The names of a content's fields, and of what is read in it, as pages show them.
NAMES = table_pairs(
    """
from | From
from_name | From name
reply_to | Reply-To
to | To
cc | Cc
bcc | Bcc
subject | Subject
markdown | Text
html | HTML
in_reply_to | In-Reply-To
attachments | Attachments
additions | Added on sending
send_at | Send at
links | Links
files | Files
"""
)


# Characters of a header's value that are shown; the page says if there are more.
# Browsers cannot lay out more in one line.
LONGEST_VALUE = 200_000


@dataclass(frozen=True)
class Header:
    """One header line: its name and values. It is not `covered` if the connection's key
    cannot read it.
    """

    name: str
    values: tuple[Stretch, ...] = ()
    covered: bool = True


def headers_of(message: Message, content: Content) -> dict[str, Sequence[Any]]:
    """Return the template context of the "Headers" tab: the message's own headers
    (`lines`), what MultiMail says about it (`message`), what its sender said about it
    (`metadata`), and the names of fields that the key cannot read (`unseen`).
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
    lines = []
    for name, values in texts.items():
        line = Header(NAMES[name], covered=False)
        if name in content.coverage:
            line = _header(NAMES[name], values)
        lines.append(line)
    lines += [
        _header(f"Added: {name}", [value]) for name, value in content.additions.items()
    ]
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
    return {
        "lines": lines,
        "message": [_header(name, [value]) for name, value in about.items() if value],
        "metadata": [
            _header(
                str(name),
                [one if isinstance(one, str) else json.dumps(one, ensure_ascii=False)],
            )
            for name, one in message.trigger.items()
        ],
        "unseen": [NAMES[name] for name in content.unseen],
    }


def _header(name: str, values: Iterable[str | None]) -> Header:
    stretches = (stretch_of(value, size=LONGEST_VALUE) for value in values if value)
    return Header(name, tuple(stretches))


def _time(value: datetime | None) -> str:
    return f"{local_time(value):%Y-%m-%d %H:%M:%S} {zone_word(value)}" if value else ""


# Characters of each part that are shown if the parts are not compared.
SIDE = 20_000
# Up to this many equal words between two differences are shown as part of them.
CRUMB = 2
# The most links that are listed as only in one of the parts.
MAX_LINKS = 50


@dataclass(frozen=True)
class Comparison:
    """How the HTML part and the text part of a message differ.

    `kind` is "unseen" (the key cannot read both), "one" (there is only one part, named
    in `only`), "doubt" (a part could not be rendered with certainty), "same" or
    "differ". A piece of kind GONE is only in the text, one of kind NEW only in the
    HTML. If the parts are too long to compare by words, `sides` has both.
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
    """Return how the HTML part and the text part of a message differ.

    `shown` is the rendered message, `written` its text part rendered by itself. Each
    part is compared as its reader sees it. A different layout does not count, but a
    different target of a link does.
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
        [w.strip() for w in in_text], [w.strip() for w in in_html], Effort()
    )
    to_html = _targets(shown)
    to_text = _targets(written)
    in_html_only = tuple(target for target in to_html if target not in to_text)[
        :MAX_LINKS
    ]
    in_text_only = tuple(target for target in to_text if target not in to_html)[
        :MAX_LINKS
    ]
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
    runs = ["".join(run) for _, run in groupby(text.lstrip(), str.isspace)]
    # Each word with the blanks after it.
    return list(map("".join, zip_longest(runs[::2], runs[1::2], fillvalue="")))


def _targets(rendered: RenderedMessage) -> tuple[str, ...]:
    return tuple(dict.fromkeys(link.target for link in rendered.links if link.target))


def _side_by_side(
    shown: RenderedMessage, written: RenderedMessage
) -> tuple[Stretch, ...]:
    return (
        stretch_of(shown.text, code="html", size=SIDE),
        stretch_of(written.text, code="markdown", size=SIDE),
    )


def _pieces(steps: Sequence[Step]) -> list[Piece]:
    """Return the steps as pieces. Blanks at the end of a change become a piece of kind
    SAME, because they are no difference.
    """
    pieces = []
    for step in steps:
        changed = step.new or step.gone
        pieces += [
            Piece(SAME, step.same),
            Piece(GONE, step.gone.rstrip()),
            Piece(NEW, step.new.rstrip()),
            Piece(SAME, changed[len(changed.rstrip()) :]),
        ]
    return [piece for piece in pieces if piece.text]
