"""Walks the tree of a letter, writes it out anew and puts our marks in: hidden text, blocked loads, true targets.

Every tag and attribute in its output is written here; of the mail only text and understood style values pass.
"""

import html
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

from approvals.showing.canonical import Canonical, Note, read_style
from approvals.showing.elements import PICTURE_LABELS
from approvals.showing.hidden import Look
from approvals.showing.invisibles import Tally, named, pieces, stripped
from approvals.showing.link_texts import LinkTexts, SeenLink, areas, parting
from approvals.showing.links import read_link, short_target
from approvals.showing.nesting import BLOCKS, TABLE_PARTS, VOID
from approvals.showing.plain import tidy, written_out
from approvals.showing.sanitise import PARSED_TAGS, SHOWN_TAGS, harmless_style, picture_size
from approvals.showing.shown import Doubt, Hidden, Link, Marked
from approvals.showing.watching import SOME, Element, Watching, cut_off, with_doubts

_PIECE = re.compile(r'<(/?)([a-z][a-z0-9]*)((?: [a-z-]+="[^"]*")*)>|([^<]+)')
_ATTRIBUTE = re.compile(r' ([a-z-]+)="([^"]*)"')
_BLANKS = re.compile(r"[ \t\n\f\r]+")
_DRAWN_AS = {"center": "div", "font": "span", "big": "span", "tt": "code", "strike": "s"} | {
    tag: "div" if tag in BLOCKS else "span" for tag in PARSED_TAGS
}
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
        self.labels = list(canonical.labels)
        self.root_style = {k: v for _, styled in canonical.root for k, v in styled.style.items()}
        self.stack = [Element("", "", look, replace(other, firm=other.ground, is_spilled=False))]
        self.link_texts = LinkTexts()
        self.watching = Watching()
        self.out: list[str] = []
        self.text: list[str] = []
        self.plain: list[str] = []
        self.hidden: list[Hidden] = []
        self.links: list[Link] = []
        self.run: list[str] = []  # hidden text that is being gathered
        self.why = ""
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
        self._close_doubts(self.stack[0])
        self._read_links()
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
            tally=self.tally,
            coloured=self.coloured,
            inked="ink-1" if self.marks["ink"] else "",
        )

    def _start(self, tag: str, written: str) -> None:
        attributes = {n: html.unescape(v) for n, v in _ATTRIBUTE.findall(written)} if written else _NO_MARKS
        if tag in VOID:
            self._void(tag, attributes)
            return
        style, doubted = (read_style(attributes.get(name, "")) for name in ("style", "data-doubted"))
        above = self.stack[-1].look
        why = attributes.get("data-why", "")
        look = above.inside(style, why, attributes.get("data-maybe", ""))
        other = self.stack[-1].other.in_doubt(tag, with_doubts(style, doubted), why)
        link = SeenLink(self.canonical.links[int(attributes["data-link"])]) if "data-link" in attributes else None
        if link is not None and not (style.get("color") or style.get("-webkit-text-fill-color")):
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
        is_seen = not element.look.hides()
        if is_seen:
            before, element.parting = parting(element.tag, style, element.look.size)
            self.link_texts.part(before)
        if element.link is not None:
            self.link_texts.start(element.link)
        if is_seen and "data-labels" in attributes:
            self.link_texts.label(self.labels[int(attributes["data-labels"])])
        if element.drawn:
            kept = harmless_style(style, element.look.size, is_seen) if style else ""
            self.coloured = self.coloured or "color:" in kept
            marks = f' style="{kept}"' if kept else ""
            marks += "".join(
                f' {n}="{attributes[n]}"' for n in ("colspan", "rowspan", "start", "value") if n in attributes
            )
            if element.link is not None:
                target = read_link("", element.link.target, self.canonical.base).target
                element.link.mark = self._next_mark("link")
                marks += f' id="{element.link.mark}" title="{html.escape(named(target))}"'
            if element.tag == "center":
                marks = marks if "text-align" in kept else ' style="text-align:center;"'
            self.out.append(f"<{element.drawn}{marks}>")
        self.preformatted += element.tag == "pre"
        self.stack.append(element)
        self.watching.start(element, style)
        if element.maybe:
            element.doubt = self._box("ghost", f"may be hidden ({element.maybe}):", "hidden")

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
            self.link_texts.end((len(self.out), len(self.text)))
            self.out.append("")
            self.text.append("")
        self.link_texts.part(element.parting)
        self._close_doubts(element)
        if tag in BLOCKS:
            self._line("")

    def _close_doubts(self, element: Element) -> None:
        """Note what is told of an element once all that it says is known."""
        self.watching.end(element)
        if element.maybe:
            said = tidy("".join(element.said))
            self.hidden.append(Hidden(said, element.maybe, certain=False, mark=element.doubt))
        elif rest := cut_off(element):
            mark = self._box("ghost", f"may be cut off before here, from “{rest[:80]}” on", "hidden")
            self.hidden.append(Hidden(rest, f"cut off at the edge of its box {SOME}", certain=False, mark=mark))

    def _void(self, tag: str, attributes: Mapping[str, str]) -> None:
        hidden = self.stack[-1].look.hides()
        if "data-note" in attributes:
            note = self.canonical.notes[int(attributes["data-note"])]
            self._reveal()
            self._note(note)
            self.link_texts.label(() if hidden else note.labels)
        elif "data-picture" in attributes:
            source, given = self.canonical.pictures[int(attributes["data-picture"])]
            says = given.get("alt", "")
            if hidden:
                self._reveal()
                self._box("ghost", f"hidden picture ({hidden})")
            else:
                self.out.append(f'<img src="{source}" alt="{html.escape(named(says))}"{picture_size(given)}>')
                self.text.append(f"[picture: {says}]" if says else "[picture]")
                self.plain.append(f" {says} ")
                self.link_texts.label([given[name] for name in PICTURE_LABELS if given.get(name, "").strip()])
        elif tag in ("br", "hr"):
            if hidden:
                self.run.append(" ") if self.run else None
            else:
                self.out.append(f"<{tag}>")
                self.link_texts.part("\n")
            self._line("")

    def _text(self, text: str) -> None:
        look = self.stack[-1].look
        why = look.hides()
        if not why and not text.isspace() and (maybe := self.stack[-1].doubt_now()):
            self._reveal()
            self.watching.doubt(self.stack[-1])
            self.stack[-1].doubt = self._box("ghost", f"may be hidden ({maybe}):", "hidden")
        self.watching.said(text)
        if why:
            if self.run and why != self.why:
                self._reveal()
            self.why = why
            self.run.append(text)
            return
        if self.run and not text.isspace():
            self._reveal()
        self.link_texts.say(text)
        self._draw(text)

    def _draw(self, text: str) -> None:
        """Write visible text, with a mark for each invisible character in it."""
        for is_mark, piece in pieces(text, self.tally):
            if is_mark:
                self.out.append(f'<span id="{self._next_mark("ink")}" class="ghost">{html.escape(piece)}</span>')
                self.text.append(f"[{piece}]")
            else:
                self.out.append(html.escape(piece, quote=False))
                folded = piece if self.preformatted else _BLANKS.sub(" ", piece)
                self.text.append(folded)
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
        mark = self._next_mark(marked) if marked else ""
        drawn, text = self._drawn(kind, label, mark)
        self.out.append(drawn)
        self.text.append(text)
        return mark

    def _drawn(self, kind: str, label: str, mark: str = "") -> tuple[str, str]:
        """Return a box as it is drawn and as it stands in the text."""
        label = named(label, self.tally)
        place = f'id="{mark}" ' if mark else ""
        return f'<span {place}class="{kind}">{html.escape(label)}</span>', f" [{label}] "

    def _next_mark(self, kind: str) -> str:
        self.marks[kind] += 1
        return f"{kind}-{self.marks[kind]}"

    def _line(self, tag: str) -> None:
        self.text.append("\n- " if tag == "li" else "\n")
        self.plain.append("\n")

    def _read_links(self) -> None:
        """Read the links, those in pictures' parts and those written out as text; tell after each where it goes."""
        for seen, link in self.link_texts.read(self.canonical.base):
            self.links.append(link)
            in_out, in_text = seen.room
            if link.is_alarming:
                drawn, self.text[in_text] = self._drawn("ghost", f"goes to {short_target(link.target)[:300]}")
                self.out[in_out] = f" {drawn}"
            elif link.target and short_target(link.target).rstrip("/") not in link.text:
                self.text[in_text] = f" <{named(link.target)}>"
        self.links += areas(self.canonical.areas, self.canonical.base)
        known = {text for link in self.links for text in (link.target, link.text)}
        self.links += written_out("".join(self.plain), known)
