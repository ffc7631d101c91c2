"""The two passes through nh3: one that turns the message into a proper tree, one that seals what is shown.

Nothing reaches the frame that the second pass has not let through; its lists are the whole truth about that.
"""

import re
from collections.abc import Mapping

import nh3

from rendering.colours import first_colour
from rendering.css_values import length
from rendering.layout_boxes import Style
from rendering.result import Doubt

# Our own marks between the passes. The message cannot write them: no attribute of its own goes into the first pass.
NOTES = frozenset({"data-note", "data-link", "data-labels", "data-picture", "data-why", "data-maybe", "data-doubted"})
TREE_TAGS = frozenset(
    "a abbr address article aside b big blockquote br caption center cite code col colgroup dd del dfn div dl dt em "
    "figcaption figure font footer h1 h2 h3 h4 h5 h6 header hr i img ins kbd li main mark nav ol p pre q s samp "
    "section small span strike strong sub sup table tbody td tfoot th thead time tr tt u ul var wbr".split()
)
# What has a meaning of its own to a parser stays itself until the tree is built; it is never drawn as such.
PARSED_TAGS = frozenset(
    "applet button fieldset form marquee nobr object details summary dialog menu dir listing".split()
)
SHOWN_TAGS = TREE_TAGS - frozenset("font center big tt strike abbr time q mark col colgroup wbr cite".split())
_CELL = {"colspan", "rowspan"}
# What the value of an attribute may be; those that are not named here may have any.
_VALUES = {
    "style": re.compile(r"(?<![a-z-])(?:[a-z-]++:[a-zA-Z0-9#%.,() \-]++;)*+"),
    "id": re.compile(r"(?:hidden|link|part|ink)-[0-9]{1,6}|word-[0-9]{1,6}-[0-9]{1,2}"),
    "src": re.compile(r"data:image/.*", re.DOTALL),
    **dict.fromkeys(("start", "value"), re.compile(r"[0-9]{1,9}")),
    **dict.fromkeys(("colspan", "rowspan", "width", "height"), re.compile(r"[0-9]{1,4}")),
}
_SHOWN_ATTRIBUTES = {
    "*": {"style"},
    "a": {"title", "id"},
    "span": {"id"},
    "img": {"src", "alt", "width", "height"},
    "ol": {"start"},
    "li": {"value"},
    "td": _CELL,
    "th": _CELL,
}
MARKS = {"ghost", "blocked", "found"}


def to_tree(canonical: str) -> str:
    """Return canonical HTML as the tree that a browser would build of it, written out again: balanced and regular."""
    attributes = {"*": {"style", *NOTES}, "td": _CELL, "th": _CELL, "ol": {"start"}, "li": {"value"}}
    return _clean(canonical, tags=set(TREE_TAGS | PARSED_TAGS), attributes=attributes, link_rel=None)


def seal(marked: str) -> str:
    """Return what may be shown: only listed tags, attributes and values. No address but a picture's own data."""
    return _clean(
        marked,
        tags=set(SHOWN_TAGS),
        attributes=_SHOWN_ATTRIBUTES,
        attribute_filter=_shown_value,
        allowed_classes={"span": MARKS},
        url_schemes={"data"},
        url_relative="deny",
        link_rel=None,
    )


def _clean(html: str, **settings: object) -> str:
    try:
        return nh3.clean(html, **settings)  # type: ignore[arg-type]
    except BaseException as error:
        # A panic in Rust arrives as a BaseException of its own; it must cost the layout, not the process.
        if type(error).__name__ == "PanicException":
            raise Doubt("it could not be made safe to show") from error
        raise


def _shown_value(tag: str, attribute: str, value: str) -> str | None:
    pattern = _VALUES.get(attribute)
    return value if pattern is None or pattern.fullmatch(value) else None


