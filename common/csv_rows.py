"""Writes rows of CSV files that people open in spreadsheets: quoted by RFC 4180, and so
that no spreadsheet runs a cell as a formula. Pure.
"""

import csv
import io
from collections.abc import Callable, Iterable

# What a spreadsheet may take for the beginning of a formula. Some treat the full-width
# forms (\uff1d and so on) like the usual characters.
FORMULA = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20", "\t", "\r", "\n")
# Quotation marks, blanks and invisible characters: some spreadsheets remove them from
# the beginning of a cell.
_REMOVED = "".join(filter(str.isspace, map(chr, range(0x3001))))
_REMOVED += '"\u200b\u200c\u200d\u200e\u200f\u2060\ufeff\0'
# The byte order mark. Without it, spreadsheets read UTF-8 as another encoding.
MARK = "\ufeff"
# Of these signs alone spreadsheets make a number, a date or a time; not after an
# apostrophe, which counts here so that `without_escapes` finds what `harmless` wrote.
_NUMERIC = "0123456789eE.,:/- '"


def csv_row(cells: Iterable[object]) -> str:
    """Return one line of CSV with its line end. Text that could begin a formula, or be
    shown as a number, gets an apostrophe before it.
    """
    out = io.StringIO()
    csv.writer(out).writerow(
        [cell if isinstance(cell, int) else harmless(str(cell)) for cell in cells]
    )
    return out.getvalue()


def harmless(cell: str) -> str:
    """Return the cell with apostrophes, so that it is text in every spreadsheet, even
    in one that splits it into several cells.
    """
    if _is_number(cell):
        return f"'{cell}"
    return _in_parts(cell, lambda part: f"'{part}" if _begins_formula(part) else part)


def without_escapes(cell: str) -> str:
    """Return a cell of a file that we wrote as it was before `harmless`."""
    if _is_number(cell):
        return cell.removeprefix("'")
    return _in_parts(
        cell,
        lambda part: (
            part[1:] if part.startswith("'") and _begins_formula(part) else part
        ),
    )


def _in_parts(cell: str, change: Callable[[str], str]) -> str:
    """Return a cell with each part changed. Some programs split a line at semicolons
    and tabs even inside quotes, so that each part is a cell of its own.
    """
    return "\t".join(
        ";".join(map(change, part.split(";"))) for part in cell.split("\t")
    )


def _is_number(cell: str) -> bool:
    return not cell.strip(_NUMERIC) and any(map(str.isdigit, cell))


def _begins_formula(part: str) -> bool:
    """Whether a formula may begin here, perhaps after apostrophes: one more is added to
    these, so that it can be taken away again.
    """
    part = part.lstrip("'")
    return part.startswith(FORMULA) or part.lstrip(_REMOVED).startswith(FORMULA)
