"""Shows a message as its source: plain text with a mark for each invisible character.
Used if a message cannot be rendered, so no markup is parsed here. Also builds the HTML
document around a message.
"""

import html
from pathlib import Path

from common.fingerprint import Content
from rendering.invisibles import Tally, named, pieces, stripped, without_surrogates
from rendering.links import find_bare_links
from rendering.result import NOT_SAFE, Difference, RenderedMessage
from simple_form.result import HIDDEN

STYLES = Path(__file__).parents[1] / "static/css"
_SHARED = (STYLES / "framed.css").read_text("utf-8")
_STYLE = (STYLES / "rendered_message.css").read_text("utf-8")


def render_source(content: Content, reason: str, source: str = "") -> RenderedMessage:
    """Return the message as its source, with the reason above it.

    `source` is the HTML to show; by default that is the message's own HTML or Markdown.
    Its links are found in the parser only, and not if that was killed over it.
    """
    source = source or without_surrogates(content.html or content.markdown or "")
    links = find_bare_links(stripped(source), set()) if reason != NOT_SAFE else ()
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
        links=tuple(links),
        invisibles=dict(tally.counts),
        doubt=reason,
    )


def marked(text: str, tally: Tally) -> str:
    """Return text as HTML with marks for invisible characters, counted in `tally`."""
    shown = ""
    for is_mark, piece in pieces(without_surrogates(text), tally):
        escaped = html.escape(piece)
        shown += f'<span class="ghost">{escaped}</span>' if is_mark else escaped
    return shown


def document(body: str, *, plain_paper: bool) -> str:
    """Return the whole document of a message. `plain_paper` lets the background follow
    the reader's theme; a message with colours needs white, against which its contrast
    was checked.
    """
    paper = "plain" if plain_paper else "white"
    page = f'<body class="{paper}"><div class="message">{body}</div></body>'
    return framed("Message", _STYLE, page)


def framed(title: str, style: str, body: str) -> str:
    """Return a whole HTML document for a frame, with this style sheet. `body` must be
    safe already.
    """
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta name="referrer" content="no-referrer"><style>{_SHARED}{style}</style></head>'
        f"{body}</html>"
    )


def left_out(tally: Tally) -> str:
    """Return the line that says how many invisible characters have no mark; empty if
    each has one.
    """
    if not tally.unmarked:
        return ""
    return f'<p><span class="ghost">{tally.unmarked} more invisible characters are left out here.</span></p>'


def secret_text(tally: Tally) -> tuple[Difference, ...]:
    """Return a difference for each text that is spelled in invisible characters."""
    return tuple(
        Difference(HIDDEN, "written in invisible characters", text)
        for text in tally.secret
    )
