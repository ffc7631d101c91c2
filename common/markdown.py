"""Renders Markdown to the HTML that the recipient gets: the gateway sends this HTML,
and the desk shows it after sanitising.
"""

from functools import cache, lru_cache
from html import escape
from typing import Any

from markdown_it import MarkdownIt


@cache
def _parser(*left_as_text: str) -> MarkdownIt:
    # Raw HTML in Markdown is passed on, as mail agents expect, so code that shows or
    # sends the result must simplify it first. A single line break stays a line break,
    # as in the text part of the same message.
    options = {"html": True, "linkify": False, "typographer": False, "breaks": True}
    parser = MarkdownIt("commonmark", options).enable(["table", "strikethrough"])
    return parser.disable(list(left_as_text))


def render_markdown(markdown: str, *, plainly: bool = False) -> str:
    """Return the HTML of a Markdown body. It is not safe to show: the author of the
    Markdown may have written any HTML.

    With `plainly`, what readers of the HTML may not see stays text, as in the text
    part: tags, tables, whose longest lines are cut, and definitions of links that no
    link uses.
    """
    html, links = _rendered(markdown)
    if not plainly:
        return html
    left = ["html_block", "html_inline", "table"]
    if any(f'="{escape(one["href"])}"' not in html for one in links.values()):
        left.append("reference")
    return _rendered(markdown, *left)[0]


# Cached: the examination of one message renders the same Markdown several times, which
# takes most of its time.
@lru_cache(maxsize=4)
def _rendered(markdown: str, *left_as_text: str) -> tuple[str, dict[str, Any]]:
    """Return the HTML of a Markdown body, and its definitions of links."""
    found: dict[str, Any] = {}
    html = str(_parser(*left_as_text).render(markdown, found))
    return html, found.get("references", {})


def has_html(markdown: str) -> bool:
    """Whether there is raw HTML in a Markdown body."""
    if "<" not in markdown:
        return False
    return any(
        one.type.startswith("html_")
        for token in _parser().parse(markdown)
        for one in (token, *(token.children or ()))
    )
