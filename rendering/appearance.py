"""How an element of a message is drawn and how text in it looks.

Messages write most of their elements alike: each appearance is worked out once and shared by all that have it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

from rendering.html_reading import BLOCKS, TABLE_PARTS
from rendering.layout_boxes import Style
from rendering.links import separators
from rendering.reading_order import Layout
from rendering.sanitise import PARSED_TAGS, SHOWN_TAGS, harmless_style
from rendering.styling import read_style
from rendering.visibility import STRUCK, Look, collapsed, floats, is_struck

SOME = "in some windows or mail programs"
BREAKS = BLOCKS | TABLE_PARTS
_DRAWN_AS = (
    {"center": "div", "font": "span", "big": "span", "tt": "code"}
    | dict.fromkeys(STRUCK, "span")
    | {tag: "div" if tag in BLOCKS else "span" for tag in PARSED_TAGS}
)
# The attributes of our tree that say how an element looks.
_SHAPING = ("style", "data-doubted", "data-why", "data-maybe")
_LINK_BLUE = (30, 90, 168, 1.0)


@dataclass(eq=False)
class Appearance:
    """How an element is drawn and how text in it looks: worked out once for all that are written alike in one place.

    `other` and `in_doubt` are its look and style in mail programs that follow what others ignore; `maybe` is why it
    may be hidden where nothing around it is; `inside` holds the appearances of the elements in it.
    """

    tag: str
    look: Look
    other: Look
    style: Style
    in_doubt: Style
    maybe: str = ""
    inside: "dict[tuple[object, ...], Appearance]" = field(default_factory=dict)

    def of(self, tag: str, attributes: Mapping[str, str]) -> "Appearance":
        """Return the appearance of an element in this one."""
        key = (tag, "data-link" in attributes, *map(attributes.get, _SHAPING))
        if key not in self.inside:
            self.inside[key] = self._of(tag, attributes)
        return self.inside[key]

    def _of(self, tag: str, attributes: Mapping[str, str]) -> "Appearance":
        style, doubted = (read_style(attributes.get(name, "")) for name in ("style", "data-doubted"))
        above, why = self.look, attributes.get("data-why", "")
        look = above.inside(style, why or collapsed(tag, style), attributes.get("data-maybe", ""))
        look = replace(look, is_struck=is_struck(tag, style, look.is_struck))
        in_doubt = with_doubts(style, doubted)
        other = self.other.in_doubt(tag, in_doubt, why or collapsed(tag, in_doubt))
        if "data-link" in attributes and not (style.get("color") or style.get("-webkit-text-fill-color")):
            look, other = replace(look, colour=_LINK_BLUE), replace(other, colour=_LINK_BLUE)
        maybe = look.possible if look.possible != above.possible else ""
        return Appearance(tag, look, other, style, in_doubt, maybe)

    @cached_property
    def hidden(self) -> str:
        """Why text in it cannot be seen; empty when it can be."""
        return self.look.hides()

    @cached_property
    def doubt(self) -> str:
        """Why text in it that is seen is hidden from others; empty where it is not."""
        hidden = self.look.is_crowded() or self.other.hides() or self.other.is_crowded()
        return f"{hidden} {SOME}" if hidden else ""

    @cached_property
    def drawn(self) -> str:
        """The tag it is drawn as; empty where it is not drawn."""
        if self.hidden and self.tag not in BREAKS:
            return ""
        return _DRAWN_AS.get(self.tag, self.tag if self.tag in SHOWN_TAGS else "")

    @cached_property
    def harmless(self) -> str:
        """The part of its style that is kept."""
        return harmless_style(self.style, self.look.size, not self.hidden) if self.style else ""

    @cached_property
    def separators(self) -> tuple[str, str]:
        """What parts its text from the text before and after it."""
        return ("", "") if self.hidden else separators(self.tag, self.style, self.look.size)

    @cached_property
    def layouts(self) -> tuple[Layout, Layout]:
        """Its place in mail programs that follow only what all follow, and in the others."""
        layout = Layout(self.tag, self.style, self.look.size)
        is_sure = self.in_doubt is self.style
        return layout, layout if is_sure else Layout(self.tag, self.in_doubt, self.look.size)

    @cached_property
    def is_inline(self) -> bool:
        """Whether it is a box that words may follow on the same line. The page itself, without a tag, is none."""
        return bool(self.tag) and ("inline-" in self.style.get("display", "") or floats(self.style))


def with_doubts(style: Style, doubted: Style) -> Style:
    """Return the style for mail programs that follow what others ignore. The later declaration counts."""
    return {name: value for name, value in style.items() if name not in doubted} | dict(doubted) if doubted else style
