"""Gathers what elements say whose text may be seen by some only: hidden somewhere, or cut off at the edge of a box."""

from dataclasses import dataclass, field, replace

from approvals.showing.boxes import Style, room_for
from approvals.showing.hidden import Look
from approvals.showing.link_texts import SeenLink

SOME = "in some windows or mail programs"


@dataclass(slots=True)
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
    room: int | None = None  # how many letters it shows at most

    def doubt_now(self) -> str:
        """Return why text that is seen here is hidden from others, once; empty afterwards and where it is not."""
        if self.look.possible or self.maybe or self.other is self.look:
            return ""
        hidden = self.other.hides()
        if hidden:
            self.maybe = f"{hidden} {SOME}"
            self.look = replace(self.look, possible=self.maybe)
        return self.maybe


class Watching:
    """The open elements that gather what is said inside them."""

    def __init__(self) -> None:
        self.open: list[Element] = []

    def start(self, element: Element, style: Style) -> None:
        """Gather from here on if the element cuts off, or may hide."""
        if style and not element.look.hides():
            element.room = room_for(style, element.look.size)
        if element.maybe or element.room is not None:
            self.open.append(element)

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


def cut_off(element: Element) -> str:
    """Return what of an element's text lies beyond the edge of its box."""
    text = " ".join("".join(element.said).split())
    return text[element.room :] if element.room is not None and len(text) > element.room else ""


def with_doubts(style: Style, doubted: Style) -> Style:
    """Return a style as those see it who follow what others pass over; the later counts, so it stands last."""
    return {name: value for name, value in style.items() if name not in doubted} | dict(doubted) if doubted else style
