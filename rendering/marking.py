"""Walks the tree of a message, writes it again and adds our marks: hidden text, blocked loads, true targets.

Every tag and attribute in its output is written here; of the message only text and understood style values pass.
"""

import html
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from common.words import word_places
from rendering.appearance import BREAKS, SOME, Appearance, with_doubts
from rendering.canonical import Canonical, Note
from rendering.elements import PICTURE_LABELS
from rendering.html_reading import BLOCKS, VOID
from rendering.invisibles import Tally, named, pieces, stripped
from rendering.layout_boxes import Capacity, Style, capacity_of
from rendering.links import LinkTexts, SeenLink, area_links, find_bare_links, read_target, short_target
from rendering.reading_order import ReadingOrder, lies_over
from rendering.result import Doubt, Hidden, Link, ReorderedText, Words
from rendering.sanitise import harmless_style, picture_size
from rendering.styling import OVER
from rendering.visibility import Look

_BLANKS = re.compile(r"[ \t\n\f\r]+")


class Page:
    """What is written so far, and how many marks of each kind."""

    def __init__(self) -> None:
        self.out: list[str] = []
        self.text: list[str] = []
        self.plain: list[str] = []
        # Which of the plain texts are drawn, and where: the place in `out`, the text, and whether it is struck out.
        self.drawn: dict[int, tuple[int, str, bool]] = {}
        self.tally = Tally()
        self.marks: Counter[str] = Counter()

    def write_text(self, text: str, *, preformatted: bool, is_struck: bool) -> None:
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
            self.drawn[len(self.plain)] = len(self.out) - 1, piece, has_line
            self.plain.append(folded)

    def mark_words(self, first: int, number: int) -> None:
        """Draw a mark around so many words of the plain text from this one on, where they are drawn as such."""
        texts = [self.drawn[n][1] if n in self.drawn else stripped(text) for n, text in enumerate(self.plain)]
        places = word_places("".join(texts))[first : first + number]
        if not places:
            return
        at = 0
        mark_id = f' id="word-{first}-{number}"'
        for n, text in enumerate(texts):
            begin, end = max(0, places[0][0] - at), max(0, places[-1][1] - at)
            if n in self.drawn and text[begin:end]:
                before, words, after = (
                    html.escape(piece, quote=False) for piece in (text[:begin], text[begin:end], text[end:])
                )
                slot, _, is_struck = self.drawn[n]
                drawn = f'{before}<span{mark_id} class="found">{words}</span>{after}'
                self.out[slot] = f"<s>{drawn}</s>" if is_struck else drawn
                mark_id = ""
            at += len(text)

    def write_box(self, kind: str, label: str, marked: str = "") -> str:
        """Draw a box, and return the id by which a finding leads to it."""
        mark = self.next_mark(marked) if marked else ""
        drawn, text = self._drawn(kind, label, mark)
        self.out.append(drawn)
        self.text.append(text)
        return mark

    def reserve(self) -> tuple[int, int]:
        """Append an empty slot and return its position, so that something can be written there later."""
        self.out.append("")
        self.text.append("")
        return len(self.out) - 1, len(self.text) - 1

    def write_target(self, slot: tuple[int, int], link: Link) -> None:
        """Write a link's target into its reserved slot; as a box where the link does not go where it seems to."""
        in_out, in_text = slot
        if link.is_alarming:
            drawn, self.text[in_text] = self._drawn("ghost", f"goes to {short_target(link.target)[:300]}")
            self.out[in_out] = f" {drawn}"
        elif link.target and short_target(link.target).rstrip("/") not in link.text:
            self.text[in_text] = f" <{named(link.target)}>"

    def _drawn(self, kind: str, label: str, mark: str = "") -> tuple[str, str]:
        """Return a box as HTML and as text."""
        label = named(label, self.tally)
        mark_id = f'id="{mark}" ' if mark else ""
        return f'<span {mark_id}class="{kind}">{html.escape(label)}</span>', f" [{label}] "

    def next_mark(self, kind: str) -> str:
        """Return the next id of a kind: "hidden-2"."""
        self.marks[kind] += 1
        return f"{kind}-{self.marks[kind]}"

    def write_picture(self, text: str, plain: str) -> None:
        """Write the text that replaces a picture."""
        self.text.append(text)
        self.plain.append(f" {plain} ")

    def end_line(self, tag: str) -> None:
        """End a line of the text."""
        self.text.append("\n- " if tag == "li" else "\n")
        self.plain.append("\n")


