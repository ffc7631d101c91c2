"""The last pass before the frame: only listed tags, attributes and values get through."""

import re

from simple_form.elements import cleaned
from simple_form.simplify import ATTRIBUTES, TAGS, VALUES

_VALUES = {
    **VALUES,
    "id": re.compile(r"(?:hidden|link|part|ink)-[0-9]{1,6}|word-[0-9]{1,6}-[0-9]{1,2}"),
    "src": re.compile(r"data:image/.*", re.DOTALL),
}
_ATTRIBUTES = {**ATTRIBUTES, "a": {"title", "id"}, "span": {"id"}}
MARKS = {"ghost", "blocked", "found"}


def seal(marked: str) -> str:
    """Return what may be shown. No address but a picture's own data is in it."""
    return cleaned(
        marked,
        tags=set(TAGS),
        attributes=_ATTRIBUTES,
        attribute_filter=_shown_value,
        allowed_classes={"span": MARKS},
        url_schemes={"data"},
        url_relative="deny",
        link_rel=None,
    )


def _shown_value(tag: str, attribute: str, value: str) -> str | None:
    pattern = _VALUES.get(attribute)
    return value if pattern is None or pattern.fullmatch(value) else None
