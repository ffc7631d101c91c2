"""Follows the layout of a message far enough to say where its recipient reads it in another order than it is written.

Items that are ordered or reversed, floats, parts of tables and text turned round give a second reading. Of what is
placed by offsets it is only known that it lies elsewhere. Linear: every element is looked at once, when it ends.
"""

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field

from rendering.css_values import ROOT_SIZE, length, lengths
from rendering.html_reading import BLOCKS, TABLE_PARTS
from rendering.layout_boxes import WINDOW, Style, is_placed, is_transformed, left_inset, margin
from rendering.result import ReorderedText

# Characters of each reading that are looked at, and that are shown.
MAX_READ, MAX_SHOWN = 4000, 240
# Words of the same text before the first that differs.
SAME_BEFORE = 40
WORD = re.compile(r"\w")


@dataclass(slots=True, eq=False)
class Box:
    """An element, with the text and the elements inside it in the order in which they are written."""

    layout: "Layout"
    above: "Box | None"
    parts: "list[str | Box]" = field(default_factory=list)
    has_words: bool = False
    is_block: bool = False
    is_apart: bool = False  # it is separated from the text around it
    has_breaks: bool = False
    floats: str = ""  # the side that it floats to
    follows_words: bool = False  # on the line that it starts in
    starts_at: int = 0  # behind so many characters of it
    is_rtl: bool = False
    inset: float = 0.0  # how far its left edge lies inside the box around it
    offset: float = 0.0  # how far it was moved, with the elements around it
    moved: "list[Box]" = field(default_factory=list)  # in it, and drawn elsewhere
    how: str = ""  # why it is drawn elsewhere itself
    is_item: bool = False  # of an element that arranges what is in it
    word_count: int = 0
    words: int = 0  # drawn from right to left; rtl_words are those that are also written so
    rtl_words: int = 0
    number: int = 0  # in the order in which elements begin

    @property
    def style(self) -> Style:
        return self.layout.style

    @property
    def size(self) -> float:
        return self.layout.size

    def text(self) -> Iterator[str]:
        """Yield the text of the box in source order."""
        yield " " if self.is_apart else ""
        yield "[" if self.how else ""
        for part in self.parts:
            if isinstance(part, str):
                yield part
            else:
                yield from part.text()
        yield "]" if self.how else ""
        yield " " if self.is_apart else ""


def has_words(part: "str | Box") -> bool:
    return bool(WORD.search(part)) if isinstance(part, str) else part.has_words


def cut_text(box: Box) -> str:
    return text_of(box.parts)


def text_of(parts: "list[str | Box]") -> str:
    pieces: list[str] = []
    left = MAX_READ
    for part in parts:
        for piece in [part] if isinstance(part, str) else part.text():
            pieces.append(piece[:left])
            left -= len(piece)
            if left <= 0:
                return " ".join("".join(pieces).split())
    return " ".join("".join(pieces).split())


def readings(how: str, written: str, read: str, *, at: int = 0) -> ReorderedText:
    """Return both readings from shortly before the first words that differ; without a second one, from before `at`."""
    if not read or read == written:
        return ReorderedText(how, _start(written, _word_before(written, at)), "")
    pairs = zip(written, read, strict=False)
    same = next((at for at, (one, other) in enumerate(pairs) if one != other), min(len(written), len(read)))
    at = _word_before(written, same)
    return ReorderedText(how, _start(written, at), _start(read, at))


def _word_before(text: str, at: int) -> int:
    """Return where the words begin that stand shortly before this place."""
    return text.rfind(" ", 0, at - SAME_BEFORE) + 1 if at > SAME_BEFORE else 0


def _start(text: str, at: int) -> str:
    return ("… " if at else "") + text[at : at + MAX_SHOWN].strip() + (" …" if len(text) > at + MAX_SHOWN else "")


# How far text may be moved before it can be next to other words, as a share of its font size.
SLIGHT = 0.35
_ACROSS = frozenset("horizontal-tb lr-tb lr initial inherit unset".split())
EDGES = ("left", "right", "top", "bottom", "inset")


