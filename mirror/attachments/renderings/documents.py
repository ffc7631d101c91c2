"""Reads Word documents, PowerPoint slides, OpenDocument files and Excel workbooks: each
as headings, paragraphs and tables, with what the program would not show marked.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any
from xml.etree.ElementTree import Element, SubElement

from mirror.attachments.file_types import Refused
from mirror.attachments.renderings.office import (
    Cell,
    Outline,
    Package,
    Relation,
    Run,
)

# --- Word -----------------------------------------------------------------------------


# In half points: letters of this size or smaller get the mark "tiny".
TINY = 8
# Other parts of a document that are read, and the headings above them.
_ALSO = {
    "header": "Header",
    "footer": "Footer",
    "footnotes": "Footnotes",
    "endnotes": "Endnotes",
    "comments": "Comments",
}
MAX_NOTES = 100
Relations = Mapping[str, Relation]
# The marks of tracked changes.
_CHANGED = {
    "ins": "inserted",
    "del": "deleted",
    "moveFrom": "deleted",
    "moveTo": "inserted",
}
_OFF = ("0", "false", "off")
_BREAKS = {"tab": "\t", "br": "\n", "cr": "\n", "noBreakHyphen": "-"}


def read_word(package: Package, outline: Outline) -> None:
    """Read a Word document into the outline. Raises Refused."""
    body, relations = package.main()
    styles = {
        style.get("styleId", ""): style
        for relation in relations.values()
        if relation.kind == "styles" and relation.target in package.names
        for style in package.part(relation.target).iter("style")
    }
    hidden = {name for name in styles if _style_vanishes(name, styles)}
    # A paragraph that names no style has the default one.
    for name in list(hidden):
        style = styles[name]
        if style.get("type") == "paragraph" and style.get("default", "0") not in _OFF:
            hidden.add("")
    _hide(body, hidden)
    _word_blocks(body, relations, outline)
    for relation in relations.values():
        if relation.kind == "numbering" and relation.target in package.names:
            levels = package.part(relation.target).iter("lvlText")
            for words in list(dict.fromkeys(one.get("val", "") for one in levels))[:50]:
                note = f"Word may write “{words[:500]}” before items of a list."
                is_new = note not in outline.notes and len(outline.notes) < MAX_NOTES
                # Without the numbers, of which %1 is that of the first level.
                if is_new and re.search(r"[^\W_]{2}", re.sub("%[1-9]", "", words)):
                    outline.notes.append(note)
        if relation.kind in _ALSO and not relation.is_external:
            outline.heading(_ALSO[relation.kind])
            part, others = package.opened(relation.target)
            _hide(part, hidden)
            _word_blocks(part, others, outline)


def _vanishes(properties: Element | None) -> bool:
    vanish = properties.find("vanish") if properties is not None else None
    return vanish is not None and vanish.get("val", "1") not in _OFF


def _style_vanishes(name: str, styles: Mapping[str, Element]) -> bool:
    """Whether this style, or the first of those that it is based on which says so,
    hides its text.
    """
    seen: set[str] = set()
    while name in styles and name not in seen:
        seen.add(name)
        if styles[name].find("rPr/vanish") is not None:
            return _vanishes(styles[name].find("rPr"))
        based = styles[name].find("basedOn")
        name = based.get("val", "") if based is not None else ""
    return False


def _hide(root: Element, hidden: set[str]) -> None:
    """Give each run that its style or its paragraph's style hides a property that says
    so. A property of the run itself comes before it and counts.
    """
    for paragraph in root.iter("p"):
        style = paragraph.find("pPr/pStyle")
        names = {style.get("val", "") if style is not None else ""}
        for run in paragraph.iter("r"):
            own = run.find("rPr")
            of_run = {one.get("val", "") for one in run.iterfind("rPr/rStyle")}
            if hidden & (names | of_run):
                SubElement(SubElement(run, "rPr") if own is None else own, "vanish")


def _word_blocks(element: Element, relations: Relations, outline: Outline) -> None:
    # Adds the headings, paragraphs and tables in an element to the outline.
    for child in element:
        if child.tag == "p":
            runs = _joined(_runs(child, "", relations))
            style = child.find("pPr/pStyle")
            name = style.get("val", "") if style is not None else ""
            level = re.fullmatch(r"[Hh]eading ?([1-6])", name)
            if level and len(runs) == 1:
                outline.heading(
                    runs[0][0], level=min(int(level[1]) + 1, 6), mark=runs[0][1]
                )
            elif runs:
                is_listed = child.find("pPr/numPr") is not None
                outline.text(*([("• ", "")] if is_listed else []), *runs)
        elif child.tag == "tbl":
            outline.grid(
                [_cell_runs(cell, relations) for cell in row.iter("tc")]
                for row in child.iter("tr")
            )
        elif child.tag == "AlternateContent":
            for one in _alternatives(child):
                _word_blocks(one, relations, outline)
        elif child.tag != "sectPr":
            if child.tag == "comment":
                outline.heading(child.get("author", ""), level=4)
            _word_blocks(child, relations, outline)


def _alternatives(element: Element) -> Iterator[Element]:
    """Yield the alternatives in an element (Choice and Fallback) whose words, links or
    hiding differ, because programs differ in which of them they show.
    """
    seen = set()
    for one in element:
        shown = tuple(
            (part.tag, part.text or "", *map(part.get, ("r:id", "val", "char")))
            for part in one.iter()
            if part.tag in ("t", "delText", "instrText", "hyperlink", "vanish", "sym")
        )
        if shown not in seen:
            seen.add(shown)
            yield one


def _cell_runs(cell: Element, relations: Relations) -> list[Run]:
    runs: list[Run] = []
    for paragraph in cell.iter("p"):
        if runs:
            runs.append(("\n", ""))
        runs += _joined(_runs(paragraph, "", relations))
    return runs


def _runs(element: Element, mark: str, relations: Relations) -> Iterator[Run]:
    """Yield the text in an element, in order, each piece with its mark: what hides it,
    or that it was inserted or deleted.
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
        elif child.tag == "sym":
            code = child.get("char", "")
            number = int(code, 16) if re.fullmatch("[0-9A-Fa-f]{1,4}", code) else 0xFFFD
            # Fonts of symbols have theirs from F000 on.
            letter = chr(number - 0xF000 if 0xF020 <= number <= 0xF0FF else number)
            yield f"[{letter}, in the font {child.get('font', '')}]", mark or "note"
        elif child.tag == "AlternateContent":
            for one in _alternatives(child):
                yield from _runs(one, mark, relations)
        elif child.tag not in ("pPr", "rPr"):
            yield from _runs(
                child,
                mark or _CHANGED.get(child.tag, "") or _hidden_by(child),
                relations,
            )


