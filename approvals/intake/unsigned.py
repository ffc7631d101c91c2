"""Counts webhooks without a valid signature, so that a sender that keeps sending them gets 429."""

import time
from collections.abc import Iterable
from dataclasses import dataclass

import redis

from common.enqueue import is_resting, quick_redis, rest

# The Redis key that changes with any connection; read together with the count.
CHANGED = "countersign:connections-changed"
WINDOW = 60
# A sender with a wrong secret tries each event four times; beyond these numbers the answer is 429.
FROM_ONE_ADDRESS, TO_ONE_CONNECTION = 60, 600
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
    """Count one more webhook without a valid signature."""
    window, second = divmod(int(time.time()), WINDOW)
    keys = (
        f"countersign:unsigned:{window}:address:{address}",
        f"countersign:unsigned:{window}:connection:{connection}",
    )
    change, is_known = None, False
    try:
        numbers, change = _count_in_redis(keys)
        is_known = True
    except redis.RedisError:
        numbers = _count_here(window, keys)
    is_too_many = numbers[0] > FROM_ONE_ADDRESS or numbers[1] > TO_ONE_CONNECTION
    return Counted(wait=WINDOW - second if is_too_many else 0, change=change, is_known=is_known)


def unsigned_lately(connections: Iterable[int]) -> dict[int, int]:
    """Return the number for each connection in the last minute or two; nothing while Redis is away."""
    wanted, window = list(connections), int(time.time()) // WINDOW
    keys = [f"countersign:unsigned:{w}:connection:{key}" for key in wanted for w in (window - 1, window)]
    if not keys or is_resting():
        return {}
    try:
        found: list[bytes | None] = quick_redis().mget(keys)
    except redis.RedisError:
        rest()
        return {}
    return {key: int(found[2 * n] or 0) + int(found[2 * n + 1] or 0) for n, key in enumerate(wanted)}


def unsigned_total() -> int | None:
    """Return the total since the beginning; None while Redis is away."""
    if is_resting():
        return None
    try:
        found: bytes | None = quick_redis().get(TOTAL)
    except redis.RedisError:
        rest()
        return None
    return int(found or 0)


def _count_in_redis(keys: tuple[str, str]) -> tuple[list[int], str | None]:
    if is_resting():
        raise redis.ConnectionError("Redis rests")
    pipeline = quick_redis().pipeline(transaction=False)
    for key in keys:
        pipeline.incr(key)
        pipeline.expire(key, WINDOW * 2)
    pipeline.incr(TOTAL)
    pipeline.get(CHANGED)
    try:
        of_address, _, of_connection, _, _, change = pipeline.execute()
    except redis.RedisError:
        rest()
        raise
    return [of_address, of_connection], change.decode() if change else None


def _count_here(window: int, keys: tuple[str, str]) -> list[int]:
    global _local_window
    if window != _local_window or len(_local) > 10_000:
        _local.clear()
        _local_window = window
    for key in keys:
        _local[key] = _local.get(key, 0) + 1
    return [_local[key] for key in keys]
