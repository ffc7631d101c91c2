"""Renders one message safely: returns the document for the frame that shows it, the
same as text, and the links, differences and invisible characters found in it.

Runs only in the parser's confined processes. If a message cannot be rendered, its
source is shown instead, with the reason.
"""

import re
from dataclasses import replace
from functools import lru_cache
from html import escape

from common.additions import html_footer, html_part, with_signature
from common.additions import text_part as written_part
from common.fingerprint import Content
from common.markdown import render_markdown
from common.parts import differences
from common.text_from_html import text_from_html
from rendering.invisibles import named, stripped, without_surrogates
from rendering.marking import Drawing, tidy
from rendering.result import Outline, ParsedContent, RenderedMessage, without_marks
from rendering.source_view import document, left_out, render_source, secret_text
from rendering.texts import outline_of, template_of, words_of
from simple_form import TooComplex, simplify
from simple_form.elements import TAGS
from simple_form.simplify import ATTRIBUTES, VALUES
from simple_form.tree import cleaned

# Many formatting characters or lines make the Markdown parser slow. No person writes a
# message with more than this.
MAX_MARKDOWN_SIGNS = 20_000
MAX_MARKDOWN_LINES = 10_000
# A definition is written out in each link that names it.
MAX_HTML = 1_500_000
_SIGNS = "[]!*_`<&|~\\>"

# Cached: what is drawn is also compared with the text.
_simplified = lru_cache(maxsize=1)(simplify)
_EMPTY = '<p><span class="blocked">This message has no text.</span></p>'


def render_message(content: Content) -> RenderedMessage:
    """Return the message as its recipient gets it, in its simple form with the desk's
    marks; its source with a reason if that fails.
    """
    source = ""
    try:
        source = sent_html(content)
        form = _simplified(source)
        drawing = Drawing(form, readers=content.recipients)
        read = tidy("".join(drawing.text))
        text = read
        if content.html is None and content.markdown is not None:
            written = written_part(content.markdown, content.additions)
            text = named(without_surrogates(written))
        drawn = "".join(drawing.out)
        has_content = read or drawing.blocked or "<img" in drawn
        body = sanitized(drawn) if has_content else _EMPTY
        return RenderedMessage(
            document=document(
                body + left_out(drawing.tally), plain_paper=not drawing.is_coloured
            ),
            text=text,
            plain=stripped(tidy("".join(drawing.plain))),
            blocked=tuple(drawing.blocked),
            differences=(*drawing.differences, *secret_text(drawing.tally)),
            links=tuple(drawing.links),
            invisibles=dict(drawing.tally.counts),
            inked="ink-1" if drawing.marks["ink"] else "",
            read=read,
            unstruck="".join(
                one
                for index, one in enumerate(drawing.plain)
                if index not in drawing.struck
            )
            if drawing.struck
            else "",
            is_exact=form.is_exact,
        )
    except TooComplex as reason:
        return render_source(content, str(reason), source)
    except MemoryError:
        # The parser reports it to the caller, who shows the source.
        raise
    except Exception as error:  # noqa: BLE001 - whatever goes wrong here, the reviewer must still see what was written
        return render_source(
            content, f"the desk had an error ({type(error).__name__})", source
        )


def parse_content(content: Content) -> ParsedContent:
    """Return what risk findings, search and comparison need of a content."""
    shown = render_message(content)
    outlines = [_outline(content)]
    html = content.html or ""
    written = written_part(content.markdown or "", content.additions)
    different: list[tuple[str, str, bool]] = []
    if (content.markdown or "").strip() and not shown.doubt:
        form = _simplified(sent_html(content))
        different = differences(text_from_html(form.html, marked=True), written)
    has_text_part = bool(different)
    if html and content.markdown:
        outlines.append(_outline(replace(content, html=None)))
        # A text that was made from the HTML says the same.
        has_text_part |= content.markdown != text_from_html(html)
    text_part = None
    if has_text_part:
        lines = "<br>".join(filter(str.strip, escape(written).splitlines()))
        text_part = render_message(replace(content, html=lines, additions={}))
    return ParsedContent(
        shown, text_part, different, words_of(html), template_of(html), tuple(outlines)
    )


def _outline(content: Content) -> Outline:
    """Return the outline of what the sender wrote, without what the mailbox adds; its
    source if it cannot be parsed.
    """
    try:
        return outline_of(sent_html(replace(content, additions={})))
    except TooComplex:
        return Outline(without_marks(content.html or content.markdown or ""))


def sent_html(content: Content) -> str:
    """Return the HTML that the recipient gets, with what the mailbox adds. Raises
    TooComplex for Markdown that would take too long.
    """
    if content.html is not None:
        return without_surrogates(html_part(content.html, content.additions))
    markdown = without_surrogates(content.markdown or "")
    if sum(map(markdown.count, _SIGNS)) > MAX_MARKDOWN_SIGNS:
        raise TooComplex("it has more formatting characters than a person would write")
    if markdown.count("\n") > MAX_MARKDOWN_LINES:
        raise TooComplex(f"it has more than {MAX_MARKDOWN_LINES} lines")
    markdown = with_signature(markdown, content.additions)
    html = render_markdown(markdown)
    if len(html) > MAX_HTML:
        raise TooComplex("its links would make it too large")
    return html + html_footer(content.additions)


# The values of attributes that `sanitized` lets through.
_VALUES = {
    **VALUES,
    "id": re.compile(r"(?:hidden|link|part|ink)-[0-9]{1,6}"),
    "src": re.compile(r"data:image/.*", re.DOTALL),
}


def sanitized(drawn: str) -> str:
    """Return drawn HTML with only what may be shown. The only addresses left are the
    `data:` addresses of pictures.
    """
    return cleaned(
        drawn,
        tags=set(TAGS),
        attributes={**ATTRIBUTES, "a": {"title", "id"}, "span": {"id"}},
        values=_VALUES,
        allowed_classes={"span": {"ghost", "blocked", "on"}},
        url_schemes={"data"},
    )
