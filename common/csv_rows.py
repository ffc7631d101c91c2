"""Writes rows of CSV files that people open in spreadsheets: quoted by RFC 4180, and so
that no spreadsheet runs a cell as a formula. Pure.
"""

import csv
import io
import re
from collections.abc import Iterable

# What a spreadsheet may take for the beginning of a formula. Some treat the full-width
# forms (\uff1d and so on) like the usual characters.
FORMULA = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20", "\t", "\r", "\n")
# Invisible characters: some spreadsheets remove them from the beginning of a cell.
_INVISIBLE = re.compile(r"[\s\u200b-\u200f\u2060\ufeff\0]*")
# A semicolon or tab, then perhaps the beginning of a formula. Some programs split a
# line at these even inside quotes, so that what follows is a cell of its own.
_AFTER_SEPARATOR = re.compile(
    r"([;\t][;\"\s\u200b-\u200f\u2060\ufeff\0]*+)('*+)([=+\-@\uff1d\uff0b\uff0d\uff20]?)"
)


def csv_row(cells: Iterable[object]) -> str:
    """Return one line of CSV with its line end. What could begin a formula gets an
    apostrophe before it.
    """
    out = io.StringIO()
    csv.writer(out).writerow([harmless(str(cell)) for cell in cells])
    return out.getvalue()


def harmless(cell: str) -> str:
    """Return the cell with apostrophes, so that it is text in every spreadsheet, even
    in one that splits it into several cells.
    """
    cell = _AFTER_SEPARATOR.sub(
        lambda match: f"{match[1]}'{match[2]}{match[3]}" if match[3] else match[0], cell
    )
    return f"'{cell}" if _begins_formula(cell) else cell


def without_escapes(cell: str) -> str:
    """Return a cell of a file that we wrote as it was before `harmless`."""
    cell = _AFTER_SEPARATOR.sub(
        lambda match: f"{match[1]}{match[2][1:]}{match[3]}" if match[3] else match[0],
        cell,
    )
    return cell[1:] if cell.startswith("'") and _begins_formula(cell) else cell


def _begins_formula(cell: str) -> bool:
    """Whether a formula may begin here, perhaps after apostrophes: one more is added to
    these, so that it can be taken away again.
    """
    cell = cell.lstrip("'")
    return cell.startswith(FORMULA) or _INVISIBLE.sub("", cell, 1).startswith(FORMULA)
