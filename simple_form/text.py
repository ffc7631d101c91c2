"""Returns a simple form as text, for mail programs without HTML and for agents."""

import re

from simple_form.html_reading import decode
from simple_form.looks import BLOCKS

# Patterns of tags and blanks, and what stands for them in text.
_IN_TEXT = {
    "[ \t\n\f\r]+": " ",
    "<li[^>]*>": "\n- ",
    "</?t[dh][^>]*>": " ",
    rf"</?(?:{'|'.join(BLOCKS)}|br)\b[^>]*>": "\n",
    "<[^>]*>": "",
}


def text_of(text: str) -> str:
    """Return the text of HTML that `simplify` returned, without tags."""
    for pattern, instead in _IN_TEXT.items():
        text = re.sub(pattern, instead, text)
    lines = (" ".join(decode(line).split()) for line in text.splitlines())
    return "\n\n".join(line for line in lines if line not in ("", "-"))
