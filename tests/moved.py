"""Lets the application of the test process use another database for a while."""

import contextlib

from django.db import connection


@contextlib.contextmanager
def moved_to(target):
    """Use the database `target` (`host`, `user`, `dbname`) in the block."""
    settings_before = dict(connection.settings_dict)
    connection.close()
    connection.settings_dict.update(
        HOST=target["host"], USER=target["user"], NAME=target["dbname"]
    )
    try:
        yield
    finally:
        connection.close()
        connection.settings_dict.update(settings_before)
