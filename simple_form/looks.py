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
    CUTTING,
    ROOT_SIZE,
    Declaration,
    is_usual,
    number_before,
    pixels,
    plain_fonts,
    written_value,
)
from simple_form.html_reading import VOID, Values

BLOCKS = frozenset(
    "blockquote dd div dl dt h1 h2 h3 h4 h5 h6 hr li ol p pre table tbody td th tr ul".split()
)
# Parts of tables and lists, which must keep their display.
_PARTS = frozenset("table tbody td th tr li".split())
# Font sizes that CSS has words for.
_SIZES = {
    "xx-small": "9px",
    "x-small": "10px",
    "small": "13px",
    "medium": "16px",
    "large": "18px",
    "x-large": "24px",
    "xx-large": "32px",
    "smaller": "0.83em",
    "larger": "1.2em",
}
_BESIDE = "margin-left margin-right padding-left padding-right".split()
# In pixels: the smallest and largest font size; the width of words in a narrow window,
# and what boxes in each other leave of it in an original that looks the same everywhere;
# and below which font size words count as hidden.
SMALLEST, LARGEST = 10, 48
WINDOW = 300
TOO_WIDE = -100
TINY = 5.0
# Lines through words, and raised words, in each other.
MOST_RAISED = 2
# How much of the ink is left of words, and from how many pixels on words stand outside
# of what is seen.
_FAINTEST = 0.5
_OUTSIDE = -300
_COLOUR = re.compile(r"#[0-9a-f]+|rgba?\([^()]*\)|[a-z]+")


class Look(NamedTuple):
    """How words look at one place of the original. Lengths are in pixels."""

    # The colours of words and behind them, the font size, and the height of lines if it
    # is fixed.
    ink: Colour = BLACK
    back: Colour = WHITE
    size: float = ROOT_SIZE
    line: float | None = None
    # Why words are hidden: their element is not drawn, or their font size or colour; or
    # a style sheet says so, which some programs ignore.
    gone: str = ""
    tiny: str = ""
    faint: str = ""
    by_sheet: str = ""
    # The width that is left in a narrow window, and how many raised words are around.
    room: float = WINDOW
    raised: int = 0
    # How the children of a flex or grid box are displayed.
    flow: str = ""
    # How CSS says that blanks and ends of lines are drawn, and in which fonts.
    white_space: str = ""
    fonts: str = ""
    # Whether the background may have any colour: one on which words can be read.
    is_unclear: bool = False
    # How the element is displayed if that is not usual for it, and the colours of the
    # nearest box: the background of a line is not drawn behind boxes in it.
    display: str = ""
    is_box: bool = False
    box: tuple[Colour, ...] = (BLACK, WHITE)
    # The direction of words, and where they stand between the margins.
    direction: str = "ltr"
    align: str = ""
    # How far to the left of their box first lines begin.
    hangs: str = ""
    # How much of the ink is left by opacities in each other.
    opacity: float = 1.0
    # What may cut words off, or move them.
    cut: str = ""

    @property
    def keeps_blanks(self) -> bool:
        """Whether blanks and ends of lines are drawn as they are written."""
        return self.white_space.startswith(("pre", "break"))

    @property
    def pair(self) -> tuple[Colour, Colour]:
        """The colours of words and of what is behind them."""
        return readable(self.ink, self.back), self.back

    @property
    def removed(self) -> str:
        """Why words are removed; empty if they are not."""
        return self.gone or self.tiny


def _is_hidden(held: Values, name: str) -> bool:
    """Whether a property hides its element in a plain way."""
    value = held[name]
    if name == "display":
        return value == "none"
    if name == "visibility":
        return value in ("hidden", "collapse")
    if name == "opacity":
        return _opacity(value) < 0.1
    length = pixels(value, whole=100)
    if length is None:
        return False
    if name in ("width", "height", "max-width", "max-height"):
        return length < 2 and held["overflow"] in ("hidden", "clip")
    is_moved = name in ("left", "top") and held["position"] in ("absolute", "fixed")
    return length <= _OUTSIDE and (is_moved or name in ("text-indent", "margin-left"))


def _opacity(value: str) -> float:
    for unit, whole in (("", 1), ("%", 100)):
        number = number_before(value, unit)
        if number is not None:
            return min(number / whole, 1.0)
    return 1.0


