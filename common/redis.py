"""Redis for what may be lost: counters, rate limits and live updates. No caller waits
long for it.

If Redis does not answer, this process does not try again for REST_SECONDS, so that not
every call waits.
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
# By the monotonic clock.
_rests_until = 0.0


@cache
def quick_redis() -> "redis.Redis":
    """Return this process's client, for commands that may be lost and must be quick."""
    return redis.Redis.from_url(
        settings.REDIS_URL,
        socket_timeout=TIMEOUT_SECONDS,
        socket_connect_timeout=TIMEOUT_SECONDS,
        # After a restart of Redis, an old connection fails at once; the second try
        # opens a new one.
        retry=Retry(NoBackoff(), 1, supported_errors=(redis.ConnectionError,)),
    )


def send(*command: str | bytes) -> None:
    """Send a command that may be lost. Never raises redis.RedisError."""
    if is_resting():
        return
    try:
        quick_redis().execute_command(*command)
    except redis.RedisError as error:
        rest(error)


def is_resting() -> bool:
    """Whether Redis failed a moment ago, so that it should not be called."""
    return time.monotonic() < _rests_until


def rest(error: Exception) -> None:
    """Do not call Redis for REST_SECONDS, because it failed with this error."""
    global _rests_until
    _rests_until = time.monotonic() + REST_SECONDS
    log.warning("Redis not reached", extra={"reason": type(error).__name__})
