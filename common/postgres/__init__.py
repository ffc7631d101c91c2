"""The clock and the locks that all hosts share, and limits of statements.

By SQL, because the ORM reads and writes rows: it has no words for locks without a row,
for settings of a transaction, or for a question to no table.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from django.db import connection, transaction


def clock() -> datetime:
    """Return the time by the database: what decides (expiry, leases) must not go by a
    host whose clock is off.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        at: datetime = cursor.fetchone()[0]
    return at


def ping() -> None:
    """Ask the database for nothing. Raises DatabaseError where it does not answer."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")


def take_lock(name: str, *, shared: bool = False) -> datetime:
    """Wait for the lock of this name and hold it until the transaction ends; return the
    time at which it was taken.

    It is for what has no row to lock. Those who share it wait for no other.
    """
    function = "pg_advisory_xact_lock_shared" if shared else "pg_advisory_xact_lock"
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT {function}(hashtextextended(%s, 0)), clock_timestamp()", [name]
        )
        at: datetime = cursor.fetchone()[1]
    return at


def try_lock(name: str) -> bool:
    """Take the lock of this name until the transaction ends; False where somebody else
    holds it.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_try_advisory_xact_lock(hashtextextended(%s, 0))", [name]
        )
        is_taken: bool = cursor.fetchone()[0]
    return is_taken


@contextmanager
def statements_within(milliseconds: int) -> Iterator[None]:
    """Run the block in a transaction, and cancel each of its statements that takes
    longer. Raises OperationalError.
    """
    with transaction.atomic():
        limit_statements(milliseconds)
        yield
        # What follows in the same transaction has its own limit.
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL statement_timeout = DEFAULT")


def limit_statements(milliseconds: int) -> None:
    """Cancel each statement that takes longer, until the transaction ends; 0 for no
    limit.
    """
    with connection.cursor() as cursor:
        cursor.execute(f"SET LOCAL statement_timeout = {milliseconds}")


def limit_waits(milliseconds: int) -> None:
    """Cancel each statement that waits longer for a lock, until the transaction ends."""
    with connection.cursor() as cursor:
        cursor.execute(f"SET LOCAL lock_timeout = {milliseconds}")


@contextmanager
def one_moment() -> Iterator[None]:
    """See the database as it is now until the end, and write nothing. Must not be
    within a transaction.
    """
    with transaction.atomic(durable=True):
        with connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        # It takes as long as the tables are large.
        limit_statements(0)
        yield