def look_inside(tag: str, held: Values, above: Look) -> Look:
    """Return how words look inside of an element. `held` is what applies to it."""
    colours = (
        colour_of(one, above.back) for one in _COLOUR.findall(held["background-color"])
    )
    back = next(filter(None, colours), above.back)
    ink = colour_of(held["color"], back) or above.ink
    is_unclear = above.is_unclear
    for one in ("background-color", "background-image"):
        if held[one]:
            is_unclear = not is_usual(Declaration(one, held[one]))
    if is_unclear and held["color"]:
        back = readable(back, ink)
    faint = ""
    if contrast(ink, back) < UNREADABLE:
        faint = above.faint or f"{ink} on {back}"
    gone = above.gone or next(
        (
            f"{one}: {value}".removesuffix(": ")
            for one, value in held.items()
            if _is_hidden(held, one)
        ),
        "",
    )

    cut = above.cut
    for one in CUTTING:
        if held[one] and not is_usual(Declaration(one, held[one]), tag):
            cut = f"{one}: {held[one]}"
    through = held["text-decoration-color"]
    is_struck = tag == "s" or "line-through" in held["text-decoration"]
    if is_struck and through not in ("", "initial"):
        cut = f"text-decoration-color: {through}"
    opacity = above.opacity * _opacity(held["opacity"])
    if opacity < _FAINTEST:
        cut = f"opacity: {opacity:.2f}"
    size = above.size
    tiny = above.tiny
    written = held["font-size"]
    if (length := pixels(_SIZES.get(written, written), size, size)) is not None:
        size = length
    elif written and not is_usual(Declaration("font-size", written)):
        cut = f"font-size: {written}"
    if written:
        tiny = f"font-size: {written}" if size < TINY else ""
    line = above.line
    height = held["line-height"]
    if height not in ("", "inherit"):
        line = pixels(height, size, size) or 0.0
        if is_usual(Declaration("line-height", height)):
            line = None

    room = above.room - 6 * (tag == "table")
    for one in _BESIDE:
        room -= min(max(pixels(held[one], size) or 0, 0), 32)
    # Cells beside each other share it.
    room = min(room, room / len(held["cells"] or "x"))
    flow = ""
    if re.search("flex|grid", held["display"]):
        flow = "block" if "column" in held["flex-direction"] else "inline-block"
    display = re.sub("^(flex|grid|table)$", "block", above.flow or held["display"])
    if tag in _PARTS or display not in (
        "inline-block",
        "" if tag in BLOCKS else "block",
    ):
        display = ""
    is_box = tag in BLOCKS or display != ""
    pair = (readable(ink, back), back)
    hangs = above.hangs
    if held["text-indent"]:
        hangs = held["text-indent"] * held["text-indent"].startswith("-")
    if hangs and (tag in ("td", "th") or display == "inline-block"):
        cut = f"text-indent: {hangs}"
    nearest = pair if is_box else (LINK, above.box[1]) if tag == "a" else above.box
    # What a line or row sets is inherited by boxes on which its background is not.
    if pair != above.pair and (not is_box or tag in ("tr", "tbody")):
        nearest += (back,)
    return Look(
        ink,
        back,
        size,
        line,
        gone,
        tiny,
        faint,
        above.by_sheet,
        room,
        above.raised + (is_struck or tag in ("sub", "sup")),
        flow,
        held["white-space"] or above.white_space,
        held["font-family"] or above.fonts,
        is_unclear,
        display,
        is_box,
        nearest,
        held["direction"] or above.direction,
        held["text-align"] or above.align,
        hangs,
        opacity,
        cut,
    )


def style_of(
    tag: str, held: Values, look: Look, above: Look, is_low: bool
) -> dict[str, str]:
    """Return the style of an element, by property. Without room above and below it is
    `is_low`.
    """
    kept = {}
    size = round(min(max(look.size, SMALLEST), LARGEST))
    # Programs differ in what tables inherit.
    is_table = tag == "table"
    if is_table:
        if above.align not in ("", "left"):
            kept["text-align"] = "left"
        if "center" in (held["float"], above.align):
            kept["margin-left"] = kept["margin-right"] = "auto"
    if (
        look.pair != ((LINK, above.back) if tag == "a" else above.pair)
        or (look.is_box and above.box != above.pair)
        or (tag in ("table", "td", "th") and look.pair != (BLACK, WHITE))
    ):
        kept["color"], kept["background-color"] = map(str, look.pair)
    if held["font-size"] or (is_table and size != ROOT_SIZE):
        kept["font-size"] = f"{size}px"
    height = re.sub("(?<=[0-9])$", "em", held["line-height"])
    if lines := pixels(height, size, size):
        kept["line-height"] = f"{min(max(lines / size, 1.1), 2.5):.1f}"
    if fonts := plain_fonts(held["font-family"]):
        kept["font-family"] = ", ".join(fonts[:6])
    if held["white-space"]:
        kept["white-space"] = "pre-wrap" if look.keeps_blanks else "normal"
    if tag == "img":
        kept["max-width"] = "100%"

    if look.display:
        kept["display"] = look.display
    for one, value in held.items():
        if one.endswith(("-top", "-bottom", "-radius")) and (is_low or not look.is_box):
            continue
        kind = tag if look.is_box or tag in VOID else "span"
        written = written_value(one, kind, value.removeprefix("-webkit-"), look.size)
        if one in _BESIDE and written != "auto":
            # Paddings take a sixth of the room; the marks of a list stand in its own.
            share = above.room / (6 if "margin" in one or tag in ("ol", "ul") else 12)
            written = f"{min(pixels(written) or 0, max(share, 4 * (share > 0))):.0f}px"
        if written:
            kept[one] = written
    if "line-through" in held["text-decoration"] and look.raised <= MOST_RAISED:
        kept["text-decoration"] = "line-through"
    most = written_value("max-width", tag, held["width"], look.size)
    if most and is_table:
        # It may be narrower, so that it fits into the window.
        kept = {"max-width": most, "width": "100%"} | kept
    if tag in ("ol", "ul") and (pixels(kept["padding-left"]) or 0) >= 24:
        kept["list-style-position"] = "outside"
    return kept
