"""Reads a Word document: paragraphs, headings, tables, notes and comments, with what
Word would not show marked.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any
from xml.etree.ElementTree import Element

from mirror.attachments.renderings.office_package import Package, Relation
from mirror.attachments.renderings.outline import Cell, Outline, Row, Run

# Half points: smaller letters are not read by anybody.
TINY = 8
_ALSO = {
    "header": "Header",
    "footer": "Footer",
    "footnotes": "Footnotes",
    "endnotes": "Endnotes",
    "comments": "Comments",
}
Relations = Mapping[str, Relation]
_CHANGED = {
    "ins": "inserted",
    "del": "deleted",
    "moveFrom": "deleted",
    "moveTo": "inserted",
}
_BREAKS = {"tab": "\t", "br": "\n", "cr": "\n", "noBreakHyphen": "-"}


def read(content: bytes, kind: str) -> dict[str, Any]:
    """Return the outline of a document. Raises Refused."""
    package = Package(content)
    name = package.main_part()
    relations = package.relations(name)
    outline = Outline(package.notes())
    _blocks(package.part(name), outline, relations)
    for relation in relations.values():
        if relation.kind in _ALSO and not relation.is_external:
            outline.heading(_ALSO[relation.kind])
            _blocks(
                package.part(relation.target),
                outline,
                package.relations(relation.target),
            )
    return outline.found()


def _blocks(element: Element, outline: Outline, relations: Relations) -> None:
    for child in element:
        if child.tag == "p":
            runs = joined(_runs(child, "", relations))
            style = child.find("pPr/pStyle")
            name = style.get("val", "") if style is not None else ""
            level = re.fullmatch(r"[Hh]eading ?([1-6])", name)
            if level and len(runs) == 1:
                outline.heading(runs[0][0], level=int(level[1]) + 1, mark=runs[0][1])
            elif runs:
                is_listed = child.find("pPr/numPr") is not None
                outline.text([("• ", ""), *runs] if is_listed else runs)
        elif child.tag == "tbl":
            rows: list[Row] = []
            for row in child.iter("tr"):
                cells: list[Cell] = []
                for cell in row.iter("tc"):
                    inside: list[Run] = []
                    for paragraph in cell.iter("p"):
                        inside += [("\n", "")] if inside else []
                        inside += joined(_runs(paragraph, "", relations))
                    cells.append((inside, ""))
                rows.append(("", "", cells))
            outline.table(rows)
        elif child.tag == "comment":
            outline.heading(child.get("author", ""), level=4)
            _blocks(child, outline, relations)
        elif child.tag not in ("sectPr", "Fallback"):
            _blocks(child, outline, relations)


def _runs(element: Element, mark: str, relations: Relations) -> Iterator[Run]:
    """Yield the text below an element in order, with the mark of what hides or changes
    it.
    """
    for child in element:
        if child.tag in ("t", "delText"):
            yield child.text or "", mark
        elif child.tag == "instrText":
            yield child.text or "", "field"
        elif child.tag in _BREAKS:
            yield _BREAKS[child.tag], mark
        elif child.tag == "fldSimple":
            yield child.get("instr", ""), "field"
            yield from _runs(child, mark, relations)
        elif child.tag == "hyperlink":
            yield from _runs(child, mark, relations)
            relation = relations.get(child.get("r:id", ""))
            if relation and relation.is_external:
                yield relation.target, "link"
        elif child.tag not in ("pPr", "rPr", "Fallback"):
            yield from _runs(
                child,
                mark or _CHANGED.get(child.tag, "") or _hidden_by(child),
                relations,
            )


def _hidden_by(run: Element) -> str:
    """Return the mark of a run whose letters Word does not show, or hardly."""
    style = run.find("rPr") if run.tag == "r" else None
    if style is None:
        return ""
    # The first of each counts.
    said = {one.tag: one.get("val", "") for one in reversed(style)}
    vanish = style.find("vanish")
    if vanish is not None and vanish.get("val", "1") not in ("0", "false", "off"):
        return "hidden"
    if said.get("color", "").upper() == "FFFFFF":
        return "white"
    size = said.get("sz", "")
    return "tiny" if size.isdigit() and int(size) <= TINY else ""


def joined(runs: Iterator[Run]) -> list[Run]:
    """Return the runs with neighbours of the same mark as one, and without those that
    hold nothing.
    """
    found: list[Run] = []
    for text, mark in runs:
        if found and found[-1][1] == mark:
            found[-1] = (found[-1][0] + text, mark)
        elif text:
            found.append((text, mark))
    return found if any(text.strip() for text, _ in found) else []
