"""The plain text of an HTML body that a stranger wrote. Runs in the parser's processes only.

It takes time that grows with the length alone: the standard library's HTML parser can be made to take minutes.
"""

import re
from collections.abc import Iterator
from html import unescape

_BLOCKS = frozenset({"address", "blockquote", "br", "dd", "div", "dl", "dt", "hr", "li", "ol", "p", "pre", "table"})
_BLOCKS |= {"h1", "h2", "h3", "h4", "h5", "h6", "td", "th", "tr", "ul"}
_UNSEEN = frozenset({"head", "template"})
# The content of these is no markup: only their own end tag ends them.
_RAW = {name: re.compile(rf"</{name}\b", re.IGNORECASE) for name in ("script", "style", "title")}
_MARKUP = re.compile(r"<(?=[A-Za-z/!?])")
_NAME = re.compile(r"/?[A-Za-z][A-Za-z0-9]{0,20}")
# Only a quote right after = begins a value that may hold >.
_TAG_STEP = re.compile(r">|=\s*[\"']")


def text_of_html(html: str) -> str:
    """Return what a reader of `html` sees, without markup, one block a paragraph."""
    parts: list[str] = []
    unseen = 0
    for text, tag in _pieces(html):
        if text and not unseen:
            parts.append(unescape(text))
        name = tag.lstrip("/")
        if name in _UNSEEN:
            unseen = max(0, unseen - 1) if tag.startswith("/") else unseen + 1
        elif name == "body":
            # Also where the head was never closed.
            unseen = 0
        elif name in _BLOCKS and not unseen:
            parts.append("\n")
    lines = (" ".join(line.split()) for line in "".join(parts).splitlines())
    return "\n\n".join(line for line in lines if line)


def _pieces(html: str) -> Iterator[tuple[str, str]]:
    """Yield each run of text with the name of the tag behind it, such as `p` or `/p`; empty for other markup."""
    position = 0
    while found := _MARKUP.search(html, position):
        named = _NAME.match(html, found.end())
        tag = named[0].lower() if named else ""
        yield html[position : found.start()], tag
        position = _end_of_tag(html, found.end()) if named else _end_of_comment(html, found.end())
        if tag in _RAW:
            ending = _RAW[tag].search(html, position)
            position = ending.start() if ending else len(html)
    yield html[position:], ""


def _end_of_tag(html: str, position: int) -> int:
    # Without an end the rest of the text is inside the tag, so nothing is searched twice.
    while step := _TAG_STEP.search(html, position):
        if step[0] == ">":
            return step.end()
        position = html.find(step[0][-1], step.end()) + 1
        if not position:
            break
    return len(html)


def _end_of_comment(html: str, position: int) -> int:
    ending = "-->" if html.startswith("!--", position) else ">"
    found = html.find(ending, position)
    return len(html) if found < 0 else found + len(ending)
