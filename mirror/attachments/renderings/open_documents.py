"""Reads texts, sheets and presentations in the format OpenDocument, as LibreOffice
writes them.
"""

from collections.abc import Iterable, Iterator
from xml.etree.ElementTree import Element

from common.numerals import numeral
from mirror.attachments.file_types import Refused
from mirror.attachments.renderings.documents import joined
from mirror.attachments.renderings.office import (
    MAX_COLUMNS,
    MAX_ROWS,
    Outline,
    Package,
    Run,
    SheetRow,
    nearest,
    number_of,
)

_HREF = "http://www.w3.org/1999/xlink href"
# Values of the attribute `display` of what is hidden, or may be.
_HIDING = ("none", "false", "condition")
_SIGNS = {"tab": "\t", "line-break": "\n"}
_MARKS = {
    "annotation": "comment",
    "note": "footnote",
    "hidden-text": "hidden",
    "hidden-paragraph": "hidden",
    "covered-table-cell": "hidden",
    "ruby-text": "raised",
    "urn:oasis:names:tc:opendocument:xmlns:svg-compatible:1.0 title": "picture",
    "urn:oasis:names:tc:opendocument:xmlns:svg-compatible:1.0 desc": "picture",
}
_UNREAD = ("automatic-styles", "scripts", "font-face-decls")
# The headings above parts of a file.
_HEADINGS = {
    "notes": "Notes of the speaker",
    "header": "Header",
    "footer": "Footer",
}
# The attributes that can hold the value of a cell.
_VALUES = "value string-value date-value time-value boolean-value".split()


def read_opendocument(package: Package, outline: Outline) -> None:
    """Read a text, a sheet or a presentation. Raises Refused."""
    # The only part that is readable in a file with a password.
    if b":encryption-data" in package.data("META-INF/manifest.xml"):
        raise Refused("locked")
    root = package.part("content.xml")
    is_styled = "styles.xml" in package.names
    named = package.part("styles.xml") if is_styled else Element("styles")
    reader = _Reader(outline, [named, root])
    reader.blocks(root)
    for master in named.iterfind("master-styles/master-page"):
        reader.blocks(master)
    for name in sorted(package.names):
        # Charts and other objects are documents of their own.
        if name.endswith("/content.xml"):
            outline.heading(name.removesuffix("/content.xml"), level=3)
            reader.blocks(package.part(name))


