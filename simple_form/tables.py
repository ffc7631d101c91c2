"""What `simplify` knows of a table while it reads the table's rows."""

from dataclasses import dataclass, field

# Columns that are followed.
MOST_COLUMNS = 30


@dataclass(slots=True)
class Table:
    """A table so far. Widths are in pixels."""

    # Its cellpadding, and the room between its cells.
    padding: float = 0.0
    spacing: float = 0.0
    has_rows: bool = False
    has_foot: bool = False
    # How many cells its last row has so far, and whether any row has several.
    cells: int = 0
    has_multi_cell_row: bool = False
    # Whether one cell may leave little room to the others, and whether one spans rows.
    is_uneven: bool = False
    spans_rows: bool = False
    # Of its last row so far: the longest words of all cells together, the longest of
    # them, and the width that the row has at least.
    words_width: float = 0.0
    longest_word: float = 0.0
    least_width: float = 0.0
    # The column of the next cell, and for how many rows cells above take each column.
    column: int = 0
    taken: list[int] = field(default_factory=list)

    def add_row(self) -> None:
        """Begin a row of a table."""
        self.cells = self.column = 0
        self.words_width = self.longest_word = self.least_width = 0.0
        self.taken = [max(one - 1, 0) for one in self.taken]

    def add_cell(self, colspan: int, rowspan: int) -> int:
        """Add a cell to the row, and return how many columns it spans: only those that
        no cell above takes.
        """
        self.cells += 1
        self.has_multi_cell_row = self.has_multi_cell_row or self.cells > 1
        self.spans_rows = self.spans_rows or rowspan != 1
        first = self.column
        while self._is_taken(first):
            first += 1
        columns = 1
        while columns < colspan and not self._is_taken(first + columns):
            columns += 1
        self.column = first + columns
        if self.column <= MOST_COLUMNS:
            self.taken += [0] * (self.column - len(self.taken))
            # A rowspan of 0 means all rows that follow: thirty are enough too.
            self.taken[first : self.column] = [rowspan or MOST_COLUMNS] * columns
        return columns

    def _is_taken(self, column: int) -> bool:
        return column < len(self.taken) and self.taken[column] > 0