def _hidden_by(run: Element) -> str:
    """Return the mark of a run whose letters Word hides, or makes white or tiny; else
    an empty text.
    """
    style = run.find("rPr") if run.tag == "r" else None
    if style is None:
        return ""
    # Reversed, so that the first of several elements with the same name counts.
    properties = {one.tag: one.get("val", "") for one in reversed(style)}
    if _vanishes(style):
        return "hidden"
    if properties.get("color", "").upper() == "FFFFFF":
        return "white"
    size = properties.get("sz", "")
    return "tiny" if size.isdigit() and int(size) <= TINY else ""


def _joined(runs: Iterator[Run]) -> list[Run]:
    """Return the runs, with neighbours of the same mark joined and empty ones left out;
    none if all of them together are blank.
    """
    joined: list[Run] = []
    for text, mark in runs:
        if joined and joined[-1][1] == mark:
            joined[-1] = (joined[-1][0] + text, mark)
        elif text:
            joined.append((text, mark))
    return joined if any(text.strip() for text, _ in joined) else []


# --- PowerPoint -----------------------------------------------------------------------


MAX_SLIDES = 300


def read_slides(package: Package, outline: Outline) -> None:
    """Read slides: their text, tables and notes in order. Raises Refused."""
    root, relations = package.main()
    ids = [one.get("r:id", "") for one in root.iterfind("sldIdLst/sldId")]
    for number, slide_id in enumerate(ids[:MAX_SLIDES], start=1):
        if (relation := relations.get(slide_id)) and not relation.is_external:
            slide, others = package.opened(relation.target)
            is_hidden = slide.get("show") in ("0", "false")
            outline.heading(f"Slide {number}", mark="hidden" if is_hidden else "")
            _slide_blocks(slide, outline)
            for other in others.values():
                if other.kind == "hyperlink" and other.is_external:
                    outline.text((other.target, "link"))
                if other.kind == "notesSlide" and not other.is_external:
                    outline.heading("Notes of the speaker", level=3)
                    _slide_blocks(package.part(other.target), outline)
    if len(ids) > MAX_SLIDES:
        outline.notes.append(f"{len(ids) - MAX_SLIDES} more slides are left out here.")


