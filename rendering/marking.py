"""Draws the simple form of a message as HTML for the frame in which the desk shows it,
and as text.

Both get the desk's marks: what is hidden, what was left out,
pictures that are not loaded, invisible characters, and where links really go. `sanitized`
in `render.py` then lets only listed tags and attributes through.
"""

import html
import re
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import replace

from rendering.invisibles import Tally, named, pieces
from rendering.link_texts import read_links
from rendering.links import find_bare_links, host_of, short_target
from rendering.pictures import MAX_ALL_PICTURES, MAX_PIXELS, drawable, tracking_reason
from rendering.result import Difference, Link, RemotePicture
from rendering.texts import RAISED, RAISING
from simple_form import SimpleForm, TooComplex
from simple_form.html_reading import BLOCKS, VOID, Values, tokens
from simple_form.result import HIDDEN, LEFT_OUT, PREHEADER, SHOWN

# So many links are looked at; no person writes more.
MAX_LINKS = 4_000
# Invisible characters of which a single one keeps a line open.
_LINE_FILLERS = frozenset("\u200b\u200c\u200d\u2060\ufeff")
_BLANKS = re.compile(r"[ \t\n\f\r]+")
# What the box of a change says.
_LABELS_OF = {
    HIDDEN: "Hidden from the recipient",
    SHOWN: "hidden words",
    PREHEADER: "shown in lists of messages only",
    LEFT_OUT: "left out",
}
# Attributes of the simple form that are copied to the drawing.
_DRAWN = tuple(
    "style dir lang colspan rowspan value cellpadding cellspacing border".split()
)


