"""Begins transactions anew that PostgreSQL broke off, by deadlock or serialization failure: nothing is left of them.

Whatever else goes wrong is the caller's to meet.
"""

import random
import time
from collections.abc import Callable
from functools import partial, wraps
from typing import ParamSpec, TypeVar

from django.db import OperationalError, connection, transaction

P = ParamSpec("P")
R = TypeVar("R")

_BROKEN_OFF = ("40P01", "40001")
_TRIES = 8
_LONGEST_PAUSE = 0.2


def retry_transaction(whole: Callable[[], R]) -> R:
    """Call what is one whole transaction, and once more for each time that PostgreSQL breaks it off; not for ever."""
    for number in range(_TRIES - 1):
        try:
            return whole()
        except OperationalError as error:
            # Inside another transaction, that one is broken off too.
            if connection.in_atomic_block or getattr(error.__cause__, "sqlstate", "") not in _BROKEN_OFF:
                raise
        # Those that met begin again at different times.
        time.sleep(random.uniform(0, min(_LONGEST_PAUSE, 0.005 * 2**number)))
    return whole()


def atomic_with_retry(command: Callable[P, R]) -> Callable[P, R]:
    """As transaction.atomic, for a command whose arguments it leaves as they are: it may run several times."""
    whole = transaction.atomic(command)

    @wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        return retry_transaction(partial(whole, *args, **kwargs))

    return run
