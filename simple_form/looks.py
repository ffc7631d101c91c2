"""How words look at each place of a message, and the `style` attributes that the simple
form writes: a few properties, each value read and written anew, within limits in which
no value can hide, cover, move or add words.
"""

import re
from typing import NamedTuple

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
    written_value,
)
from simple_form.html_reading import Values

BLOCKS = frozenset(
    "blockquote dd div dl dt h1 h2 h3 h4 h5 h6 hr li ol p pre table tbody td th tr ul".split()
)
# Parts of tables and lists, which must keep their display.
_PARTS = frozenset("table tbody td th tr li".split())
# Font sizes by words of CSS and by elements.
_SIZES = dict(
    pair.split()
    for pair in """
    xx-small 9px, x-small 10px, small 13px, medium 16px, large 18px, x-large 24px, xx-large 32px, smaller 0.83em,
    larger 1.2em, <h1> 2em, <h2> 1.5em, <h3> 1.17em, <h5> 0.83em, <h6> 0.67em, <sub> 0.83em, <sup> 0.83em,
    <small> 0.83em, <big> 1.2em, <code> 0.82em, <pre> 0.82em
    """.split(",")
)
# What browsers indent, by 40 pixels.
_INDENTED = re.compile(
    "[ou]l padding-left|dd margin-left|blockquote margin-(?:left|right)"
)
_BESIDE = ("margin-left", "margin-right", "padding-left", "padding-right")
# In pixels: the smallest and largest font size; the most width that indents, margins and
# paddings around each other take as they are written, and in an original that looks the
# same everywhere; and below which font size words count as hidden.
SMALLEST, LARGEST = 10, 48
MOST_SPREAD = 200
TOO_WIDE = 500
TINY = 5.0
# Lines through words, and raised words, in each other.
MOST_RAISED = 3
_FONTS = re.compile(
    r"""
    arial|helvetica([ ]neue)?|verdana|tahoma|georgia|calibri|cambria|garamond|roboto|inter|lato|courier([ ]new)?|times
    |times[ ]new[ ]roman|palatino|aptos|consolas|menlo|monospace|(sans-)?serif|system-ui|-apple-system|segoe[ ]ui
    |blinkmacsystemfont|trebuchet[ ]ms|open[ ]sans|lucida[ ]grande
    """,
    re.VERBOSE,
)
_COLOUR = re.compile(r"#[0-9a-f]+|rgba?\([^()]*\)|[a-z]+")
_BORDER = re.compile(
    r"([0-9.]+(?:px|pt)|thin|medium)|(solid|dashed|dotted|double)|(\S+(?:\([^)]*\))?)"
)


class Hidden(NamedTuple):
    """How words are hidden. It is sure if their own element says so, not a sheet that
    some programs ignore.
    """

    how: str
    is_sure: bool = False


class Look(NamedTuple):
    """How words look at one place. Lengths are in pixels."""

    # The colours in the original, whether what is behind the words is known, and the
    # colour of the page, which some programs use in tables.
    ink: Colour = BLACK
    back: Colour = WHITE
    is_known: bool = True
    page_ink: Colour = BLACK
    # The font size in the original, and the height of lines if it is fixed.
    size: float = ROOT_SIZE
    line: float | None = None
    # Why words are hidden: their element is not drawn, or their visibility, font size
    # or colour.
    gone: Hidden | None = None
    invisible: Hidden | None = None
    tiny: Hidden | None = None
    faint: Hidden | None = None
    # How much width is taken, and how many raised words are around.
    spread: float = 0
    raised: int = 0
    align: str = ""
    # How the children of a flex or grid box stand, and how blanks are read.
    flow: str = ""
    white_space: str = ""
    # What may cut words off, and whether a font draws other letters.
    cut: str = ""
    is_symbols: bool = False

    def hiding(self) -> Hidden | None:
        """Return why words are hidden here; None if they are not."""
        return self.gone or self.invisible or self.tiny or self.faint

    def keeps_blanks(self) -> bool:
        """Whether blanks and ends of lines are drawn as they are written."""
        return self.white_space.startswith(("pre", "break"))

    def colours(self) -> tuple[Colour, Colour]:
        """Return the colours that are written: of words, and behind them."""
        return readable(self.ink, self.back), self.back


