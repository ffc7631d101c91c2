"""Counts that stop at a thousand, so that a page takes no longer when the queue is
long.
"""

from typing import Any

from django.db.models.query import QuerySet

# The highest number that is counted exactly.
COUNTED = 1000


def count_of(rows: QuerySet[Any, Any]) -> int:
    """Return how many rows there are, at most COUNTED + 1, which means "more"."""
    return rows.order_by().values("pk")[: COUNTED + 1].count()


def counted(number: int) -> str:
    """Return a number from count_of as people see it: `37`, or `1000+`."""
    return f"{COUNTED}+" if number > COUNTED else str(number)
