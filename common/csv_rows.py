"""Rows of CSV files that people open in spreadsheets: quoted by RFC 4180, and no cell
is taken for a formula. Pure.
"""

import csv
import io
import re
from collections.abc import Iterable

# What a spreadsheet would take for the beginning of a formula; some read the full-width
# forms as the usual ones.
FORMULA = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20", "\t", "\r", "\n")
# Some spreadsheets remove invisible characters first.
_UNSEEN = re.compile(r"[\s\u200b-\u200f\u2060\ufeff\0]*")
# Programs that split a line at these begin another cell behind them, whatever is
# quoted.
_INNER = re.compile(
    r"([;\t][;\"\s\u200b-\u200f\u2060\ufeff\0]*+)('*+)([=+\-@\uff1d\uff0b\uff0d\uff20]?)"
)


def csv_row(cells: Iterable[object]) -> str:
    """Return one line, with its end; what could begin a formula gets an apostrophe
    before it.
    """
    out = io.StringIO()
    csv.writer(out).writerow([harmless(str(cell)) for cell in cells])
    return out.getvalue()


def harmless(cell: str) -> str:
    """Return a cell that is text in every spreadsheet, also in one that splits it into
    several.
    """
    cell = _INNER.sub(
        lambda found: f"{found[1]}'{found[2]}{found[3]}" if found[3] else found[0], cell
    )
    is_formula = cell.startswith(FORMULA) or _UNSEEN.sub("", cell, 1).startswith(
        FORMULA
    )
    return f"'{cell}" if is_formula else cell


def without_escapes(cell: str) -> str:
    """Return a cell of our files as it was before `harmless`."""
    cell = _INNER.sub(
        lambda found: f"{found[1]}{found[2][1:]}{found[3]}" if found[3] else found[0],
        cell,
    )
    return cell[1:] if cell.startswith("'") and cell[1:2] in FORMULA else cell