def look_inside(tag: str, name: str, held: Values, own: Values, above: Look) -> Look:
    """Return how words look inside of an element, written as `tag` and named `name` in
    the original. `held` is what applies to it, `own` what it sets itself.
    """
    behind = held["background-color"]
    colours = (colour_of(one, above.back) for one in _COLOUR.findall(behind))
    back = next(filter(None, colours), above.back)
    is_plain = colour_of(behind) is not None
    is_known = above.is_known or is_plain
    if held["background-image"] not in ("", "none") or (not is_plain and "(" in behind):
        is_known = False
    ink = LINK if tag == "a" else above.ink
    if held["color"] in ("inherit", "currentcolor"):
        ink = above.ink
    elif held["color"] in ("initial", "windowtext"):
        ink = BLACK
    elif held["color"]:
        ink = colour_of(held["color"], back) or ink
    faint = None
    if is_known and contrast(ink, back) < UNREADABLE:
        faint = above.faint or Hidden(f"{ink} on {back}")

    size = _size_of(held["font-size"] or f"<{name}>", above.size)
    tiny = above.tiny
    if held["font-size"]:
        how = f"font-size: {held['font-size']}"
        tiny = Hidden(how, "font-size" in own) if size < TINY else None
    line = above.line
    if held["line-height"]:
        line = _height_of_lines(held["line-height"], size)
        if held["line-height"][-1].isdigit() and (line or 0) >= 0.9 * size:
            line = None

    gone = above.gone
    if not gone and (how := _hides(held)):
        gone = Hidden(how, _hides(own) != "")
    invisible = above.invisible
    if held["visibility"] in ("hidden", "collapse"):
        how = f"visibility: {held['visibility']}"
        invisible = invisible or Hidden(how, "visibility" in own)
    elif held["visibility"] == "visible":
        invisible = None

    spread = above.spread + 6 * (tag == "table")
    for one in _BESIDE:
        usual = 40 if _INDENTED.fullmatch(f"{tag} {one}") else 0
        length = pixels(held[one], size)
        spread += min(max(usual if length is None else length, 0), 48)
    cut = above.cut
    for one in OF_INSIDE:
        if held[one] and not is_harmless(Declaration(one, held[one]), name):
            cut = f"{one}: {held[one]}"
    flow = ""
    if "flex" in held["display"] and "column" not in held["flex-direction"]:
        flow = "row"
    elif "flex" in held["display"] or "grid" in held["display"]:
        flow = "column"
    white_space = above.white_space
    if tag == "pre" and not held["white-space"].startswith("pre"):
        white_space = "pre"
    elif held["white-space"]:
        white_space = held["white-space"]
    is_symbols = above.is_symbols
    if held["font-family"]:
        is_symbols = draws_other_letters(held["font-family"])
    is_raised = tag in ("s", "sub", "sup") or "line-through" in held["text-decoration"]
    return Look(
        ink=ink,
        back=back,
        is_known=is_known,
        page_ink=above.page_ink,
        size=size,
        line=line,
        gone=gone,
        invisible=invisible,
        tiny=tiny,
        faint=faint,
        spread=spread,
        raised=above.raised + is_raised,
        align=held["text-align"] or above.align,
        flow=flow,
        white_space=white_space,
        cut=cut,
        is_symbols=is_symbols,
    )


def _size_of(value: str, above: float) -> float:
    size = pixels(_SIZES.get(value, value), above, above)
    return above if size is None else max(size, 0.0)


def _height_of_lines(value: str, size: float) -> float | None:
    return pixels(f"{value}em" if value[-1].isdigit() else value, size, size)


def _hides(held: Values) -> str:
    """Return the declaration that hides an element, in plain ways that are known to
    hide; empty if there is none.
    """
    cuts = []
    moves = ["text-indent", "margin-left"]
    if held["overflow"] in ("hidden", "clip"):
        cuts = ["max-height", "height", "max-width", "width"]
    if held["position"] in ("absolute", "fixed"):
        moves += ["left", "top"]
    for name, value in held.items():
        length = pixels(value)
        if (
            (name == "display" and value == "none")
            or (name == "opacity" and re.fullmatch(r"0?\.?0[0-9]?|0%", value))
            or (name in cuts and length is not None and length <= 1)
            or (name in moves and length is not None and length <= -300)
        ):
            return f"{name}: {value}"
    return ""


