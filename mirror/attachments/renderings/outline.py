"""What a reader makes of an Office file: headings, paragraphs and tables, bounded all
together.
"""

from collections.abc import Iterable
from typing import Any

MAX_TEXT = 200_000
MAX_CELLS = 20_000
MAX_BLOCKS = 10_000

# Text with a mark, which is empty for plain text: "hidden", "deleted" and so on.
Run = tuple[str, str]


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
        self._add(
            {
                "heading": text[: self._text],
                "level": min(max(level, 2), 6),
                "mark": mark,
            },
            len(text),
            0,
        )

    def text(self, runs: list[Run]) -> None:
        """Add a paragraph."""
        kept = []
        left = self._text
        for text, mark in runs:
            kept.append((text[:left], mark))
            left -= len(kept[-1][0])
            self._is_full = self._is_full or len(text) > len(kept[-1][0])
        self._add({"runs": kept}, self._text - left, 0)

    def table(self, columns: list[dict[str, str]], rows: list[dict[str, Any]]) -> None:
        """Add a table: columns and rows have a `name` and a `mark`; cells `runs`, and
        perhaps a `formula`.
        """
        kept: list[dict[str, Any]] = []
        text = cells = 0
        for row in rows:
            length = sum(len(t) for c in row["cells"] for t, _ in c["runs"]) + sum(
                len(c.get("formula", "")) for c in row["cells"]
            )
            if cells + len(row["cells"]) > self._cells or text + length > self._text:
                self._is_full = True
                break
            kept.append(row)
            text = text + length
            cells = cells + len(row["cells"])
        self._add(
            {"columns": columns, "rows": kept, "left_out": len(rows) - len(kept)},
            text,
            cells,
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
        left_out = (
            ["Not all of it is shown here. Download the file to read the rest."]
            if self._is_full
            else []
        )
        return {"notes": [*self.notes, *left_out], "blocks": self._blocks}


def column_name(column: int) -> str:
    """Return the letters of a sheet's column, counted from 1."""
    letters = ""
    while column > 0:
        column, rest = divmod(column - 1, 26)
        letters = chr(65 + rest) + letters
    return letters
