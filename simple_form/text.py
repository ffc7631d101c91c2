"""The text of a simple form, for whoever reads plain text: one block a paragraph."""

import re

from simple_form.html_reading import BLOCKS, pieces_of

_ENDS_LINE = BLOCKS | {"br", "tr"}


def text_of(simple: str) -> str:
    """Return the text of HTML that `simplify` made, without markup."""
    parts: list[str] = []
    for piece in pieces_of(simple):
        if piece.kind == "text":
            parts.append(re.sub(r"[ \t\n\f\r]+", " ", piece.data))
        elif piece.name in _ENDS_LINE:
            parts.append(
                "\n- " if piece.name == "li" and piece.kind == "start" else "\n"
            )
        elif piece.name in ("td", "th"):
            parts.append(" ")
    lines = (" ".join(line.split()) for line in "".join(parts).splitlines())
    return "\n\n".join(line for line in lines if line and line != "-")
