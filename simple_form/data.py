"""Reads the tables of this package, which are text files beside this one."""

import re
from collections.abc import Iterator
from pathlib import Path


def table(name: str) -> Iterator[list[str]]:
    """Yield the rows of a table in a file."""
    return rows(Path(__file__).with_name(name).read_text("utf-8"))


def rows(text: str) -> Iterator[list[str]]:
    """Yield the lines of a table as columns, which stand two blanks apart. A line that
    begins with blanks goes on with the row above it; empty lines, and those that begin
    with #, are left out.
    """
    for line in text.replace("\n  ", "  ").splitlines():
        if line and not line.startswith("# "):
            yield re.split("  +", line)