def displaced(box: Box) -> str:
    """Return why an element is drawn elsewhere than where it is written; empty where it is not."""
    layout, slight = box.layout, SLIGHT * box.layout.size
    if layout.elsewhere:
        return layout.elsewhere
    above = box.above.offset if box.above else 0.0
    if box.offset > slight and box.offset > above:
        is_relative = layout.style.get("position") == "relative"
        return "moved from its place" if is_relative else "pulled over its surroundings"
    indent = layout.indent
    if min(box.inset, box.inset + indent) < -2 and (indent < 0 or layout.inset < 0):
        return "pulled to the left"
    if (not box.is_block or box.floats or box.is_item) and layout.least_margin < -slight:
        return "pulled over its surroundings"
    return layout.turned


def is_pulled_out(box: Box) -> bool:
    """Whether an element may be drawn beyond the left or upper edge of the page, or turned, whatever is beside it."""
    style, size = box.style, box.size
    moves = [length(style.get(side, ""), size) or 0.0 for side in ("left", "top")] + lengths(
        style.get("inset", ""), size
    )
    moves += [-(length(style.get(side, ""), size) or 0.0) for side in ("right", "bottom")]
    moves += [margin(style, "left", size), margin(style, "top", size), *lengths(style.get("translate", ""), size)]
    if is_placed(style):
        moves += [length(style.get(side, ""), size) or 0.0 for side in ("right", "bottom")]
    is_turned = "transform" in style or "rotate" in style or "scale" in style or "writing-mode" in style
    return is_turned or min(moves) < -SLIGHT * size or box.inset < 0 or "text-indent" in style


def turned(box: Box) -> str:
    """Return why the words of an element are drawn from right to left though they are not written that way."""
    if box.layout.is_overridden:
        return "text turned round" if box.is_rtl or is_rtl(cut_text(box)) else ""
    turns = box.is_rtl and not (box.above and box.above.is_rtl)
    return "right to left" if turns and box.words > 1 and box.rtl_words * 2 < box.words else ""


def is_rtl(text: str) -> bool:
    return any(unicodedata.bidirectional(c) in ("R", "AL") for c in text)


def lies_over(box: Box) -> str:
    """Return why an element without words may cover or move others; empty where it does not."""
    how = "" if box.has_words else displaced(box)
    if not how:
        return ""
    is_painted = any(name.startswith(("background", "border")) for name in box.style)
    return how if is_painted or any("margin" in name for name in box.style) else ""


# A float at the end of a line, as prices have it: so many characters fit one line.
MAX_LINE = 50
_PLACED = "grid-row grid-row-start grid-row-end grid-column grid-column-start grid-column-end grid-area".split()
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
    if box.layout.arranges:
        return _arranged_items(box, parts, box.style["display"])
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
    """Whether a float is at the end of the line that it is written in, and no lower."""
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
    group = part.layout.group
    if group == 5 or (part.layout.tag == "summary" and table.layout.tag != "details"):
        return 5
    side = part.style.get("caption-side") or table.style.get("caption-side", "")
    return 9 if group == 0 and ("bottom" in side or "end" in side) else group


def _flattened(box: Box) -> "list[str | Box]":
    """Return the parts of an element; an element without a box is replaced by its own parts."""
    if not any(isinstance(part, Box) and part.layout.has_no_box for part in box.parts):
        return box.parts
    found: list[str | Box] = []
    for part in box.parts:
        is_open = isinstance(part, Box) and part.layout.has_no_box
        found += _flattened(part) if isinstance(part, Box) and is_open else [part]
    return found


# A message with more reordered parts than this is announced as a whole.
MAX_REORDERED = 30
_WORDS = re.compile(r"\w+")
APART = frozenset(
    {"inline-block", "table-cell", "table-caption", "flow-root", "inline-table", "flex", "inline-flex", "grid"}
)
_SIDES = {"left": "left", "inline-start": "left", "right": "right", "inline-end": "right"}


_CLEARED = {
    **dict.fromkeys(("both", "inline-start", "all"), ("left", "right")),
    **dict.fromkeys(("right", "inline-end"), ("right",)),
    "left": ("left",),
}


