"""The connection of each web thread, looked at before each request instead of asked, and with prepared statements.

Django sends `SELECT 1` at every request, to learn whether the server closed a kept connection meanwhile. A server that
does so says it on the wire, and the kernel knows at once whether there is anything to read.
"""

import re
import select
from functools import lru_cache
from typing import Any

import psycopg
from django.db.backends.postgresql import base
from django.db.backends.utils import CursorWrapper
from psycopg.types.numeric import Int8

_PLACEHOLDER = re.compile(r"%(?:%|s|\((\w+)\)s)")


class DatabaseWrapper(base.DatabaseWrapper):
    """Django's own, but for the check and the prepared statements."""

    def is_usable(self) -> bool:
        """Whether the connection is alive. Only one that has something unexpected to say is asked."""
        return _is_silent(self.connection) or super().is_usable()

    def execute_prepared(self, sql: str, parameters: Any) -> CursorWrapper:
        """Execute a statement and return its cursor; it is prepared, if the connection's `prepare_threshold` says so.

        Django's own cursors never prepare. Its text is parsed once for this process, not each time, as psycopg would.
        """
        if self.queries_logged:
            # The log shows the values that Django's own cursor writes into a statement.
            cursor = self.cursor()
        else:
            # As Django does for its own cursors: the first statement of a request finds a closed session here.
            self.close_if_health_check_failed()
            self.ensure_connection()
            cursor = CursorWrapper(psycopg.RawCursor(self.connection), self)
            sql, names = _numbered(sql)
            parameters = [_sized(parameters[name]) for name in names]
        cursor.execute(sql, parameters)
        return cursor


@lru_cache(1000)
def _numbered(sql: str) -> tuple[str, tuple[Any, ...]]:
    """Return a statement with PostgreSQL's own placeholders, and for each of them its parameter's name or place."""
    names: dict[Any, int] = {}

    def number(found: re.Match[str]) -> str:
        if found[0] == "%%":
            return "%"
        return f"${names.setdefault(found[1] or len(names), len(names) + 1)}"

    return _PLACEHOLDER.sub(number, sql), tuple(names)


def _sized(value: Any) -> Any:
    """Return an integer as bigint: otherwise its type, and so the prepared statement, would depend on its size."""
    return Int8(value) if type(value) is int else value


def _is_silent(connection: Any) -> bool:
    try:
        waiting = select.poll()
        waiting.register(connection.pgconn.socket, select.POLLIN)
        return connection.pgconn.status == psycopg.pq.ConnStatus.OK and not waiting.poll(0)
    except psycopg.Error:
        return False
