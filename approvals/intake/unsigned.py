"""Counts webhooks without a valid signature. A sender who keeps sending them gets 429,
and the number of the last day is shown under Needs attention.

They are counted in Redis, so that a forged webhook writes nothing to the database. A
periodic task stores the number of the day on each connection.
"""

import time
from collections import Counter

import redis
from django.db.models.functions import Now

from common.redis import is_resting, quick_redis, rest
from mirror.models import Connection

# Seconds: the window of the limits below, and an hour.
WINDOW = 60
HOUR = 3600
HOURS = 24
# With more than these in a window, the answer is 429. A sender with a wrong secret
# sends each event four times.
FROM_ONE_ADDRESS = 60
TO_ONE_CONNECTION = 600
# The Redis key of the number since the beginning, for metrics.
TOTAL = "countersign:unsigned-total"


# The counts of the current window in this process, while Redis is away.
_local: Counter[str] = Counter()
_local_window = 0


def count_unsigned(*, connection: int, address: str) -> int:
    """Count one webhook without a valid signature, for its connection and the address
    of its sender; in this process while Redis is away. Return how many seconds the
    sender has to wait; 0 if the limits are not reached.
    """
    global _local_window
    now = int(time.time())
    window, second = divmod(now, WINDOW)
    of_address = f"countersign:unsigned:{window}:address:{address}"
    of_connection = f"countersign:unsigned:{window}:connection:{connection}"
    is_counted = False
    if not is_resting():
        try:
            pipeline = quick_redis().pipeline(transaction=False)
            for key, seconds in (
                (of_address, WINDOW * 2),
                (of_connection, WINDOW * 2),
                (_of_hour(now // HOUR, connection), HOUR * (HOURS + 1)),
            ):
                pipeline.incr(key)
                pipeline.expire(key, seconds)
            pipeline.incr(TOTAL)
            from_there, _, to_it, *_ = pipeline.execute()
            is_counted = True
        except redis.RedisError as error:
            rest(error)
    if not is_counted:
        if window != _local_window or len(_local) > 10_000:
            _local.clear()
            _local_window = window
        _local.update((of_address, of_connection))
        from_there = _local[of_address]
        to_it = _local[of_connection]
    is_too_many = from_there > FROM_ONE_ADDRESS or to_it > TO_ONE_CONNECTION
    return WINDOW - second if is_too_many else 0


def unsigned_lately(connection: int) -> int:
    """Return how many a connection got in the last one to two minutes; 0 while Redis is
    away.
    """
    window = int(time.time()) // WINDOW
    keys = [
        f"countersign:unsigned:{one}:connection:{connection}"
        for one in (window - 1, window)
    ]
    return sum(_numbers(keys) or ())


def _of_hour(hour: int, connection: int) -> str:
    # The Redis key of a connection's number in an hour.
    return f"countersign:unsigned-in:{hour}:connection:{connection}"


def store_day_counts() -> None:
    """Store on each connection how many it got in the last 24 full hours and the
    current one. While Redis is away the stored numbers stay.
    """
    hour = int(time.time()) // HOUR
    for connection, stored_number in Connection.objects.at_work().values_list(
        "pk", "unsigned_count"
    ):
        counts = _numbers(
            [_of_hour(hour - ago, connection) for ago in range(HOURS + 1)]
        )
        number = stored_number if counts is None else sum(counts)
        if number == stored_number:
            continue
        since = (
            {}
            if stored_number and number
            else {"unsigned_since": Now() if number else None}
        )
        Connection.objects.filter(pk=connection).update(unsigned_count=number, **since)


def unsigned_total() -> int | None:
    """Return how many came to all connections since counting began; None while Redis is
    away.
    """
    numbers = _numbers([TOTAL])
    return None if numbers is None else numbers[0]


def _numbers(keys: list[str]) -> list[int] | None:
    """Return the numbers under these Redis keys; None while Redis is away."""
    if is_resting():
        return None
    try:
        values: list[bytes | None] = quick_redis().mget(keys)
    except redis.RedisError as error:
        rest(error)
        return None
    return [int(number or 0) for number in values]
