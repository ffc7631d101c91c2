"""Renders Markdown to the HTML that the recipient gets: the gateway sends this HTML,
and the desk shows it after sanitising.
"""

from functools import cache

from markdown_it import MarkdownIt


@cache
def _parser() -> MarkdownIt:
    # Raw HTML in Markdown is passed on, as mail agents expect, so code that shows or
    # sends the result must simplify it first. A single line break stays a line break,
    # as in the text part of the same message.
    options = {"html": True, "linkify": False, "typographer": False, "breaks": True}
    return MarkdownIt("commonmark", options).enable(["table", "strikethrough"])


def render_markdown(markdown: str) -> str:
    """Return the HTML of a Markdown body. It is not safe to show: the author of the
    Markdown may have written any HTML.
    """
    return str(_parser().render(markdown))


def has_html(markdown: str) -> bool:
    """Whether there is raw HTML in a Markdown body."""
    if "<" not in markdown:
        return False
    return any(
        one.type.startswith("html_")
        for token in _parser().parse(markdown)
        for one in (token, *(token.children or ()))
    )
