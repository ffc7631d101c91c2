"""Reads tables that the code holds as text: one row in a line, with bars between the
cells.
"""


def table_rows(text: str) -> list[list[str]]:
    """Return the cells of each row. A row goes on where the next line is indented; lines
    with "#" at the beginning are comments.
    """
    lines = text.strip().replace("\n ", " ").splitlines()
    return [
        [" ".join(cell.split()) for cell in line.split("|")]
        for line in lines
        if not line.startswith("#")
    ]


def table_pairs(text: str) -> dict[str, str]:
    """Return the second cell of each row by the first one."""
    return dict(table_rows(text))