_CHOICES = {
    "font-style": {"normal", "italic", "oblique"},
    "font-weight": {"normal", "bold", "bolder", "lighter", *(str(n) for n in range(100, 1000, 100))},
    "text-align": {"left", "right", "center", "justify", "start", "end"},
    "text-transform": {"none", "uppercase", "lowercase", "capitalize"},
    "text-decoration": {"none", "underline"},
    "vertical-align": {"top", "middle", "bottom", "baseline", "sub", "super", "text-top", "text-bottom"},
    "white-space": {"normal", "pre-wrap", "pre-line"},
    "list-style-type": {"none", "disc", "circle", "square", "decimal", "lower-alpha", "upper-alpha", "lower-roman"},
    "border-collapse": {"collapse", "separate"},
    "direction": {"ltr", "rtl"},
    "unicode-bidi": {"normal", "embed", "isolate", "bidi-override", "isolate-override", "plaintext"},
}
_SPREAD = tuple(f"{box}{side}" for box in ("margin", "padding") for side in ("", "-top", "-right", "-bottom", "-left"))
_BORDERS = ("border", "border-top", "border-right", "border-bottom", "border-left")


def harmless_style(style: Style, size: float, paints_background: bool) -> str:
    """Return the part of a style that is kept, rebuilt from values that were understood; never the message's own text.

    Dashed lines are kept for our marks alone, so that a message cannot draw boxes that look like them. A line through
    text is drawn where its end is known (`marking`).
    """
    harmless: dict[str, str] = {name: style[name] for name in _CHOICES if style.get(name) in _CHOICES[name]}
    if "underline" in (style.get("text-decoration-line") or style.get("text-decoration", "")).split():
        harmless["text-decoration"] = "underline"
    harmless |= _colours(style, paints_background)
    if "font-size" in style or "font" in style:
        harmless["font-size"] = f"{min(max(size, 9.0), 48.0):.0f}px"
    if "monospace" in style.get("font-family", "") or "courier" in style.get("font-family", ""):
        harmless["font-family"] = "monospace"
    elif "sans-serif" in style.get("font-family", "") or "arial" in style.get("font-family", ""):
        harmless["font-family"] = "sans-serif"
    for name in _SPREAD:
        if name in style:
            harmless[name] = _spread(style[name], size)
    for name in _BORDERS:
        if line := _border(style.get(name, "")):
            harmless[name] = line
    harmless |= _width(style)
    return "".join(f"{name}:{value};" for name, value in harmless.items() if value)


def picture_size(attributes: Mapping[str, str]) -> str:
    """Return the width and height of a picture as attributes, within limits."""
    sizes = ((name, re.match(r"[0-9]{1,4}", attributes.get(name, ""))) for name in ("width", "height"))
    return "".join(f' {name}="{min(int(m.group()), 1200)}"' for name, m in sizes if m)


def _colours(style: Style, paints_background: bool) -> dict[str, str]:
    found = {}
    text = first_colour(style.get("-webkit-text-fill-color") or style.get("color", ""))
    if text:
        found["color"] = _rgb(text)
    if paints_background:
        for name in ("background-color", "background", "background-image"):
            background = first_colour(style.get(name, ""))
            if background and background[3] > 0:
                found["background-color"] = _rgb(background)
                break
    return found


def _rgb(colour: tuple[int, int, int, float]) -> str:
    red, green, blue, alpha = colour
    return f"rgb({red},{green},{blue})" if alpha >= 1 else f"rgba({red},{green},{blue},{alpha:.2f})"


def _spread(value: str, size: float) -> str:
    sides = [_clamped(part, size) for part in value.split()[:4]]
    return " ".join(sides) if sides and all(sides) else ""


def _clamped(part: str, size: float) -> str:
    if part == "auto":
        return "auto"
    pixels = length(part, size)
    return "" if pixels is None else f"{min(max(pixels, 0.0), 64.0):.0f}px"


def _border(value: str) -> str:
    if not value or "none" in value or "hidden" in value:
        return ""
    width, colour = length(value), first_colour(value)
    if width is None or width <= 0:
        return ""
    return f"{min(max(width, 1.0), 6.0):.0f}px solid {_rgb(colour) if colour else 'currentcolor'}"


def _width(style: Style) -> dict[str, str]:
    found = {}
    for name in ("width", "max-width"):
        value = style.get(name, "")
        if value.endswith("%") and (share := length(value, whole=100.0)):
            found[name] = f"{min(max(share, 5.0), 100.0):.0f}%"
        elif (pixels := length(value)) and pixels >= 40 and not value.endswith(("vw", "vh")):
            found[name] = f"{min(pixels, 1200.0):.0f}px"
    return found
