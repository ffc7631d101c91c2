"""Turns HTML with few elements, as `simple_form` writes it, into text: the text part of
a message whose sender wrote HTML only, and what `common.parts` compares.
"""

import html
import re
from dataclasses import dataclass

from common.numerals import numeral

# Text, and the tag after it.
_PIECE = re.compile(r'([^<]*+)(?:<(/?)([a-z0-9]*+)((?:[^<>"]|"[^"<]*+")*+)>?)?+')
_ATTRIBUTE = re.compile(r' (alt|href|src|value)="([^"]*+)"')
_KIND = re.compile("list-style-type:([a-z-]+)")
_LINES = frozenset(
    "blockquote br dd div dl dt h1 h2 h3 h4 h5 h6 hr li ol p pre table tr ul".split()
)
_NO_NUMBERS = ("none", "disc", "circle", "square")
# Signs for what changes the meaning of words and numbers.
_SIGNS = {"s": "~~", "sup": "^", "sub": "_"}
# These stand for the begin and the end of a quotation, a blank that is kept, the end of
# a raised number, the begin and the end of a list in a list, and the blank behind the
# mark of an item, until the lines are made.
_QUOTES, _ENDS, _BLANK, _RAISED, _INNER, _OUTER, _ITEM = "\x0e\x0f\x10\x11\x12\x13\x14"
_NO_MARKS = dict.fromkeys(map(ord, (_QUOTES, _ENDS, _INNER, _OUTER)))
# Pieces of a link that are compared with its address.
_MOST_PIECES = 20
# How deep in lists or quotations lines are said to be.
_DEEPEST = 100
# In a marked text, these are around what text parts may leave out (numbers of lists,
# texts and addresses of pictures, addresses of links), and around a link.
EXTRA, LINK = "\x15\x16"


@dataclass(frozen=True, slots=True)
class _Open:
    """An open element: what ends it, where its words begin, its address, what a blank
    around it becomes, its tag, the numbers of the list that it is or stands in, and
    whether it is or stands in an item.
    """

    after: str = ""
    begin: int = 0
    target: str = ""
    blank: str = ""
    tag: str = ""
    numbers: str = ""
    is_in_item: bool = False


_NOTHING = _Open()


def text_from_html(simple: str, *, marked: bool = False) -> str:
    """Return the text of a simple form, a blank line between lines, "> " before those
    that are quoted. For `marked`, see EXTRA.
    """
    extra = EXTRA if marked else ""
    said: list[str] = []
    opened: list[_Open] = []
    blank = " "
    for text, is_end, tag, inside in _PIECE.findall(simple):
        if blank == " ":
            text = re.sub("[ \t\n\f\r]+", " ", text)
        said.append(html.unescape(text.replace(" ", blank)))
        if is_end and opened:
            one = opened.pop()
            blank = one.blank
            words = "".join(said[one.begin : one.begin + _MOST_PIECES])
            target = one.target
            bare = target.removeprefix("mailto:").removeprefix("tel:")
            if words.strip() if marked and target else bare not in words:
                said.append(f"{extra} ({target}){extra}")
            said.append(LINK if marked and target else "")
            if one.tag == "sup":
                if not re.fullmatch(r"[+−-]?\w*", words):
                    said[one.begin - 1] = "("
                    said.append(")")
                said.append(_RAISED)
            said.append(one.after)
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
            # A cell that begins with ">" is no quotation.
            said += [around, "|" * marked if tag in ("td", "th") else "", sign]
            alt = values.get("alt", "")
            if tag == "img" and marked:
                said.append(f"{extra}[{alt}] {values.get('src', '')[:300]}{extra}")
            elif alt:
                said.append(f"[{alt}]")
            ending = sign.replace("^", "").replace("_", "") + around
            found = _KIND.search(inside)
            kind = found[1] if found else ""
            if tag == "blockquote":
                said.append(_QUOTES)
                ending = f"{_ENDS}\n"
            around_it = opened[-1] if opened else _NOTHING
            if tag in ("ol", "ul") and around_it.is_in_item:
                said.append(_INNER)
                ending = f"{_OUTER}\n"
            if tag == "li":
                number = values.get("value")
                numbers = kind or around_it.numbers
                if number and numbers not in _NO_NUMBERS:
                    number = numeral(int(number), numbers)
                    said.append(f"{extra}{number}.{extra}{_ITEM}")
                elif not marked:
                    said.append(f"-{_ITEM}")
            if tag in ("br", "hr", "img"):
                said.append(around)
            else:
                target = values.get("href", "")
                said.append(LINK if target and marked else "")
                opened.append(
                    _Open(
                        after=ending,
                        begin=len(said),
                        target=target,
                        blank=blank,
                        tag=tag,
                        numbers=kind if tag == "ol" else around_it.numbers,
                        is_in_item=tag == "li" or around_it.is_in_item,
                    )
                )
                if tag == "pre":
                    blank = _BLANK
    lines = []
    depth = inner = 0
    # 10 with a raised 2, then 3: "10^2 3".
    text = re.sub(f"{_RAISED}(?=[0-9])", " ", "".join(said)).replace(_RAISED, "")
    for line in re.sub(rf"{_ITEM}\s*+", " ", text).splitlines():
        depth += line.count(_QUOTES)
        inner += line.count(_INNER)
        words = " ".join(line.translate(_NO_MARKS).split()).rstrip(_BLANK)
        if words not in ("", "-"):
            before = "   " * min(inner, _DEEPEST) + "> " * min(depth, _DEEPEST)
            lines.append(before + words.replace(_BLANK, " "))
        depth -= line.count(_ENDS)
        inner -= line.count(_OUTER)
    return "\n\n".join(lines)
