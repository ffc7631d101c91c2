"""The text of a simple form, for whoever reads plain text: one block a paragraph."""

import html
import re

from simple_form.html_reading import BLOCKS

_PIECE = re.compile(r"<(/?)([a-z][a-z0-9]*+)[^<>]*+>|([^<]++)")
_ENDS_LINE = BLOCKS | {"br", "tr"}


def text_of(simple: str) -> str:
    """Return the text of HTML that `simplify` made, without markup."""
    parts: list[str] = []
    for closing, tag, text in _PIECE.findall(simple):
        if text:
            parts.append(re.sub(r"[ \t\n\f\r]+", " ", html.unescape(text)))
        elif tag in _ENDS_LINE:
            parts.append("\n- " if tag == "li" and not closing else "\n")
        elif tag in ("td", "th"):
            parts.append(" ")
    lines = (" ".join(line.split()) for line in "".join(parts).splitlines())
    return "\n\n".join(line for line in lines if line and line != "-")
