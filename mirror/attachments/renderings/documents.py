"""Reads Word documents and PowerPoint slides: headings, paragraphs and tables, with what
the program would not show marked. Both write words in elements of the same names.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from xml.etree.ElementTree import Element

from common.numerals import numeral
from common.tables import table_pairs, table_rows
from mirror.attachments.renderings.office import (
    Outline,
    Package,
    Relation,
    Run,
    nearest,
    number_of,
)

# In half points: letters of this size or smaller get the mark "tiny".
TINY = 8
MAX_SLIDES = 300
# Other parts of a file that are read, and the headings above them.
_PARTS = table_pairs("""
header | Header
footer | Footer
footnotes | Footnotes
endnotes | Endnotes
comments | Comments
threadedComment | Comments
diagramData | Diagram
chart | Chart
drawing | Drawing
notesSlide | Notes of the speaker
slideLayout | Layout
slideMaster | Master
""")
# Elements that are paragraphs: "text" is that of a comment, "v" a value in a chart.
_PARAGRAPHS = ("p", "text", "v")
_LETTERS = "t delText instrText text v".split()
_MARKS = table_pairs("""
ins | inserted
del | deleted
moveFrom | deleted
moveTo | inserted
instrText | field
rt | raised
""")
_OFF = ("0", "false", "off", "noStrike")
_BREAKS = {
    "p": "\n",
    "tab": "\t",
    "ptab": "\t",
    "br": "\n",
    "cr": "\n",
    "noBreakHyphen": "-",
}
# The words of elements that have them as an attribute, and their marks.
_ATTRIBUTES = {
    element: words
    for element, *words in table_rows("""
