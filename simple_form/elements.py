"""What the elements of a message are written as, and what their attributes do."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

from simple_form.declarations import Declaration, rows
from simple_form.html_reading import BLANKS, Values, ascii_lower

TAGS = frozenset(
    """
    a b blockquote br code dd div dl dt em h1 h2 h3 h4 h5 h6 hr i img li ol p pre s span
    strong sub sup table tbody td th tr u ul
    """.split()
)
# The tag that is written for other elements, and whether they look the same in any
# program. Elements that are not drawn have "-", and all that are in no line <span>.
_WRITTEN = """
div    same   address article aside center figcaption figure footer header main nav section
div    odd    details dialog fieldset form hgroup legend marquee option search select summary textarea
tbody  same   thead
tbody  odd    tfoot
td     odd    caption
code   same   kbd samp tt
i      same   cite dfn var
s      same   strike del
u      same   ins
ul     odd    dir menu
pre    odd    listing plaintext xmp
span   same   abbr acronym big data font label mark nobr q small time o:p w:sdt u1:p
-      same   body col colgroup head html meta style title wbr
-      odd    area base basefont bgsound embed frame iframe input keygen link noembed noframes param script source
-      odd    template track
"""
# Attributes, the elements that have them (* for any), and the values that change no
# words; or after "=" the property that they set.
_ATTRIBUTES = r"""
bgcolor        body table tbody td tfoot th thead tr    =background-color
color          font                     =color
color          hr                       .*
text           body                     =color
width          table td th img col hr   =width
height         table td th tr img hr    =height
valign         *                        =vertical-align
align          *                        =text-align
align          table img object         =float
face           font                     =font-family
size           font                     =font-size
type           ol ul li                 =list-style-type
type           style                    (text/css)?
type           a blockquote script input    .*
title          style                    -
alt title href    *                     [^<]*
size           img                      .*
src            img                      (https?:|cid:|//|data:).*
value          li                       .*
link vlink alink    *                   blue|purple|red|#?(..)?([0-9].){2}(..)?
dir            *                        ltr|rtl|auto|
colspan rowspan    *                    [1-9]|[12][0-9]|30
border cellpadding cellspacing hspace vspace span size    *    (1?[0-9]|20)(px)?
name http-equiv content    meta         (?!color-scheme|supported-color-schemes|refresh|default-style|.*utf-7).*
name           *                        .*
"""
# Attributes that change no words, or whose effect is judged elsewhere.
_NO_EFFECT = re.compile(
    r"""
    class|id|style|target|rel|role|lang|charset|xmlns.*|aria-.*|data-.*|item.*|property|cite|wrap|summary|scope|tabindex
    |clear|loading|decoding|[vo]:.*|xml:.*|spellcheck|contenteditable|translate|download|crossorigin|referrerpolicy|cols
    |ping|headers|noshade|x-apple-.*|apple-.*|override|bordercolor|editing|smartmail|nowrap|reversed|hidden|originalsrc
    |shash|draggable|srcid|moz-.*|datetime|hreflang|start|checked|disabled
    """,
    re.VERBOSE,
)
# What values of attributes are in CSS, by the property that they set.
_IN_CSS = """
font-size        1 10px   2 13px   3 16px   4 18px   5 24px   6 32px   7 48px   +1 larger   -1 smaller
list-style-type  1 decimal   a lower-alpha   A upper-alpha   i lower-roman   I upper-roman
text-align       center -webkit-center   middle -webkit-center
float            center none   middle none   absmiddle none   top none   bottom none   baseline none
"""


@dataclass(frozen=True, eq=False, slots=True)
class Element:
    """An element of a message, with the tag that is written for it."""

    name: str
    tag: str
    attributes: Values


_TAGS_OF = {name: (name, True) for name in TAGS}
for _tag, _kind, _names in rows(_WRITTEN):
    for _name in _names.split():
        _TAGS_OF[_name] = (_tag, _kind == "same")
_EFFECTS = {}
for _attributes, _names, _effect in rows(_ATTRIBUTES):
    for _key in product(_attributes.split(), _names.split()):
        _EFFECTS[_key] = _effect
_VALUES = {}
for _property, *_pairs in rows(_IN_CSS):
    for _pair in _pairs:
        _old, _new = _pair.split()
        _VALUES[_property, _old] = _new


def tag_of(name: str) -> str:
    """Return the tag that is written for an element; "-" if it is not drawn."""
    return _TAGS_OF.get(name, ("span", False))[0]


def _effect_of(attribute: str, name: str) -> str:
    return _EFFECTS.get((attribute, name)) or _EFFECTS.get((attribute, "*"), "")


def styles_of(element: Element) -> Iterator[Declaration]:
    """Yield what an element's name and attributes set, except for `style`."""
    if element.name == "center":
        yield Declaration("text-align", "-webkit-center")
    if "hidden" in element.attributes:
        yield Declaration("display", "none")
    for attribute, written in element.attributes.items():
        effect = _effect_of(attribute, element.name)
        value = written.strip(BLANKS)[:100]
        if not effect.startswith("=") or not value:
            continue
        name = effect[1:]
        lower = ascii_lower(value)
        value = _VALUES.get((name, value)) or _VALUES.get((name, lower), lower)
        if re.fullmatch("[0-9a-f]{6}", value) and name.endswith("color"):
            value = f"#{value}"
        elif value.isdecimal() and name in ("width", "height"):
            value += "px"
        yield Declaration(name, value)
        if name == "float" and element.name == "table":
            for side in {"center": ("left", "right"), "right": ("left",)}.get(
                lower, ()
            ):
                yield Declaration(f"margin-{side}", "auto")


def odd_about(element: Element) -> Iterator[str]:
    """Yield what may look different in other programs: the element, or attributes."""
    name = element.name
    if not _TAGS_OF.get(name, ("span", False))[1] and not is_tick(element):
        yield f"<{name[:40]}>"
    for attribute, written in element.attributes.items():
        value = ascii_lower(written.strip(BLANKS))
        effect = _effect_of(attribute, name)
        if effect and not effect.startswith("="):
            is_plain = re.fullmatch(effect, value, re.DOTALL) is not None
        else:
            is_plain = bool(effect or _NO_EFFECT.fullmatch(attribute))
        if not is_plain:
            yield f"{name} {attribute}={value}"[:80]


def is_tick(element: Element) -> bool:
    """Whether it is a box of a list of things to do."""
    return (
        element.name == "input"
        and ascii_lower(element.attributes["type"]) == "checkbox"
    )
