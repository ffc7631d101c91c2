"""Counts that stop at a thousand, so that a page costs the same with a long queue."""

from typing import Any

from django.db.models.query import QuerySet

COUNTED = 1000


def count_of(rows: QuerySet[Any, Any]) -> int:
    """Return how many rows there are, at most COUNTED + 1, which means "more"."""
    return rows.order_by().values("pk")[: COUNTED + 1].count()


def counted(number: int) -> str:
    """Return such a count as people see it."""
    return f"{COUNTED}+" if number > COUNTED else str(number)