def _slide_blocks(element: Element, outline: Outline) -> None:
    for child in element:
        if child.tag == "tbl":
            outline.grid(
                [[(_slide_text(one), "")] for one in row.iter("tc")]
                for row in child.iter("tr")
            )
        elif child.tag == "p":
            if (text := _slide_text(child)).strip():
                outline.text((text, ""))
        elif child.tag == "sp" and child.find("nvSpPr/cNvPr[@hidden='1']") is not None:
            outline.text((_slide_text(child), "hidden"))
        elif child.tag == "AlternateContent":
            for one in _alternatives(child):
                _slide_blocks(one, outline)
        else:
            _slide_blocks(child, outline)


def _slide_text(element: Element) -> str:
    """Return the text below an element, its paragraphs as lines."""
    texts = []
    for one in element.iter():
        if one.tag == "t":
            texts.append(one.text or "")
        elif one.tag in ("br", "p"):
            texts.append("\n")
    return "".join(texts).strip("\n")


# --- OpenDocument ---------------------------------------------------------------------


MAX_ROWS = 500
MAX_COLUMNS = 60
_HREF = "http://www.w3.org/1999/xlink href"
# Values of the attribute `display` of what is hidden, or may be.
_HIDING = ("none", "false", "condition")
_SIGNS = {
    "tab": "\t",
    "line-break": "\n",
    "hidden-paragraph": "[This paragraph may be hidden.] ",
}
# The attributes that can hold the value of a cell.
_VALUES = ("value", "string-value", "date-value", "time-value", "boolean-value")


def read_opendocument(package: Package, outline: Outline) -> None:
    """Read a text, a sheet or a presentation. Raises Refused."""
    root = package.part("content.xml")
    is_styled = "styles.xml" in package.names
    named = package.part("styles.xml") if is_styled else Element("styles")
    styles = [*named.iter("style"), *root.iter("style")]
    # The names of the styles that hide what has them, themselves or by what they build
    # on, which may come later.
    hidden: set[str] = set()
    known = -1
    while len(hidden) > known:
        known = len(hidden)
        for style in styles:
            display = next(filter(None, (one.get("display") for one in style)), "")
            builds_on_hidden = style.get("parent-style-name") in hidden
            if display in _HIDING or (not display and builds_on_hidden):
                hidden.add(style.get("name", ""))
    _blocks(root, outline, hidden)
    for one in named.iterfind("master-styles/master-page/*"):
        if one.tag.startswith(("header", "footer")):
            outline.heading(one.tag.partition("-")[0].capitalize())
            _blocks(one, outline, hidden)


def _blocks(element: Element, outline: Outline, hidden: set[str]) -> None:
    for child in element:
        if child.tag == "h":
            level = child.get("outline-level", "1")
            outline.heading(_text(child, hidden), level=min(_number(level) + 1, 6))
        elif child.tag == "p":
            if (text := _text(child, hidden)).strip():
                outline.text((text, ""))
        elif child.tag == "deletion":
            words = [
                _text(one, hidden) for one in child.iter() if one.tag in ("h", "p")
            ]
            outline.text(("\n".join(words), "deleted"))
        elif child.tag == "table":
            mark = "hidden" if child.get("style-name") in hidden else ""
            outline.heading(child.get("name", ""), level=3, mark=mark)
            _table(child, outline, hidden)
        elif child.tag not in ("automatic-styles", "scripts", "font-face-decls"):
            if child.get("display") in _HIDING:
                outline.text(("The next section is hidden.", "note"))
            _blocks(child, outline, hidden)


