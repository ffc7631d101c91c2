"""Writes rows of CSV files that people open in spreadsheets: quoted by RFC 4180, and so
that no spreadsheet runs a cell as a formula. Pure.
"""

import csv
import io
from collections.abc import Callable, Iterable

# What a spreadsheet may take for the beginning of a formula. Some treat the full-width
# forms (\uff1d and so on) like the usual characters.
FORMULA = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20", "\t", "\r", "\n")
# The same without the control characters.
_SIGNS = FORMULA[:8]
# All blanks, and invisible characters: some spreadsheets remove them from the beginning
# of a cell.
_INVISIBLE = "".join(filter(str.isspace, map(chr, range(0x3001))))
_INVISIBLE += "\u200b\u200c\u200d\u200e\u200f\u2060\ufeff\0"


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
    cell = _after_separators(cell, lambda apostrophes: f"'{apostrophes}")
    return f"'{cell}" if _begins_formula(cell) else cell


def without_escapes(cell: str) -> str:
    """Return a cell of a file that we wrote as it was before `harmless`."""
    cell = _after_separators(cell, lambda apostrophes: apostrophes[1:])
    return cell[1:] if cell.startswith("'") and _begins_formula(cell) else cell


def _after_separators(cell: str, change: Callable[[str], str]) -> str:
    """Return a cell with the apostrophes changed that stand before the beginning of a
    formula and after a semicolon or tab. Some programs split a line at these even
    inside quotes, so that what follows is a cell of its own.
    """
    first, *others = cell.replace("\t", ";").split(";")
    parts = [first]
    position = len(first)
    for part in others:
        quoted = part.lstrip(f'{_INVISIBLE}"')
        formula = quoted.lstrip("'")
        apostrophes = quoted[: len(quoted) - len(formula)]
        if formula.startswith(_SIGNS):
            apostrophes = change(apostrophes)
        before = part[: len(part) - len(quoted)]
        parts += [cell[position], before, apostrophes, formula]
        position += 1 + len(part)
    return "".join(parts)


def _begins_formula(cell: str) -> bool:
    """Whether a formula may begin here, perhaps after apostrophes: one more is added to
    these, so that it can be taken away again.
    """
    cell = cell.lstrip("'")
    return cell.startswith(FORMULA) or cell.lstrip(_INVISIBLE).startswith(FORMULA)
