"""Walks the tree of a letter, writes it out anew and puts our marks in: hidden text, blocked loads, true targets.

Every tag and attribute in its output is written here; of the mail only text and understood style values pass.
"""

import html
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

from approvals.showing.boxes import Style
from approvals.showing.canonical import Canonical, Note
from approvals.showing.hidden import Look
from approvals.showing.invisibles import Tally, named, pieces, stripped
from approvals.showing.links import read_link, short_target
from approvals.showing.nesting import BLOCKS, TABLE_PARTS, VOID
from approvals.showing.plain import tidy, written_out
from approvals.showing.reading_order import Box, ReadingOrder, displaced
from approvals.showing.sanitise import PARSED_TAGS, SHOWN_TAGS, harmless_style, picture_size
from approvals.showing.shown import Doubt, Hidden, Link, Marked, Reordered
from approvals.showing.watching import SOME, Element, Watching, cut_off, with_doubts

_PIECE = re.compile(r'<(/?)([a-z][a-z0-9]*)((?: [a-z-]+="[^"]*")*)>|([^<]+)')
_ATTRIBUTE = re.compile(r' ([a-z-]+)="([^"]*)"')
_BLANKS = re.compile(r"[ \t\n\f\r]+")
# Text that is struck out is drawn so piece by piece: how far a line goes depends on boxes that are not kept.
_STRUCK = frozenset({"s", "strike", "del"})
_DRAWN_AS = (
    {"center": "div", "font": "span", "big": "span", "tt": "code"}
    | dict.fromkeys(_STRUCK, "span")
    | {tag: "div" if tag in BLOCKS else "span" for tag in PARSED_TAGS}
)
_LINK_BLUE = (30, 90, 168, 1.0)
_BREAKS = BLOCKS | TABLE_PARTS
_NO_MARKS: Mapping[str, str] = {}


def mark(tree: str, canonical: Canonical) -> Marked:
    """Return the letter drawn from its tree (as nh3 writes it). Raises Doubt for anything else than such a tree."""
    return _Walker(canonical).walked(tree)


