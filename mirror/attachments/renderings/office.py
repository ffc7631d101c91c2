"""Opens an Office file, which is a zip archive of XML parts (`Package`), and holds what
its reader finds: headings, paragraphs and tables (`Outline`). A hostile file cannot use
up the memory, because the size of each part and of the whole outline is limited.
"""

import io
import posixpath
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from common.numerals import column_name
from common.unique_keys import Json
from mirror.attachments.file_types import Refused

# The limits of an outline; the text is counted in characters.
MAX_TEXT = 200_000
MAX_CELLS = 20_000
MAX_BLOCKS = 10_000
# The limits of one sheet.
MAX_ROWS = 500
MAX_COLUMNS = 60

# Text with a mark, which is empty for plain text: "hidden", "deleted" and so on.
Run = tuple[str, str]
# The text in a cell, and its formula; empty if it has none.
Cell = tuple[list[Run], str]
# The name of a row, its mark, and its cells.
Row = tuple[str, str, list[Cell]]
# The same for a sheet, with the cells by the numbers of their columns.
SheetRow = tuple[str, str, dict[int, Cell]]


class Outline:
    """The headings, paragraphs and tables of one file. What exceeds the limits is left
    out, and a note says so.
    """

    def __init__(self, notes: Iterable[str]) -> None:
        self.notes = list(notes)
        self._blocks: list[Json] = []
        self._text_left = MAX_TEXT
        self._cells_left = MAX_CELLS
        self._is_full = False

    def heading(self, text: str, *, level: int = 2, mark: str = "") -> None:
        """Add a heading of a level from 2 to 6."""
        self._add({"heading": self._cut(text), "level": level, "mark": mark})

    def text(self, *runs: Run) -> None:
        """Add a paragraph."""
        self._add({"runs": [(self._cut(text), mark) for text, mark in runs]})

    def table(
        self, rows: Sequence[Row], columns: Iterable[tuple[str, str]] = ()
    ) -> None:
        """Add a table. `columns` are pairs of a column's name and its mark."""
        kept_rows = []
        for name, mark, row in rows:
            length = 0
            for runs, formula in row:
                length += len(formula) + sum(len(run) for run, _ in runs)
            if len(row) > self._cells_left or length > self._text_left:
                self._is_full = True
                break
            self._cells_left -= len(row)
            self._text_left -= length
            cells = [{"runs": runs, "formula": formula} for runs, formula in row]
            kept_rows.append({"name": name, "mark": mark, "cells": cells})
        heads = [{"name": name, "mark": mark} for name, mark in columns]
        left_out = len(rows) - len(kept_rows)
        self._add({"columns": heads, "rows": kept_rows, "left_out": left_out})

    def grid(self, rows: Iterable[Iterable[list[Run]]]) -> None:
        """Add a table that has only text in its cells, without names and formulas."""
        self.table([("", "", [(runs, "") for runs in row]) for row in rows])

    def sheet(
        self, rows: Iterable[SheetRow], columns: Sequence[int], marks: Mapping[int, str]
    ) -> None:
        """Add a table of a sheet: its cells, and the marks of its columns, are known by
        the columns' numbers.
        """
        nothing: Cell = ([], "")
        self.table(
            [
                (name, mark, [cells.get(one, nothing) for one in columns])
                for name, mark, cells in rows
            ],
            [(column_name(one), marks.get(one, "")) for one in columns],
        )

    def _cut(self, text: str) -> str:
        # The part of the text that still fits into the outline.
        part = text[: self._text_left]
        self._text_left -= len(part)
        self._is_full = self._is_full or len(part) < len(text)
        return part

    def _add(self, block: Json) -> None:
        if len(self._blocks) < MAX_BLOCKS:
            self._blocks.append(block)
        else:
            self._is_full = True

    def found(self) -> Json:
        """Return the outline as plain data, for JSON: `notes` and `blocks`."""
        if self._is_full:
            self.notes.append(
                "Not all of it is shown here. Download the file to read the rest."
            )
        return {"notes": self.notes, "blocks": self._blocks}


def nearest(element: Element, tag: str) -> Iterator[Element]:
    """Yield the elements with this tag in an element, without those inside of others."""
    for child in element:
        if child.tag == tag:
            yield child
        else:
            yield from nearest(child, tag)


def number_of(text: str | None) -> int:
    """Return the number in an attribute; 0 if there is none, or a very large one."""
    return int(text) if text and text.isdigit() and len(text) < 9 else 0


