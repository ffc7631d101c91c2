"""Reads PowerPoint slides: their text, tables and notes in order, hidden slides marked."""

from typing import Any
from xml.etree.ElementTree import Element

from mirror.attachments.renderings.office_package import Package
from mirror.attachments.renderings.outline import Cell, Outline, Row

MAX_SLIDES = 300


def read(content: bytes, kind: str) -> dict[str, Any]:
    """Return the outline of the slides. Raises Refused."""
    package = Package(content)
    name = package.main_part()
    relations = package.relations(name)
    outline = Outline(package.notes())
    ids = [one.get("r:id", "") for one in package.part(name).iterfind("sldIdLst/sldId")]
    for number, slide_id in enumerate(ids[:MAX_SLIDES], start=1):
        if (relation := relations.get(slide_id)) and not relation.is_external:
            slide = package.part(relation.target)
            outline.heading(
                f"Slide {number}",
                mark="hidden" if slide.get("show") in ("0", "false") else "",
            )
            _texts(slide, outline)
            for other in package.relations(relation.target).values():
                if other.kind == "notesSlide" and not other.is_external:
                    outline.heading("Notes of the speaker", level=3)
                    _texts(package.part(other.target), outline)
    if len(ids) > MAX_SLIDES:
        outline.notes.append(f"{len(ids) - MAX_SLIDES} more slides are left out here.")
    return outline.found()


def _texts(element: Element, outline: Outline) -> None:
    for child in element:
        if child.tag == "tbl":
            rows: list[Row] = []
            for row in child.iter("tr"):
                cells: list[Cell] = [([(_text(one), "")], "") for one in row.iter("tc")]
                rows.append(("", "", cells))
            outline.table(rows)
        elif child.tag == "p":
            if (text := _text(child)).strip():
                outline.text([(text, "")])
        elif child.tag == "sp" and child.find("nvSpPr/cNvPr[@hidden='1']") is not None:
            outline.text([(_text(child), "hidden")])
        elif child.tag != "Fallback":
            _texts(child, outline)


def _text(element: Element) -> str:
    """Return the text below an element, its paragraphs as lines."""
    return "".join(
        one.text or "" if one.tag == "t" else "\n"
        for one in element.iter()
        if one.tag in ("t", "br", "p")
    ).strip("\n")
