"""Writes rows of CSV files that people open in spreadsheets: quoted by RFC 4180, and so
that no spreadsheet runs a cell as a formula. Pure.
"""

import csv
import io
import re
from collections.abc import Iterable

# What a spreadsheet may take for the beginning of a formula. Some treat the full-width
# forms (\uff1d and so on) like the usual characters.
FORMULA = tuple("=+-@\uff1d\uff0b\uff0d\uff20")
# Apostrophes, quotation marks, blanks and invisible characters: some spreadsheets remove
# them from the beginning of a cell.
_REMOVED = "".join(filter(str.isspace, map(chr, range(0x3001))))
_REMOVED += "'\"\u200b\u200c\u200d\u200e\u200f\u2060\ufeff\0"
# The byte order mark. Without it, spreadsheets read UTF-8 as another encoding.
MARK = "\ufeff"
# Of these signs and words alone spreadsheets make a number, a date or a time.
_NUMERIC = re.compile(
    r"(?: [ap]\b|[\d.,:/ '()%$€£¥+-]|e|[ap]m|jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|may"
    r"|apr(?:il)?|june?|july?|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?|(?:nov|dec)(?:ember)?)++",
    re.IGNORECASE,
)
# Some programs end a cell at these signs, or a row, even inside quotes.
_PART = re.compile("[^;\t\n\v\f\r\x85\u2028\u2029]+")


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

    def with_apostrophe(part: re.Match[str]) -> str:
        # A formula may begin after apostrophes: one more is added to these, so that it
        # can be taken away again.
        begins = part[0].lstrip(_REMOVED).startswith(FORMULA)
        return f"'{part[0]}" if begins else part[0]

    return _PART.sub(with_apostrophe, cell)


def _is_number(cell: str) -> bool:
    return bool(_NUMERIC.fullmatch(cell)) and any(map(str.isdigit, cell))
