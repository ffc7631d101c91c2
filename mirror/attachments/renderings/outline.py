"""What a reader makes of an Office file: headings, paragraphs and tables, bounded all
together.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

MAX_TEXT = 200_000
MAX_CELLS = 20_000
MAX_BLOCKS = 10_000

# Text with a mark, which is empty for plain text: "hidden", "deleted" and so on.
Run = tuple[str, str]
# What stands in a cell, and the formula that it is worked out by; empty for none.
Cell = tuple[list[Run], str]
# The name of a row, its mark, and its cells.
Row = tuple[str, str, list[Cell]]


class Outline:
    """The blocks of one file; what is beyond the limits is left out, and a note says
    so.
    """

    def __init__(self, notes: Iterable[str] = ()) -> None:
        self.notes = list(notes)
        self._blocks: list[dict[str, Any]] = []
        self._text = MAX_TEXT
        self._cells = MAX_CELLS
        self._is_full = False

    def heading(self, text: str, *, level: int = 2, mark: str = "") -> None:
        """Add a heading of a level from 2 to 6."""
        level = min(max(level, 2), 6)
        heading = {"heading": text[: self._text], "level": level, "mark": mark}
        self._add(heading, len(text), 0)

    def text(self, runs: list[Run]) -> None:
        """Add a paragraph."""
        kept = []
        left = self._text
        for text, mark in runs:
            kept.append((text[:left], mark))
            left -= len(kept[-1][0])
            self._is_full = self._is_full or len(text) > len(kept[-1][0])
        self._add({"runs": kept}, self._text - left, 0)

    def table(
        self, rows: Sequence[Row], columns: Iterable[tuple[str, str]] = ()
    ) -> None:
        """Add a table; of each column the name and the mark."""
        kept: list[dict[str, Any]] = []
        text = 0
        cells = 0
        for name, mark, row in rows:
            length = 0
            for runs, formula in row:
                length += len(formula) + sum(len(run) for run, _ in runs)
            if cells + len(row) > self._cells or text + length > self._text:
                self._is_full = True
                break
            shown = [{"runs": runs, "formula": formula} for runs, formula in row]
            kept.append({"name": name, "mark": mark, "cells": shown})
            text += length
            cells += len(row)
        heads = [{"name": name, "mark": mark} for name, mark in columns]
        left_out = len(rows) - len(kept)
        self._add({"columns": heads, "rows": kept, "left_out": left_out}, text, cells)

    def sheet(
        self,
        rows: Iterable[tuple[str, str, Mapping[int, Cell]]],
        columns: Sequence[int],
        marks: Mapping[int, str],
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

    def _add(self, block: dict[str, Any], text: int, cells: int) -> None:
        if text > self._text or len(self._blocks) >= MAX_BLOCKS:
            self._is_full = True
            return
        self._blocks.append(block)
        self._text -= text
        self._cells -= cells

    def found(self) -> dict[str, Any]:
        """Return it as plain data."""
        notes = list(self.notes)
        if self._is_full:
            notes.append(
                "Not all of it is shown here. Download the file to read the rest."
            )
        return {"notes": notes, "blocks": self._blocks}


def column_name(column: int) -> str:
    """Return the letters of a sheet's column, counted from 1."""
    letters = ""
    while column > 0:
        column, rest = divmod(column - 1, 26)
        letters = chr(65 + rest) + letters
    return letters