class Layout:
    """What an element's own tag and style say of its place, whatever is around it. Elements written alike share it."""

    def __init__(self, tag: str, style: Style, size: float = ROOT_SIZE) -> None:
        self.tag, self.style, self.size = tag, style, size
        display, position = style.get("display", ""), style.get("position", "static")
        self.is_block = _is_block(tag, display)
        self.is_placed = is_placed(style)
        self.is_apart = display in APART
        self.is_context = self.is_placed or self.is_apart or tag in ("td", "th", "caption") or _cuts(style)
        self.is_inset_anew = self.is_apart or tag in ("td", "th", "table")
        self.has_no_box = display == "contents"
        self.arranges = bool(ARRANGING.search(display))
        self.group = _GROUPS.get(display if display.startswith(_TABLE_DISPLAYS) else tag, 5)
        self.floats = "" if self.is_placed else _SIDES.get(style.get("float", ""), "")
        self.clears = _CLEARED.get(style.get("clear", "none"), ())
        self.direction = style.get("direction")
        self.is_overridden = "override" in style.get("unicode-bidi", "")
        self.inset = left_inset(style, size)
        self.indent = length(style.get("text-indent", ""), size) or 0.0
        self.least_margin = min(margin(style, side, size) for side in ("left", "right"))
        vertical = min(0.0, *(margin(style, side, size) for side in ("top", "bottom")))
        edges = [abs(n) for side in EDGES for n in lengths(style.get(side, ""), size)] if "position" in style else []
        # How far it is moved from where it is written.
        self.offset = max(edges or [0.0]) if position == "relative" else 0.0
        self.offset -= vertical if tag not in ("td", "th", "tr") else 0.0
        # Why it is drawn elsewhere, and why its words are, where nothing else has to be known for that.
        self.elsewhere = "put in a place of its own" if self.is_placed else ""
        if position.endswith("sticky") and edges:
            self.elsewhere = "moved from its place"
        self.turned = "moved or turned" if is_transformed(style, size, SLIGHT * size) else ""
        if style.get("writing-mode", "horizontal-tb") not in _ACROSS:
            self.turned = "written downwards"


@dataclass(slots=True, eq=False)
class _Context:
    """What floats affect one another: the inside of a cell, of a float, of an inline block."""

    box: Box
    has_words: bool = False  # in the line that is being written
    right: list[Box] = field(default_factory=list)  # floats with words that nothing has cleared
    left: list[Box] = field(default_factory=list)
    line: int = 0  # how many characters the line has so far


