"""Does not wait long for a PostgreSQL that is silent, such as one whose machine hangs. If
it takes no connection in time, attempts of the next seconds fail at once.

In web processes an answer is waited for only as long as DATABASE_PATIENCE says, in
seconds: if all threads waited longer, health checks would, too.
"""

import gc
import os
import time
from contextlib import suppress
from typing import Any

import psycopg
from django.db.backends.postgresql import base
from django.db.utils import OperationalError

# In seconds; None for no limit.
PATIENCE = float(os.environ.get("DATABASE_PATIENCE", 0)) or None
# For the first answer to a request, which is a trivial one; for a connection when no
# answer came; and how long PostgreSQL counts as silent.
_FIRST = 3.0
_CONNECT = 2
_SILENT = 5.0
# Until when PostgreSQL counts as silent in this process, by the monotonic clock.
_silent_until = 0.0


class DatabaseWrapper(base.DatabaseWrapper):
    """A connection that raises OperationalError instead of waiting for longer. Who may
    ask for what takes longer sets `patience`.
    """

    patience = PATIENCE

    def is_usable(self) -> bool:
        """Whether the connection of an earlier request still works."""
        self.patience = PATIENCE and _FIRST
        try:
            return super().is_usable()
        finally:
            self.patience = PATIENCE

    def get_new_connection(self, conn_params: Any) -> Any:
        """Connect, unless nothing answered a moment ago."""
        global _silent_until
        if time.monotonic() < _silent_until:
            raise OperationalError("PostgreSQL did not respond a moment ago.")
        if _silent_until:
            # psycopg leaves the sockets of earlier attempts to the collector, which
            # runs rarely here. Each would take a slot once PostgreSQL goes on.
            gc.collect()
        began = time.monotonic()
        try:
            connection = super().get_new_connection(conn_params)
        except psycopg.OperationalError:
            if time.monotonic() - began > _CONNECT - 0.5:
                _silent_until = time.monotonic() + _SILENT
            raise
        _silent_until = 0.0
        wait = connection.wait

        def wait_for_a_while(generator: Any, *args: Any, **kwargs: Any) -> Any:
            patience, began = self.patience, time.monotonic()
            try:
                return wait(generator, *args, timeout=patience, **kwargs)
            except psycopg.OperationalError:
                if patience and time.monotonic() - began >= patience:
                    # What was asked may still be done, and nobody reads the answer.
                    connection.close()
                    with suppress(OperationalError, psycopg.OperationalError):
                        again = conn_params | {"connect_timeout": _CONNECT}
                        self.get_new_connection(again).close()
                raise

        connection.wait = wait_for_a_while
        return connection
