"""Writes the `style` attribute of an element of the simple form: only properties and
values that are known to be harmless, within limits.
"""

from itertools import product

from simple_form.colours import (
    BLACK,
    LINK,
    READABLE,
    WHITE,
    colour_of,
    contrast,
    over,
)
from simple_form.harmless import LARGEST_WINDOW, ROOT_SIZE, length
from simple_form.html_reading import Values
from simple_form.looks import BESIDE, MOST_STRUCK, NO_COLOUR, SCALES, Look

ALL_SIDES = ("top", "right", "bottom", "left")
BLOCK_BOXES = frozenset("block table flex grid flow-root table-cell".split())
INLINE_BOXES = frozenset(("inline-block", "inline-table", "inline-flex", "inline-grid"))
# Inline elements.
_WORDS = frozenset("a b code em i s span strong u".split())
# Parts of tables and lists, which must keep their display.
_PARTS_OF_TABLES = frozenset("table tbody tr td th li dd dt".split())
# The smallest and largest font size of the simple form, in pixels.
_SMALLEST = 10.0
_LARGEST = 48.0
_WIDTHS = ("width", "max-width")
# In pixels: the most width that margins and paddings around each other take, and the
# most height of a cell.
MOST_SPREAD = 240.0
MOST_HIGH = 120.0
# How many pixels a box around inline words may be higher than they. A higher one covers
# the lines next to it.
_MOST_AROUND = 3.0
# The most pixels of margin or padding beside inline words.
_MOST_BESIDE = 24
_FONTS = frozenset(
    (
        *"arial helvetica verdana tahoma georgia calibri cambria garamond roboto inter lato courier times".split(),
        *"palatino aptos consolas menlo monospace serif sans-serif system-ui -apple-system blinkmacsystemfont".split(),
        "helvetica neue",
        "times new roman",
        "trebuchet ms",
        "courier new",
        "segoe ui",
        "open sans",
        "lucida grande",
    )
)
# Keywords that are kept, by property.
_CHOICES = {
    "font-style": {"italic", "oblique", "normal"},
    "font-weight": {"normal", "bold", *(str(n) for n in range(100, 1000, 100))},
    "text-align": {"left", "right", "center", "justify"},
    "text-transform": {"none", "uppercase", "lowercase", "capitalize"},
    "vertical-align": {"top", "middle", "bottom", "baseline"},
    "list-style-type": set(
        "none disc circle square decimal lower-alpha upper-alpha lower-roman upper-roman".split()
    ),
}


def style_of(tag: str, held: Values, look: Look, above: Look, *, is_box: bool) -> str:
    """Return the style of an element that is written as `tag`: the part of the values
    that apply (`held`) that may stay. Sets in `look` how its words look then.
    """
    back = look.light.backs[0]
    colour = over(look.light.colours[0], back)
    if contrast(colour, back) < READABLE:
        # Words that could not be read get another colour.
        colour = max((BLACK, WHITE), key=lambda one: contrast(one, back))
    look.written = (colour, back)
    look.written_size *= SCALES.get(tag, 1.0)
    kept = Values(
        {
            **_colours(tag, held, look, above),
            **_letters(tag, held, look, above),
            **_flow(tag, held, above),
            **_boxes(tag, held, look, above, is_box=is_box),
        }
    )
    look.is_coloured = "color" in kept
    look.around = tuple(dict.fromkeys((*above.around, look.written[1])))
    if "font-size" in kept:
        look.written_size = _clamped(look.size)
    look.written_line = float(kept.get("line-height", above.written_line))
    widths = [length(kept[one]) or LARGEST_WINDOW for one in _WIDTHS]
    look.written_room = min([above.written_room, *widths])
    return "".join(f"{name}:{value};" for name, value in kept.items())


def _is_plain(above: Look) -> bool:
    return above.written == (BLACK, WHITE) and above.around == (WHITE,)


def _is_restated(tag: str, above: Look) -> bool:
    """Whether a table needs colours and font size once more, for mail programs in which
    tables do not inherit them.
    """
    return tag == "table" and not (_is_plain(above) and above.written_size == ROOT_SIZE)


def _colours(tag: str, held: Values, look: Look, above: Look) -> dict[str, str]:
    written = look.written
    inherited = (LINK, above.written[1]) if tag == "a" else above.written
    # An element that may be wider than the box around it needs a background of its own.
    is_own = not _is_plain(above) and (
        "width" in held or "max-width" in held or "background-color" in held
    )
    if written == inherited and not is_own and not _is_restated(tag, above):
        return {}
    return {"color": written[0].written(), "background-color": written[1].written()}


