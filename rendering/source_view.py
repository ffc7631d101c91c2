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


def render_source(content: Content, reason: str, source: str = "") -> RenderedMessage:
    """Return the message as its source, or as the HTML that was made of its text, with
    the reason at its head.
    """
    source = source or without_surrogates(content.html or content.markdown or "")
    tally = Tally()
    shown = marked(source, tally)
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


def marked(text: str, tally: Tally) -> str:
    """Return text as HTML, with a mark for each invisible character."""
    shown = ""
    for is_mark, piece in pieces(without_surrogates(text), tally):
        escaped = html.escape(piece)
        shown += f'<span class="ghost">{escaped}</span>' if is_mark else escaped
    return shown


def document(body: str, *, plain_paper: bool) -> str:
    """Return the whole document. A message with colours of its own stays on white: they
    were judged against white.
    """
    paper = "plain" if plain_paper else "white"
    message = f'<div class="message">{body}</div>'
    return framed("Message", STYLE, f'<body class="{paper}">{message}</body>')


def framed(title: str, style: Path, body: str) -> str:
    """Return a whole document for a frame, around trusted HTML."""
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta name="referrer" content="no-referrer"><style>{_text_of(style)}</style></head>'
        f"{body}</html>"
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
def _text_of(style: Path) -> str:
    return style.read_text(encoding="utf-8")
