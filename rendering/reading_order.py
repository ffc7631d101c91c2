"""Follows the layout of a message far enough to say where its recipient reads it in another order than it is written.

Items that are ordered or reversed, floats, parts of tables and text turned round give a second reading. Of what is
placed by offsets it is only known that it lies elsewhere. Linear: every element is looked at once, when it ends.
"""

import re
from dataclasses import dataclass, field

from rendering.arithmetic import ROOT_SIZE, lengths
from rendering.arrangement import ARRANGING, arranged, below, is_line_end, with_floats_last
from rendering.boxes import Style
from rendering.displacement import EDGES, displaced, is_placed, is_pulled_out, is_rtl, left_inset, margin, turned
from rendering.layout_tree import WORD, Box, cut_text, readings, text_of
from rendering.nesting import BLOCKS, TABLE_PARTS
from rendering.shown import ReorderedText

# Parts of a letter that are told apart; one that has more is told as a whole.
MAX_REORDERED = 30
_WORDS = re.compile(r"\w+")
APART = frozenset(
    {"inline-block", "table-cell", "table-caption", "flow-root", "inline-table", "flex", "inline-flex", "grid"}
)
_SIDES = {"left": "left", "inline-start": "left", "right": "right", "inline-end": "right"}


@dataclass(slots=True, eq=False)
class _Context:
    """What floats affect one another: the inside of a cell, of a float, of an inline block."""

    box: Box
    has_words: bool = False  # in the line that is being written
    right: list[Box] = field(default_factory=list)  # floats with words that nothing has cleared
    left: list[Box] = field(default_factory=list)
    line: int = 0  # how many letters the line has so far


class ReadingOrder:
    """The layout of one message, told element by element."""

    def __init__(self) -> None:
        self.here = Box("", {}, None, is_block=True)
        self.contexts = [_Context(self.here)]
        self.passed: list[Box] = []  # floats that later words are read before
        self.count = 0
        self.begun = 0

    def within(self, style: Style, size: float) -> "ReadingOrder":
        """Begin with an element of this style around all of the message."""
        self.start("div", style, size)
        return self

    def start(self, tag: str, style: Style, size: float) -> None:
        """Begin an element."""
        above, display = self.here, style.get("display", "")
        self.begun += 1
        box = Box(tag, style, above, size, number=self.begun)
        above.parts.append(box)
        box.is_block = _is_block(tag, display)
        box.is_item = is_item = bool(ARRANGING.search(above.style.get("display", "")))
        placed = style.get("position") in ("absolute", "fixed")
        side = style.get("float", "")
        box.floats = "" if placed or is_item else _SIDES.get(side, "")
        box.is_apart = box.is_block or is_item or placed or bool(box.floats) or display in APART
        direction = style.get("direction")
        box.is_rtl = direction == "rtl" if direction in ("rtl", "ltr") else above.is_rtl
        self._place(box, display)
        context = self.contexts[-1]
        clear = style.get("clear", "none")
        if clear in ("both", "right", "inline-end", "inline-start", "all"):
            context.right.clear()
        if clear in ("both", "left", "inline-start", "all"):
            context.left.clear()
        box.follows_words, box.starts_at = context.has_words, context.line
        if box.is_block and not box.floats and not placed:
            self._line_ends()
        if box.floats or placed or is_item or display in APART or tag in ("td", "th", "caption") or _cuts(style):
            self.contexts.append(_Context(box))
        self.here = box

    def _place(self, box: Box, display: str) -> None:
        above, style, size = box.above, box.style, box.size
        assert above is not None
        starts_anew = box.floats or box.is_item or display in APART or box.tag in ("td", "th", "table")
        box.inset = (0.0 if starts_anew else above.inset) + left_inset(style, size)
        vertical = min(0.0, *(margin(style, side, size) for side in ("top", "bottom")))
        offsets = [0.0]
        if style.get("position") == "relative":
            offsets = [abs(n) for side in EDGES for n in lengths(style.get(side, ""), size)] or [0.0]
        box.drift = above.drift + max(offsets) - (vertical if box.tag not in ("td", "th", "tr") else 0.0)

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
        self.here.said += len(text.split())
        if self.here.is_rtl:
            words = _WORDS.findall(text)
            self.here.words += len(words)
            self.here.rtl_words += sum(map(is_rtl, words))
        is_beside = True
        for context in reversed(self.contexts):
            if context.right and self.count + len(self.passed) < MAX_REORDERED:
                self.passed += context.right
            context.right = []
            if is_beside:
                if (last := below(context.left)) and self.count + len(self.passed) < MAX_REORDERED:
                    self.passed.append(last)
                context.left = []
                context.has_words = True
                context.line += len(text)
            is_beside = is_beside and not (context.box.is_block or context.box.floats or is_placed(context.box.style))

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
        above.said += box.said
        above.has_breaks = above.has_breaks or box.has_breaks or (box.is_block and not box.floats)
        if above.is_rtl:
            # A part that goes from left to right counts as one word of those around it.
            above.words += box.words if box.is_rtl else box.has_words
            above.rtl_words += box.rtl_words
        context = self.contexts[-1]
        if box.floats and box.has_words:
            (context.right if box.floats == "right" else context.left).append(box)
        if box.is_block and not box.floats and not is_placed(box.style):
            self._line_ends()

    def _reordered(self, box: Box) -> ReorderedText | None:
        # What began after this element and has ended before it lies in it.
        passed = [one for one in self.passed if one.number > box.number]
        if passed:
            self.passed = [one for one in self.passed if one not in passed]
        if not box.has_words:
            return None
        moved, box.moved = box.moved, []
        box.how = displaced(box) if box.above is not None else ""
        is_told = box.is_block and (len(moved) > 1 or any(one.said < box.said or is_pulled_out(one) for one in moved))
        if box.above is not None:
            # Where nothing else stands beside what was moved, it is read as it is written.
            box.above.moved += [*([] if is_told else moved), *([box] if box.how else [])][:MAX_REORDERED]
        if is_told:
            how = ", ".join(dict.fromkeys(one.how for one in moved))
            return readings(how, cut_text(box), "", at=cut_text(box).find("["))
        if how := turned(box):
            reading = cut_text(box)[::-1] if "override" in box.style.get("unicode-bidi", "") else ""
            return readings(how, cut_text(box), reading)
        if box.floats == "left" and box.follows_words and box.above is not None:
            return readings(
                "set to the left", cut_text(box.above), text_of([box, *(p for p in box.above.parts if p is not box)])
            )
        order, how = arranged(box)
        if how and order is not None:
            return readings(how, cut_text(box), text_of(order))
        if how:
            return readings(how, cut_text(box), "")
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
    order.start("img", style, ROOT_SIZE)
    return displaced(order.here)
