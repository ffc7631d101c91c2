"""Turns HTML with few elements, as `simple_form` writes it, into text: the text part of
a message whose sender wrote HTML only.
"""

import html
import re

# Text, and the tag after it.
_PIECE = re.compile(r'([^<]*+)(?:<(/?)([a-z0-9]*+)((?:[^<>"]|"[^"<]*+")*+)>?)?+')
_ATTRIBUTE = re.compile(r' (alt|href|value)="([^"]*+)"')
# The mark of an item, before a line end.
_MARKER = re.compile(r"(?<=\n)(-|[0-9]{1,7}\.) \s++")
_LINES = frozenset(
    "blockquote br dd div dl dt h1 h2 h3 h4 h5 h6 hr li ol p pre table tr ul".split()
)
# Signs for what changes the meaning of words and numbers.
_SIGNS = {"s": "~~", "sup": "^", "sub": "_"}
# Pieces of a link that are compared with its address.
_MOST_PIECES = 20


def text_from_html(simple: str) -> str:
    """Return the text of a simple form, a blank line between lines."""
    said: list[str] = []
    # What ends each open element, where its words begin, and its address.
    opened: list[tuple[str, int, str]] = []
    for text, is_end, tag, inside in _PIECE.findall(simple):
        said.append(html.unescape(re.sub("[ \t\n\f\r]+", " ", text)))
        if is_end and opened:
            after, begin, target = opened.pop()
            words = "".join(said[begin : begin + _MOST_PIECES])
            if target.removeprefix("mailto:").removeprefix("tel:") not in words:
                said.append(f" ({target})")
            said.append(after)
        elif tag and not is_end:
            values = {
                name: html.unescape(value) for name, value in _ATTRIBUTE.findall(inside)
            }
            around = ""
            if tag in _LINES or "display:block" in inside:
                around = "\n"
            elif tag in ("td", "th", "img") or "display:inline-block" in inside:
                around = " "
            sign = _SIGNS.get(tag, "")
            said += [around, sign, values.get("alt", "")]
            if tag == "li":
                said.append(f"{values['value']}. " if "value" in values else "- ")
            if tag in ("br", "hr", "img"):
                said.append(around)
            else:
                after = sign.replace("^", "").replace("_", "") + around
                opened.append((after, len(said), values.get("href", "")))
    text = _MARKER.sub(r"\1 ", "".join(said))
    lines = (" ".join(line.split()) for line in text.splitlines())
    return "\n\n".join(line for line in lines if line not in ("", "-"))
