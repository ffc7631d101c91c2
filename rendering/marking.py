"""Draws the simple form of a message as HTML for the frame in which the desk shows it,
and as text.

Both get the desk's marks: what is hidden, what was left out,
pictures that are not loaded, invisible characters, and where links really go. `seal` in
`render.py` then lets only listed tags and attributes through.
"""

import html
import re
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import replace

from rendering.invisibles import Tally, named, pieces, stripped
from rendering.link_texts import LinkTexts, SeenLink, separators
from rendering.links import find_bare_links, host_of, read_target, short_target
from rendering.pictures import (
    MAX_ALL_PICTURES,
    MAX_PIXELS,
    drawable,
    tracking_reason,
)
from rendering.result import Difference, Link, RemotePicture
from simple_form import SimpleForm, TooComplex
from simple_form.html_reading import BLOCKS, VOID, tokens
from simple_form.result import HIDDEN, LEFT_OUT, PREHEADER, SHOWN

_BLANKS = re.compile(r"[ \t\n\f\r]+")
# Between the labels in a `data-labels` attribute.
_LABELS = "\x1f"
# What the box of a change says.
_LABELS_OF = {
    HIDDEN: "hidden words",
    SHOWN: "hidden words",
    PREHEADER: "shown in lists of messages only",
    LEFT_OUT: "left out",
}
# Attributes of the simple form that are copied to the drawing.
_DRAWN = tuple("style dir colspan rowspan value cellpadding cellspacing border".split())


