"""The database of web processes. A request waits five seconds for PostgreSQL, and then
fails: if all threads waited, health checks would, too.

If PostgreSQL takes no new connection either, such as when its machine hangs, requests
of the next seconds fail at once.
"""

import time
from contextlib import suppress
from typing import Any

import psycopg
from django.db.backends.postgresql import base
from django.db.utils import OperationalError

# In seconds: for an answer; for the first one to a request, which is a trivial one; and
# for a connection when no answer came.
PATIENCE = 5.0
_FIRST = 3.0
_CONNECT = 2
# Until when PostgreSQL counts as silent in this process, by the monotonic clock.
_silent_until = 0.0


class DatabaseWrapper(base.DatabaseWrapper):
    """A connection that raises OperationalError instead of waiting for longer. Who may
    ask for what takes longer sets `patience`.
    """

    patience = PATIENCE

    def is_usable(self) -> bool:
        """Whether the connection of an earlier request still works."""
        self.patience = _FIRST
        try:
            return super().is_usable()
        finally:
            self.patience = PATIENCE

    def get_new_connection(self, conn_params: Any) -> Any:
        """Connect, unless nothing answered a moment ago."""
        global _silent_until
        if time.monotonic() < _silent_until:
            raise OperationalError("PostgreSQL did not respond a moment ago.")
        began = time.monotonic()
        try:
            connection = super().get_new_connection(conn_params)
        except psycopg.OperationalError:
            if time.monotonic() - began > _CONNECT - 0.5:
                _silent_until = time.monotonic() + PATIENCE
            raise
        wait = connection.wait

        def wait_for_a_while(generator: Any, *args: Any, **kwargs: Any) -> Any:
            patience, began = self.patience, time.monotonic()
            try:
                return wait(generator, *args, timeout=patience, **kwargs)
            except psycopg.OperationalError:
                if time.monotonic() - began >= patience:
                    # What was asked may still be done, and nobody reads the answer.
                    connection.close()
                    with suppress(OperationalError, psycopg.OperationalError):
                        again = conn_params | {"connect_timeout": _CONNECT}
                        self.get_new_connection(again).close()
                raise

        connection.wait = wait_for_a_while
        return connection
