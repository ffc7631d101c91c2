"""Queries of Django that are compiled once: those of a worker take longer to build than PostgreSQL needs to answer."""

from collections.abc import Callable, Mapping
from copy import copy
from functools import cached_property
from types import SimpleNamespace
from typing import Any, Generic, TypeVar

from django.db import DEFAULT_DB_ALIAS, connections, models

from common.postgres.statements import ValueQuery

Row = TypeVar("Row", bound=models.Model)


class CompiledQuery(Generic[Row]):
    """A query for whole rows, with the placeholders of common.postgres.statements where its values will be.

    It is built when it is first needed, and can have no prefetch_related().
    """

    def __init__(self, build: "Callable[[], models.QuerySet[Row]]") -> None:
        self._build = build

    @cached_property
    def _compiled(self) -> tuple[Any, Any, ValueQuery]:
        rows = self._build()
        compiler = rows.query.get_compiler(DEFAULT_DB_ALIAS)
        sql, values = compiler.as_sql()
        return rows, compiler, ValueQuery(sql, tuple(values))

    def rows(self, values: Mapping[Any, Any]) -> list[Row]:
        """Return the rows that Django would return; `values` maps each placeholder to its value."""
        rows, template, query = self._compiled
        compiler, ready = copy(template), query.with_values(values)
        # Each thread has a connection of its own.
        compiler.connection = connections[DEFAULT_DB_ALIAS]
        compiler.as_sql = lambda *_, **__: (ready.sql, ready.values)
        # All that Django's own loop over rows asks of a query set.
        source = SimpleNamespace(
            db=DEFAULT_DB_ALIAS,
            model=rows.model,
            query=SimpleNamespace(get_compiler=lambda using: compiler),
            _known_related_objects={},
        )
        return list(rows._iterable_class(source))

    def first(self, values: Mapping[Any, Any]) -> Row | None:
        """Return the first row, None where there is none."""
        return next(iter(self.rows(values)), None)
