"""Counts calls in Redis: how many a key made in this minute, and how many an account made since they were last moved.

Nothing here may cost a request: when Redis is away, calls go on uncounted, and it is left alone for a moment.
"""

import logging
import time
from collections.abc import Callable
from datetime import date, datetime
from functools import cache
from typing import Any, TypeVar

from django.conf import settings
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

log = logging.getLogger(__name__)

TIMEOUT = 0.2
# How long Redis is left alone after it failed, so that not every request waits for it.
REST = 5.0

_CALLS = "gateway:calls"
# A call that is over the limit is not one that was made. One round trip; the minute's counter goes by itself.
_HIT = """
local calls = redis.call('INCR', KEYS[1])
if calls == 1 then redis.call('EXPIRE', KEYS[1], 120) end
local limit = tonumber(ARGV[1])
if limit == 0 or calls <= limit then redis.call('HINCRBY', KEYS[2], ARGV[2], 1) end
return calls
"""

Day = tuple[str, date]
T = TypeVar("T")


class _Health:
    """Whether Redis is worth asking. Threads share it; a moment of disagreement does no harm."""

    asked_again_at = 0.0
    away = False


def hit(*, key_id: str, account_id: str, limit: int, now: datetime) -> int:
    """Count one call of a key, and return how many it made in this minute: 0 when nobody can say."""
    minute = int(now.timestamp()) // 60
    keys = [f"gateway:rate:{key_id}:{minute}", _CALLS]
    return _ask(lambda: int(_hit()(keys=keys, args=[limit, _name(account_id, now.date())])), 0)


def within_hour(name: str) -> int:
    """Count one try, and return how many there were within an hour of the first: 0 when nobody can say."""

    def count() -> int:
        pipeline = _redis().pipeline(transaction=True)
        key = f"gateway:tries:{name}"
        return int(pipeline.set(key, 0, ex=3600, nx=True).incr(key).execute()[1])

    return _ask(count, 0)


def take_calls() -> dict[Day, int]:
    """Take out what was counted, for whoever writes it down; nobody else gets the same calls."""

    def take() -> dict[Any, Any]:
        pipeline = _redis().pipeline(transaction=True)
        counted: dict[Any, Any] = pipeline.hgetall(_CALLS).delete(_CALLS).execute()[0]
        return counted

    return _read(_ask(take, {}))


def put_back(calls: dict[Day, int]) -> None:
    """Count again what could not be written down."""

    def put() -> None:
        pipeline = _redis().pipeline(transaction=True)
        for (account_id, day), number in calls.items():
            pipeline.hincrby(_CALLS, _name(account_id, day), number)
        pipeline.execute()

    _ask(put, None)


def calls_not_moved(account_id: str) -> dict[date, int]:
    """Return the calls of an account that are not written down yet, by day."""
    counted = _read(_ask(lambda: _redis().hgetall(_CALLS), {}))
    return {day: number for (account, day), number in counted.items() if account == account_id}


def _ask(question: Callable[[], T], otherwise: T) -> T:
    if time.monotonic() < _Health.asked_again_at:
        return otherwise
    try:
        answer = question()
    except RedisError as error:
        _Health.asked_again_at = time.monotonic() + REST
        if not _Health.away:
            log.warning("calls are not counted", extra={"reason": type(error).__name__})
        _Health.away = True
        return otherwise
    if _Health.away:
        log.info("calls are counted again")
        _Health.away = False
    return answer


@cache
def _redis() -> Redis:
    # The client would else try again for seconds.
    retry = Retry(NoBackoff(), 1)
    return Redis.from_url(settings.REDIS_URL, socket_timeout=TIMEOUT, socket_connect_timeout=TIMEOUT, retry=retry)


@cache
def _hit() -> Any:
    return _redis().register_script(_HIT)


def _name(account_id: str, day: date) -> str:
    return f"{account_id}:{day.isoformat()}"


def _read(counted: dict[Any, Any]) -> dict[Day, int]:
    named = ((name.decode().rpartition(":"), int(number)) for name, number in counted.items())
    return {(account_id, date.fromisoformat(day)): number for (account_id, _, day), number in named}
