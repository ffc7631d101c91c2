"""Reads tables that the code holds as text: one row in a line, with bars between the
cells.
"""

from collections.abc import Callable


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


def table_steps(
    text: str, states: Callable[[str], str], events: Callable[[str], str]
) -> dict[tuple[str, str], str]:
    """Return the state after each state and event of a machine. A row has an event, the
    state after it, and the states from which it leads there; "start" is before the first
    state.
    """
    steps: dict[tuple[str, str], str] = {}
    for event, after, sources in table_rows(text):
        for state in sources.split():
            before = "" if state == "start" else states(state)
            steps[before, events(event)] = states(after)
    return steps
