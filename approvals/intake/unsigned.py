"""Counts webhooks without a valid signature: a sender that keeps sending them gets 429,
and people are told of a day's.

Redis counts them, so that a forged webhook costs no statement; a periodic task stores
the sums with the connections.
"""

import time
from dataclasses import dataclass

import redis
from django.db.models.functions import Now

from common.redis import is_resting, quick_redis, rest
from mirror.models import Connection

# The Redis key that changes with any connection; read together with the count.
CHANGED = "countersign:connections-changed"
WINDOW = 60
HOUR = 3600
HOURS = 24
# A sender with a wrong secret tries each event four times; beyond these numbers the
# answer is 429.
FROM_ONE_ADDRESS = 60
TO_ONE_CONNECTION = 600
TOTAL = "countersign:unsigned-total"


@dataclass(frozen=True)
class Counted:
    """The result of counting: `wait` is the Retry-After in seconds, or 0."""

    wait: int
    # The value of CHANGED in Redis; `is_known` is false while Redis is away.
    change: str | None = None
    is_known: bool = False


_local: dict[str, int] = {}
_local_window = 0


def count_unsigned(*, connection: int, address: str) -> Counted:
    """Count one more webhook without a valid signature; here while Redis is away."""
    global _local_window
    now = int(time.time())
    window, second = divmod(now, WINDOW)
    of_address = f"countersign:unsigned:{window}:address:{address}"
    of_connection = f"countersign:unsigned:{window}:connection:{connection}"
    change = None
    is_known = False
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
            pipeline.get(CHANGED)
            from_there, _, to_it, *_, found = pipeline.execute()
            change = found.decode() if found else None
            is_known = True
        except redis.RedisError as error:
            rest(error)
    if not is_known:
        if window != _local_window or len(_local) > 10_000:
            _local.clear()
            _local_window = window
        for key in (of_address, of_connection):
            _local[key] = _local.get(key, 0) + 1
        from_there = _local[of_address]
        to_it = _local[of_connection]
    is_too_many = from_there > FROM_ONE_ADDRESS or to_it > TO_ONE_CONNECTION
    return Counted(WINDOW - second if is_too_many else 0, change, is_known)


def unsigned_lately(connection: int) -> int:
    """Return the number for a connection in the last minute or two; 0 while Redis is
    away.
    """
    window = int(time.time()) // WINDOW
    keys = [
        f"countersign:unsigned:{one}:connection:{connection}"
        for one in (window - 1, window)
    ]
    return sum(_numbers(keys) or ())


def _of_hour(hour: int, connection: int) -> str:
    return f"countersign:unsigned-in:{hour}:connection:{connection}"


def store_day_counts() -> None:
    """Store with each connection how many came in the last day, by full hours; nothing
    while Redis is away.
    """
    hour = int(time.time()) // HOUR
    for connection, before in Connection.objects.at_work().values_list(
        "pk", "unsigned_count"
    ):
        counts = _numbers(
            [_of_hour(hour - ago, connection) for ago in range(HOURS + 1)]
        )
        number = before if counts is None else sum(counts)
        if number == before:
            continue
        since = (
            {} if before and number else {"unsigned_since": Now() if number else None}
        )
        Connection.objects.filter(pk=connection).update(unsigned_count=number, **since)


def unsigned_total() -> int | None:
    """Return the total since the beginning; None while Redis is away."""
    found = _numbers([TOTAL])
    return None if found is None else found[0]


def _numbers(keys: list[str]) -> list[int] | None:
    """Return the numbers of these keys; None while Redis is away."""
    if is_resting():
        return None
    try:
        found: list[bytes | None] = quick_redis().mget(keys)
    except redis.RedisError as error:
        rest(error)
        return None
    return [int(number or 0) for number in found]