# --- The archive ----------------------------------------------------------------------


MAX_ENTRIES = 5_000
# In bytes of XML: one part, and all parts that are read.
MAX_PART = 16 * 1024 * 1024
MAX_ALL = 40 * 1024 * 1024
# How deep elements of XML may be nested.
MAX_DEPTH = 150
# At most so many notes name what a program may load.
MAX_LINKS = 20
# What a program may load when it opens the file, by the last word of a relation's type.
_LOADED = {
    "attachedTemplate": "template",
    "externalLinkPath": "workbook",
    "image": "picture",
    "oleObject": "object",
    "frame": "page",
    "subDocument": "document",
    "mailMergeSource": "data source",
}


_CHUNK = (
    "Word shows another document as part of this one. Its words are not shown here."
)


@dataclass(frozen=True)
class Relation:
    """A reference from one part of the file to another, or to something outside."""

    id: str
    # The last word of its type; empty if no program knows the type.
    kind: str
    # The name of the other part, or an address if it is external.
    target: str
    is_external: bool


class Package:
    """The parts of one Office file. If the file is damaged, a method may raise an error
    of any kind; `mirror.attachments.jobs` then answers that the file is broken.
    """

    def __init__(self, content: bytes) -> None:
        self._zip = zipfile.ZipFile(io.BytesIO(content))
        # A ZIP64 record may point to another directory than the one that Office reads.
        end = content.rfind(b"PK\x05\x06")
        if content[end - 20 : end].startswith(b"PK\x06\x07"):
            raise Refused("form")
        if len(self._zip.filelist) > MAX_ENTRIES:
            raise Refused("too_large")
        self._bytes_left = MAX_ALL
        self.names = frozenset(self._zip.namelist())
        # Programs find a part in upper and lower case.
        self._spelled = {name.lower(): name for name in self.names}

    def part(self, name: str) -> Element:
        """Return a part's XML. Raises Refused."""
        return parse(self.data(name))

    def data(self, name: str) -> bytes:
        """Return a part's bytes. Raises Refused."""
        if name not in self.names:
            raise Refused("form")
        info = self._zip.getinfo(name)
        if info.flag_bits & 1:
            raise Refused("locked")
        most = min(MAX_PART, self._bytes_left)
        if info.file_size > most:
            raise Refused("too_large")
        with self._zip.open(info) as stream:
            # The size stated in the directory may be too small.
            data = stream.read(most + 1)
        if len(data) > most:
            raise Refused("too_large")
        self._bytes_left -= len(data)
        return data

    def relations(self, name: str) -> Mapping[str, Relation]:
        """Return the relations of this part, by id."""
        folder, base = posixpath.split(name)
        listed = posixpath.join(folder, "_rels", f"{base}.rels")
        if listed not in self.names:
            return {}
        return {one.id: one for one in self._relations(listed, folder)}

    def _relations(self, listed: str, folder: str) -> Iterator[Relation]:
        # The relations listed in this part, relative to the folder.
        for one in self.part(listed).iter("Relationship"):
            space, _, kind = one.get("Type", "").rpartition("/")
            # Programs skip relations of types that they do not know.
            if space not in _RELATIONS and kind not in _KINDS_OF_MICROSOFT:
                kind = ""
            target = one.get("Target", "")
            is_external = one.get("TargetMode") == "External"
            if not is_external:
                target = posixpath.normpath(posixpath.join("/", folder, target))
                target = target.lstrip("/")
                target = self._spelled.get(target.lower(), target)
            yield Relation(one.get("Id", ""), kind, target, is_external)

    def opened(self, name: str) -> tuple[Element, Mapping[str, Relation]]:
        """Return a part's XML, and its relations by id. Raises Refused."""
        return self.part(name), self.relations(name)

    def main(self) -> tuple[Element, Mapping[str, Relation]]:
        """Open the main part: the document, workbook or presentation. Raises Refused."""
        for relation in self.relations("").values():
            if relation.kind == "officeDocument":
                return self.opened(relation.target)
        raise Refused("form")

    def notes(self) -> list[str]:
        """Return sentences about what a program may load from other addresses when it
        opens the file, and about other documents that it shows as part of this one.
        """
        notes: list[str] = []
        for listed in sorted(name for name in self.names if name.endswith(".rels")):
            for relation in self._relations(listed, ""):
                if relation.kind == "aFChunk" and _CHUNK not in notes:
                    notes.append(_CHUNK)
                what = _LOADED.get(relation.kind)
                if relation.is_external and what and len(notes) < MAX_LINKS:
                    target = relation.target[:500]
                    notes.append(
                        f"A program that opens it may load a {what} from {target}. Nothing was loaded here."
                    )
        return list(dict.fromkeys(notes))


