"""Gathers what elements say whose text may be seen by some only: hidden somewhere, or cut off at the edge of a box."""

from dataclasses import dataclass, field, replace

from rendering.boxes import Room, Style, room_for
from rendering.hidden import Look
from rendering.link_texts import SeenLink

CELLS = frozenset("td th tr tbody thead tfoot table".split())
SOME = "in some windows or mail programs"


@dataclass(slots=True, eq=False)
class Element:
    """An open element: what it is, what it is drawn as (empty: not drawn), and how text in it looks.

    `other` is how it looks to those who follow what others pass over, or the other way round.
    """

    tag: str
    drawn: str
    look: Look
    other: Look
    link: SeenLink | None = None
    parting: str = ""  # what parts its text from the text after it
    said: list[str] = field(default_factory=list)
    maybe: str = ""
    doubt: str = ""  # of the box that says it may be hidden
    room: Room | None = None

    def doubt_now(self) -> str:
        """Return why text that is seen here is hidden from others, once; empty afterwards and where it is not."""
        if self.look.possible or self.maybe:
            return ""
        hidden = self.look.is_crowded()
        if not hidden and self.other is not self.look:
            hidden = self.other.hides() or self.other.is_crowded()
        if hidden:
            self.maybe = f"{hidden} {SOME}"
            self.look = replace(self.look, possible=self.maybe)
        return self.maybe


class Watching:
    """The open elements that gather what is said inside them."""

    def __init__(self) -> None:
        self.open: list[Element] = []
        self.rooms: list[Room] = []

    def start(self, element: Element, style: Style, *, is_box: bool, is_beside: bool) -> None:
        """Gather from here on if the element shows so many letters only, or may hide.

        `is_box`: it has a height of its own; `is_beside`: words may stand to the right of it.
        """
        for room in self.rooms:
            room.block(style, element.look.size, breaks=is_box and element.tag != "div")
        is_cell = element.tag in CELLS and "display" not in style
        if style and is_box and not element.look.hides():
            look = element.look
            style = {name: value for name, value in style.items() if "height" not in name} if is_cell else style
            one_line = look.is_one_line
            element.room = room_for(style, look.size, look.line_height(), is_one_line=one_line, is_beside=is_beside)
        if element.room is not None:
            self.rooms.append(element.room)
        if element.maybe or element.room is not None:
            self.open.append(element)

    def line_break(self) -> None:
        """Count a line that ends, or a picture."""
        for room in self.rooms:
            room.used += room.row * room.is_low

    def doubt(self, element: Element) -> None:
        """Gather what follows inside an element that turned out to be hidden from some."""
        if element not in self.open:
            self.open.append(element)

    def said(self, text: str) -> None:
        for element in self.open:
            element.said.append(text)

    def end(self, element: Element) -> None:
        if self.open and self.open[-1] is element:
            self.open.pop()
        if element.room is not None:
            self.rooms.remove(element.room)


def cut_off(element: Element) -> str:
    """Return what of an element's text may lie beyond the edge of its box."""
    if element.room is None:
        return ""
    text = " ".join("".join(element.said).split())
    room = max(0, int(element.room.letters - element.room.used))
    return text[text.rfind(" ", 0, room + 1) + 1 :] if len(text) > room else ""


def with_doubts(style: Style, doubted: Style) -> Style:
    """Return a style as those see it who follow what others pass over; the later counts, so it stands last."""
    return {name: value for name, value in style.items() if name not in doubted} | dict(doubted) if doubted else style