class _Walker:
    def __init__(self, canonical: Canonical) -> None:
        self.canonical = canonical
        look = other = Look()
        for tag, styled in canonical.root:
            look = look.inside(styled.style, styled.why, styled.maybe)
            other = other.in_doubt(tag, with_doubts(styled.style, styled.doubted), styled.why)
        self.root_style = {k: v for _, styled in canonical.root for k, v in styled.style.items()}
        self.stack = [Element("", "", look, replace(other, firm=other.ground, is_spilled=False), maybe=look.possible)]
        self.links_open: list[Element] = []
        self.watching = Watching()
        self.watching.start(self.stack[0], self.root_style, is_box=True, is_beside=False)
        # As those see it who follow what is sure, and those who follow what others pass over.
        self.orders = (ReadingOrder(), ReadingOrder())
        doubted = {k: v for _, styled in canonical.root for k, v in styled.doubted.items()}
        for order, style in zip(self.orders, (self.root_style, with_doubts(self.root_style, doubted)), strict=True):
            order.start("div", style, look.size)
        self.reordered: list[Reordered] = []
        self.out: list[str] = []
        self.text: list[str] = []
        self.plain: list[str] = []
        self.hidden: list[Hidden] = []
        self.links: list[Link] = []
        self.run: list[str] = []  # hidden text that is being gathered
        self.why = ""
        self.spilled: list[str] = []  # what may be written over the text that comes next
        self.tally = Tally()
        self.coloured = bool(canonical.pictures)
        self.preformatted = 0
        self.marks: Counter[str] = Counter()

    def walked(self, tree: str) -> Marked:
        at = 0
        while at < len(tree):
            found = _PIECE.match(tree, at)
            if found is None:
                raise Doubt("its parts could not be told apart")
            at = found.end()
            closing, tag, attributes, text = found.groups()
            if text is not None:
                self._text(html.unescape(text))
            elif closing:
                self._end(tag)
            else:
                self._start(tag, attributes)
        self._reveal()
        self._end_order(self.stack[0])
        self._close_doubts(self.stack[0])
        self._write_out_links()
        return self._result()

    def _result(self) -> Marked:
        style = harmless_style(self.root_style, self.stack[0].look.size, True)
        self.coloured = self.coloured or "color:" in style
        body = "".join(self.out)
        if style:
            body = f'<div style="{style}">{body}</div>'
        return Marked(
            body=body,
            text=tidy("".join(self.text)),
            plain=tidy("".join(self.plain)),
            hidden=self.hidden,
            links=self.links,
            reordered=self.reordered,
            tally=self.tally,
            coloured=self.coloured,
            inked="ink-1" if self.marks["ink"] else "",
        )

    def _start(self, tag: str, written: str) -> None:
        attributes = {n: html.unescape(v) for n, v in _ATTRIBUTE.findall(written)} if written else _NO_MARKS
        if tag in VOID:
            self._void(tag, attributes)
            return
        style, doubted = (_read(attributes.get(name, "")) for name in ("style", "data-doubted"))
        above = self.stack[-1].look
        why = attributes.get("data-why", "")
        look = above.inside(style, why or _collapsed(tag, style), attributes.get("data-maybe", ""))
        look = replace(look, is_struck=_is_struck(tag, style, look.is_struck))
        in_doubt = with_doubts(style, doubted)
        other = self.stack[-1].other.in_doubt(tag, in_doubt, why or _collapsed(tag, in_doubt))
        for order, one in zip(self.orders, (style, in_doubt), strict=True):
            order.start(tag, one, look.size)
        link = self.canonical.links[int(attributes["data-link"])] if "data-link" in attributes else None
        if link is not None and not first_given(style, "color", "-webkit-text-fill-color"):
            look, other = replace(look, colour=_LINK_BLUE), replace(other, colour=_LINK_BLUE)
        if self.run and (tag in _BREAKS or not look.hides()):
            self._reveal()
        drawn = _DRAWN_AS.get(tag, tag if tag in SHOWN_TAGS else "")
        if look.hides() and tag not in _BREAKS:
            drawn = ""
        element = Element(tag, drawn, look, other, link, maybe=look.possible if look.possible != above.possible else "")
        self._open(element, style, attributes)

    def _open(self, element: Element, style: Mapping[str, str], attributes: Mapping[str, str]) -> None:
        if element.tag in BLOCKS or element.tag == "tr":
            self._line(element.tag)
        if element.drawn:
            kept = harmless_style(style, element.look.size, not element.look.hides()) if style else ""
            self.coloured = self.coloured or "color:" in kept
            marks = f' style="{kept}"' if kept else ""
            marks += "".join(
                f' {n}="{attributes[n]}"' for n in ("colspan", "rowspan", "start", "value") if n in attributes
            )
            if element.link is not None:
                target = read_link("", element.link, self.canonical.base).target
                element.mark = self._next_mark("link")
                marks += f' id="{element.mark}" title="{html.escape(named(target))}"'
            if element.tag == "center":
                marks = marks if "text-align" in kept else ' style="text-align:center;"'
            self.out.append(f"<{element.drawn}{marks}>")
        self.preformatted += element.tag == "pre"
        self.stack.append(element)
        if element.link is not None:
            self.links_open.append(element)
        is_beside = "inline-" in style.get("display", "") or _floats(style)
        self.watching.start(element, style, is_box=self.orders[0].here.is_block or is_beside, is_beside=is_beside)

    def _end(self, tag: str) -> None:
        if len(self.stack) < 2 or self.stack[-1].tag != tag:
            raise Doubt("its parts could not be told apart")
        element = self.stack.pop()
        if self.run and (tag in _BREAKS or not self.stack[-1].look.hides()):
            self._reveal()
        self.preformatted -= tag == "pre"
        if element.drawn:
            self.out.append(f"</{element.drawn}>")
        if element.link is not None:
            self.links_open.pop()
            self._link_ends(element)
        self._end_order(element)
        self._close_doubts(element)
        if tag in BLOCKS:
            self._line("")

    def _end_order(self, element: Element) -> None:
        """Say what of an element's text is laid out elsewhere than where it is written, once all of it is known."""
        boxes = [order.here for order in self.orders]
        sure, doubted = (order.end() for order in self.orders)
        if found := sure or (replace(doubted, certain=False) if doubted else None):
            how = f"{found.how} {SOME}" if not found.certain else found.how
            label = f"laid out in another order ({how}): written as “{found.written}”, {found.as_read()}"
            self.reordered.append(replace(found, mark=self._box("ghost", label, "hidden")))
        elif not element.look.hides() and (how := next(filter(None, map(_lies_over, boxes)), "")):
            mark = self._box("ghost", f"a box here may lie over other text ({how})", "hidden")
            self.hidden.append(Hidden("", f"a box that may lie over other text ({how})", certain=False, mark=mark))

    def _close_doubts(self, element: Element) -> None:
        """Note what is told of an element once all that it says is known."""
        self.watching.end(element)
        if element.maybe:
            if element.doubt:
                said = tidy("".join(element.said))
                self.hidden.append(Hidden(said, element.maybe, certain=False, mark=element.doubt))
        elif rest := cut_off(element):
            if element.room is not None and not element.room.cuts and element.look.edge is None:
                self.spilled.append(rest)
                return
            mark = self._box("ghost", f"may be cut off before here, from “{rest[:80]}” on", "hidden")
            self.hidden.append(Hidden(rest, f"cut off at the edge of its box {SOME}", certain=False, mark=mark))

    def _announce_doubts(self) -> None:
        """Draw a box where text begins that may be hidden by an element around it, or that text before may lie over."""
        for rest in self.spilled:
            mark = self._box("ghost", f"may be written over what follows here, from “{rest[:80]}” on", "hidden")
            self.hidden.append(Hidden(rest, f"written beyond the edge of its box {SOME}", certain=False, mark=mark))
        self.spilled = []
        for element in self.watching.open:
            if element.maybe and not element.doubt:
                element.doubt = self._box("ghost", f"may be hidden ({element.maybe}):", "hidden")

    def _void(self, tag: str, attributes: Mapping[str, str]) -> None:
        hidden = self.stack[-1].look.hides()
        if "data-note" in attributes:
            note = self.canonical.notes[int(attributes["data-note"])]
            self._reveal()
            self._note(note)
        elif "data-picture" in attributes:
            source, given = self.canonical.pictures[int(attributes["data-picture"])]
            says = given.get("alt", "")
            if hidden:
                self._reveal()
                self._box("ghost", f"hidden picture ({hidden})")
            else:
                self.out.append(f'<img src="{source}" alt="{html.escape(named(says))}"{picture_size(given)}>')
                self._say(f"[picture: {says}]" if says else "[picture]", says)
        elif tag in ("br", "hr"):
            if hidden:
                self.run.append(" ") if self.run else None
            else:
                self.out.append(f"<{tag}>")
            self.watching.line_break()
            for order in self.orders:
                order.line_break()
            self._line("")

    def _text(self, text: str) -> None:
        look = self.stack[-1].look
        why = look.hides()
        if not why and not text.isspace():
            if self.stack[-1].doubt_now():
                self._reveal()
                self.watching.doubt(self.stack[-1])
            self._announce_doubts()
        self.watching.said(text)
        if not why:
            for order in self.orders:
                order.text(text)
        if why:
            if self.run and why != self.why:
                self._reveal()
            self.why = why
            self.run.append(text)
            return
        if self.run and not text.isspace():
            self._reveal()
        for element in self.links_open:
            if element not in self.watching.open:
                element.said.append(text)
        self._draw(text)

    def _draw(self, text: str) -> None:
        """Write visible text, with a mark for each invisible character in it."""
        for is_mark, piece in pieces(text, self.tally):
            if is_mark:
                self.out.append(f'<span id="{self._next_mark("ink")}" class="ghost">{html.escape(piece)}</span>')
                self.text.append(f"[{piece}]")
            else:
                drawn, is_struck = (
                    html.escape(piece, quote=False),
                    self.stack[-1].look.is_struck and not piece.isspace(),
                )
                self.out.append(f"<s>{drawn}</s>" if is_struck else drawn)
                folded = piece if self.preformatted else _BLANKS.sub(" ", piece)
                self.text.append(f"[struck out: {folded.strip()}] " if is_struck else folded)
                self.plain.append(folded)

    def _reveal(self) -> None:
        """Draw the hidden text gathered so far as one marked box."""
        raw, self.run = " ".join("".join(self.run).split()), []
        if not stripped(raw).strip() and not raw:
            return
        text = named(raw, self.tally)
        words = " ".join(stripped(raw).split())
        if words:
            self.plain.append(f" {words} ")
            mark = self._box("ghost", f"hidden text: “{text}”", "hidden")
            self.hidden.append(Hidden(words, self.why, mark=mark))
        elif text:
            self._box("ghost", text)

    def _note(self, note: Note) -> None:
        """Draw a note, and let what it tells of know where it is drawn."""
        if note.about is None:
            self._box(note.kind, note.label)
        elif note.kind == "ghost":
            found = self.canonical.hidden
            found[note.about] = replace(found[note.about], mark=self._box(note.kind, note.label, "hidden"))
        else:
            loads = self.canonical.blocked
            loads[note.about] = replace(loads[note.about], mark=self._box(note.kind, note.label, "part"))

    def _box(self, kind: str, label: str, marked: str = "") -> str:
        """Draw a box, and return the id by which a finding leads to it."""
        label = named(label, self.tally)
        mark = self._next_mark(marked) if marked else ""
        place = f'id="{mark}" ' if mark else ""
        self.out.append(f'<span {place}class="{kind}">{html.escape(label)}</span>')
        self.text.append(f" [{label}] ")
        return mark

    def _next_mark(self, kind: str) -> str:
        self.marks[kind] += 1
        return f"{kind}-{self.marks[kind]}"

    def _say(self, text: str, plain: str) -> None:
        self.text.append(text)
        self.plain.append(f" {plain} ")
        for element in self.links_open:
            element.said.append(plain)

    def _line(self, tag: str) -> None:
        ending = "\n- " if tag == "li" else "\t" if tag in ("td", "th") else "\n"
        self.text.append(ending)
        self.plain.append("\n")

    def _link_ends(self, element: Element) -> None:
        link = read_link("".join(element.said), element.link or "", self.canonical.base)
        self.links.append(replace(link, mark=element.mark))
        if ALARMING & set(link.flags):
            self.out.append(" ")
            self._box("ghost", f"goes to {short_target(link.target)[:300]}")
        elif link.target and short_target(link.target).rstrip("/") not in link.text:
            self.text.append(f" <{named(link.target)}>")

    def _write_out_links(self) -> None:
        """Add the addresses in pictures' parts, and those written out as text."""
        self.links += [
            read_link(alt or "(part of a picture)", t, self.canonical.base) for alt, t in self.canonical.areas
        ]
        known = {said for link in self.links for said in (link.target, link.text)}
        self.links += written_out("".join(self.plain), known)