CELLS = frozenset("td th tr tbody thead tfoot table".split())


@dataclass(slots=True, eq=False)
class Element:
    """An open element. `maybe` is why it may be hidden; `doubt` is the id of the box that says so."""

    tag: str
    appearance: Appearance
    maybe: str
    link: SeenLink | None = None
    texts: list[str] = field(default_factory=list)
    doubt: str = ""
    capacity: Capacity | None = None

    @property
    def look(self) -> Look:
        return self.appearance.look

    def note_doubt(self) -> str:
        """Return why text that is seen here is hidden from others, once; empty afterwards and where it is not."""
        if self.maybe or self.look.possible:
            return ""
        self.maybe = self.appearance.doubt
        if self.maybe:
            self.appearance = replace(self.appearance, look=replace(self.look, possible=self.maybe), inside={})
        return self.maybe


class DoubtTracker:
    """The open elements that collect their text, because it may be hidden or cut off."""

    def __init__(self) -> None:
        self.open: list[Element] = []
        self.capacities: list[Capacity] = []

    def start(self, element: Element, *, is_box: bool) -> None:
        """Gather from here on if the element shows so many characters only, or may hide.

        `is_box`: it has a height of its own.
        """
        look, style = element.look, element.appearance.style
        for capacity in self.capacities:
            capacity.block(style, look.size, breaks=is_box and element.tag != "div")
        if style and is_box and not element.appearance.hidden:
            is_cell = element.tag in CELLS and "display" not in style
            style = {name: value for name, value in style.items() if "height" not in name} if is_cell else style
            one_line, is_inline = look.is_one_line, element.appearance.is_inline
            element.capacity = capacity_of(
                style, look.size, look.line_height(), is_one_line=one_line, is_inline=is_inline
            )
        if element.capacity is not None:
            self.capacities.append(element.capacity)
        if element.maybe or element.capacity is not None:
            self.open.append(element)

    def line_break(self) -> None:
        """Count a line that ends, or a picture."""
        for capacity in self.capacities:
            capacity.used += capacity.row * capacity.is_low

    def doubt(self, element: Element) -> None:
        """Gather what follows inside an element that turned out to be hidden from some."""
        if element not in self.open:
            self.open.append(element)

    def add_text(self, text: str) -> None:
        for element in self.open:
            element.texts.append(text)

    def end(self, element: Element) -> None:
        if self.open and self.open[-1] is element:
            self.open.pop()
        if element.capacity is not None:
            self.capacities.remove(element.capacity)


def cut_off(element: Element) -> str:
    """Return what of an element's text may lie beyond the edge of its box."""
    if element.capacity is None:
        return ""
    text = " ".join("".join(element.texts).split())
    capacity = max(0, int(element.capacity.letters - element.capacity.used))
    return text[text.rfind(" ", 0, capacity + 1) + 1 :] if len(text) > capacity else ""


_PIECE = re.compile(r'<(/?)([a-z][a-z0-9]*)((?: [a-z-]+="[^"]*")*)>|([^<]+)')
_ATTRIBUTE = re.compile(r' ([a-z-]+)="([^"]*)"')
_NO_MARKS: Mapping[str, str] = {}


@dataclass
class Marked:
    """The message with its marks, and what the walk found."""

    body: str
    text: str
    plain: str
    hidden: list[Hidden]
    links: list[Link]
    reordered: list[ReorderedText]
    tally: Tally
    coloured: bool
    inked: str = ""