def _table(table: Element, outline: Outline, hidden: set[str]) -> None:
    rows: list[tuple[str, str, dict[int, Cell]]] = []
    for number, _, row in _repeated(table.iter("table-row"), "rows"):
        if len(rows) == MAX_ROWS:
            outline.text((f"Only {MAX_ROWS} rows are shown here.", "note"))
            break
        elements = [
            one for one in row if one.tag in ("table-cell", "covered-table-cell")
        ]
        cells: dict[int, Cell] = {}
        for place, _, cell in _repeated(elements, "columns"):
            # Programs draw a cell by its value; its text may say something else.
            values = dict.fromkeys(filter(None, map(cell.get, _VALUES)))
            if (len(cell) or values) and place <= MAX_COLUMNS:
                text = "\n".join(_text(one, hidden) for one in cell.iter("p"))
                runs = [(text, "")]
                runs += [(f" (value: {one})", "note") for one in values if one != text]
                cells[place] = (runs, cell.get("formula", ""))
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
        last = at + max(_number(one.get(f"number-{what}-repeated")), 1) - 1
        yield at, last, one
        at = last + 1


def _mark(element: Element) -> str:
    return "hidden" if element.get("visibility") in ("collapse", "filter") else ""


def _text(element: Element, hidden: set[str]) -> str:
    """Return the text below an element, with its spaces and tabs. Brackets say what is
    hidden, and what is a comment.
    """
    found = element.text or ""
    for child in element:
        if child.tag == "s":
            found += " " * min(max(_number(child.get("c")), 1), 9999)
        else:
            found += _SIGNS.get(child.tag) or _text(child, hidden)
        if child.tag == "a":
            found += f" [links to {child.get(_HREF, '')}]"
        found += child.tail or ""
    is_hidden = element.get("style-name") in hidden or element.tag == "hidden-text"
    mark = "comment" if element.tag == "annotation" else "hidden" if is_hidden else ""
    return f"[{mark}: {found}]" if mark and found else found


# --- Excel ----------------------------------------------------------------------------


MAX_SHEETS = 50
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
# Literal text in a number format.
_QUOTED = re.compile(r'"[^"]*+"|\[[^\[\]]*+\]|\\.')
# The day 0 of a workbook, by whether it counts days from 1904.
_EPOCHS = {False: datetime(1899, 12, 30), True: datetime(1904, 1, 1)}  # noqa: DTZ001 -- a sheet knows no zone


class _Book:
    """What all sheets of a workbook use: its relations, texts, formats, and first day."""

    def __init__(self, package: Package) -> None:
        self.package = package
        self.root, self.relations = package.main()
        properties = self.root.find("workbookPr")
        self.epoch = _EPOCHS[
            properties is not None and properties.get("date1904") in ("1", "true")
        ]
        self.strings = [_words(one) for one in self.shared("sharedStrings", "si")]
        formats = {str(one) for one in _DATES}
        for one in self.shared("styles", "numFmts/*"):
            code = _QUOTED.sub("", one.get("formatCode", "")).lower()
            if re.search("[ymdhs]", code.replace("general", "")):
                formats.add(one.get("numFmtId", ""))
        # The indexes of the cell styles that show dates.
        self.dates = {
            number
            for number, style in enumerate(self.shared("styles", "cellXfs/*"))
            if style.get("numFmtId") in formats
        }

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
    book = _Book(package)
    for one in book.shared("styles", "numFmts/*"):
        for words in re.findall('"([^"]*)"', one.get("formatCode", "")):
            # Shorter ones are currencies and units.
            if re.search(r"\w{4}|\d", words) and len(outline.notes) < MAX_NOTES:
                note = f"Excel may write “{words[:500]}” with a value, or in its place."
                outline.notes.append(note)
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
            for related in relations.values():
                if related.kind == "hyperlink" and related.is_external:
                    outline.text((related.target, "link"))
                if related.kind == "comments" and related.target in package.names:
                    outline.heading("Comments", level=3)
                    for one in package.part(related.target).iter("comment"):
                        text = "".join(text.text or "" for text in one.iter("t"))
                        outline.text((f"{one.get('ref', '')}: {text}", ""))
    if len(sheets) > MAX_SHEETS:
        outline.notes.append(
            f"{len(sheets) - MAX_SHEETS} more sheets are left out here."
        )
    names = book.root.findall("definedNames/definedName")
    if names:
        outline.heading("Names")
    for one in names[:MAX_NAMES]:
        mark = "hidden" if one.get("hidden") in ("1", "true") else ""
        outline.text((f"{one.get('name', '')} = {one.text or ''}", mark))


