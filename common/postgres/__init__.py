"""The clock and the locks that all hosts share."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from django.db import connection, transaction


def clock() -> datetime:
    """Return the time by the database: what decides (expiry, leases) must not go by a host whose clock is off."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        at: datetime = cursor.fetchone()[0]
    return at


def take_lock(name: str, *, shared: bool = False) -> None:
    """Wait for the lock of this name and hold it until the transaction ends; those who share it wait for no other.

    It is for what has no row to lock.
    """
    function = "pg_advisory_xact_lock_shared" if shared else "pg_advisory_xact_lock"
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {function}(hashtextextended(%s, 0))", [name])


def try_lock(name: str) -> bool:
    """Take the lock of this name until the transaction ends; False where somebody else holds it."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(hashtextextended(%s, 0))", [name])
        is_taken: bool = cursor.fetchone()[0]
    return is_taken


@contextmanager
def statements_within(milliseconds: int) -> Iterator[None]:
    """Run the block in a transaction, and cancel each of its statements that takes longer. Raises OperationalError."""
    with transaction.atomic():
        _limit_statements(str(milliseconds))
        yield
        # What follows in the same transaction has its own limit.
        _limit_statements("DEFAULT")


def _limit_statements(limit: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"SET LOCAL statement_timeout = {limit}")
