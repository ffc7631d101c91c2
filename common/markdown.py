"""Markdown as the recipient gets it: the gateway sends this HTML, and the desk shows it
(after sanitising).
"""

from functools import cache

from markdown_it import MarkdownIt


@cache
def _parser() -> MarkdownIt:
    # Raw HTML in Markdown is passed on, as mail agents expect; whoever shows it to a
    # person must sanitise it first. A single line break stays one, as in the text part
    # of the same message.
    options = {"html": True, "linkify": False, "typographer": False, "breaks": True}
    return MarkdownIt("commonmark", options).enable(["table", "strikethrough"])


def render_markdown(markdown: str) -> str:
    """Return the HTML of a Markdown body. The result is as trustworthy as its author:
    not at all.
    """
    return str(_parser().render(markdown))
