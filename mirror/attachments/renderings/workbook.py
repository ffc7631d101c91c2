"""Reads an Excel workbook: each sheet as a table with values and formulas, and what
Excel would hide marked.
"""

import re
from datetime import datetime, timedelta
from typing import Any
from xml.etree.ElementTree import Element

from mirror.attachments.renderings.office_package import Package
from mirror.attachments.renderings.outline import Cell, Outline
from mirror.attachments.renderings.refusals import Refused

MAX_SHEETS = 50
MAX_ROWS = 500
MAX_COLUMNS = 60
MAX_NAMES = 50
_STATES = {"hidden": "hidden", "veryHidden": "hidden, and not listed in Excel's menu"}
_KINDS = {
    "chartsheet": "chart",
    "dialogsheet": "dialog",
    "xlMacrosheet": "macros",
    "xlIntlMacrosheet": "macros",
}
# Built-in number formats that are dates or times.
_DATES = frozenset({*range(14, 23), 45, 46, 47})
_QUOTED = re.compile(r'"[^"]*+"|\[[^\[\]]*+\]|\\.')
_EPOCHS = {False: datetime(1899, 12, 30), True: datetime(1904, 1, 1)}  # noqa: DTZ001 -- a sheet knows no zone


class _Book:
    """What the sheets of one workbook share."""

    def __init__(self, package: Package, name: str) -> None:
        self.package = package
        self.root = package.part(name)
        self.relations = package.relations(name)
        properties = self.root.find("workbookPr")
        self.epoch = _EPOCHS[
            properties is not None and properties.get("date1904") in ("1", "true")
        ]
        self.strings = [_words(one) for one in self._shared("sharedStrings", "si")]
        formats = {str(one) for one in _DATES}
        for listed in self._shared("styles", "numFmts"):
            for one in listed:
                code = _QUOTED.sub("", one.get("formatCode", "")).lower()
                if re.search("[ymdhs]", code.replace("general", "")):
                    formats.add(one.get("numFmtId", ""))
        styles = [one for listed in self._shared("styles", "cellXfs") for one in listed]
        # The numbers of the styles that show dates.
        self.dates = {
            number
            for number, style in enumerate(styles)
            if style.get("numFmtId") in formats
        }

    def _shared(self, kind: str, tag: str) -> list[Element]:
        for relation in self.relations.values():
            is_here = relation.target in self.package.names
            if relation.kind == kind and is_here and not relation.is_external:
                return self.package.part(relation.target).findall(tag)
        return []


def read(content: bytes, kind: str) -> dict[str, Any]:
    """Return the outline of a workbook. Raises Refused."""
    package = Package(content)
    book = _Book(package, package.main_part())
    outline = Outline(package.notes())
    sheets = book.root.findall("sheets/sheet")
    if not sheets:
        raise Refused("form")
    for sheet in sheets[:MAX_SHEETS]:
        relation = book.relations.get(sheet.get("r:id", ""))
        marks = [
            _STATES.get(sheet.get("state", ""), ""),
            _KINDS.get(relation.kind, "") if relation else "",
        ]
        outline.heading(
            f"Sheet “{sheet.get('name', '')}”", mark=", ".join(filter(None, marks))
        )
        if relation and not relation.is_external and relation.target in package.names:
            _sheet(package.part(relation.target), book, outline)
            for other in package.relations(relation.target).values():
                if other.kind == "comments" and other.target in package.names:
                    outline.heading("Comments", level=3)
                    for one in package.part(other.target).iter("comment"):
                        text = "".join(text.text or "" for text in one.iter("t"))
                        outline.text([(f"{one.get('ref', '')}: {text}", "")])
    if len(sheets) > MAX_SHEETS:
        outline.notes.append(
            f"{len(sheets) - MAX_SHEETS} more sheets are left out here."
        )
    names = book.root.findall("definedNames/definedName")
    if names:
        outline.heading("Names")
    for one in names[:MAX_NAMES]:
        mark = "hidden" if one.get("hidden") in ("1", "true") else ""
        outline.text([(f"{one.get('name', '')} = {one.text or ''}", mark)])
    return outline.found()


def _sheet(sheet: Element, book: _Book, outline: Outline) -> None:
    hidden_columns = [
        range(_number(one.get("min")), _number(one.get("max")) + 1)
        for one in sheet.iterfind("cols/col")
        if _is_hidden(one, "width")
    ]
    rows: list[tuple[str, str, dict[int, Cell]]] = []
    used: set[int] = set()
    left_out = 0
    # Cells that share a formula name it by a number; only the first has its text.
    formulas: dict[str, str] = {}
    for at, row in enumerate(sheet.iterfind("sheetData/row"), start=1):
        elements = {
            _column(cell.get("r", ""), place): cell
            for place, cell in enumerate(row.findall("c"), start=1)
        }
        filled = {column: cell for column, cell in elements.items() if len(cell)}
        if not filled:
            continue
        if len(rows) == MAX_ROWS:
            left_out += 1
            continue
        cells: dict[int, Cell] = {}
        for column, cell in filled.items():
            shown = ""
            formula = cell.find("f")
            if formula is not None:
                key = formula.get("si", "")
                if formula.text:
                    formulas[key] = f"{formula.text} (shared from {cell.get('r', '')})"
                shown = f"={formula.text or formulas.get(key, '')}"
            cells[column] = ([(_value(cell, book), "")], shown)
        used.update(cells)
        mark = "hidden" if _is_hidden(row, "ht") else ""
        rows.append((row.get("r", str(at)), mark, cells))
    columns = sorted(used)[:MAX_COLUMNS]
    if len(used) > MAX_COLUMNS or left_out:
        note = f"{left_out} more rows and {len(used) - len(columns)} more columns are left out here."
        outline.text([(note, "note")])
    marks = {
        one: "hidden" for listed in hidden_columns for one in columns if one in listed
    }
    if rows:
        outline.sheet(rows, columns, marks)
    else:
        outline.text([("It is empty.", "note")])


def _value(cell: Element, book: _Book) -> str:
    kind = cell.get("t", "n")
    value = cell.findtext("v", "")
    if kind == "inlineStr":
        inline = cell.find("is")
        return _words(inline) if inline is not None else ""
    if kind == "s":
        is_known = value.isdigit() and int(value) < len(book.strings)
        return book.strings[int(value)] if is_known else ""
    if kind == "b":
        return "TRUE" if value == "1" else "FALSE"
    style = cell.get("s", "")
    if kind != "n" or not style.isdigit() or int(style) not in book.dates:
        return value
    try:
        days = float(value)
        moment = book.epoch + timedelta(days=days)
    except (ValueError, OverflowError):
        return value
    if 0 <= days < 1:
        return f"{moment:%H:%M:%S}"
    return f"{moment:%Y-%m-%d}" if days.is_integer() else f"{moment:%Y-%m-%d %H:%M:%S}"


def _words(element: Element) -> str:
    """Return the text of a string, without how it is pronounced."""
    runs = [element, *element.findall("r")]
    return "".join(text.text or "" for run in runs for text in run.findall("t"))


def _is_hidden(element: Element, size: str) -> bool:
    return element.get("hidden") in ("1", "true") or element.get(size) in ("0", "0.0")


def _number(text: str | None) -> int:
    return int(text) if text and text.isdigit() and len(text) < 9 else 0


def _column(reference: str, otherwise: int) -> int:
    """Return the number of the column in a reference such as AB12."""
    letters = re.match("[A-Z]{1,3}", reference)
    number = 0
    for letter in letters[0] if letters else "":
        number = number * 26 + ord(letter) - 64
    return number or otherwise
