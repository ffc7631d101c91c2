"""Renders Markdown to the HTML that the recipient gets: the gateway sends this HTML,
and the desk shows it after sanitising.
"""

from functools import cache

from markdown_it import MarkdownIt


@cache
def _parser(html: bool = True) -> MarkdownIt:
    # Raw HTML in Markdown is passed on, as mail agents expect, so code that shows or
    # sends the result must simplify it first. A single line break stays a line break,
    # as in the text part of the same message.
    options = {"html": html, "linkify": False, "typographer": False, "breaks": True}
    return MarkdownIt("commonmark", options).enable(["table", "strikethrough"])


def render_markdown(markdown: str, *, html: bool = True) -> str:
    """Return the HTML of a Markdown body. It is not safe to show: the author of the
    Markdown may have written any HTML. Without `html`, its tags become text.
    """
    return str(_parser(html).render(markdown))
