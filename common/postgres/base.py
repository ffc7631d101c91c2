"""The connection of each web thread, looked at before each request instead of asked, and with prepared statements.

Django sends `SELECT 1` at every request, to learn whether the server closed a kept connection meanwhile. A server that
does so says it on the wire, and the kernel knows at once whether there is anything to read.
"""

import select
from typing import Any

import psycopg
from django.db.backends.postgresql import base
from django.db.backends.utils import CursorWrapper


class DatabaseWrapper(base.DatabaseWrapper):
    """Django's own, but for the check and the prepared statements."""

    def is_usable(self) -> bool:
        """Whether the connection is alive. Only one that has something unexpected to say is asked."""
        return _is_silent(self.connection) or super().is_usable()

    def prepared_cursor(self) -> CursorWrapper:
        """Return a cursor that prepares statements, as the connection's `prepare_threshold` says; Django's never do."""
        if self.queries_logged:
            # The log shows the values that Django's own cursor writes into a statement.
            return self.cursor()
        self.ensure_connection()
        return CursorWrapper(psycopg.Cursor(self.connection), self)


def _is_silent(connection: Any) -> bool:
    try:
        waiting = select.poll()
        waiting.register(connection.pgconn.socket, select.POLLIN)
        return connection.pgconn.status == psycopg.pq.ConnStatus.OK and not waiting.poll(0)
    except psycopg.Error:
        return False
