"""A message shown as its source: plain text with a mark for everything invisible. No
markup is parsed for it.
"""

import html
from functools import cache
from pathlib import Path

from common.fingerprint import Content
from rendering.invisibles import Tally, named, pieces, stripped, without_surrogates
from rendering.links import find_bare_links
from rendering.result import Difference, RenderedMessage

STYLE = Path(__file__).resolve().parents[1] / "static" / "css" / "rendered_message.css"

_DOCUMENT = (
    '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Message</title>'
    '<meta name="viewport" content="width=device-width, initial-scale=1">'
    '<meta name="referrer" content="no-referrer"><style>{style}</style></head>'
    '<body class="{paper}"><div class="message">{body}</div></body></html>'
)


def render_source(content: Content, reason: str, source: str = "") -> RenderedMessage:
    """Return the message as its source, or as the HTML that was made of its text, with
    the reason at its head.
    """
    source = source or without_surrogates(content.html or content.markdown or "")
    tally = Tally()
    shown = "".join(
        f'<span class="ghost">{html.escape(piece)}</span>'
        if is_mark
        else html.escape(piece)
        for is_mark, piece in pieces(source, tally)
    )
    head = f'<p><span class="ghost">Shown as its source, because {html.escape(reason)}.</span></p>'
    return RenderedMessage(
        document=document(
            f"{head}<pre>{shown}</pre>{left_out(tally)}", plain_paper=True
        ),
        text=named(source),
        plain=stripped(source),
        differences=secret_text(tally),
        links=tuple(find_bare_links(stripped(source), set())),
        invisibles=dict(tally.counts),
        doubt=reason,
    )


def document(body: str, *, plain_paper: bool) -> str:
    """Return the whole document. A message with colours of its own stays on white: they
    were judged against white.
    """
    paper = "plain" if plain_paper else "white"
    return (
        _DOCUMENT.replace("{style}", _style())
        .replace("{paper}", paper)
        .replace("{body}", body)
    )


def left_out(tally: Tally) -> str:
    """Return the line about invisible characters without a mark; empty where each has
    one.
    """
    if not tally.unmarked:
        return ""
    return f'<p><span class="ghost">{tally.unmarked} more invisible characters are left out here.</span></p>'


def secret_text(tally: Tally) -> tuple[Difference, ...]:
    """Return the texts that are written in invisible characters."""
    return tuple(
        Difference("written in invisible characters", "hide it", text)
        for text in tally.secret
    )


@cache
def _style() -> str:
    return STYLE.read_text(encoding="utf-8")
