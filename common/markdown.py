"""Renders Markdown to the HTML that the recipient gets: the gateway sends this HTML,
and the desk shows it after sanitising.
"""

import re
from functools import cache, lru_cache
from html import escape
from pathlib import Path
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.rules_block import StateBlock, html_block

ELEMENTS = frozenset(
    Path(__file__).with_name("html_elements.txt").read_text("utf-8").split()
)
# A tag; an attribute without a value is one of a few. "a<b and c>d" has none.
TAG = re.compile(
    r"</?+([a-z][a-z0-9]*+)(?:\s++(?:[a-z@:_][\w:.-]*+\s*+=\s*+(?:\"[^\"]*+\"|'[^']*+'|[^\s\"'=<>`]++)"
    r"|(?:checked|disabled|hidden|nowrap|open|reversed)(?=[\s/>])))*+\s*+/?+>",
    re.IGNORECASE,
)
_LIKE_TAG = re.compile(rf"{TAG.pattern}|</?+[a-z](?!--)(?:[^<>-]|-(?!-))*+>", re.I)
# These stand alone, or their end may be left out.
_UNENDED = frozenset("br hr wbr p li dd dt td th tr thead tbody tfoot".split())


@cache
def _parser() -> MarkdownIt:
    # Raw HTML in Markdown is passed on, as mail agents expect, so code that shows or
    # sends the result must simplify it first. A single line break stays a line break,
    # as in the text part of the same message.
    options = {"html": True, "linkify": False, "typographer": False, "breaks": True}
    parser = MarkdownIt("commonmark", options).enable(["table", "strikethrough"])
    may_end = {"alt": ["paragraph", "reference", "blockquote"]}
    parser.block.ruler.at("html_block", _html_block, may_end)
    for kind in ("html_block", "html_inline"):
        parser.add_render_rule(kind, _raw_html)
    return parser


def _html_block(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    """Parse lines of HTML, unless they begin with a tag that is text."""
    begin = state.bMarks[start] + state.tShift[start]
    like_tag = _LIKE_TAG.match(state.src, begin, state.eMarks[start])
    is_text = like_tag and not _is_html(like_tag, state.env)
    return not is_text and html_block(state, start, end, silent)


def _raw_html(_: Any, tokens: Any, index: int, __: Any, env: dict[str, Any]) -> str:
    def written(like_tag: re.Match[str]) -> str:
        return like_tag[0] if _is_html(like_tag, env) else escape(like_tag[0])

    html = _LIKE_TAG.sub(written, tokens[index].content)
    env["has_html"] |= "<" in html
    return html


def _is_html(like_tag: re.Match[str], env: dict[str, Any]) -> bool:
    """Whether it is a tag of an element of HTML, and no text: "Dear <title> <Name>"."""
    name = (like_tag[1] or "").lower()
    stands_alone = name in _UNENDED or "=" in like_tag[0]
    return name in ELEMENTS and (stands_alone or name in env["ended"])


def render_markdown(markdown: str) -> str:
    """Return the HTML of a Markdown body. It is not safe to show: the author of the
    Markdown may have written any HTML. A tag that is no element of HTML is text.
    """
    return _rendered(markdown)[0]


# Cached: the examination of one message renders the same Markdown several times, which
# takes most of its time.
@lru_cache(maxsize=4)
def _rendered(markdown: str) -> tuple[str, bool]:
    """Return the HTML of a Markdown body, and whether there is raw HTML in it."""
    ended = set(re.findall("</([a-z][a-z0-9]*+)", markdown.lower()))
    found: dict[str, Any] = {"has_html": False, "ended": ended}
    return str(_parser().render(markdown, found)), found["has_html"]


def has_html(markdown: str) -> bool:
    """Whether there is raw HTML in a Markdown body."""
    return _rendered(markdown)[1]
