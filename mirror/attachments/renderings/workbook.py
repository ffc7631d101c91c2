"""Reads an Excel workbook: each sheet as a table with values and formulas, and what
Excel would hide marked.
"""

import re
from datetime import datetime, timedelta
from typing import Any
from xml.etree.ElementTree import Element

from mirror.attachments.renderings.office_package import Package
from mirror.attachments.renderings.outline import Outline, column_name
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
        self.dates = self._date_styles()

    def _shared(self, kind: str, tag: str) -> list[Element]:
        for relation in self.relations.values():
            if (
                relation.kind == kind
                and not relation.is_external
                and relation.target in self.package.names
            ):
                return self.package.part(relation.target).findall(tag)
        return []

    def _date_styles(self) -> frozenset[int]:
        formats = {
            one.get("numFmtId", "")
            for listed in self._shared("styles", "numFmts")
            for one in listed
            if re.search(
                "[ymdhs]",
                _QUOTED.sub("", one.get("formatCode", ""))
                .lower()
                .replace("general", ""),
            )
        } | {str(one) for one in _DATES}
        styles = [one for listed in self._shared("styles", "cellXfs") for one in listed]
        return frozenset(
            number
            for number, style in enumerate(styles)
            if style.get("numFmtId") in formats
        )


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
            _comments(package, relation.target, outline)
    if len(sheets) > MAX_SHEETS:
        outline.notes.append(
            f"{len(sheets) - MAX_SHEETS} more sheets are left out here."
        )
    _names(book.root, outline)
    return outline.found()


def _sheet(sheet: Element, book: _Book, outline: Outline) -> None:
    listed = sheet.iterfind("cols/col")
    hidden_columns = [
        (_number(one.get("min")), _number(one.get("max")))
        for one in listed
        if _is_hidden(one, "width")
    ]
    rows: list[tuple[str, bool, dict[int, Element]]] = []
    used: set[int] = set()
    left_out = 0
    for at, row in enumerate(sheet.iterfind("sheetData/row"), start=1):
        cells = {
            _column(cell.get("r", ""), place): cell
            for place, cell in enumerate(row.findall("c"), start=1)
        }
        cells = {column: cell for column, cell in cells.items() if len(cell)}
        if cells and len(rows) < MAX_ROWS:
            used |= set(cells)
            rows.append((row.get("r", str(at)), _is_hidden(row, "ht"), cells))
        elif cells:
            left_out += 1
    columns = sorted(used)[:MAX_COLUMNS]
    if len(used) > MAX_COLUMNS or left_out:
        outline.text(
            [
                (
                    f"{left_out} more rows and {len(used) - len(columns)} more columns are left out here.",
                    "note",
                )
            ]
        )
    formulas: dict[str, str] = {}
    table = [
        {
            "name": name,
            "mark": "hidden" if is_hidden else "",
            "cells": [_cell(cells.get(column), book, formulas) for column in columns],
        }
        for name, is_hidden, cells in rows
    ]
    heads = [
        {
            "name": column_name(one),
            "mark": "hidden" if _within(one, hidden_columns) else "",
        }
        for one in columns
    ]
    if table:
        outline.table(heads, table)
    else:
        outline.text([("It is empty.", "note")])


def _cell(
    cell: Element | None, book: _Book, formulas: dict[str, str]
) -> dict[str, Any]:
    if cell is None:
        return {"runs": [], "mark": ""}
    found = {"runs": [(_value(cell, book), "")], "mark": ""}
    formula = cell.find("f")
    if formula is not None:
        # Cells that share a formula name it by a number; only the first has its text.
        key = formula.get("si", "")
        if formula.text:
            formulas[key] = f"{formula.text} (shared from {cell.get('r', '')})"
        found["formula"] = f"={formula.text or formulas.get(key, '')}"
    return found


def _value(cell: Element, book: _Book) -> str:
    kind = cell.get("t", "n")
    value = cell.findtext("v", "")
    if kind == "inlineStr":
        inline = cell.find("is")
        return _words(inline) if inline is not None else ""
    if kind == "s":
        return (
            book.strings[int(value)]
            if value.isdigit() and int(value) < len(book.strings)
            else ""
        )
    if kind == "b":
        return "TRUE" if value == "1" else "FALSE"
    style = cell.get("s", "")
    if kind == "n" and style.isdigit() and int(style) in book.dates:
        return _date(value, book.epoch)
    return value


def _date(value: str, epoch: datetime) -> str:
    try:
        moment = epoch + timedelta(days=float(value))
    except (ValueError, OverflowError):
        return value
    if 0 <= float(value) < 1:
        return f"{moment:%H:%M:%S}"
    return (
        f"{moment:%Y-%m-%d}"
        if float(value).is_integer()
        else f"{moment:%Y-%m-%d %H:%M:%S}"
    )


def _words(element: Element) -> str:
    """Return the text of a string, without how it is pronounced."""
    runs = [element, *element.findall("r")]
    return "".join(text.text or "" for run in runs for text in run.findall("t"))


def _comments(package: Package, name: str, outline: Outline) -> None:
    for relation in package.relations(name).values():
        if relation.kind == "comments" and relation.target in package.names:
            outline.heading("Comments", level=3)
            for one in package.part(relation.target).iter("comment"):
                text = "".join(text.text or "" for text in one.iter("t"))
                outline.text([(f"{one.get('ref', '')}: {text}", "")])


def _names(book: Element, outline: Outline) -> None:
    names = book.findall("definedNames/definedName")
    if names:
        outline.heading("Names")
    for one in names[:MAX_NAMES]:
        mark = "hidden" if one.get("hidden") in ("1", "true") else ""
        outline.text([(f"{one.get('name', '')} = {one.text or ''}", mark)])


def _is_hidden(element: Element, size: str) -> bool:
    return element.get("hidden") in ("1", "true") or element.get(size) in ("0", "0.0")


def _within(column: int, ranges: list[tuple[int, int]]) -> bool:
    return any(first <= column <= last for first, last in ranges)


def _number(text: str | None) -> int:
    return int(text) if text and text.isdigit() and len(text) < 9 else 0


def _column(reference: str, otherwise: int) -> int:
    """Return the number of the column in a reference such as AB12."""
    letters = re.match("[A-Z]{1,3}", reference)
    number = 0
    for letter in letters[0] if letters else "":
        number = number * 26 + ord(letter) - 64
    return number or otherwise