class Drawing:
    """A simple form drawn for the desk, with its marks, and what was found in it.

    `readers` are the mail addresses of its recipients: a tracking pixel may name them.
    """

    def __init__(self, form: SimpleForm, *, readers: Collection[str]) -> None:
        self._readers = readers
        self.out: list[str] = []
        self.text: list[str] = []
        self.plain: list[str] = []
        self.tally = Tally()
        self.marks: Counter[str] = Counter()
        self.differences = [Difference(**vars(one)) for one in form.changes]
        self.links: list[Link] = []
        self.blocked: list[RemotePicture] = []
        self.is_coloured = False
        self._link_texts = LinkTexts()
        # Open elements: tag, mark of `separators` for its end, whether it strikes its
        # words out, and its link.
        self._stack: list[tuple[str, str, bool, SeenLink | None]] = []
        self._preformatted = 0
        self._struck = 0
        # Of all pictures drawn so far: characters of base64, and pixels.
        self._drawn = 0
        self._pixels = 0
        # The texts that programs which load no pictures show in their place.
        self._alts: list[str] = []
        for piece in tokens(form.marked):
            if piece.kind == "text":
                self._link_texts.add(stripped(piece.data))
                self._write_text(piece.data)
            elif piece.kind == "end":
                self._end()
            else:
                self._start(piece.name, piece.attributes)
        self.plain += [f"\n{alt}" for alt in self._alts]
        # Write after each link where it goes.
        for seen, link in self._link_texts.read():
            self.links.append(link)
            self._write_target(seen.slot, link)
        known = {text for link in self.links for text in (link.target, link.text)}
        self.links += find_bare_links("".join(self.plain), known)

    # Draws the start of an element, or a picture, with its marks.
    def _start(self, tag: str, attributes: Mapping[str, str]) -> None:
        if tag == "img":
            self._picture(attributes)
            return
        if tag in VOID:
            self.out.append(f"<{tag}>")
            self._link_texts.add("\n")
            self._end_line("")
            return
        if tag == "ins":
            self._mark_change(int(attributes["data-change"]))
            return
        if tag in BLOCKS or tag == "tr":
            self._end_line(tag)
        elif tag in ("td", "th"):
            # Numbers of two cells are not one number.
            self.text.append(" ")
            self.plain.append(" ")
        style = attributes.get("style", "")
        declarations = (
            declaration.partition(":")[::2]
            for declaration in style.split(";")
            if declaration
        )
        separator_before, separator_after = separators(tag, dict(declarations))
        self._link_texts.add(separator_before)
        marks = "".join(
            f' {name}="{html.escape(attributes[name])}"'
            for name in _DRAWN
            if name in attributes
        )
        self.is_coloured = self.is_coloured or "color:" in marks
        link = None
        if tag == "a" and "href" in attributes:
            link = SeenLink(attributes["href"], mark=self._next_mark("link"))
            self._link_texts.start(link)
            title = html.escape(named(read_target(link.target)))
            marks += f' id="{link.mark}" title="{title}"'
        if "data-labels" in attributes:
            self._link_texts.add_labels(attributes["data-labels"].split(_LABELS))
        is_struck = tag == "s" or "line-through" in style
        if tag != "s":
            self.out.append(f"<{tag}{marks}>")
        self._stack.append((tag, separator_after, is_struck, link))
        self._preformatted += tag == "pre"
        self._struck += is_struck

    # Draws the end of the innermost open element.
    def _end(self) -> None:
        if not self._stack:
            raise TooComplex("its structure is ambiguous")
        tag, separator_after, is_struck, link = self._stack.pop()
        self._preformatted -= tag == "pre"
        self._struck -= is_struck
        if tag == "ins":
            self.out.append("</span>")
            self.text.append("] ")
            return
        if tag != "s":
            self.out.append(f"</{tag}>")
        if link is not None:
            # Empty items, into which `_write_target` writes later where the link goes.
            self._link_texts.end((len(self.out), len(self.text)))
            self.out.append("")
            self.text.append("")
        self._link_texts.add(separator_after)
        if tag in BLOCKS:
            self._end_line("")

    def _mark_change(self, index: int) -> None:
        """Begin the box of the words that a change is about, with what it names."""
        change = self.differences[index]
        mark = self._next_mark("hidden")
        if not change.mark:
            self.differences[index] = replace(change, mark=mark)
        label = f"{_LABELS_OF[change.code]} ({change.how}): "
        if change.code != SHOWN:
            label += f"“{change.passage}”"
        drawn = html.escape(named(label, self.tally))
        self.out.append(f'<span id="{mark}" class="ghost">{drawn}')
        self.text.append(f" [{label}")
        self._stack.append(("ins", "", False, None))

    # Draws a picture if it may be drawn, else a box that says why it is not shown.
    def _picture(self, attributes: Mapping[str, str]) -> None:
        alt = attributes.get("alt", "")
        if alt.strip():
            self._alts.append(alt)
        labels = attributes.get("data-labels", "").split(_LABELS)
        self._link_texts.add_labels(
            [label_text for label_text in labels if label_text.strip()]
        )
        source = attributes.get("src", "")
        data, pixels = drawable(source)
        characters = self._drawn + len(data)
        has_room = (
            characters <= MAX_ALL_PICTURES and self._pixels + pixels <= MAX_PIXELS
        )
        suffix = f" (in its place: “{alt}”)" if alt else ""
        if data and has_room:
            self._drawn = characters
            self._pixels += pixels
            self.is_coloured = True
            size = "".join(
                f' {name}="{min(int(attributes[name]), 1200)}"'
                for name in ("width", "height")
                if name in attributes
            )
            label = html.escape(named(alt))
            self.out.append(f'<img src="{data}" alt="{label}"{size}>')
            self.text.append(f"[picture: {alt}]" if alt else "[picture]")
        elif source.lower().startswith(("http:", "https:")):
            target = short_target(source)[:200] or "nowhere"
            tracking = tracking_reason(source, attributes, self._readers)
            why = f" (tracking pixel: {tracking})" if tracking else ""
            label = f"remote picture not loaded: {target}{why}{suffix}"
            mark = self._write_box("blocked", label, "part")
            host = host_of(source)
            self.blocked.append(RemotePicture(source[:2000], host, mark, tracking))
        elif source.lower().startswith("cid:"):
            self._write_box(
                "blocked", f"attached picture, not shown here: {source[4:200]}{suffix}"
            )
        elif source or alt:
            self._write_box("blocked", f"picture not shown{suffix}")

    def _write_text(self, text: str) -> None:
        """Write text, with a mark for each invisible character in it."""
        for is_mark, piece in pieces(text, self.tally):
            if is_mark:
                self.out.append(
                    f'<span id="{self._next_mark("ink")}" class="ghost">{html.escape(piece)}</span>'
                )
                self.text.append(f"[{piece}]")
                continue
            drawn = html.escape(piece, quote=False)
            has_line = self._struck > 0 and not piece.isspace()
            self.out.append(f"<s>{drawn}</s>" if has_line else drawn)
            folded = piece if self._preformatted else _BLANKS.sub(" ", piece)
            self.text.append(f"[struck out: {folded.strip()}] " if has_line else folded)
            self.plain.append(folded)

    def _write_box(self, kind: str, label: str, marked: str = "") -> str:
        """Draw a box. Return its id, to which a finding can link; empty without
        `marked`, which is the kind of the id.
        """
        mark = self._next_mark(marked) if marked else ""
        drawn, text = self._box(kind, label, mark)
        self.out.append(drawn)
        self.text.append(text)
        return mark

    def _write_target(self, slot: tuple[int, int], link: Link) -> None:
        """Write a link's target into the items reserved for it: as a box if the link is
        alarming, else in the text alone, unless the link's words say it already.
        """
        in_out, in_text = slot
        if link.is_alarming:
            drawn, self.text[in_text] = self._box(
                "ghost", f"goes to {short_target(link.target)[:300]}"
            )
            self.out[in_out] = f" {drawn}"
        elif link.target and short_target(link.target).rstrip("/") not in link.text:
            self.text[in_text] = f" <{named(link.target)}>"

    def _box(self, kind: str, label: str, mark: str = "") -> tuple[str, str]:
        """Return a box as HTML and as text."""
        label = named(label, self.tally)
        mark_id = f'id="{mark}" ' if mark else ""
        return (
            f'<span {mark_id}class="{kind}">{html.escape(label)}</span>',
            f" [{label}] ",
        )

    def _next_mark(self, kind: str) -> str:
        """Return the next id of a kind: "hidden-2"."""
        self.marks[kind] += 1
        return f"{kind}-{self.marks[kind]}"

    def _end_line(self, tag: str) -> None:
        """End a line of both texts, before or after an element with this tag."""
        self.text.append("\n- " if tag == "li" else "\n")
        self.plain.append("\n")


def tidy(text: str) -> str:
    """Return text with no more than one empty line in a row, and no spaces at either
    end of a line.
    """
    lines = [line.strip(" ") for line in text.split("\n")]
    kept = [line for i, line in enumerate(lines) if line or (i and lines[i - 1])]
    return "\n".join(kept).strip()
