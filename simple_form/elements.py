"""What the elements of a message are written as, and what their attributes do."""

import re
from collections.abc import Iterator
from fnmatch import fnmatchcase
from functools import lru_cache
from itertools import product

from simple_form.data import table
from simple_form.declarations import Allowed, Declaration
from simple_form.html_reading import BLANKS, Token, ascii_lower

# The tag that is written for elements, and whether they look the same in any program.
# "-" stands for those that are not drawn. Elements that are in no line become <span>.
_ELEMENTS = {
    name: (tag, kind)
    for tag, kind, names in table("elements.txt")
    for name in names.split()
}
TAGS = frozenset(tag for tag, _ in _ELEMENTS.values()) - {"-"}
# The styles that elements have by themselves.
DEFAULTS = dict(table("defaults.txt"))
# What attributes do, by their name and that of the element.
_EFFECTS = {
    key: effect
    for attributes, names, effect in table("attributes.txt")
    for key in product(attributes.split(), names.split())
}
_PATTERNS = [one for one, _ in _EFFECTS if "*" in one]
# What values of attributes are in CSS, by the property that they set.
_IN_CSS = {(name, value): in_css for name, value, in_css in table("values.txt")}


def tag_of(name: str) -> str:
    """Return the tag that is written for an element; "-" if it is not drawn."""
    return _ELEMENTS.get(name, ("span",))[0]


@lru_cache(maxsize=2048)
def _effect_of(attribute: str, name: str) -> str:
    """Return what an attribute does: "=" and a property, or the values that are usual;
    empty if it is not known.
    """
    for key in ((attribute, name), (attribute, "*")):
        if key in _EFFECTS:
            return _EFFECTS[key]
    return next(
        (_EFFECTS[one, "*"] for one in _PATTERNS if fnmatchcase(attribute, one)), ""
    )


def property_of(attribute: str, name: str) -> str:
    """Return the property of CSS that an attribute of an element sets; empty if none."""
    effect = _effect_of(attribute, name)
    return effect[1:].partition(":")[0] if effect.startswith("=") else ""


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
        effect = _effect_of(attribute, element.name)
        if not effect or (value and not _is_usual(effect, value)):
            yield f"{element.name} {attribute}={value}"[:80]


@lru_cache(maxsize=2048)
def _is_usual(effect: str, value: str) -> bool:
    if effect == "plain":
        return "<" not in value
    if effect == "picture":
        return value.startswith(("http:", "https:", "cid:", "data:"))
    if effect.startswith("other-than "):
        return not any(word in value for word in effect.split()[1:])
    return effect.startswith("=") or Allowed(effect).has(value)
