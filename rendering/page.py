"""Writes the message out: as marked HTML, as the text beside it, and as the words alone that rules read."""

import html
import re
from collections import Counter

from rendering.invisibles import Tally, named, pieces
from rendering.links import short_target
from rendering.shown import Link

_BLANKS = re.compile(r"[ \t\n\f\r]+")


class Page:
    """What is written so far, and how many marks of each kind."""

    def __init__(self) -> None:
        self.out: list[str] = []
        self.text: list[str] = []
        self.plain: list[str] = []
        self.tally = Tally()
        self.marks: Counter[str] = Counter()

    def draw(self, text: str, *, preformatted: bool, is_struck: bool) -> None:
        """Write visible text, with a mark for each invisible character in it."""
        for is_mark, piece in pieces(text, self.tally):
            if is_mark:
                self.out.append(f'<span id="{self.next_mark("ink")}" class="ghost">{html.escape(piece)}</span>')
                self.text.append(f"[{piece}]")
                continue
            drawn, has_line = html.escape(piece, quote=False), is_struck and not piece.isspace()
            self.out.append(f"<s>{drawn}</s>" if has_line else drawn)
            folded = piece if preformatted else _BLANKS.sub(" ", piece)
            self.text.append(f"[struck out: {folded.strip()}] " if has_line else folded)
            self.plain.append(folded)

    def box(self, kind: str, label: str, marked: str = "") -> str:
        """Draw a box, and return the id by which a finding leads to it."""
        mark = self.next_mark(marked) if marked else ""
        drawn, text = self._drawn(kind, label, mark)
        self.out.append(drawn)
        self.text.append(text)
        return mark

    def leave_room(self) -> tuple[int, int]:
        """Return the place that comes next, where something can be written later."""
        self.out.append("")
        self.text.append("")
        return len(self.out) - 1, len(self.text) - 1

    def tell_target(self, room: tuple[int, int], link: Link) -> None:
        """Write where a link goes in the room that was left after it; in a box where it is not where it seems to go."""
        in_out, in_text = room
        if link.is_alarming:
            drawn, self.text[in_text] = self._drawn("ghost", f"goes to {short_target(link.target)[:300]}")
            self.out[in_out] = f" {drawn}"
        elif link.target and short_target(link.target).rstrip("/") not in link.text:
            self.text[in_text] = f" <{named(link.target)}>"

    def _drawn(self, kind: str, label: str, mark: str = "") -> tuple[str, str]:
        """Return a box as it is drawn and as it stands in the text."""
        label = named(label, self.tally)
        place = f'id="{mark}" ' if mark else ""
        return f'<span {place}class="{kind}">{html.escape(label)}</span>', f" [{label}] "

    def next_mark(self, kind: str) -> str:
        """Return the next id of a kind: "hidden-2"."""
        self.marks[kind] += 1
        return f"{kind}-{self.marks[kind]}"

    def say(self, text: str, plain: str) -> None:
        """Write what stands for a picture."""
        self.text.append(text)
        self.plain.append(f" {plain} ")

    def line(self, tag: str) -> None:
        """End a line of the text."""
        self.text.append("\n- " if tag == "li" else "\n")
        self.plain.append("\n")