ALARMING = frozenset({"text_says_other_domain", "unusual_scheme", "credentials_in_url", "mixed_script", "ip_address"})


def _is_struck(tag: str, style: Style, above: bool) -> bool:
    """Whether text in an element has a line through it. It goes through all that is inside, but for boxes apart."""
    display, position = style.get("display", ""), style.get("position", "")
    is_apart = display.startswith("inline-") or position in ("absolute", "fixed") or _floats(style)
    value = ""
    for name in reversed(list(style)):
        if name in ("text-decoration", "text-decoration-line"):
            value = style[name]
            break
    own = "line-through" in value if value else tag in _STRUCK
    is_drawn = "transparent" not in value and style.get("text-decoration-color") != "transparent"
    return (own and is_drawn) or (above and not is_apart) or (above and value == "inherit")


def _floats(style: Style) -> bool:
    return style.get("float", "none") not in ("none", "initial", "unset")


def _collapsed(tag: str, style: Style) -> str:
    """Return why a part of a table is not there at all; what is in it cannot be made visible again."""
    is_part = tag in TABLE_PARTS - {"td", "th", "caption"} or style.get("display", "").startswith("table-")
    return "visibility: collapse" if is_part and style.get("visibility") == "collapse" else ""


def _lies_over(box: Box) -> str:
    """Return why an element without words may cover others or pull them over; empty where it lies in its place."""
    how = "" if box.has_words else displaced(box)
    is_painted = any(name.startswith(("background", "border")) for name in box.style)
    return how if is_painted or any("margin" in name for name in box.style) else ""


def first_given(style: Style, *names: str) -> str:
    """Return the first of these properties that the style gives; empty when it gives none."""
    return next((style[name] for name in names if style.get(name)), "")


def _read(written: str) -> Style:
    return dict(part.split(":", 1) for part in written.split(";") if ":" in part)
