"""Redis for what may be lost: counters, limits and live updates. Nobody waits long for
it, nor again soon after.

Once a process has found it away, it leaves Redis alone for REST_SECONDS instead of
waiting each time.
"""

import logging
import time
from functools import cache

import redis
from django.conf import settings
from redis.backoff import NoBackoff
from redis.retry import Retry

log = logging.getLogger(__name__)

REST_SECONDS = 5.0
TIMEOUT_SECONDS = 0.5
_rests_until = 0.0


@cache
def quick_redis() -> "redis.Redis":
    """Return this process's client, for commands that may be lost and must not block."""
    return redis.Redis.from_url(
        settings.REDIS_URL,
        socket_timeout=TIMEOUT_SECONDS,
        socket_connect_timeout=TIMEOUT_SECONDS,
        # A connection from before a restart of Redis fails at once; a new one does not.
        retry=Retry(NoBackoff(), 1, supported_errors=(redis.ConnectionError,)),
    )


def send(*command: str | bytes) -> None:
    """Send a command that may be lost. Never raises."""
    if is_resting():
        return
    try:
        quick_redis().execute_command(*command)
    except redis.RedisError as error:
        rest(error)


def is_resting() -> bool:
    """Whether Redis failed a moment ago, so that it is left alone."""
    return time.monotonic() < _rests_until


def rest(error: Exception) -> None:
    """Leave Redis alone for a while, because it did not answer."""
    global _rests_until
    _rests_until = time.monotonic() + REST_SECONDS
    log.warning("Redis not reached", extra={"reason": type(error).__name__})