def _letters(tag: str, held: Values, look: Look, above: Look) -> dict[str, str]:
    """Return the font, its size and weight, alignment, decoration and line height."""
    kept: dict[str, str] = {}
    size = _clamped(look.size)
    if size != _clamped(look.written_size) or _is_restated(tag, above):
        kept["font-size"] = f"{size:.0f}px"
    if tag == "table" and above.aligned:
        usual = "right" if look.is_right_to_left else "left"
        held = Values({"text-align": usual, **held})
    kept |= {
        name: held[name] for name, words in _CHOICES.items() if held[name] in words
    }
    decoration = held["text-decoration"].split()
    lines = [line for line in ("underline", "line-through") if line in decoration]
    lines = lines if above.struck < MOST_STRUCK else []
    if lines and not (lines == ["underline"] and tag in ("u", "a")):
        kept["text-decoration"] = " ".join(lines)
    elif "none" in decoration and tag in ("a", "u"):
        kept["text-decoration"] = "none"
    if "line-height" in held:
        share = look.line.share
        if look.line.pixels and look.size:
            share = look.line.pixels / look.size
        share = round(min(max(share, 1.1), 2.0), 1)
        if share != above.written_line:
            kept["line-height"] = str(share)
    names = (one.strip(" \"'") for one in held["font-family"].split(","))
    fonts = []
    for one in names:
        if one in _FONTS:
            fonts.append(f"'{one}'" if " " in one else one)
    if fonts:
        kept["font-family"] = ", ".join(fonts[:6])
    return kept


def _flow(tag: str, held: Values, above: Look) -> dict[str, str]:
    """Return the styles that put an element on a line of its own or next to others."""
    kept: dict[str, str] = {}
    display = held["display"]
    white_space = held["white-space"]
    if tag == "pre" or white_space in ("pre", "pre-wrap", "break-spaces", "pre-line"):
        kept["white-space"] = "pre-line" if white_space == "pre-line" else "pre-wrap"
    is_beside = held.get("float", "none") in BESIDE or display in INLINE_BOXES
    if is_beside and tag not in _PARTS_OF_TABLES:
        kept["display"] = "inline-block"
        if held["float"] == "right":
            # It was at the other end of the line, and must not touch the words before
            # it.
            kept["margin-left"] = "24px"
    elif tag in _WORDS and (above.is_flex or display in BLOCK_BOXES):
        kept["display"] = "block"
    return kept


def _boxes(
    tag: str, held: Values, look: Look, above: Look, *, is_box: bool
) -> dict[str, str]:
    """Return margins, paddings, borders, widths and heights within limits. Adds to
    `look.spread` how much width the margins and paddings take.
    """
    kept = Values()
    is_moved = tag == "table" and above.aligned in ("center", "right")
    for kind, side in product(("margin", "padding"), ALL_SIDES):
        usual = "auto" if is_moved and side != above.aligned else ""
        value = held.get(f"{kind}-{side}", usual)
        pixels = length(value, look.size)
        if value == "auto" and kind == "margin" and side in BESIDE and tag == "table":
            kept[f"{kind}-{side}"] = "auto"
        if pixels is None or not (is_box or side in BESIDE):
            continue
        most = 120 if side == "left" else 64
        pixels = min(max(round(pixels), 0), most if is_box else _MOST_BESIDE)
        if side in BESIDE:
            if look.spread + pixels > MOST_SPREAD:
                continue
            look.spread += pixels
        kept[f"{kind}-{side}"] = f"{pixels}px"
    for side in ALL_SIDES:
        if (is_box or side in BESIDE) and (border := _border_of(held, side)):
            kept[f"border-{side}"] = border
    is_table = tag in ("table", "td", "th")
    for name in _WIDTHS if is_table or tag in ("div", "p") else ():
        value = held[name]
        pixels = length(value)
        share = length(value, whole=100) if value.endswith("%") else None
        if share is not None and (10 if is_table else 50) <= share <= 100:
            kept[name] = f"{share:.0f}%"
        # Words would not fit in a narrow box that does not grow, nor on its background.
        elif (
            pixels is None
            or look.is_right_to_left
            or (pixels > above.written_room and tag not in ("td", "th"))
        ):
            continue
        elif pixels >= 200 or (is_table and name == "width" and pixels >= 40):
            kept[name] = f"{min(round(pixels), 800)}px"
    if (
        tag in ("td", "th")
        and (pixels := length(held["height"])) is not None
        and 0 < pixels <= MOST_HIGH
    ):
        # A cell grows with its words, so a height only adds room above and below.
        kept["height"] = f"{round(pixels)}px"
    return kept


def is_tall(held: Values, size: float) -> bool:
    """Whether padding with a background, border and shadow of an inline element are too
    high for its line.
    """
    is_painted = held["background-color"] not in NO_COLOUR
    paddings = [
        length(held[f"padding-{side}"], size) or 0.0
        for side in ("top", "bottom")
        if is_painted
    ]
    borders = [
        float(_border_of(held, side).partition("px")[0] or 0)
        for side in ("top", "bottom")
    ]
    shadow = 4.0 if held.get("box-shadow", "none") != "none" else 0.0
    height = max(borders) + max(paddings, default=0.0) + shadow
    return height > min(_MOST_AROUND, size / 4)


def _clamped(size: float) -> float:
    return float(round(min(max(size, _SMALLEST), _LARGEST)))


def _border_of(held: Values, side: str) -> str:
    width = held[f"border-{side}-width"]
    pixels = (
        {"thin": 1.0, "medium": 3.0, "thick": 5.0}.get(width) or length(width) or 0.0
    )
    if held[f"border-{side}-style"] in ("", "none", "hidden") or pixels <= 0:
        return ""
    read = colour_of(held[f"border-{side}-color"])
    return f"{min(max(round(pixels), 1), 8)}px solid {(over(read, WHITE) if read else BLACK).written()}"