# Of relations' ids; the second as in the form of Office files that ISO calls strict.
_RELATIONS = """
http://schemas.openxmlformats.org/officeDocument/2006/relationships
http://purl.oclc.org/ooxml/officeDocument/relationships
""".split()
# Sheets of macros and comments, whose relations are Microsoft's own: the only ones of
# another namespace that are read.
_KINDS_OF_MICROSOFT = (
    "xlMacrosheet",
    "xlIntlMacrosheet",
    "threadedComment",
    "comments",
)
# The namespaces of what is read here. Programs skip names of namespaces that they do
# not know, so a file could use those to show something else here.
_NAMESPACES = frozenset(
    {
        "",
        *"""
http://schemas.openxmlformats.org/package/2006/relationships
http://schemas.openxmlformats.org/markup-compatibility/2006
http://schemas.openxmlformats.org/officeDocument/2006/math
http://schemas.openxmlformats.org/wordprocessingml/2006/main
http://schemas.openxmlformats.org/spreadsheetml/2006/main
http://schemas.openxmlformats.org/presentationml/2006/main
http://schemas.openxmlformats.org/drawingml/2006/main
http://schemas.openxmlformats.org/drawingml/2006/chart
http://schemas.openxmlformats.org/drawingml/2006/diagram
http://schemas.openxmlformats.org/drawingml/2006/wordprocessingDrawing
http://schemas.openxmlformats.org/drawingml/2006/spreadsheetDrawing
http://purl.oclc.org/ooxml/officeDocument/math
http://purl.oclc.org/ooxml/wordprocessingml/main
http://purl.oclc.org/ooxml/spreadsheetml/main
http://purl.oclc.org/ooxml/presentationml/main
http://purl.oclc.org/ooxml/drawingml/main
http://purl.oclc.org/ooxml/drawingml/chart
http://purl.oclc.org/ooxml/drawingml/diagram
http://purl.oclc.org/ooxml/drawingml/wordprocessingDrawing
http://purl.oclc.org/ooxml/drawingml/spreadsheetDrawing
http://schemas.microsoft.com/office/spreadsheetml/2018/threadedcomments
urn:schemas-microsoft-com:vml
urn:oasis:names:tc:opendocument:xmlns:xsl-fo-compatible:1.0
urn:oasis:names:tc:opendocument:xmlns:office:1.0
urn:oasis:names:tc:opendocument:xmlns:text:1.0
urn:oasis:names:tc:opendocument:xmlns:table:1.0
urn:oasis:names:tc:opendocument:xmlns:style:1.0
urn:oasis:names:tc:opendocument:xmlns:drawing:1.0
urn:oasis:names:tc:opendocument:xmlns:presentation:1.0
urn:oasis:names:tc:opendocument:xmlns:form:1.0
""".split(),
    }
)


def parse(data: bytes) -> Element:
    """Return parsed XML, with names of elements and attributes without their
    namespaces, unless nothing is read of a namespace.

    Raises Refused. XML with a document type is refused, since that could
    declare entities.
    """
    builder = TreeBuilder()
    depth = 0

    def start(name: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth > MAX_DEPTH:
            raise Refused("broken")
        local_attributes = {}
        for key, value in attributes.items():
            # The id of a relation is named "r:id", because some elements have another
            # attribute "id" too.
            space, _, word = key.rpartition(" ")
            is_relation = space in _RELATIONS
            local_attributes[f"r:{word}" if is_relation else _local(key)] = value
        builder.start(_local(name), local_attributes)

    def end(name: str) -> None:
        nonlocal depth
        depth -= 1
        builder.end(_local(name))

    def refuse(*_: object) -> None:
        raise Refused("entities")

    parser = expat.ParserCreate(namespace_separator=" ")
    parser.buffer_text = True
    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = builder.data
    parser.StartDoctypeDeclHandler = refuse
    parser.Parse(data, True)
    return builder.close()


def _local(name: str) -> str:
    space, _, word = name.rpartition(" ")
    return word if space in _NAMESPACES else name
