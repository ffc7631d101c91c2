"""Says whether text has a line through it: how far the line of an element goes depends on the boxes inside it."""

from rendering.boxes import Style

STRUCK = frozenset({"s", "strike", "del"})


def is_struck(tag: str, style: Style, above: bool) -> bool:
    """Whether text in an element has a line through it. It goes through all that is inside, but for boxes apart."""
    display, position = style.get("display", ""), style.get("position", "")
    is_apart = display.startswith("inline-") or position in ("absolute", "fixed") or floats(style)
    value = ""
    for name in reversed(list(style)):
        if name in ("text-decoration", "text-decoration-line"):
            value = style[name]
            break
    own = "line-through" in value if value else tag in STRUCK
    is_drawn = "transparent" not in value and style.get("text-decoration-color") != "transparent"
    return (own and is_drawn) or (above and not is_apart) or (above and value == "inherit")


def floats(style: Style) -> bool:
    """Whether an element floats to a side."""
    return style.get("float", "none") not in ("none", "initial", "unset")
