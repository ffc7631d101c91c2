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
# These stand for the begin and the end of a quotation, and for a blank that is kept,
# until the lines are made.
_QUOTES, _ENDS, _BLANK = "\x0e\x0f\x10"
_NO_QUOTES = dict.fromkeys(map(ord, (_QUOTES, _ENDS)))
# Pieces of a link that are compared with its address.
_MOST_PIECES = 20


def text_from_html(simple: str) -> str:
    """Return the text of a simple form, a blank line between lines, "> " before those
    that are quoted.
    """
    said: list[str] = []
    # What ends each open element, where its words begin, its address, and what a blank
    # in it becomes.
    opened: list[tuple[str, int, str, str]] = []
    blank = " "
    for text, is_end, tag, inside in _PIECE.findall(simple):
        if blank == " ":
            text = re.sub("[ \t\n\f\r]+", " ", text)
        said.append(html.unescape(text.replace(" ", blank)))
        if is_end and opened:
            after, begin, target, blank = opened.pop()
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
            sign = "~~" if "line-through" in inside else _SIGNS.get(tag, "")
            alt = values.get("alt")
            said += [around, sign, f"[{alt}]" if alt else ""]
            if tag == "blockquote":
                said.append(_QUOTES)
                around = f"{_ENDS}\n"
            if tag == "li":
                said.append(f"{values['value']}. " if "value" in values else "- ")
            if tag in ("br", "hr", "img"):
                said.append(around)
            else:
                after = sign.replace("^", "").replace("_", "") + around
                opened.append((after, len(said), values.get("href", ""), blank))
                if tag == "pre":
                    blank = _BLANK
    lines = []
    depth = 0
    for line in _MARKER.sub(r"\1 ", "".join(said)).splitlines():
        depth += line.count(_QUOTES)
        words = " ".join(line.translate(_NO_QUOTES).split()).rstrip(_BLANK)
        if words not in ("", "-"):
            lines.append("> " * depth + words.replace(_BLANK, " "))
        depth -= line.count(_ENDS)
    return "\n\n".join(lines)
