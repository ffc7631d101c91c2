"""Renders Markdown to the HTML that the recipient gets: the gateway sends this HTML,
and the desk shows it after sanitising.
"""

from functools import cache
from html import escape

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
    found: dict[str, dict[str, dict[str, str]]] = {}
    html = str(_parser().render(markdown, found))
    if not plainly:
        return html
    left = ["html_block", "html_inline", "table"]
    links = found.get("references", {}).values()
    if any(f'="{escape(one["href"])}"' not in html for one in links):
        left.append("reference")
    return str(_parser(*left).render(markdown))


def has_html(markdown: str) -> bool:
    """Whether there is raw HTML in a Markdown body."""
    if "<" not in markdown:
        return False
    return any(
        one.type.startswith("html_")
        for token in _parser().parse(markdown)
        for one in (token, *(token.children or ()))
    )