def mark(tree: str, canonical: Canonical, *, found: Words | None = None) -> Marked:
    """Return the message drawn from its tree (as nh3 writes it). Raises Doubt for anything else than such a tree."""
    return _Walker(canonical, found).walked(tree)


class _Walker:
    def __init__(self, canonical: Canonical, found: Words | None = None) -> None:
        self.canonical = canonical
        self.found = found
        look = other = Look()
        for tag, styled in canonical.root:
            look = look.inside(styled.style, styled.why, styled.maybe)
            other = other.in_doubt(tag, with_doubts(styled.style, styled.doubted), styled.why)
        self.labels = list(canonical.labels)
        self.root_style = {k: v for _, styled in canonical.root for k, v in styled.style.items()}
        other = replace(other, cell_background=other.background, has_inline_background=False)
        page = Appearance("", look, other, self.root_style, self.root_style)
        self.stack = [Element("", page, look.possible)]
        self.link_texts = LinkTexts()
        self.doubts = DoubtTracker()
        self.doubts.start(self.stack[0], is_box=True)
        # One for what every mail program follows, and one for what only some follow where there is such a thing.
        doubted = {k: v for _, one in canonical.root for k, v in one.doubted.items()}
        styles: list[Style] = [self.root_style]
        if doubted or "data-doubted" in canonical.html:
            styles.append(with_doubts(self.root_style, doubted))
        self.orders = [ReadingOrder().within(style, look.size) for style in styles]
        self.page = Page()
        self.hidden: list[Hidden] = []
        self.links: list[Link] = []
        self.reordered: list[ReorderedText] = []
        self.run: list[str] = []  # hidden text that is being gathered
        self.why = ""
        self.spilled: list[str] = []  # what may be written over the text that comes next
        self.coloured = bool(canonical.pictures)
        self.preformatted = 0

    def walked(self, tree: str) -> Marked:
        at = 0
        while at < len(tree):
            found = _PIECE.match(tree, at)
            if found is None:
                raise Doubt("its structure is ambiguous")
            at = found.end()
            closing, tag, attributes, text = found.groups()
            if text is not None:
                self._text(html.unescape(text))
            elif closing:
                self._end(tag)
            else:
                self._start(tag, attributes)
        self._reveal()
        self._close_doubts(self.stack[0])
        self._read_links()
        return self._result()

    def _result(self) -> Marked:
        if self.found:
            self.page.mark_words(*self.found)
        style = harmless_style(self.root_style, self.stack[0].look.size, True)
        body = "".join(self.page.out)
        return Marked(
            body=f'<div style="{style}">{body}</div>' if style else body,
            text=tidy("".join(self.page.text)),
            plain=tidy("".join(self.page.plain)),
            hidden=self.hidden,
            links=self.links,
            reordered=self.reordered,
            tally=self.page.tally,
            coloured=self.coloured or "color:" in style,
            inked="ink-1" if self.page.marks["ink"] else "",
        )

    def _start(self, tag: str, written: str) -> None:
        attributes = {n: html.unescape(v) for n, v in _ATTRIBUTE.findall(written)} if written else _NO_MARKS
        if tag in VOID:
            self._void(tag, attributes)
            return
        appearance = self.stack[-1].appearance.of(tag, attributes)
        for order, layout in zip(self.orders, appearance.layouts, strict=False):
            order.start(layout)
        link = SeenLink(self.canonical.links[int(attributes["data-link"])]) if "data-link" in attributes else None
        if self.run and (tag in BREAKS or not appearance.hidden):
            self._reveal()
        self._open(Element(tag, appearance, appearance.maybe, link), attributes)

    def _open(self, element: Element, attributes: Mapping[str, str]) -> None:
        appearance = element.appearance
        if element.tag in BLOCKS or element.tag == "tr":
            self.page.end_line(element.tag)
        self.link_texts.add(appearance.separators[0])
        if element.link is not None:
            self.link_texts.start(element.link)
        if not appearance.hidden and "data-labels" in attributes:
            self.link_texts.add_labels(self.labels[int(attributes["data-labels"])])
        if appearance.drawn:
            harmless = appearance.harmless
            self.coloured = self.coloured or "color:" in harmless
            marks = f' style="{harmless}"' if harmless else ""
            marks += "".join(
                f' {n}="{attributes[n]}"' for n in ("colspan", "rowspan", "start", "value") if n in attributes
            )
            if element.link is not None:
                target = read_target(element.link.target, self.canonical.base)
                element.link.mark = self.page.next_mark("link")
                marks += f' id="{element.link.mark}" title="{html.escape(named(target))}"'
            if element.tag == "center":
                marks = marks if "text-align" in harmless else ' style="text-align:center;"'
            self.page.out.append(f"<{appearance.drawn}{marks}>")
        self.preformatted += element.tag == "pre"
        self.stack.append(element)
        self.doubts.start(element, is_box=self.orders[0].here.is_block or appearance.is_inline)

    def _end(self, tag: str) -> None:
        if len(self.stack) < 2 or self.stack[-1].tag != tag:
            raise Doubt("its structure is ambiguous")
        element = self.stack.pop()
        if self.run and (tag in BREAKS or not self.stack[-1].appearance.hidden):
            self._reveal()
        self.preformatted -= tag == "pre"
        if element.appearance.drawn:
            self.page.out.append(f"</{element.appearance.drawn}>")
        if element.link is not None:
            self.link_texts.end(self.page.reserve())
        self.link_texts.add(element.appearance.separators[1])
        self._close_doubts(element)
        if tag in BLOCKS:
            self.page.end_line("")

    def _end_reading_order(self, element: Element) -> None:
        """Announce an element that is laid out elsewhere than where it is written, once all of its text is known."""
        innermost = [order.here for order in self.orders]
        sure, *others = [order.end() for order in self.orders]
        if found := sure or next((replace(other, certain=False) for other in others if other), None):
            how = f"{found.how} {SOME}" if not found.certain else found.how
            label = f"displayed in a different order ({how}): source has “{found.written}”, {found.as_read()}"
            self.reordered.append(replace(found, mark=self.page.write_box("ghost", label, "hidden")))
        elif element.look.is_painted() and (how := next(filter(None, map(lies_over, innermost)), "")):
            label = f"a box here may lie over other text ({how})"
            self._announce(label, "", f"a box that may lie over other text ({how})")

    def _announce(self, label: str, text: str, how: str, *, certain: bool = False) -> None:
        """Draw a box about hidden text here, and note the text."""
        self.hidden.append(Hidden(text, how, certain, self.page.write_box("ghost", label, "hidden")))

    def _close_doubts(self, element: Element) -> None:
        """Announce what may be hidden or reordered in an element, once all of its text is known."""
        self._end_reading_order(element)
        self.doubts.end(element)
        if element.maybe:
            if not element.doubt and element.maybe.endswith(OVER):
                element.doubt = self.page.write_box("ghost", f"a box here may be hidden ({element.maybe})", "hidden")
            if element.doubt:
                self.hidden.append(
                    Hidden(tidy("".join(element.texts)), element.maybe, certain=False, mark=element.doubt)
                )
        elif rest := cut_off(element):
            if element.capacity is not None and not element.capacity.cuts and element.look.edge is None:
                self.spilled.append(rest)
            else:
                label = f"may be cut off before here, from “{rest[:80]}” on"
                self._announce(label, rest, f"cut off at the edge of its box {SOME}")

    def _announce_doubts(self) -> None:
        """Draw a box where text begins that may be hidden by an element around it, or that text before may lie over."""
        for rest in self.spilled:
            label = f"may be written over what follows here, from “{rest[:80]}” on"
            self._announce(label, rest, f"written beyond the edge of its box {SOME}")
        self.spilled = []
        for element in self.doubts.open:
            if element.maybe and not element.doubt:
                element.doubt = self.page.write_box("ghost", f"may be hidden ({element.maybe}):", "hidden")

    def _void(self, tag: str, attributes: Mapping[str, str]) -> None:
        hidden = self.stack[-1].appearance.hidden
        if "data-note" in attributes:
            note = self.canonical.notes[int(attributes["data-note"])]
            self._reveal()
            self._note(note, hidden)
            self.link_texts.add_labels(() if hidden else note.labels)
        elif "data-picture" in attributes:
            source, picture_attributes = self.canonical.pictures[int(attributes["data-picture"])]
            says = picture_attributes.get("alt", "")
            if hidden:
                self._reveal()
                self.page.write_box("ghost", f"hidden picture ({hidden})")
            else:
                self.page.out.append(
                    f'<img src="{source}" alt="{html.escape(named(says))}"{picture_size(picture_attributes)}>'
                )
                self.page.write_picture(f"[picture: {says}]" if says else "[picture]", says)
                self.link_texts.add_labels(
                    [picture_attributes[name] for name in PICTURE_LABELS if picture_attributes.get(name, "").strip()]
                )
        elif tag in ("br", "hr"):
            if hidden:
                self.run.append(" ") if self.run else None
            else:
                self.page.out.append(f"<{tag}>")
                self.link_texts.add("\n")
            self.doubts.line_break()
            for order in self.orders:
                order.line_break()
            self.page.end_line("")

    def _text(self, text: str) -> None:
        here = self.stack[-1]
        why = here.appearance.hidden
        if not why and not text.isspace():
            if here.note_doubt():
                self._reveal()
                self.doubts.doubt(here)
            self._announce_doubts()
        self.doubts.add_text(text)
        if why:
            if self.run and why != self.why:
                self._reveal()
            self.why = why
            self.run.append(text)
            return
        if self.run and not text.isspace():
            self._reveal()
        for order in self.orders:
            order.text(text)
        self.link_texts.add(stripped(text))
        self.page.write_text(text, preformatted=bool(self.preformatted), is_struck=here.look.is_struck)

    def _reveal(self) -> None:
        """Draw the hidden text gathered so far as one marked box."""
        raw, self.run = " ".join("".join(self.run).split()), []
        if not raw:
            return
        text = named(raw, self.page.tally)
        words = " ".join(stripped(raw).split())
        if words:
            self.page.plain.append(f" {words} ")
            self._announce(f"hidden text: “{text}”", words, self.why, certain=True)
        elif text:
            self.page.write_box("ghost", text)

    def _note(self, note: Note, hidden: str) -> None:
        """Draw a note, and record its mark on the finding that it belongs to."""
        if note.remote is not None and hidden and not self.canonical.remote[note.remote].tracking:
            # What it stands in is known only here.
            remote = self.canonical.remote
            remote[note.remote] = replace(remote[note.remote], tracking="it is hidden")
            note = replace(note, label=f"{note.label} (tracking pixel: it is hidden)")
        if note.about is None:
            self.page.write_box(note.kind, note.label)
        elif note.kind == "ghost":
            found = self.canonical.hidden
            found[note.about] = replace(found[note.about], mark=self.page.write_box(note.kind, note.label, "hidden"))
        else:
            loads = self.canonical.blocked
            loads[note.about] = replace(loads[note.about], mark=self.page.write_box(note.kind, note.label, "part"))

    def _read_links(self) -> None:
        """Read the links, those in pictures' parts and those written out as text; tell after each where it goes."""
        for seen, link in self.link_texts.read(self.canonical.base):
            self.links.append(link)
            self.page.write_target(seen.slot, link)
        self.links += area_links(self.canonical.areas, self.canonical.base)
        known = {text for link in self.links for text in (link.target, link.text)}
        self.links += find_bare_links("".join(self.page.plain), known)


def tidy(text: str) -> str:
    """Return text with no more than one empty line in a row and no spaces at the ends of lines."""
    lines = [line.strip(" ") for line in text.split("\n")]
    result = [line for i, line in enumerate(lines) if line or (i and lines[i - 1])]
    return "\n".join(result).strip()
