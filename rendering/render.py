"""Renders one message safely: the document for the frame, the same as text, and all that was found in it.

Pure: no network, no database. Where anything about the message is in doubt, its source is shown instead, and said so.
"""

import html
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path

from common.fingerprint import Content
from common.markdown import render_markdown, with_signature
from rendering.canonical import canonicalise
from rendering.invisibles import Tally, named, pieces, stripped, without_surrogates
from rendering.links import find_bare_links
from rendering.marking import Words, mark
from rendering.result import Doubt, FetchedPicture, Hidden, RemotePicture, RenderedMessage
from rendering.sanitise import seal, to_tree

STYLE = Path(__file__).resolve().parents[1] / "static" / "css" / "rendered_message.css"

# Formatting signs and lines make a Markdown parser slow; no person writes a message with more of them than this.
MAX_MARKDOWN_SIGNS = 20_000
MAX_MARKDOWN_LINES = 10_000
_SIGNS = "[]!*_`<&|~\\>"

_DOCUMENT = (
    '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Message</title>'
    '<meta name="viewport" content="width=device-width, initial-scale=1">'
    '<meta name="referrer" content="no-referrer"><style>{style}</style></head>'
    '<body class="{paper}"><div class="message">{body}</div></body></html>'
)
_EMPTY = '<p><span class="blocked">This message has no text.</span></p>'


def render_message(
    content: Content, fetched: Mapping[str, FetchedPicture] | None = None, *, found: Words | None = None
) -> RenderedMessage:
    """Return the message as its recipient gets it, harmless, and with everything that it hides made visible.

    `fetched` is what the desk has of its remote pictures, by their addresses: these are drawn too. `found` are words of
    its plain text that get a mark, where the message can be drawn.
    """
    source = ""
    try:
        source = _source(content)
        return _render_html(content, source, fetched, found)
    except Doubt as doubt:
        return _render_source(content, source, str(doubt))
    except Exception as error:  # noqa: BLE001 - whatever goes wrong here, the reviewer must still see what was written
        return _render_source(content, source, f"the desk had an error ({type(error).__name__})")


def _source(content: Content) -> str:
    """Return the HTML that the recipient gets."""
    if content.html is not None:
        return without_surrogates(content.html)
    markdown = without_surrogates(content.markdown or "")
    if sum(map(markdown.count, _SIGNS)) > MAX_MARKDOWN_SIGNS:
        raise Doubt("it has more formatting characters than a person would write")
    if markdown.count("\n") > MAX_MARKDOWN_LINES:
        raise Doubt(f"it has more than {MAX_MARKDOWN_LINES} lines")
    return render_markdown(with_signature(markdown, content.additions.get("signature")))


def _render_html(
    content: Content, source: str, fetched: Mapping[str, FetchedPicture] | None, found: Words | None
) -> RenderedMessage:
    canonical = canonicalise(source, readers=(*content.to, *content.cc, *content.bcc), fetched=fetched)
    marked = mark(to_tree(canonical.html), canonical, found=found)
    tally = marked.tally
    text = marked.text
    if content.html is None and content.markdown is not None:
        text = named(without_surrogates(with_signature(content.markdown, content.additions.get("signature"))))
    body = seal(marked.body) if marked.body.strip() else _EMPTY
    return RenderedMessage(
        document=_document(body + _unmarked(tally), plain_paper=not marked.coloured),
        text=text,
        plain=stripped(marked.plain),
        blocked=tuple(canonical.blocked),
        remote=tuple(_each_once(canonical.remote)),
        hidden=(*canonical.hidden, *marked.hidden, *_secret_text(tally)),
        links=tuple(marked.links),
        reordered=tuple(marked.reordered),
        invisibles=dict(tally.counts),
        inked=marked.inked,
        removed=dict(canonical.removed),
        comments=canonical.comments,
        read=marked.text,
    )


def _each_once(found: Iterable[RemotePicture]) -> Iterable[RemotePicture]:
    """Return each address of the web once; where it stands several times, as one that is there to be seen."""
    known: dict[str, RemotePicture] = {}
    for one in found:
        if one.url and (one.url not in known or not one.tracking):
            known[one.url] = one
    return known.values()


def _render_source(content: Content, source: str, reason: str) -> RenderedMessage:
    """Return the message as its bare source, and say so at its head."""
    source = source or without_surrogates(content.html or content.markdown or "")
    tally = Tally()
    shown = "".join(
        f'<span class="ghost">{html.escape(piece)}</span>' if is_mark else html.escape(piece)
        for is_mark, piece in pieces(source, tally)
    )
    head = f'<p><span class="ghost">Shown as its source, because {html.escape(reason)}.</span></p>'
    return RenderedMessage(
        document=_document(f"{head}<pre>{shown}</pre>{_unmarked(tally)}", plain_paper=True),
        text=named(source),
        plain=stripped(source),
        hidden=_secret_text(tally),
        links=tuple(find_bare_links(stripped(source), set())),
        invisibles=dict(tally.counts),
        doubt=reason,
    )


def _document(body: str, *, plain_paper: bool) -> str:
    """Return the whole document. A message with colours of its own stays on white: they were judged against white."""
    paper = "plain" if plain_paper else "white"
    return _DOCUMENT.replace("{style}", _style()).replace("{paper}", paper).replace("{body}", body)


def _unmarked(tally: Tally) -> str:
    if not tally.unmarked:
        return ""
    return f'<p><span class="ghost">{tally.unmarked} more invisible characters are left out here.</span></p>'


def _secret_text(tally: Tally) -> tuple[Hidden, ...]:
    return tuple(Hidden(text, "written in invisible characters") for text in tally.secret)


@cache
def _style() -> str:
    return STYLE.read_text(encoding="utf-8")
