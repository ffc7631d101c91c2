"""Returns a simple form as text, for mail programs without HTML and for agents."""

import re

from simple_form.html_reading import pieces_of
from simple_form.looks import BLOCKS

_BLANKS = re.compile("[ \t\n\f\r]+")
_ENDS_LINE = BLOCKS - {"td", "th"} | {"br"}


def text_of(simple: str) -> str:
    """Return the text of HTML that `simplify` returned, without tags."""
    parts: list[str] = []
    for piece in pieces_of(simple):
        if piece.kind == "text":
            parts.append(_BLANKS.sub(" ", piece.data))
        elif piece.name in _ENDS_LINE:
            parts.append(
                "\n- " if piece.name == "li" and piece.kind == "start" else "\n"
            )
        elif piece.name in ("td", "th"):
            parts.append(" ")
    lines = (" ".join(line.split()) for line in "".join(parts).splitlines())
    return "\n\n".join(line for line in lines if line and line != "-")
