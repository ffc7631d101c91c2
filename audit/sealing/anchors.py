"""Writes heads outside the database, where whoever alters it does not reach."""


def write_anchors() -> int:
    """Return how many heads were written."""
    return 0
