"""Reads an OpenDocument text, sheet or presentation: headings, paragraphs and tables
with their formulas.
"""

from collections.abc import Iterable, Iterator
from typing import Any
from xml.etree.ElementTree import Element

from mirror.attachments.renderings.office_package import Package
from mirror.attachments.renderings.outline import Cell, Outline

MAX_ROWS = 500
MAX_COLUMNS = 60


def read(content: bytes, kind: str) -> dict[str, Any]:
    """Return the outline of a document. Raises Refused."""
    root = Package(content).part("content.xml")
    outline = Outline()
    hidden = set()
    for style in root.iterfind("automatic-styles/style[@family='table']"):
        found = style.find("table-properties")
        if found is not None and found.get("display") == "false":
            hidden.add(style.get("name", ""))
    _blocks(root, outline, hidden)
    return outline.found()


def _blocks(element: Element, outline: Outline, hidden: set[str]) -> None:
    for child in element:
        if child.tag == "h":
            level = child.get("outline-level", "1")
            outline.heading(
                _text(child), level=int(level) + 1 if level.isdigit() else 2
            )
        elif child.tag == "p":
            if (text := _text(child)).strip():
                outline.text([(text, "")])
        elif child.tag == "table":
            mark = "hidden" if child.get("style-name") in hidden else ""
            outline.heading(child.get("name", ""), level=3, mark=mark)
            _table(child, outline)
        elif child.tag not in ("automatic-styles", "scripts", "font-face-decls"):
            _blocks(child, outline, hidden)


def _table(table: Element, outline: Outline) -> None:
    rows: list[tuple[str, str, dict[int, Cell]]] = []
    for number, _, row in _repeated(table.iter("table-row"), "rows"):
        if len(rows) == MAX_ROWS:
            outline.text([(f"Only {MAX_ROWS} rows are shown here.", "note")])
            break
        elements = [
            one for one in row if one.tag in ("table-cell", "covered-table-cell")
        ]
        cells: dict[int, Cell] = {}
        for place, _, cell in _repeated(elements, "columns"):
            if len(cell) and place <= MAX_COLUMNS:
                text = "\n".join(map(_text, cell.iter("p")))
                cells[place] = ([(text, "")], cell.get("formula", ""))
        if cells:
            rows.append((str(number), _mark(row), cells))
    marks = {
        one: _mark(column)
        for first, last, column in _repeated(table.iter("table-column"), "columns")
        for one in range(first, min(last, MAX_COLUMNS) + 1)
    }
    if rows:
        last = max(max(cells) for _, _, cells in rows)
        outline.sheet(rows, range(1, last + 1), marks)


def _repeated(
    elements: Iterable[Element], what: str
) -> Iterator[tuple[int, int, Element]]:
    """Yield the first and last number of each row, column or cell, from 1: one element
    can stand for many.
    """
    at = 1
    for one in elements:
        times = one.get(f"number-{what}-repeated", "1")
        last = at + (int(times) if times.isdigit() and len(times) < 8 else 1) - 1
        yield at, last, one
        at = last + 1


def _mark(element: Element) -> str:
    return "hidden" if element.get("visibility") in ("collapse", "filter") else ""


def _text(element: Element) -> str:
    """Return the text below an element, with its spaces and tabs."""
    found = element.text or ""
    for child in element:
        if child.tag == "s":
            count = child.get("c", "1")
            found += " " * (int(count) if count.isdigit() and len(count) < 5 else 1)
        else:
            found += {"tab": "\t", "line-break": "\n"}.get(child.tag, "") or _text(
                child
            )
        found += child.tail or ""
    return found
