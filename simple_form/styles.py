"""How words look at each place of a message, and the `style` attributes that the simple
form writes: a few properties, each value read and written anew, within limits in which
no value can hide, cover, move or add words.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from simple_form.colours import (
    BLACK,
    LINK,
    UNREADABLE,
    WHITE,
    Colour,
    colour_of,
    contrast,
    readable,
)
from simple_form.declarations import (
    OF_INSIDE,
    ROOT_SIZE,
    SIDES,
    Declaration,
    draws_other_letters,
    is_harmless,
    pixels,
)
from simple_form.html_reading import Values

BLOCKS = frozenset(
    "blockquote dd div dl dt h1 h2 h3 h4 h5 h6 hr li ol p pre table tbody td th tr ul".split()
)
# Parts of tables and lists, which must keep their display.
_PARTS = frozenset("table tbody td th tr li".split())
# By how much browsers change the font size in these elements.
_SCALES = {
    "h1": 2.0, "h2": 1.5, "h3": 1.17, "h5": 0.83, "h6": 0.67, "sub": 0.83, "sup": 0.83, "code": 0.82, "pre": 0.82,
    "small": 0.83, "big": 1.2,
}  # fmt: skip
_KEYWORDS = {
    "xx-small": 9.0, "x-small": 10.0, "small": 13.0, "medium": 16.0, "large": 18.0, "x-large": 24.0, "xx-large": 32.0,
}  # fmt: skip
# Pixels that browsers indent these on the left, or on both sides.
INDENTS = {"ol": 40, "ul": 40, "dd": 40, "blockquote": 80}
# In pixels: the smallest and largest font size; the most width that indents, margins and
# paddings around each other take as they are written, and in an original that looks the
# same everywhere; and below which font size words count as hidden.
SMALLEST, LARGEST = 10, 48
MOST_SPREAD = 200
TOO_WIDE = 500
TINY = 5.0
# Lines through words that lie in each other, and raised words in each other.
MOST_STRUCK = MOST_RAISED = 2
_CHOICES = {
    "font-style": re.compile("italic|normal"),
    "font-weight": re.compile("normal|bold|[1-9]00"),
    "text-align": re.compile("left|right|center|justify"),
    "text-transform": re.compile("none|uppercase|lowercase|capitalize"),
    "vertical-align": re.compile("top|middle|bottom|baseline"),
}
_NUMBERS = {
    "1": "decimal", "a": "lower-alpha", "A": "upper-alpha", "i": "lower-roman", "I": "upper-roman",
    "lower-latin": "lower-alpha", "upper-latin": "upper-alpha",
}  # fmt: skip
LETTERED = frozenset(_NUMBERS.values()) - {"decimal"}
BULLETS = frozenset(("disc", "circle", "square"))
_FONTS = frozenset(
    (
        *"arial helvetica verdana tahoma georgia calibri cambria garamond roboto inter lato courier times".split(),
        *"palatino aptos consolas menlo monospace serif sans-serif system-ui -apple-system blinkmacsystemfont".split(),
        *(
            "helvetica neue",
            "times new roman",
            "trebuchet ms",
            "courier new",
            "segoe ui",
        ),
        *("open sans", "lucida grande"),
    )
)
_BORDER = re.compile(
    r"([0-9.]+(?:px|pt)|thin|medium)|(solid|dashed|dotted|double)|(\S+(?:\([^)]*\))?)"
)


@dataclass(eq=False, slots=True)
class Region:
    """Words that the original hides, for the reason `how`. They are removed if
    `is_removed`, and else kept so that they can be read.
    """

    how: str
    is_removed: bool
    # Whether it is at the beginning, before all words that people see.
    is_first: bool
    words: list[str] = field(default_factory=list)
    # The index of its change, once it has words.
    change: int = -1


@dataclass(slots=True)
class Look:
    """How words look at one place. Lengths are in pixels."""

    # The colours in the original, and whether what is behind the words is known.
    ink: Colour = BLACK
    back: Colour = WHITE
    is_known: bool = True
    # The font size in the original, that which is written, and the height of lines if
    # it is fixed.
    size: float = ROOT_SIZE
    written_size: int = round(ROOT_SIZE)
    line: float | None = None
    # Why words are hidden here: by their element, its visibility, their font size, or
    # their colour.
    region: Region | None = None
    invisible: Region | None = None
    tiny: Region | None = None
    faint: Region | None = None
    # How much width is taken: in the original, and as it is written.
    spread: int = 0
    written_spread: int = 0
    struck: int = 0
    raised: int = 0
    align: str = ""
    # Whether boxes are centred, and how the children of a flex or grid box stand.
    is_centred: bool = False
    flow: str = ""
    keeps_blanks: bool = False
    is_one_line: bool = False
    # What may cut words off, and whether a font draws other letters.
    cut: str = ""
    is_symbols: bool = False

    def written(self) -> tuple[Colour, Colour]:
        """Return the colours that are written: words, and what is behind them."""
        return readable(self.ink, self.back), self.back

    def hiding(self) -> Region | None:
        """Return why words are hidden here; None if they are not."""
        return self.region or self.invisible or self.tiny or self.faint


def look_inside(
    tag: str,
    name: str,
    held: Values,
    above: Look,
    *,
    is_first: bool,
    inline: Mapping[str, str],
) -> Look:
    """Return how words look inside of an element, written as `tag` and named `name` in
    the original. `held` is what its styles set, `inline` what its own style does.
    """
    look = replace(above, flow="")
    ink = LINK if tag == "a" else above.ink
    look.ink = (
        colour_of(held["color"].replace("windowtext", "black"), above.back) or ink
    )
    for property in ("background-color", "background"):
        colours = re.findall(r"#[0-9a-f]+|rgba?\([^()]*\)|[a-z]+", held[property])
        found = [colour_of(one, above.back) for one in colours]
        if known := next(filter(None, found), None):
            look.back, look.is_known = (
                known,
                "(" not in held[property].replace("rgb", ""),
            )
        elif "url" in held[property]:
            look.is_known = False
    if "background-image" in held and held["background-image"] != "none":
        look.is_known = False
    look.size = _size_of(name, held["font-size"], above.size)
    if "font-size" in held:
        look.tiny = None
        if look.size < TINY:
            how = f"font-size: {held['font-size']}"
            look.tiny = Region(how, is_first or "font-size" in inline, is_first)
    if contrast(look.ink, look.back) >= UNREADABLE or not look.is_known:
        look.faint = None
    elif above.faint is None:
        how = f"{look.ink.written()} on {look.back.written()}"
        look.faint = Region(how, False, is_first)
    _set_flow(tag, name, held, look)
    return look


def _size_of(name: str, value: str, above: float) -> float:
    if value in _KEYWORDS:
        return _KEYWORDS[value]
    scale = {"smaller": 0.83, "larger": 1.2}.get(value)
    if scale is None and (size := pixels(value, above, above)) is not None:
        return max(size, 0.0)
    return above * (scale or _SCALES.get(name, 1.0))


def _set_flow(tag: str, name: str, held: Values, look: Look) -> None:
    height = held["line-height"]
    if height:
        look.line = pixels(height, look.size, look.size)
        if re.fullmatch(r"[0-9]*\.?[0-9]+", height):
            look.line = None if float(height) >= 0.9 else 0.0
    for one in OF_INSIDE:
        if held[one] and not is_harmless(Declaration(one, held[one]), name):
            look.cut = f"{one}: {held[one]}"
    if held["font-family"]:
        look.is_symbols = draws_other_letters(held["font-family"])
    display = held["display"]
    if display in ("flex", "inline-flex"):
        look.flow = "column" if "column" in held["flex-direction"] else "row"
    elif display in ("grid", "inline-grid"):
        look.flow = "column"
    white_space = held["white-space"]
    if white_space:
        look.keeps_blanks = white_space in (
            "pre",
            "pre-wrap",
            "pre-line",
            "break-spaces",
        )
        look.is_one_line = white_space in ("nowrap", "pre")
    if tag == "pre":
        look.keeps_blanks = True
        look.is_one_line = look.is_one_line or not white_space
    look.struck += tag == "s" or "line-through" in held["text-decoration"]
    look.raised += tag in ("sub", "sup")


def style_of(
    tag: str, held: Values, look: Look, above: Look, *, is_restated=False, is_low=False
) -> str:
    """Return the style of an element, and set in `look` what it takes of the limits.

    An element that may be larger than the box around it needs a background of its own
    (`is_restated`). Without room above and below it is `is_low`.
    """
    kept = {
        **_colours(tag, look, above, is_restated or tag in ("table", "a")),
        **_letters(tag, held, look, above),
        **_boxes(tag, held, look, above, is_low),
    }
    return "".join(f"{name}:{value};" for name, value in sorted(kept.items()))


def _colours(tag: str, look: Look, above: Look, is_restated: bool) -> dict[str, str]:
    written = look.written()
    around = above.written()
    is_plain = around == (BLACK, WHITE)
    inherited = (LINK, around[1]) if tag == "a" and is_plain else around
    if written == inherited and (is_plain or not is_restated):
        return {}
    return {"color": written[0].written(), "background-color": written[1].written()}


def _letters(tag: str, held: Values, look: Look, above: Look) -> dict[str, str]:
    """Return the font, its size and weight, alignment, decoration and line height."""
    kept: dict[str, str] = {}
    by_browser = above.written_size * _SCALES.get(tag, 1.0)
    look.written_size = round(min(max(look.size, SMALLEST), LARGEST))
    is_restated = tag == "table" and look.written_size != ROOT_SIZE
    if is_restated or abs(look.written_size - by_browser) > 1:
        kept["font-size"] = f"{look.written_size}px"
    else:
        look.written_size = round(by_browser)
    held = Values({**held, "text-align": held["text-align"].removeprefix("-webkit-")})
    kept |= {
        name: held[name]
        for name, pattern in _CHOICES.items()
        if pattern.fullmatch(held[name])
    }
    if tag == "table" and above.align:
        # Programs differ in whether tables inherit it.
        kept.setdefault("text-align", "left")
    if "text-align" in kept:
        look.align = kept["text-align"].replace("left", "")
    for decoration in ("none", "underline", "line-through"):
        is_usual = (tag, decoration) in (("u", "underline"), ("s", "line-through"))
        if decoration in held["text-decoration"].split() and not is_usual:
            kept["text-decoration"] = decoration
    if look.struck > MOST_STRUCK and kept.get("text-decoration") == "line-through":
        del kept["text-decoration"]
    if held["line-height"]:
        height = pixels(held["line-height"], look.size, look.size)
        if re.fullmatch(r"[0-9]\.?[0-9]*", held["line-height"]):
            height = float(held["line-height"]) * look.size
        if height is not None and look.size:
            kept["line-height"] = f"{min(max(height / look.size, 1.1), 2.5):.1f}"
    fonts = [one.strip(" \"'") for one in held["font-family"].split(",")]
    if fonts := [f"'{one}'" if " " in one else one for one in fonts if one in _FONTS]:
        kept["font-family"] = ", ".join(fonts[:6])
    return kept


def _boxes(
    tag: str, held: Values, look: Look, above: Look, is_low: bool
) -> dict[str, str]:
    """Return display, margins, paddings, borders and widths."""
    kept: dict[str, str] = {}
    display = held["display"]
    if tag not in _PARTS and above.flow == "row":
        kept = {"display": "inline-block", "vertical-align": "top"}
        held = Values({"margin-left": "8px", "margin-right": "8px", **held})
    elif display == "inline-block" and tag not in _PARTS:
        kept["display"] = "inline-block"
    elif tag not in BLOCKS and (
        above.flow or display in ("block", "flex", "grid", "table")
    ):
        kept["display"] = "block"
    is_box = tag in BLOCKS or "display" in kept
    look.spread += INDENTS.get(tag, 0) + 6 * (tag == "table")
    look.written_spread += INDENTS.get(tag, 0)
    look.is_centred = above.is_centred and "text-align" not in held
    for kind in ("margin", "padding"):
        for side in SIDES:
            value = held[f"{kind}-{side}"]
            is_beside = side in ("left", "right")
            if (
                value == "auto"
                and kind == "margin"
                and is_beside
                and tag in ("table", "div")
            ):
                kept[f"margin-{side}"] = "auto"
            length = pixels(value, look.size, 320)
            is_own = tag in ("ol", "ul") and side == "left"
            if length is None or is_own or not (is_beside or (is_box and not is_low)):
                continue
            length = min(max(round(length), 0), 48 if is_beside else 64)
            if is_beside:
                usual = 40 if tag == "blockquote" and kind == "margin" else 0
                look.spread += length - usual
                if look.written_spread + length - usual > MOST_SPREAD:
                    continue
                look.written_spread += length - usual
            kept[f"{kind}-{side}"] = f"{length}px"
    for side in ("border", *(f"border-{side}" for side in SIDES)):
        if (is_box or tag == "img") and (border := _border(held, side)):
            kept[side] = border
    if (radius := pixels(held["border-radius"])) and is_box:
        kept["border-radius"] = f"{min(round(radius), 12)}px"
    if held["border-collapse"] == "collapse" and tag == "table":
        kept["border-collapse"] = "collapse"
    _widths(tag, held, kept)
    if look.keeps_blanks and not (above.keeps_blanks and tag != "pre"):
        kept["white-space"] = "pre-wrap"
    kind = number_style(held)
    if tag == "li" and held["display"] not in ("", "list-item"):
        kind = "none"
    if kind and (tag in ("ol", "ul") or (tag == "li" and kind in BULLETS | {"none"})):
        kept["list-style-type"] = kind
    return kept


def number_style(held: Values) -> str:
    """Return how the items of a list are numbered; empty if nothing known is said."""
    kind = held["list-style-type"].partition(" ")[0]
    kind = _NUMBERS.get(kind, kind)
    return kind if kind in LETTERED | BULLETS | {"decimal", "none"} else ""


def _widths(tag: str, held: Values, kept: dict[str, str]) -> None:
    for name in ("width", "max-width"):
        value = held[name]
        length = pixels(value)
        if tag in ("table", "td", "th") and re.fullmatch("[1-9][0-9]?%|100%", value):
            kept[name] = value
        elif length is None or not 20 <= length <= 2000:
            continue
        elif tag in ("td", "th"):
            kept[name] = f"{min(round(length), 800)}px"
        elif tag in ("table", "div", "p") and (tag == "table" or length >= 200):
            # It may be narrower than this, so that it fits into the window.
            if tag == "table" and name == "width":
                kept["width"] = "100%"
            kept.setdefault("max-width", f"{min(round(length), 800)}px")


def _border(held: Values, side: str) -> str:
    value = " ".join(
        (
            held[side],
            held[f"{side}-width"],
            held[f"{side}-style"],
            held[f"{side}-color"],
        )
    )
    width = style = colour = ""
    for match in _BORDER.finditer(value):
        width, style = match[1] or width, match[2] or style
        colour = match[3] or colour
    if not style:
        return "none" if held[side] in ("none", "0", "0px") else ""
    length = pixels(width) or 1.0
    written = (colour_of(colour) or BLACK).written()
    return f"{min(max(round(length), 1), 4)}px {style} {written}"
