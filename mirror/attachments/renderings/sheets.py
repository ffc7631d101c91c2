"""Reads Excel workbooks: each sheet as a table of what Excel shows in its cells, with
their formulas, and what is hidden marked.
"""

import re
from xml.etree.ElementTree import Element

from mirror.attachments.file_types import Refused
from mirror.attachments.renderings.documents import PartReader, joined, look_of
from mirror.attachments.renderings.number_formats import BUILT_IN, sections, shown
from mirror.attachments.renderings.office import (
    MAX_COLUMNS,
    MAX_ROWS,
    Outline,
    Package,
    Run,
    SheetRow,
    number_of,
)

MAX_SHEETS = 50
MAX_NAMES = 50
# In points: letters of this size or smaller get the mark "tiny".
TINY = 4
_STATES = {
    "hidden": "hidden",
    "veryHidden": "hidden, and not listed in Excel's menu",
}
_KINDS = {
    "chartsheet": "chart",
    "dialogsheet": "dialog",
    "xlMacrosheet": "macros",
    "xlIntlMacrosheet": "macros",
}
_TRUE = ("1", "true")


class _Book:
    """What all sheets of a workbook use: its relations, texts, styles, and first day."""

    def __init__(self, package: Package, outline: Outline) -> None:
        self.package = package
        self.root, self.relations = package.main()
        self.reader = PartReader(package, outline)
        self.reader.tiny = TINY
        properties = self.root.find("workbookPr")
        self.is_from_1904 = (
            properties is not None and properties.get("date1904") in _TRUE
        )
        self.strings = [
            joined(self.reader.runs(one, "", {}))
            for one in self.shared("sharedStrings", "si")
        ]
        formats = dict(BUILT_IN)
        for one in self.shared("styles", "numFmts/*"):
            formats[one.get("numFmtId", "")] = one.get("formatCode", "")
        fonts = [look_of(one, TINY) for one in self.shared("styles", "fonts/font")]
        # The number format and the mark of each style of cells.
        self.styles = []
        for style in self.shared("styles", "cellXfs/*"):
            font = number_of(style.get("fontId"))
            mark = fonts[font] if font < len(fonts) else ""
            if mark == "white" and style.get("fillId", "0") != "0":
                mark = ""
            self.styles.append((formats.get(style.get("numFmtId", ""), ""), mark))

    def shared(self, kind: str, path: str) -> list[Element]:
        # The elements at this path in the part that the workbook names by this kind of
        # relation; none if it has no such part.
        for relation in self.relations.values():
            is_here = relation.target in self.package.names
            if relation.kind == kind and is_here and not relation.is_external:
                return self.package.part(relation.target).findall(path)
        return []


def read_workbook(package: Package, outline: Outline) -> None:
    """Read an Excel workbook into the outline: each sheet as a table with values and
    formulas. Raises Refused.
    """
    book = _Book(package, outline)
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
            root, relations = package.opened(relation.target)
            _sheet(root, book, outline)
            book.reader.related(relations)
    if len(sheets) > MAX_SHEETS:
        outline.notes.append(
            f"{len(sheets) - MAX_SHEETS} more sheets are left out here."
        )
    names = book.root.findall("definedNames/definedName")
    if names:
        outline.heading("Names")
    for one in names[:MAX_NAMES]:
        mark = "hidden" if one.get("hidden") in _TRUE else ""
        outline.text((f"{one.get('name', '')} = {one.text or ''}", mark))


def _sheet(sheet: Element, book: _Book, outline: Outline) -> None:
    # Adds the cells of one sheet to the outline as a table, with empty rows left out.
    rows: list[SheetRow] = []
    used: set[int] = set()
    left_out = 0
    # Cells can share a formula by a number: only the first of them has its text.
    formulas = {}
    for row_number, row in enumerate(sheet.iterfind("sheetData/row"), start=1):
        elements = {
            _column(cell.get("r", ""), position): cell
            for position, cell in enumerate(row.findall("c"), start=1)
        }
        filled = {column: cell for column, cell in elements.items() if len(cell)}
        if not filled:
            continue
        if len(rows) == MAX_ROWS:
            left_out += 1
            continue
        cells = {}
        for column, cell in filled.items():
            formula_text = ""
            formula = cell.find("f")
            if formula is not None:
                key = formula.get("si", "")
                if formula.text:
                    formulas[key] = f"{formula.text} (shared from {cell.get('r', '')})"
                formula_text = f"={formula.text or formulas.get(key, '')}"
            cells[column] = (_value(cell, book), formula_text)
        used.update(cells)
        mark = "hidden" if _is_hidden(row, "ht") else ""
        rows.append((row.get("r", str(row_number)), mark, cells))
    columns = sorted(used)[:MAX_COLUMNS]
    if len(used) > MAX_COLUMNS or left_out:
        note = f"{left_out} more rows and {len(used) - len(columns)} more columns are left out here."
        outline.text((note, "note"))
    marks = {
        column: "hidden"
        for one in sheet.iterfind("cols/col")
        for column in columns
        if number_of(one.get("min")) <= column <= number_of(one.get("max"))
        and _is_hidden(one, "width")
    }
    if rows:
        outline.sheet(rows, columns, marks)
    else:
        outline.text(("It is empty.", "note"))
    for one in sheet.iterfind("headerFooter/*"):
        # Codes for the place, the font and fields begin with "&".
        outline.text((f"{one.tag}: {one.text or ''}", "note"))
    for one in sheet.iterfind("dataValidations/dataValidation"):
        words = [one.get(name, "") for name in ("promptTitle", "prompt", "error")]
        if any(words):
            where = one.get("sqref", "")
            outline.text((f"Shown at {where}: {' '.join(words)}", "note"))


def _value(cell: Element, book: _Book) -> list[Run]:
    """Return what Excel shows in a cell, and the value where that is another one."""
    kind = cell.get("t", "n")
    value = cell.findtext("v", "")
    style = number_of(cell.get("s"))
    code, mark = book.styles[style] if style < len(book.styles) else ("", "")
    runs = [(value, "")]
    if kind == "inlineStr":
        runs = [
            run
            for inline in cell.iterfind("is")
            for run in joined(book.reader.runs(inline, "", {}))
        ]
    elif kind == "s":
        is_known = value.isdigit() and int(value) < len(book.strings)
        runs = book.strings[int(value)] if is_known else []
    elif kind == "b":
        runs = [("TRUE" if value == "1" else "FALSE", "")]
    elif kind == "n" and value:
        text, note = shown(value, code, is_from_1904=book.is_from_1904)
        runs = [(text, ""), (note, "note")]
    if kind != "n" and (len(sections(code)) > 3 or code.strip("@ ").count("@")):
        # The format has words for texts.
        runs.append((f" (format: {code})", "note"))
    return [(text, own or mark) for text, own in runs if text]


def _is_hidden(element: Element, size: str) -> bool:
    return element.get("hidden") in _TRUE or element.get(size) in ("0", "0.0")


def _column(reference: str, otherwise: int) -> int:
    """Return the number of the column in a reference such as AB12, counted from 1;
    `otherwise` if there is none.
    """
    letters = re.match("[A-Z]{1,3}", reference)
    number = 0
    for letter in letters[0] if letters else "":
        number = number * 26 + ord(letter) - 64
    return number or otherwise
