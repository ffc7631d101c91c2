"""Compares the HTML part of a message with its text part, with the differences marked.

Pure, and bounded for hostile messages. Each part is compared as its reader sees it;
layout is no difference, a link's target is one.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from approvals.message_page.content.source import Stretch, stretch_of
from approvals.message_page.content.word_diff import (
    GONE,
    NEW,
    SAME,
    SKIPPED,
    Effort,
    Piece,
    Step,
    common_blocks,
    joined,
    steps_of,
)
from common.fingerprint import Content
from rendering import RenderedMessage
from rendering.invisibles import Tally
from rendering.invisibles import pieces as marked

# Steps of the comparison: some tens of milliseconds.
MAX_EFFORT = 120_000
# How many differing characters of each side are shown; the rest is counted.
MAX_SHOWN = 20_000
# Up to this many equal words between two differences are shown as part of them.
CRUMB = 2
# Equal words around a difference; a longer stretch in between is folded.
CONTEXT = 60
MAX_LINKS = 50
_WORD = re.compile(r"\S+\s*")


@dataclass(frozen=True)
class Comparison:
    """`kind` is unseen, doubt, one, same or differ; `only` names the part that there
    is, where it is one.

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
    blocks = common_blocks(
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
    if blocks is None:
        differences += 1
        sides = _side_by_side(shown, written)
    else:
        steps = joined(
            steps_of(in_text, in_html, blocks),
            lambda _, step: len(_words(step.same)) <= CRUMB,
        )
        differences += sum(1 for step in steps if step.gone or step.new)
        pieces, left_out = _pieces(steps)
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
        stretch_of(shown.text, label="HTML", size=MAX_SHOWN),
        stretch_of(written.text, label="Text", size=MAX_SHOWN),
    )


def _pieces(steps: Sequence[Step]) -> tuple[tuple[Piece, ...], int]:
    pieces: list[Piece] = []
    tally = Tally()
    left_out = 0
    remaining = {GONE: MAX_SHOWN, NEW: MAX_SHOWN}
    for index, step in enumerate(steps):
        if step.same:
            is_last = not (step.gone or step.new)
            pieces.extend(
                _folded(
                    _words(step.same), is_first=index == 0, is_last=is_last, tally=tally
                )
            )
        for kind, text in ((GONE, step.gone), (NEW, step.new)):
            cut = text[: remaining[kind]]
            left_out += len(text) - len(cut)
            remaining[kind] -= len(cut)
            # Trailing blanks are no difference and must not be marked as one.
            words_alone = cut.rstrip()
            if words_alone:
                pieces.append(_piece(kind, words_alone, tally))
            if blanks := cut[len(words_alone) :]:
                pieces.append(
                    _piece(SAME, blanks if kind == NEW or not step.new else " ", tally)
                )
    return tuple(pieces), left_out


def _folded(
    words: list[str], *, is_first: bool, is_last: bool, tally: Tally
) -> list[Piece]:
    head = [] if is_first else words[:CONTEXT]
    tail = [] if is_last else words[max(len(head), len(words) - CONTEXT) :]
    hidden = len(words) - len(head) - len(tail)
    if hidden <= CONTEXT:
        return [_piece(SAME, "".join(words), tally)]
    folded = [
        _piece(SAME, "".join(head), tally),
        Piece(SKIPPED, f"{hidden:,} words"),
        _piece(SAME, "".join(tail), tally),
    ]
    return [piece for piece in folded if piece.text]


def _piece(kind: str, text: str, tally: Tally) -> Piece:
    return Piece(kind, text, tuple(marked(text, tally)))
