"""Works out in which order an element lays out its parts: numbered and reversed items, parts of tables, floats."""

import re

from rendering.arithmetic import length
from rendering.boxes import WINDOW
from rendering.layout_tree import Box, cut_text, has_words

# A float at the end of a line, as prices have it: so many characters fit one line.
MAX_LINE = 50
_PLACED = (
    "grid-row",
    "grid-row-start",
    "grid-row-end",
    "grid-column",
    "grid-column-start",
    "grid-column-end",
    "grid-area",
)
_NOT_PLACED = re.compile(r"(?:auto|span [0-9]+|initial|unset|inherit)(?: ?/ ?(?:auto|span [0-9]+))?")
ARRANGING = re.compile(r"\b(?:flex|flexbox|grid|box)\b")
_GROUPS = {
    "caption": 0, "table-caption": 0, "summary": 0, "thead": 1, "table-header-group": 1, "tfoot": 8,
    "table-footer-group": 8,
}  # fmt: skip
_TABLE_DISPLAYS = ("table-", "block", "inline", "flex", "grid", "contents", "list-item", "flow-root")
# With these a float is more than one line high.
_HEIGHTENING = ("height", "min-height", "padding", "padding-top", "margin-top", "line-height", "width", "max-width")


def arranged(box: Box) -> "tuple[list[str | Box] | None, str]":
    """Return the parts of an element in the order in which they are laid out, and why; no why where it is as written.

    No parts where the order cannot be worked out.
    """
    parts = _flattened(box)
    items = [part for part in parts if has_words(part)]
    if len(items) < 2:
        return None, ""
    display = box.style.get("display", "")
    if ARRANGING.search(display):
        return _arranged_items(box, parts, display)
    groups = [_group(part, box) for part in parts]
    order = [part for _, part in sorted(zip(groups, parts, strict=True), key=lambda pair: pair[0])]
    if [part for part in order if has_words(part)] != items:
        return order, "order of a table's parts"
    return None, ""


def with_floats_last(box: Box, floats: list[Box]) -> "list[str | Box]":
    """Return the parts with each float behind the words beside it, which end where the next block ends."""
    order: list[str | Box] = []
    held: list[str | Box] = []
    for part in box.parts:
        if isinstance(part, Box) and part in floats:
            held.insert(0, part)
            continue
        order.append(part)
        if held and isinstance(part, Box) and part.is_block and part.has_words:
            order += held
            held = []
    return order + held


def below(floats: list[Box]) -> Box | None:
    """Return the last of several floats if there may be no room for it beside the others, but for text above it."""
    if len(floats) < 2 or all(one.style.get("width") == "100%" for one in floats[:-1]):
        return None
    last = floats[-1]
    value = last.style.get("width", "")
    width = length(value, last.size, 100.0)
    is_wide = len(cut_text(last)) > MAX_LINE if width is None else width > (50 if value.endswith("%") else WINDOW)
    return last if is_wide else None


def is_line_end(box: Box) -> bool:
    """Whether a float stands at the end of the line that it is written in, and no lower."""
    if not box.follows_words or box.has_breaks or any(box.style.get(name) for name in _HEIGHTENING):
        return False
    above = box.above.size if box.above else box.size
    return box.starts_at + len(cut_text(box).strip()) <= MAX_LINE and box.size <= above


def _arranged_items(box: Box, parts: "list[str | Box]", display: str) -> "tuple[list[str | Box] | None, str]":
    items = [part for part in parts if isinstance(part, Box)]
    laid = " ".join(box.style.get(name, "") for name in ("flex-flow", "flex-direction", "flex-wrap", "box-direction"))
    if "grid" in display:
        areas = any(
            box.style.get(name, "none") not in ("none", "") for name in ("grid-template-areas", "grid", "grid-template")
        )
        placed = any(
            not _NOT_PLACED.fullmatch(item.style[name]) for item in items for name in _PLACED if item.style.get(name)
        )
        if areas or placed or "dense" in box.style.get("grid-auto-flow", ""):
            return None, "placed in a grid"
    if "wrap-reverse" in laid:
        return None, "reversed lines"
    numbers = [_order_number(part) for part in parts]
    if None in numbers:
        return None, "numbered items"
    keyed = sorted(zip([n or 0 for n in numbers], parts, strict=True), key=lambda pair: pair[0])
    order = [part for _, part in keyed]
    how = "numbered items" if [p for p in order if has_words(p)] != [p for p in parts if has_words(p)] else ""
    if "reverse" in laid:
        return order[::-1], "reversed items"
    return (order, how) if how else (None, "")


def _order_number(part: "str | Box") -> int | None:
    value = part.style.get("order", "") if isinstance(part, Box) else ""
    if value in ("", "initial", "unset"):
        return 0
    return int(value) if re.fullmatch(r"[-+]?[0-9]{1,9}", value) else None


def _group(part: "str | Box", table: Box) -> int:
    if isinstance(part, str):
        return 5
    display = part.style.get("display", "")
    group = _GROUPS.get(display if display.startswith(_TABLE_DISPLAYS) else part.tag, 5)
    if part.tag == "summary" and table.tag != "details":
        return 5
    side = part.style.get("caption-side") or table.style.get("caption-side", "")
    return 9 if group == 0 and ("bottom" in side or "end" in side) else group


def _flattened(box: Box) -> "list[str | Box]":
    """Return the parts of an element; those of an element without a box of its own stand in its place."""
    if not any(isinstance(part, Box) and part.style.get("display") == "contents" for part in box.parts):
        return box.parts
    found: list[str | Box] = []
    for part in box.parts:
        is_open = isinstance(part, Box) and part.style.get("display") == "contents"
        found += _flattened(part) if isinstance(part, Box) and is_open else [part]
    return found
