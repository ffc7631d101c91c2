"""Retries transactions that PostgreSQL aborted, by deadlock or serialization failure.
Other errors are the caller's.
"""

import random
import time
from collections.abc import Callable
from functools import partial, wraps
from typing import ParamSpec, TypeVar

from django.db import OperationalError, connection, transaction

P = ParamSpec("P")
R = TypeVar("R")

_ABORTED = ("40P01", "40001")
_TRIES = 8
_MAX_PAUSE = 0.2


def retry_transaction(whole: Callable[[], R]) -> R:
    """Call what is one whole transaction, and again each time that PostgreSQL aborts
    it, up to eight times.
    """
    for number in range(_TRIES - 1):
        try:
            return whole()
        except OperationalError as error:
            # Inside another transaction, that one is aborted too.
            if (
                connection.in_atomic_block
                or getattr(error.__cause__, "sqlstate", "") not in _ABORTED
            ):
                raise
        # Transactions that collided begin again at different times.
        time.sleep(random.uniform(0, min(_MAX_PAUSE, 0.005 * 2**number)))
    return whole()


def atomic_with_retry(command: Callable[P, R]) -> Callable[P, R]:
    """As transaction.atomic, for a command that may run several times: it must not
    change its arguments.
    """
    whole = transaction.atomic(command)

    @wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        return retry_transaction(partial(whole, *args, **kwargs))

    return run