def _sheet(sheet: Element, book: _Book, outline: Outline) -> None:
    # Adds the cells of one sheet to the outline as a table, with empty rows left out.
    hidden_columns = [
        range(_number(one.get("min")), _number(one.get("max")) + 1)
        for one in sheet.iterfind("cols/col")
        if _is_hidden(one, "width")
    ]
    rows: list[tuple[str, str, dict[int, Cell]]] = []
    used: set[int] = set()
    left_out = 0
    # Cells can share a formula by a number: only the first of them has its text.
    formulas: dict[str, str] = {}
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
        cells: dict[int, Cell] = {}
        for column, cell in filled.items():
            formula_text = ""
            formula = cell.find("f")
            if formula is not None:
                key = formula.get("si", "")
                if formula.text:
                    formulas[key] = f"{formula.text} (shared from {cell.get('r', '')})"
                formula_text = f"={formula.text or formulas.get(key, '')}"
            cells[column] = ([(_value(cell, book), "")], formula_text)
        used.update(cells)
        mark = "hidden" if _is_hidden(row, "ht") else ""
        rows.append((row.get("r", str(row_number)), mark, cells))
    columns = sorted(used)[:MAX_COLUMNS]
    if len(used) > MAX_COLUMNS or left_out:
        note = f"{left_out} more rows and {len(used) - len(columns)} more columns are left out here."
        outline.text((note, "note"))
    marks = {
        one: "hidden" for listed in hidden_columns for one in columns if one in listed
    }
    if rows:
        outline.sheet(rows, columns, marks)
    else:
        outline.text(("It is empty.", "note"))


def _value(cell: Element, book: _Book) -> str:
    # The value of a cell as text; of a date, written as one.
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
    """Return the text of a string, without phonetic hints, as Japanese texts have."""
    runs = [element, *element.findall("r")]
    return "".join(text.text or "" for run in runs for text in run.findall("t"))


def _is_hidden(element: Element, size: str) -> bool:
    return element.get("hidden") in ("1", "true") or element.get(size) in ("0", "0.0")


def _number(text: str | None) -> int:
    return int(text) if text and text.isdigit() and len(text) < 9 else 0


def _column(reference: str, otherwise: int) -> int:
    """Return the number of the column in a reference such as AB12, counted from 1;
    `otherwise` if there is none.
    """
    letters = re.match("[A-Z]{1,3}", reference)
    number = 0
    for letter in letters[0] if letters else "":
        number = number * 26 + ord(letter) - 64
    return number or otherwise


# --- All of them ----------------------------------------------------------------------

_READERS: dict[str, Callable[[Package, Outline], None]] = {
    "docx": read_word,
    "xlsx": read_workbook,
    "pptx": read_slides,
    "odf": read_opendocument,
}


def read(content: bytes, kind: str) -> dict[str, Any]:
    """Return the outline of an Office file as plain data, see `Outline.found`. Raises
    Refused.
    """
    package = Package(content)
    outline = Outline(package.notes())
    _READERS[kind](package, outline)
    return outline.found()
