"""Discord's rate limits: learnt from its answers, and counted in Redis for all workers.

There are two: the bucket in the headers of each answer, and one that no header names:
CHANNEL requests of a channel within CHANNEL_SECONDS. Besides, Discord bans whoever gets
10,000 answers 401, 403 and 429 within ten minutes; far below that nothing is sent any
more. Without Redis nothing is counted, and a destination pauses after each post.
"""

import logging
import uuid
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

import redis

from common.redis import is_resting, quick_redis, rest

log = logging.getLogger(__name__)

# A little longer than Discord's minute, which begins for each post when it arrives
# there and not when it leaves here.
CHANNEL = 30
CHANNEL_SECONDS = 61.0
INVALID = 100
INVALID_SECONDS = 600.0
# 404 does not count for Discord, but many of them mean the same.
COUNTED = (401, 403, 404, 429)
# For each post, where Redis is away.
ALONE_SECONDS = 2.5
# So long the names of a channel and of a bucket are remembered.
_REMEMBERED = 7 * 86400

# By Redis' own clock, in milliseconds: the hosts' may differ. KEYS are those of one
# scope; the bucket's name and the channel are learnt, so the keys made of them are not
# known before.
_BEGIN = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local prefix, scope, route, invalid, member = ARGV[1], ARGV[2], KEYS[1], KEYS[3], ARGV[3]
local function posts(channel) return prefix .. 'posts:' .. channel end
local function bucket(name) return prefix .. 'bucket:' .. name .. ':' .. scope end
"""
# The milliseconds to wait; 0 where the request was counted and may go. What is noted of
# a time to come is from before the clock was set back: nothing waits for it.
_TAKE = f"""{_BEGIN}
local most, window, bad, bad_window = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
local wait = 0
local function bound(key, most, window)
    redis.call('ZREMRANGEBYSCORE', key, '-inf', now - window)
    redis.call('ZREMRANGEBYSCORE', key, '(' .. now, '+inf')
    if redis.call('ZCARD', key) >= most then
        wait = math.max(wait, redis.call('ZRANGE', key, -most, -most, 'WITHSCORES')[2] + window - now)
    end
end
local counted = posts(redis.call('GET', KEYS[2]) or scope)
bound(counted, most, window)
bound(invalid, bad, bad_window)
local name = redis.call('GET', route)
local left = name and redis.call('HMGET', bucket(name), 'left', 'until', 'since') or {{}}
local is_known = left[1] and tonumber(left[2]) > now and tonumber(left[3] or now) <= now
if is_known and tonumber(left[1]) <= 0 then wait = math.max(wait, left[2] - now) end
if wait > 0 then return math.ceil(wait) end
if is_known then redis.call('HINCRBY', bucket(name), 'left', -1) end
redis.call('ZADD', counted, now, member)
redis.call('PEXPIRE', counted, window)
return 0
"""
_LEARN = f"""{_BEGIN}
local name, left, after, channel, is_invalid = ARGV[4], ARGV[5], tonumber(ARGV[6]), ARGV[7], ARGV[8]
local window, bad_window, remembered = ARGV[9], ARGV[10], ARGV[11]
if name ~= '' then
    redis.call('SET', route, name, 'EX', remembered)
    redis.call('HSET', bucket(name), 'left', left, 'until', now + after, 'since', now)
    redis.call('PEXPIRE', bucket(name), after + 1000)
end
if channel ~= '' and channel ~= scope then
    if redis.call('GET', KEYS[2]) ~= channel then
        redis.call('ZUNIONSTORE', posts(channel), 2, posts(channel), posts(scope), 'AGGREGATE', 'MAX')
        redis.call('PEXPIRE', posts(channel), window)
    end
    redis.call('SET', KEYS[2], channel, 'EX', remembered)
end
if is_invalid == '1' then
    redis.call('ZADD', invalid, now, member)
    redis.call('PEXPIRE', invalid, bad_window)
end
return 0
"""


@dataclass(frozen=True)
class Scope:
    """What one limit is for: a webhook or a channel of one service, and a method, which
    has buckets of its own.

    `service` is the same for all of Discord; each stand-in is one of its own.
    """

    service: str
    target: str
    method: str

    @property
    def keys(self) -> tuple[str, str, str]:
        """The names in Redis that are known before anything was learnt."""
        prefix = f"alerts:{self.service}:"
        return (
            f"{prefix}route:{self.target}:{self.method}",
            f"{prefix}channel:{self.target}",
            f"{prefix}invalid",
        )


class Unknown(Exception):
    """Redis is away, so nothing is counted."""


def take(scope: Scope) -> float:
    """Count one request and return 0.0, or the seconds to wait before there may be one.
    Raises Unknown.
    """
    limits = (CHANNEL, _ms(CHANNEL_SECONDS), INVALID, _ms(INVALID_SECONDS))
    return _ask(_TAKE, scope, *limits) / 1000


def learn(
    scope: Scope, *, status: int, headers: Mapping[str, str], channel: str = ""
) -> None:
    """Store what an answer says about the limits; without Redis, the next answer says
    it again.
    """
    name = ""
    left = after = 0
    with suppress(KeyError, ValueError):
        seconds = float(headers["X-RateLimit-Reset-After"])
        if 0 <= seconds <= 86400:
            left = int(headers["X-RateLimit-Remaining"])
            after = _ms(seconds)
            name = headers["X-RateLimit-Bucket"][:100]
    # Other programs' requests in the same channel do not count.
    is_invalid = status in COUNTED and headers.get("X-RateLimit-Scope") != "shared"
    windows = (_ms(CHANNEL_SECONDS), _ms(INVALID_SECONDS), _REMEMBERED)
    try:
        _ask(_LEARN, scope, name, left, after, channel, int(is_invalid), *windows)
    except Unknown:
        log.info("limit not noted", extra={"status": status})


def _ask(script: str, scope: Scope, *arguments: str | int) -> int:
    if is_resting():
        raise Unknown
    values = (f"alerts:{scope.service}:", scope.target, uuid.uuid4().hex, *arguments)
    try:
        return int(quick_redis().eval(script, len(scope.keys), *scope.keys, *values))
    except redis.RedisError as error:
        rest(error)
        raise Unknown from error


def _ms(seconds: float) -> int:
    """Return milliseconds, rounded up."""
    return -int(-seconds * 1000 // 1)