class Drawing:
    """A simple form drawn for the desk, with its marks, and what was found in it.

    `readers` are the mail addresses of its recipients: a tracking pixel may name them.
    """

    def __init__(self, form: SimpleForm, *, readers: Collection[str]) -> None:
        self._readers = readers
        self.out: list[str] = []
        self.text: list[str] = []
        self.plain: list[str] = []
        # Which pieces of that have a line through them.
        self.struck: set[int] = set()
        self.tally = Tally()
        self.marks: Counter[str] = Counter()
        self.differences = [Difference(**vars(one)) for one in form.changes]
        self.links: list[Link] = []
        self.blocked: list[RemotePicture] = []
        self.is_coloured = False
        self._unread_links = iter(read_links(form.marked))
        # Open elements: tag, the tags around its words ("s" for a line through them
        # too), and its link.
        self._stack: list[tuple[str, frozenset[str], Link | None]] = [
            ("", frozenset(), None)
        ]
        # Of all pictures drawn so far: characters of base64, and pixels.
        self._drawn = 0
        self._pixels = 0
        # The texts that programs which load no pictures show in their place.
        self._alts: list[str] = []
        for piece in tokens(form.marked):
            if piece.kind == "text":
                self._write_text(piece.data)
            elif piece.kind == "end":
                self._end()
            elif piece.name == "img":
                self._picture(piece.attributes)
            elif piece.name == "ins":
                self._mark_change(int(piece.attributes["data-change"]))
            else:
                self._start(piece.name, piece.attributes)
        self.plain += [f"\n{alt}" for alt in self._alts]
        for source in form.loads:
            reason = tracking_reason(source, {}, readers)
            self.blocked.append(
                RemotePicture(source[:2000], host_of(source), tracking=reason)
            )
        known = {text for link in self.links for text in (link.target, link.text)}
        self.links += find_bare_links("".join(self.plain), known)

    # Draws the start of an element, or an element without an end.
    def _start(self, tag: str, attributes: Values) -> None:
        if tag in BLOCKS or tag in ("br", "tr"):
            self._end_line(tag)
        elif tag in ("td", "th"):
            # Numbers of two cells are not one number.
            self.text.append(" ")
            self.plain.append(" ")
        style = attributes["style"]
        self.is_coloured |= "color:" in style
        written = _copied(attributes, _DRAWN)
        link = None
        if "href" in attributes:
            link = replace(next(self._unread_links), mark=self._next_mark("link"))
            self.links.append(link)
            if len(self.links) > MAX_LINKS:
                raise TooComplex(f"it has more than {MAX_LINKS:,} links")
            written += f' id="{link.mark}" title="{html.escape(link.target)}"'
        if tag != "s":
            self.out.append(f"<{tag}{written}>")
        if tag not in VOID:
            struck = {"s"} if "line-through" in style else set()
            self._stack.append((tag, self._stack[-1][1] | struck | {tag}, link))

    # Draws the end of the innermost open element, and where it goes if it is a link.
    def _end(self) -> None:
        tag, _, link = self._stack.pop()
        if tag == "ins":
            self.out.append("</span>")
            self.text.append("] ")
            return
        if tag != "s":
            self.out.append(f"</{tag}>")
        if link and link.is_alarming:
            self.out.append(" ")
            self._write_box("ghost", f"goes to {short_target(link.target)[:300]}")
        elif link and short_target(link.target).rstrip("/") not in link.text:
            self.text.append(f" <{link.target}>")
        if tag in BLOCKS:
            self._end_line("")

    def _mark_change(self, index: int) -> None:
        """Begin the box of the words that a change is about, with what it names. Where
        elements divide those words, it goes on without a name.
        """
        change = self.differences[index]
        self._stack.append(("ins", self._stack[-1][1], None))
        if change.mark:
            self.out.append('<span class="ghost on">')
            self.text.append(" [")
            return
        mark = self._next_mark("hidden")
        self.differences[index] = replace(change, mark=mark)
        label = f"{_LABELS_OF[change.code]} ({change.how}): "
        if change.code != SHOWN:
            label += f"“{change.passage}”"
        drawn = html.escape(named(label, self.tally))
        self.out.append(f'<span id="{mark}" class="ghost">{drawn}')
        self.text.append(f" [{label}")

    # Draws a picture if it may be drawn, else a box that says why it is not shown.
    def _picture(self, attributes: Values) -> None:
        alt = attributes["alt"]
        if alt.strip():
            self._alts.append(alt)
        source = attributes["src"]
        data, pixels = drawable(source)
        characters = self._drawn + len(data)
        pixels += self._pixels
        if data and characters <= MAX_ALL_PICTURES and pixels <= MAX_PIXELS:
            self._drawn = characters
            self._pixels = pixels
            self.is_coloured = True
            size = _copied(attributes, ("width", "height"))
            label = html.escape(named(alt))
            self.out.append(f'<img src="{data}" alt="{label}"{size}>')
            self.text.append(f"[picture: {alt}]" if alt else "[picture]")
            return
        label = "picture not shown"
        mark = ""
        scheme = source.partition(":")[0].lower()
        if scheme in ("http", "https"):
            tracking = tracking_reason(source, attributes, self._readers)
            target = short_target(source)[:200] or "nowhere"
            label = f"remote picture not loaded: {target}"
            label += f" (tracking pixel: {tracking})" if tracking else ""
            mark = self._next_mark("part")
            self.blocked.append(
                RemotePicture(source[:2000], host_of(source), mark, tracking)
            )
        elif scheme == "cid":
            label = f"attached picture, not shown here: {source[4:200]}"
        elif not source and not alt:
            return
        label += f" (in its place: “{alt}”)" if alt else ""
        self._write_box("blocked", label, mark)

    def _write_text(self, text: str) -> None:
        """Write text, with a mark for each invisible character in it."""
        if text.strip() in _LINE_FILLERS and not "".join(self.plain[-1:]).strip():
            return
        around = self._stack[-1][1]
        for is_mark, piece in pieces(text, self.tally):
            if is_mark:
                self.out.append(
                    f'<span id="{self._next_mark("ink")}" class="ghost">{html.escape(piece)}</span>'
                )
                self.text.append(f"[{piece}]")
                continue
            drawn = html.escape(piece, quote=False)
            has_line = "s" in around and not piece.isspace()
            self.out.append(f"<s>{drawn}</s>" if has_line else drawn)
            folded = piece if "pre" in around else _BLANKS.sub(" ", piece)
            if around & RAISING and folded.lower() == folded.upper():
                # A number: 10 with a raised 6 is not 106.
                folded = folded.translate(RAISED)
            self.text.append(f"[struck out: {folded.strip()}] " if has_line else folded)
            if has_line:
                self.struck.add(len(self.plain))
            self.plain.append(folded)

    def _write_box(self, kind: str, label: str, mark: str = "") -> None:
        """Write a box of the desk. With `mark` as its id, a finding can link to it."""
        label = named(label, self.tally)
        mark_id = f'id="{mark}" ' if mark else ""
        self.out.append(f'<span {mark_id}class="{kind}">{html.escape(label)}</span>')
        self.text.append(f" [{label}] ")

    def _next_mark(self, kind: str) -> str:
        """Return the next id of a kind: "hidden-2"."""
        self.marks[kind] += 1
        return f"{kind}-{self.marks[kind]}"

    def _end_line(self, tag: str) -> None:
        """End a line of both texts, before or after an element with this tag."""
        self.text.append("\n- " if tag == "li" else "\n")
        self.plain.append("\n")


def _copied(attributes: Values, names: Iterable[str]) -> str:
    """Return those of the attributes that have these names, as HTML."""
    return "".join(
        f' {name}="{html.escape(attributes[name])}"'
        for name in names
        if name in attributes
    )


def tidy(text: str) -> str:
    """Return text with no more than one empty line in a row, and no spaces at either
    end of a line.
    """
    lines = [line.strip(" ") for line in text.split("\n")]
    kept = [line for i, line in enumerate(lines) if line or (i and lines[i - 1])]
    return "\n".join(kept).strip()
