"""Says whether an element of an original is written as it is. Only an original of which
all elements are is exact: its recipient sees what the desk shows.
"""

from collections.abc import Mapping

from simple_form.colours import BLACK, LINK, WHITE, colour_of
from simple_form.declarations import declarations_of, fonts_of, held_by, pixels
from simple_form.elements import property_of
from simple_form.html_reading import Token
from simple_form.looks import Look
from simple_form.tree import WRAPS, Declared

# Attributes that no program shows. The numbers of items, and the addresses of links, are
# written wherever they count.
_SILENT = frozenset(
    "style class id title target rel role name href start value".split()
)
# Properties that are written although the original does not set them: what elements have
# anyway, and pictures so that they fit into the window.
_COLOURS = {"color", "background-color"}
_ADDED = {
    "table": {*_COLOURS, "font-size"},
    "ol": {*_COLOURS, "list-style-position"},
    "ul": {*_COLOURS, "list-style-position"},
    "img": {"max-width", "width"},
}
# What links have, and the element around a simple form. It changes no words elsewhere.
_GIVEN = {
    ("color", str(LINK)),
    *((one.name, one.value) for one in declarations_of(WRAPS)),
}


def is_written(
    element: Token,
    declared: Declared,
    tag: str,
    attributes: Mapping[str, str],
    style: Mapping[str, str],
    look: Look,
) -> bool:
    """Whether an element is written with its own tag, the attributes and values that it
    has, and no others. The element around a message has the name "body" or "div".
    """
    own = held_by([*declared.attributes, *declared.style]).items()
    names = {one.name for one in declared.together()}
    return (
        element.name in (tag, "body")
        and not declared.sheets
        and style.keys() <= names | _ADDED.get(tag, _COLOURS)
        and all(
            (name, value) in _GIVEN or _is_kept(name, value, attributes, style, look)
            for name, value in own
        )
        and all(
            name in _SILENT
            or name.startswith(("aria-", "data-"))
            or property_of(name, element.name)
            or attributes.get(name) == value
            for name, value in element.attributes.items()
        )
    )


def _is_kept(
    name: str,
    value: str,
    attributes: Mapping[str, str],
    style: Mapping[str, str],
    look: Look,
) -> bool:
    if name in _COLOURS:
        # One that can be seen through is another colour on another ground.
        colour = colour_of(value, BLACK)
        shown = look.pair[name != "color"]
        return colour == colour_of(value, WHITE) == shown
    if name == "direction":
        return value == look.direction
    # How many cells a row has is counted by the tree.
    if name == "cells":
        return True
    if name == "font-family":
        value = ", ".join(fonts_of(value))
    length = pixels(value, look.size)
    if length is not None:
        value = f"{length:.0f}px"
    return value == style.get(name, f"{attributes.get(name)}px")
