"""Rows of CSV files that people open in spreadsheets: quoted by RFC 4180, and no cell is taken for a formula. Pure."""

import csv
import io
from collections.abc import Iterable

# What a spreadsheet would take for the beginning of a formula.
FORMULA = ("=", "+", "-", "@", "\t", "\r")


def csv_row(cells: Iterable[object]) -> str:
    """Return one line, with its end; what could begin a formula gets an apostrophe before it."""
    out = io.StringIO()
    csv.writer(out).writerow([harmless(str(cell)) for cell in cells])
    return out.getvalue()


def harmless(cell: str) -> str:
    """Return a cell that is text in every spreadsheet."""
    return f"'{cell}" if cell.startswith(FORMULA) else cell