class _Reader:
    """Reads the parts of a file into an outline. It knows the file's styles."""

    def __init__(self, outline: Outline, parts: Iterable[Element]) -> None:
        self.outline = outline
        self._looks: dict[str, str] = {}
        self._lists: dict[str, list[Element]] = {}
        self._insertions: set[str] = set()
        # Whether what is read now was inserted.
        self._is_inserted = False
        styles: list[Element] = []
        for part in parts:
            styles += part.iter("style")
            for one in part.iter("list-style"):
                self._lists[one.get("name", "")] = list(one)
            for one in part.iter("changed-region"):
                if one.find("insertion") is not None:
                    self._insertions.add(one.get("id", ""))
        # A style may build on one that comes later.
        known = -1
        while len(self._looks) > known:
            known = len(self._looks)
            for style in styles:
                look = _look(style) or self._looks.get(
                    style.get("parent-style-name", ""), ""
                )
                if look and look != "shown":
                    self._looks[style.get("name", "")] = look

    def blocks(self, element: Element, mark: str = "") -> None:
        """Add the headings, paragraphs, lists and tables in an element."""
        slides = 0
        for child in element:
            tag = child.tag
            if tag in ("h", "p"):
                level = number_of(child.get("outline-level", "1"))
                runs = joined(self._runs(child, mark))
                if tag == "h" and len(runs) == 1:
                    words, own = runs[0]
                    self.outline.heading(words, level=min(level + 1, 6), mark=own)
                elif runs:
                    self.outline.text(*runs)
            elif tag == "list":
                self._list(child, mark, [])
            elif tag == "table":
                is_hidden = self._looks.get(child.get("style-name", "")) == "hidden"
                self.outline.heading(
                    child.get("name", ""), level=3, mark="hidden" if is_hidden else ""
                )
                self._table(child)
            elif tag not in _UNREAD:
                own = "deleted" if tag == "deletion" else mark
                heading = _HEADINGS.get(tag.partition("-")[0])
                is_hidden = child.get("display") in _HIDING
                if heading and (is_hidden or not joined(self._runs(child, ""))):
                    continue
                if is_hidden:
                    self.outline.text(("The next section is hidden.", "note"))
                if tag == "page":
                    slides += 1
                    look = self._looks.get(child.get("style-name", ""), "")
                    self.outline.heading(f"Slide {slides}", mark=look)
                elif heading:
                    self.outline.heading(heading, level=3)
                # What a field of a form holds.
                if words := child.get("current-value", ""):
                    self.outline.text((words, own))
                self.blocks(child, own)

    def _list(self, element: Element, mark: str, outer: list[str]) -> None:
        """Add the items of a list; `outer` has the names of the styles of the lists
        around it.
        """
        styles = [*outer, element.get("style-name") or (outer or [""])[-1]]
        level = str(len(styles))
        number = 0
        for item in element:
            label = "• " if item.tag == "list-item" else ""
            for one in self._lists.get(styles[-1], ()):
                is_numbered = one.get("num-format") and label
                if one.get("level") == level and is_numbered:
                    start = number_of(item.get("start-value") or one.get("start-value"))
                    number = start or number + 1
                    word = numeral(number, one.get("num-format", ""))
                    label = one.get("num-prefix", "") + word
                    label += one.get("num-suffix", "") + " "
            for child in item:
                if child.tag == "list":
                    self._list(child, mark, styles)
                elif runs := joined(self._runs(child, mark)):
                    self.outline.text((label, ""), *runs)
                    label = ""

    def _table(self, table: Element) -> None:
        for one in table.iterfind("shapes"):
            self.blocks(one)
        rows: list[SheetRow] = []
        for number, _, row in _repeated(nearest(table, "table-row"), "rows"):
            if len(rows) == MAX_ROWS:
                self.outline.text((f"Only {MAX_ROWS} rows are shown here.", "note"))
                break
            cells = {}
            for place, _, cell in _repeated(row, "columns"):
                runs = joined(self._runs(cell, ""))
                # Programs draw a cell by its value; its text may say something else.
                text = "".join(words for words, _ in runs)
                for value in dict.fromkeys(filter(None, map(cell.get, _VALUES))):
                    if value != text:
                        runs.append((f" (value: {value})", "note"))
                if runs and place <= MAX_COLUMNS:
                    cells[place] = (runs, cell.get("formula", ""))
            if cells:
                rows.append((str(number), _visibility(row), cells))
        marks = {
            one: _visibility(column)
            for first, last, column in _repeated(table.iter("table-column"), "columns")
            for one in range(first, min(last, MAX_COLUMNS) + 1)
        }
        if rows:
            last = max(max(cells) for _, _, cells in rows)
            self.outline.sheet(rows, range(1, last + 1), marks)

    def _runs(self, element: Element, mark: str) -> Iterator[Run]:
        """Yield the text in an element, in order, each piece with its mark: what hides
        it, or that it is a comment, was inserted and so on.
        """
        tag = element.tag
        if element.get("change-id", "") in self._insertions:
            self._is_inserted = tag == "change-start"
        mark = mark or _MARKS.get(tag, "")
        mark = mark or self._looks.get(element.get("style-name", ""), "")
        here = mark or ("inserted" if self._is_inserted else "")
        if tag == "s":
            yield " " * min(max(number_of(element.get("c")), 1), 9999), here
        yield _SIGNS.get(tag) or element.text or "", here
        for child in element:
            if child.tag in ("h", "p") and not (tag in _MARKS and child is element[0]):
                yield " " if mark else "\n", mark
            yield from self._runs(child, mark)
            yield child.tail or "", mark or ("inserted" if self._is_inserted else "")
        if tag == "a":
            yield element.get(_HREF, ""), "link"


def _look(style: Element) -> str:
    """Return the mark of text of a style by its own properties; "shown" if they say
    that it is not hidden, and an empty text if they say nothing of it.
    """
    found = ""
    for one in style:
        display = one.get("display") or one.get("visibility")
        if display in (*_HIDING, "hidden"):
            return "hidden"
        if one.get("color", "").lower() == "#ffffff":
            found = "white"
        elif one.get("text-line-through-style", "none") != "none":
            found = "struck"
        elif one.get("text-position", "").startswith("su"):
            found = "raised"
        elif display:
            found = "shown"
    return found


def _repeated(
    elements: Iterable[Element], what: str
) -> Iterator[tuple[int, int, Element]]:
    """Yield the first and last number of each row, column or cell, from 1: one element
    can stand for many.
    """
    at = 1
    for one in elements:
        last = at + max(number_of(one.get(f"number-{what}-repeated")), 1) - 1
        yield at, last, one
        at = last + 1


def _visibility(element: Element) -> str:
    return "hidden" if element.get("visibility") in ("collapse", "filter") else ""
