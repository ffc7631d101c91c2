"""What the elements of a message are written as, and what their attributes do."""

import re
from collections.abc import Iterator
from itertools import product

from simple_form.declarations import Declaration, rows
from simple_form.html_reading import BLANKS, Token, ascii_lower

# The tag that is written for elements, and whether they look the same in any program.
# "-" stands for those that are not drawn. Elements that are in no line become <span>.
_ELEMENTS = {
    name: (tag, kind)
    for tag, kind, names in rows("""
a             same    a
b             same    b
blockquote    same    blockquote
br            same    br
code          same    code kbd samp tt
dd            same    dd
div           same    div address article aside center figcaption figure footer header main nav section
div           odd     details dialog fieldset form hgroup legend marquee option search select summary textarea
dl            same    dl
dt            same    dt
em            same    em
h1            same    h1
h2            same    h2
h3            same    h3
h4            same    h4
h5            same    h5
h6            same    h6
hr            same    hr
i             same    i cite dfn var
img           same    img
li            same    li
ol            same    ol
p             same    p
pre           same    pre
pre           odd     listing plaintext xmp
s             same    s strike del
span          same    span abbr acronym big data font label mark nobr small time o:p w:sdt u1:p
span          odd     q
strong        same    strong
sub           same    sub
sup           same    sup
table         same    table
tbody         same    tbody thead
tbody         odd     tfoot
td            same    td
td            odd     caption
th            same    th
tr            same    tr
u             same    u ins
ul            same    ul
ul            odd     dir menu
-             same    body col colgroup head html input meta style title wbr
-             odd     area base basefont bgsound embed frame iframe keygen link noembed noframes param script source
-             odd     template track
""")
    for name in names.split()
}
TAGS = frozenset(tag for tag, _ in _ELEMENTS.values()) - {"-"}
# The styles that elements have by themselves.
DEFAULTS = dict(
    rows("""
center        text-align:center
mark          background-color:#ffff00;color:#000000
address       font-style:italic
blockquote    margin-left:40px;margin-right:40px
dd            margin-left:40px
dir           padding-left:40px
menu          padding-left:40px
ol            padding-left:40px
ul            padding-left:40px
h1            font-size:2em
h2            font-size:1.5em
h3            font-size:1.17em
h5            font-size:0.83em
h6            font-size:0.67em
sub           font-size:0.83em
sup           font-size:0.83em
small         font-size:0.83em
big           font-size:1.2em
code          font-size:0.82em
kbd           font-size:0.82em
samp          font-size:0.82em
tt            font-size:0.82em
pre           font-size:0.82em;white-space:pre
listing       font-size:0.82em;white-space:pre
xmp           font-size:0.82em;white-space:pre
plaintext     font-size:0.82em;white-space:pre
""")
)
# Attributes, the elements that have them (* for any), and the values that change no
# words; or after "=" the property that they set, and after ":" its value.
_EFFECTS = {
    key: effect
    for attributes, names, effect in rows(r"""
bgcolor        body table tbody td tfoot th thead tr    =background-color
color          font                     =color
color          hr                       .*
text           body                     =color
background     body table td th tr      =background-color
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
src            img                      (https?:|cid:|data:).*
value          li                       .*
link vlink alink    *                   blue|purple|red|#?(..)?([0-9].){2}(..)?
dir            *                        =direction
cells          tr                       =cells
hidden         *                        =display:none
reversed       ol                       =list-style-type:disc
href           a                        =color:#0000ee
colspan        *                        [1-9]|[12][0-9]|30
rowspan        *                        1
border cellpadding cellspacing hspace vspace span size    *    (1?[0-9]|20)(px)?
name http-equiv content    meta         (?!color-scheme|supported-color-schemes|refresh|default-style|.*utf-7).*
name           *                        .*
""")
    for key in product(attributes.split(), names.split())
}
# Attributes that change no words, or whose effect is judged elsewhere.
_NO_EFFECT = re.compile(
    r"""(?x)
    class|id|style|target|rel|role|lang|charset|xmlns.*|aria-.*|data-.*|item.*|property
    |cite|wrap|summary|scope|tabindex
    |clear|loading|decoding|[vo]:.*|xml:.*|spellcheck|contenteditable|translate
    |download|crossorigin|referrerpolicy|cols
    |ping|headers|noshade|x-apple-.*|apple-.*|override|bordercolor|editing|smartmail
    |nowrap|hidden|originalsrc
    |shash|draggable|srcid|moz-.*|datetime|hreflang|start|checked|disabled
    """
)
# What values of attributes are in CSS, by the property that they set.
_IN_CSS = {
    (name, value): in_css
    for name, value, in_css in rows("""
font-size        1            10px
font-size        2            13px
font-size        3            16px
font-size        4            18px
font-size        5            24px
font-size        6            32px
font-size        7            48px
font-size        +1           larger
font-size        -1           smaller
list-style-type  1            decimal
list-style-type  a            lower-alpha
list-style-type  A            upper-alpha
list-style-type  i            lower-roman
list-style-type  I            upper-roman
text-align       middle       center
float            middle       none
float            absmiddle    none
float            top          none
float            bottom       none
float            baseline     none
""")
}


def tag_of(name: str) -> str:
    """Return the tag that is written for an element; "-" if it is not drawn."""
    return _ELEMENTS.get(name, ("span",))[0]


def _effect_of(attribute: str, name: str) -> str:
    return _EFFECTS.get((attribute, name)) or _EFFECTS.get((attribute, "*"), "")


def styles_of(element: Token) -> Iterator[Declaration]:
    """Yield what an element's name and attributes set, except for `style`."""
    for attribute, written in element.attributes.items():
        effect = _effect_of(attribute, element.name)
        name, _, fixed = effect[1:].partition(":")
        value = fixed or written.strip(BLANKS)[:100]
        if not effect.startswith("=") or not value:
            continue
        lower = ascii_lower(value)
        value = _IN_CSS.get((name, value)) or _IN_CSS.get((name, lower), lower)
        if name.endswith("color") and re.fullmatch("[0-9a-f]{6}", value):
            value = f"#{value}"
        elif value.isdecimal():
            value += "px"
        yield Declaration(name, value)


def odd_about(element: Token) -> Iterator[str]:
    """Yield what may look different in other programs: the element, or attributes."""
    if _ELEMENTS.get(element.name, ("", "odd"))[1] == "odd":
        yield f"<{element.name[:40]}>"
    for attribute, written in element.attributes.items():
        value = ascii_lower(written.strip(BLANKS))
        if effect := _effect_of(attribute, element.name):
            is_plain = effect.startswith("=") or re.fullmatch(f"(?s){effect}", value)
        else:
            is_plain = _NO_EFFECT.fullmatch(attribute)
        if not is_plain:
            yield f"{element.name} {attribute}={value}"[:80]
