"""Raw SQL for the few questions that every message asks.

Django takes half a millisecond to build such a statement, and PostgreSQL a twentieth of one to answer it. Everything
else uses the ORM.
"""

from collections.abc import Sequence
from functools import cache
from typing import Any, TypeVar

from django.db import DEFAULT_DB_ALIAS, models

from common.postgres.rows import run

Row = TypeVar("Row", bound=models.Model)


def rows(sql: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
    """Return what a statement finds; it is prepared at its first use."""
    return list(run(sql, values, prepare=True).rows)


@cache
def columns(model: type[models.Model], alias: str) -> str:
    """Return all columns of a table as a SELECT names them, in the order in which `build` takes them."""
    # Fields with conversions would come out unconverted.
    assert not any(hasattr(field, "from_db_value") for field in model._meta.concrete_fields), model
    return ", ".join(f'{alias}."{field.column}"' for field in model._meta.concrete_fields)


def build(model: type[Row], values: Sequence[Any]) -> Row:
    """Return the row as Django would have read it."""
    return model.from_db(DEFAULT_DB_ALIAS, _names(model), values)


@cache
def _names(model: type[models.Model]) -> list[str]:
    return [field.attname for field in model._meta.concrete_fields]
