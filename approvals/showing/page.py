"""Writes the message out: as marked HTML, as the text beside it, and as the words alone that rules read."""

import html
import re
from collections import Counter

from approvals.showing.invisibles import Tally, named, pieces

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
        label = named(label, self.tally)
        mark = self.next_mark(marked) if marked else ""
        place = f'id="{mark}" ' if mark else ""
        self.out.append(f'<span {place}class="{kind}">{html.escape(label)}</span>')
        self.text.append(f" [{label}] ")
        return mark

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
        ending = "\n- " if tag == "li" else "\t" if tag in ("td", "th") else "\n"
        self.text.append(ending)
        self.plain.append("\n")