def style_of(
    tag: str, held: Values, look: Look, above: Look, *, is_low: bool = False
) -> str:
    """Return the style of an element. Without room above and below it is `is_low`."""
    kept = {}
    ink, back = look.colours()
    around = above.colours()
    is_plain = (*around, above.page_ink) == (BLACK, WHITE, BLACK)
    inherited = (LINK, WHITE) if tag == "a" and is_plain else around
    # What may be larger than the box around it needs a background of its own.
    is_restated = tag in ("table", "a", "td", "th") and not is_plain
    if tag != "img" and ((ink, back) != inherited or is_restated):
        kept = {"color": str(ink), "background-color": str(back)}

    size = round(min(max(look.size, SMALLEST), LARGEST))
    size_above = round(min(max(above.size, SMALLEST), LARGEST))
    is_restated = tag == "table" and size != ROOT_SIZE
    if size != round(_size_of(f"<{tag}>", size_above)) or is_restated:
        kept["font-size"] = f"{size}px"
    if held["line-height"] and look.size:
        height = _height_of_lines(held["line-height"], look.size)
        if height is not None:
            kept["line-height"] = f"{min(max(height / look.size, 1.1), 2.5):.1f}"
    fonts = [one.strip(" \"'") for one in held["font-family"].split(",")]
    fonts = [
        f"'{one}'" if " " in one else one for one in fonts if _FONTS.fullmatch(one)
    ]
    if fonts:
        kept["font-family"] = ", ".join(fonts[:6])
    if tag == "table" and above.align not in ("", "left"):
        # Programs differ in whether tables inherit it.
        kept["text-align"] = "left"

    display = held["display"]
    if tag in _PARTS:
        display = ""
    elif above.flow == "row":
        kept["vertical-align"] = "top"
        kept["margin-left"] = kept["margin-right"] = "8px"
        display = "inline-block"
    elif above.flow or display in ("flex", "grid", "table"):
        display = "block"
    if display == "inline-block" or (display == "block" and tag not in BLOCKS):
        kept["display"] = display
    is_box = tag in BLOCKS or "display" in kept
    for name, value in held.items():
        if name.endswith(("-top", "-bottom", "-radius")) and (is_low or not is_box):
            continue
        value = value.removeprefix("-webkit-")
        if written := written_value(name, tag, value, look.size):
            kept[name] = written
    if tag == "li" and held["display"] not in ("", "list-item"):
        kept["list-style-type"] = "none"
    if "line-through" in held["text-decoration"] and tag != "s":
        kept["text-decoration"] = "line-through"
    if look.raised > MOST_RAISED and kept.get("text-decoration") == "line-through":
        del kept["text-decoration"]
    if look.keeps_blanks() and (tag == "pre" or not above.keeps_blanks()):
        kept["white-space"] = "pre-wrap"
    most = written_value("max-width", tag, held["width"], look.size)
    if most and tag in ("table", "div", "p") and "max-width" not in kept:
        # It may be narrower, so that it fits into the window.
        kept["max-width"] = most
        if tag == "table":
            kept["width"] = "100%"
    if (is_box or tag == "img") and any("border" in name for name in held):
        for side in ("border", *(f"border-{side}" for side in SIDES)):
            if border := _border(held, side):
                kept[side] = border
    if look.spread > MOST_SPREAD:
        for name in _BESIDE:
            if _INDENTED.fullmatch(f"{tag} {name}"):
                kept[name] = "0px"
            elif kept.get(name) != "auto":
                kept.pop(name, "")
    if tag in ("ol", "ul") and "padding-left" in kept:
        kept["list-style-position"] = "inside"
    return "".join(f"{name}:{value};" for name, value in sorted(kept.items()))


def _border(held: Values, side: str) -> str:
    parts = (held[f"{side}{part}"] for part in ("", "-width", "-style", "-color"))
    width = style = colour = ""
    for match in _BORDER.finditer(" ".join(parts)):
        width = match[1] or width
        style = match[2] or style
        colour = match[3] or colour
    if not style:
        return "none" if held[side] in ("none", "0", "0px") else ""
    length = min(max(round(pixels(width) or 1), 1), 4)
    return f"{length}px {style} {colour_of(colour) or BLACK}"