docPr     | descr  | picture
cNvPr     | descr  | picture
textpath  | string |
fldSimple | instr  | field
""")
}


def read_word(package: Package, outline: Outline) -> None:
    """Read a Word document into the outline. Raises Refused."""
    body, relations = package.main()
    reader = PartReader(package, outline)
    for relation in relations.values():
        if relation.target in package.names:
            if relation.kind == "styles":
                reader.know_styles(package.part(relation.target))
            elif relation.kind == "numbering":
                reader.lists = _Lists(package.part(relation.target))
    reader.blocks(body, relations)
    reader.related(relations)


def read_slides(package: Package, outline: Outline) -> None:
    """Read slides: their text, tables and notes in order. Raises Refused."""
    root, relations = package.main()
    ids = [one.get("r:id", "") for one in root.iterfind("sldIdLst/sldId")]
    reader = PartReader(package, outline)
    for number, slide_id in enumerate(ids[:MAX_SLIDES], start=1):
        if (relation := relations.get(slide_id)) and not relation.is_external:
            slide, others = package.opened(relation.target)
            is_hidden = slide.get("show") in ("0", "false")
            outline.heading(f"Slide {number}", mark="hidden" if is_hidden else "")
            reader.blocks(slide, others)
            reader.related(others)
    if len(ids) > MAX_SLIDES:
        outline.notes.append(f"{len(ids) - MAX_SLIDES} more slides are left out here.")


class PartReader:
    """Reads parts of one file into an outline: the words in them, in order."""

    def __init__(self, package: Package, outline: Outline) -> None:
        self.package = package
        self.outline = outline
        self.lists: _Lists | None = None
        # Letters of this size or smaller are "tiny", in the units of the program.
        self.tiny = TINY
        # The parts and addresses that are in the outline.
        self.seen: set[str] = set()
        self._styles: dict[str, Element] = {}
        # The name of the style of paragraphs that name none, and of this paragraph.
        self._default = ""
        self._style = ""

    def know_styles(self, styles: Element) -> None:
        for style in styles.iter("style"):
            name = style.get("styleId", "")
            self._styles[name] = style
            is_default = style.get("default", "0") not in _OFF
            if style.get("type") == "paragraph" and is_default:
                self._default = name

    def related(self, relations: Mapping[str, Relation]) -> None:
        """Add the parts that a part names, and theirs, and addresses that it links to.
        Raises Refused.
        """
        for relation in relations.values():
            target = relation.target
            if target in self.seen:
                continue
            if relation.is_external and relation.kind == "hyperlink":
                self.outline.text((target, "link"))
            elif relation.kind in _PARTS and target in self.package.names:
                self.seen.add(target)
                part, others = self.package.opened(target)
                if relation.kind in ("slideLayout", "slideMaster"):
                    # Of these, a slide shows all but what it can fill in itself.
                    for tree in part.iter("spTree"):
                        for shape in tree.findall("sp"):
                            if shape.find("nvSpPr/nvPr/ph") is not None:
                                tree.remove(shape)
                if joined(self.runs(part, "", others)):
                    self.outline.heading(_PARTS[relation.kind], level=3)
                    self.blocks(part, others)
                # A master names all layouts, also those that no slide has.
                if relation.kind != "slideMaster":
                    self.related(others)

    def blocks(
        self, element: Element, relations: Mapping[str, Relation], mark: str = ""
    ) -> None:
        """Add the headings, paragraphs and tables in an element."""
        for child in element:
            if child.tag in _PARAGRAPHS:
                self._paragraph(child, relations, mark)
            elif child.tag == "tbl":
                self.outline.grid(
                    [
                        joined(self.runs(cell, mark or _row_mark(row), relations))
                        for cell in nearest(row, "tc")
                    ]
                    for row in nearest(child, "tr")
                )
            elif child.tag == "AlternateContent":
                for one in self._alternatives(child, relations):
                    self.blocks(one, relations, mark)
            elif child.tag == "cNvPr":
                if words := child.get("descr", ""):
                    self.outline.text((words, "picture"))
            elif child.tag != "sectPr":
                if child.tag in ("comment", "threadedComment"):
                    name = child.get("author") or child.get("ref") or ""
                    self.outline.heading(name, level=4)
                is_hidden = child.find("*/cNvPr[@hidden='1']") is not None
                self.blocks(child, relations, "hidden" if is_hidden else mark)

    def _paragraph(
        self, element: Element, relations: Mapping[str, Relation], mark: str
    ) -> None:
        runs = joined(self.runs(element, mark, relations))
        name = value_of(element, "pPr/pStyle")
        level = re.fullmatch(r"[Hh]eading ?([1-6])", name)
        listed = element.find("pPr/numPr")
        if listed is None:
            listed = self._styled(name, "pPr/numPr")
        label = ""
        if listed is not None and runs:
            label = self.lists.label(listed) if self.lists else "• "
        if level and len(runs) == 1:
            words, mark = runs[0]
            self.outline.heading(
                label + words, level=min(int(level[1]) + 1, 6), mark=mark
            )
        elif runs:
            self.outline.text(*([(label, "")] if label else []), *runs)

    def runs(
        self, element: Element, mark: str, relations: Mapping[str, Relation]
    ) -> Iterator[Run]:
        """Yield the text in an element, in order, each piece with its mark: what hides
        it, or that it was inserted or deleted.
        """
        tag = element.tag
        outer_style = self._style
        if tag == "p":
            self._style = value_of(element, "pPr/pStyle") or self._default
        mark = mark or _MARKS.get(tag, "") or self._look(element)
        if tag in _LETTERS:
            yield element.text or "", mark
        elif tag in _BREAKS:
            yield _BREAKS[tag], mark
        elif tag in _ATTRIBUTES:
            attribute, kind = _ATTRIBUTES[tag]
            yield element.get(attribute, ""), kind
        elif tag == "sym":
            code = element.get("char", "")
            number = int(code, 16) if re.fullmatch("[0-9A-Fa-f]{1,4}", code) else 0xFFFD
            # Fonts of symbols have theirs from F000 on.
            letter = chr(number - 0xF000 if 0xF020 <= number <= 0xF0FF else number)
            yield f"[{letter}, in the font {element.get('font', '')}]", mark or "note"
        elif tag == "checkBox":
            state = element.find("checked")
            state = element.find("default") if state is None else state
            yield "☒" if _is_on(state) else "☐", mark
        elif tag == "ddList":
            entries = [one.get("val", "") for one in element.iterfind("listEntry")]
            chosen = number_of(value_of(element, "result"))
            yield entries[chosen] if chosen < len(entries) else "", mark
        children: Iterable[Element] = element
        if tag == "AlternateContent":
            children = self._alternatives(element, relations)
        for child in children:
            # "rPh" is how a word is spoken.
            if child.tag not in ("pPr", "rPr", "rPh"):
                yield from self.runs(child, mark, relations)
        relation = relations.get(element.get("r:id", ""))
        if tag == "hyperlink" and relation and relation.is_external:
            self.seen.add(relation.target)
            yield relation.target, "link"
        self._style = outer_style

    def _alternatives(
        self, element: Element, relations: Mapping[str, Relation]
    ) -> Iterator[Element]:
        """Yield the alternatives in an element (Choice and Fallback) that differ in
        their words or marks, because programs differ in which of them they show.
        """
        seen = []
        for one in element:
            words = joined(self.runs(one, "", relations))
            if words not in seen:
                seen.append(words)
                yield one

    def _styled(self, name: str, path: str) -> Element | None:
        """Return what is at this path in a style, or in the first one that it is based
        on and that has it.
        """
        seen: set[str] = set()
        while name in self._styles and name not in seen:
            seen.add(name)
            found = self._styles[name].find(path)
            if found is not None:
                return found
            name = value_of(self._styles[name], "basedOn")
        return None

    def _look(self, run: Element) -> str:
        """Return the mark of a run by its own properties and those of its styles."""
        if run.tag != "r":
            return ""
        own = run.find("rPr/vanish")
        names = (value_of(run, "rPr/rStyle"), self._style)
        styled = [self._styled(name, "rPr/vanish") for name in names]
        if any(map(_is_on, styled if own is None else [own])):
            return "hidden"
        properties = run.find("rPr")
        return look_of(properties, self.tiny) if properties is not None else ""


def look_of(properties: Element, tiny: int) -> str:
    """Return the mark of letters with these properties: white, of at most this size,
    struck through or raised; else an empty text.
    """
    # Reversed, so that the first of several elements with the same name counts.
    by_name = {one.tag: one for one in reversed(properties)}
    color = by_name.get("color", properties)
    value = color.get("val") or color.get("rgb") or color.get("theme") or ""
    # The first colour of a theme is that of the paper.
    if value[-6:].upper() in ("FFFFFF", "0"):
        return "white"
    size = by_name["sz"].get("val", "") if "sz" in by_name else ""
    if size.isdigit() and int(size) <= tiny:
        return "tiny"
    is_struck = _is_on(by_name.get("strike")) or _is_on(by_name.get("dstrike"))
    if is_struck or properties.get("strike", "noStrike") not in _OFF:
        return "struck"
    is_raised = value_of(properties, "vertAlign").startswith("su")
    return "raised" if is_raised or properties.get("baseline", "0") != "0" else ""


def value_of(element: Element, path: str) -> str:
    """Return the attribute `val` of the element at this path; empty if none is there."""
    found = element.find(path)
    return found.get("val", "") if found is not None else ""


def _is_on(switch: Element | None) -> bool:
    return switch is not None and switch.get("val", "1") not in _OFF


def _row_mark(row: Element) -> str:
    # Whether the whole row was inserted or deleted.
    marks = [_MARKS.get(one.tag, "") for one in row.iterfind("trPr/*")]
    return "".join(marks[-1:])


def joined(runs: Iterable[Run]) -> list[Run]:
    """Return the runs, with neighbours of the same mark joined and empty ones left out;
    none if all of them together are blank. Line breaks around them are left out.
    """
    found: list[Run] = []
    for text, mark in runs:
        text = text if found else text.lstrip("\n")
        if found and found[-1][1] == mark:
            found[-1] = (found[-1][0] + text, mark)
        elif text:
            found.append((text, mark))
    return found if any(text.strip() for text, _ in found) else []


class _Lists:
    """Numbers the items of a Word document's lists."""

    def __init__(self, numbering: Element) -> None:
        levels = {
            one.get("abstractNumId"): one.findall("lvl")
            for one in numbering.iterfind("abstractNum")
        }
        # By the number of a list: what it counts together with others, and its levels.
        self._lists = {}
        for one in numbering.iterfind("num"):
            name = value_of(one, "abstractNumId")
            own = [*levels.get(name, []), *one.iterfind("lvlOverride/lvl")]
            by_level = {level.get("ilvl", ""): level for level in own}
            self._lists[one.get("numId")] = (name, by_level)
        # The number of the last item, by list and level.
        self._counts: dict[str, dict[int, int]] = {}

    def label(self, properties: Element) -> str:
        """Return what Word writes before the next item with these properties."""
        name, levels = self._lists.get(value_of(properties, "numId"), ("", {}))
        at = number_of(value_of(properties, "ilvl"))
        level = levels.get(str(at))
        if level is None:
            return ""
        counts = self._counts.setdefault(name, {})
        counts[at] = counts.get(at, number_of(value_of(level, "start")) - 1) + 1
        for deeper in [one for one in counts if one > at]:
            del counts[deeper]

        def number(match: re.Match[str]) -> str:
            which = int(match[1]) - 1
            kind = value_of(levels.get(str(which), level), "numFmt")
            return numeral(counts.get(which, 1), kind)

        # The signs of bullets are those of a font.
        if value_of(level, "numFmt") == "bullet":
            return "• "
        return re.sub("%([1-9])", number, value_of(level, "lvlText")) + " "