class ReadingOrder:
    """The layout of one message, followed element by element."""

    def __init__(self) -> None:
        self.here = Box(Layout("", {}), None, is_block=True)
        self.contexts = [_Context(self.here)]
        self.passed_floats: list[Box] = []  # floats that later words are read before
        self.count = 0
        self.begun = 0

    def within(self, style: Style, size: float) -> "ReadingOrder":
        """Begin with an element of this style around all of the message."""
        self.start(Layout("div", style, size))
        return self

    def start(self, layout: Layout) -> None:
        """Begin an element."""
        above = self.here
        self.begun += 1
        box = Box(layout, above, number=self.begun)
        above.parts.append(box)
        box.is_block = layout.is_block
        box.is_item = is_item = above.layout.arranges
        box.floats = "" if is_item else layout.floats
        box.is_apart = layout.is_block or is_item or layout.is_placed or bool(box.floats) or layout.is_apart
        box.is_rtl = layout.direction == "rtl" if layout.direction in ("rtl", "ltr") else above.is_rtl
        box.inset = (0.0 if box.floats or is_item or layout.is_inset_anew else above.inset) + layout.inset
        box.offset = above.offset + layout.offset
        context = self.contexts[-1]
        for side in layout.clears:
            (context.right if side == "right" else context.left).clear()
        box.follows_words, box.starts_at = context.has_words, context.line
        if box.is_block and not box.floats and not layout.is_placed:
            self._line_ends()
        if box.floats or is_item or layout.is_context:
            self.contexts.append(_Context(box))
        self.here = box

    def line_break(self) -> None:
        """A line ends here."""
        self.here.parts.append(" ")
        self.here.has_breaks = True
        self._line_ends()

    def _line_ends(self) -> None:
        context = self.contexts[-1]
        context.has_words, context.line = False, 0
        context.right = [one for one in context.right if not is_line_end(one)]

    def text(self, text: str) -> None:
        """Words of the message, as they are written."""
        self.here.parts.append(text)
        if not WORD.search(text):
            return
        self.here.has_words = True
        self.here.word_count += len(text.split())
        if self.here.is_rtl:
            words = _WORDS.findall(text)
            self.here.words += len(words)
            self.here.rtl_words += sum(map(is_rtl, words))
        is_same_line = True
        for context in reversed(self.contexts):
            if context.right and self.count + len(self.passed_floats) < MAX_REORDERED:
                self.passed_floats += context.right
            context.right = []
            if is_same_line:
                if (last := below(context.left)) and self.count + len(self.passed_floats) < MAX_REORDERED:
                    self.passed_floats.append(last)
                context.left = []
                context.has_words = True
                context.line += len(text)
            is_same_line = is_same_line and not (
                context.box.is_block or context.box.floats or context.box.layout.is_placed
            )

    def end(self) -> ReorderedText | None:
        """End the element begun last; return how what it holds is reordered, None where it is not."""
        box = self.here
        above = box.above
        if self.contexts[-1].box is box:
            self.contexts.pop()
        if above is not None:
            self._update_parent(box, above)
            self.here = above
        found = self._reordered(box)
        if found is None or self.count >= MAX_REORDERED:
            return None
        self.count += 1
        return found

    def _update_parent(self, box: Box, above: Box) -> None:
        above.has_words = above.has_words or box.has_words
        above.word_count += box.word_count
        above.has_breaks = above.has_breaks or box.has_breaks or (box.is_block and not box.floats)
        if above.is_rtl:
            # A part that goes from left to right counts as one word of those around it.
            above.words += box.words if box.is_rtl else box.has_words
            above.rtl_words += box.rtl_words
        context = self.contexts[-1]
        if box.floats and box.has_words:
            (context.right if box.floats == "right" else context.left).append(box)
        if box.is_block and not box.floats and not box.layout.is_placed:
            self._line_ends()

    def _reordered(self, box: Box) -> ReorderedText | None:
        # Floats that began after this element and ended before it lie inside it.
        passed = [one for one in self.passed_floats if one.number > box.number]
        if passed:
            self.passed_floats = [one for one in self.passed_floats if one not in passed]
        if not box.has_words:
            return None
        moved, box.moved = box.moved, []
        box.how = displaced(box) if box.above is not None else ""
        is_announced = box.is_block and (
            len(moved) > 1 or any(one.word_count < box.word_count or is_pulled_out(one) for one in moved)
        )
        if box.above is not None and (moved or box.how):
            # Moved text is read in source order where nothing else is next to it.
            box.above.moved += [*([] if is_announced else moved), *([box] if box.how else [])][:MAX_REORDERED]
        if is_announced:
            how = ", ".join(dict.fromkeys(one.how for one in moved))
            return readings(how, cut_text(box), "", at=cut_text(box).find("["))
        if how := turned(box):
            reading = cut_text(box)[::-1] if box.layout.is_overridden else ""
            return readings(how, cut_text(box), reading)
        if box.floats == "left" and box.follows_words and box.above is not None:
            return readings(
                "set to the left", cut_text(box.above), text_of([box, *(p for p in box.above.parts if p is not box)])
            )
        order, how = arranged(box)
        if how:
            return readings(how, cut_text(box), text_of(order or []))
        if passed:
            is_clear = all(one.above is box and one.floats == "right" for one in passed)
            reading = text_of(with_floats_last(box, passed)) if is_clear else ""
            return readings(f"set to the {passed[0].floats}", cut_text(box), reading)
        return None


def _is_block(tag: str, display: str) -> bool:
    if display.startswith("inline") or display == "contents":
        return False
    return (bool(display) and display not in ("none", "ruby")) or tag in BLOCKS or tag in TABLE_PARTS


def _cuts(style: Style) -> bool:
    return any(style.get(name, "visible") not in ("visible", "") for name in ("overflow", "overflow-x", "overflow-y"))


def lies_elsewhere(style: Style) -> str:
    """Return why something without words of its own, such as a picture, is drawn elsewhere than where it is written."""
    order = ReadingOrder()
    order.start(Layout("img", style))
    return displaced(order.here)
