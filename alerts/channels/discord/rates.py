"""Keeps the desk below Discord's rate limits. They are learnt from Discord's answers,
and requests are counted in Redis for all workers: `take` says before a request how long
to wait, and `learn` reads the answer.

There are two limits: the bucket that the headers of each answer describe, and one that
no header names, of CHANNEL requests in a channel within CHANNEL_SECONDS. Discord also
bans a program that gets 10,000 answers 401, 403 or 429 within ten minutes; the desk
stops at INVALID of them. If Redis is down nothing is counted, and a destination pauses
for ALONE_SECONDS after each post.
"""

import logging
import uuid
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

import redis

from common.redis import is_resting, quick_redis, rest

log = logging.getLogger(__name__)

# A little longer than a minute: Discord counts a post when it arrives there, which is
# later than when it leaves here.
CHANNEL = 30
CHANNEL_SECONDS = 61.0
INVALID = 100
INVALID_SECONDS = 600.0
# Statuses that count towards INVALID. Discord does not count 404, but many of them mean
# the same: that something is set up wrongly.
COUNTED = (401, 403, 404, 429)
# How long a destination pauses after each post while Redis is down.
ALONE_SECONDS = 2.5
# For how many seconds the names of channels and buckets stay in Redis.
_REMEMBERED = 7 * 86400

# The beginning of both scripts. Times are in milliseconds by Redis' own clock, because
# the workers' clocks may differ. KEYS are the keys of one scope. The names of its
# bucket and its channel are learnt from answers, so the scripts build the keys of
# these.
_BEGIN = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local prefix, scope, route, invalid, member = ARGV[1], ARGV[2], KEYS[1], KEYS[3], ARGV[3]
local function posts(channel) return prefix .. 'posts:' .. channel end
local function bucket(name) return prefix .. 'bucket:' .. name .. ':' .. scope end
"""
# Returns how many milliseconds to wait; 0 if the request was counted and may be sent.
# An entry with a time in the future is from before the clock was set back, and ignored.
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
# Stores what the headers of an answer say about the bucket, the channel of a webhook,
# and whether the answer counts towards INVALID.
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
    """What one limit applies to. Each HTTP method has buckets of its own."""

    # The same for all of Discord's hosts; each stand-in for tests has its own.
    service: str
    # The id of a webhook or a channel.
    target: str
    method: str

    @property
    def keys(self) -> tuple[str, str, str]:
        """The keys in Redis that do not depend on what was learnt: the bucket's name,
        the channel's id, and the answers that count towards INVALID.
        """
        prefix = f"alerts:{self.service}:"
        return (
            f"{prefix}route:{self.target}:{self.method}",
            f"{prefix}channel:{self.target}",
            f"{prefix}invalid",
        )


class Unknown(Exception):
    """Redis is down, so nothing is counted."""


def take(scope: Scope) -> float:
    """Count one request and return 0.0; or, if a limit is reached, count nothing and
    return how many seconds to wait. Raises Unknown.
    """
    wait = _ask(
        _TAKE, scope, CHANNEL, _ms(CHANNEL_SECONDS), INVALID, _ms(INVALID_SECONDS)
    )
    return wait / 1000


def learn(
    scope: Scope, *, status: int, headers: Mapping[str, str], channel: str = ""
) -> None:
    """Store what an answer says about the limits. If Redis is down this is skipped: the
    next answer says it again.
    """
    name = ""
    remaining = reset_after = 0
    with suppress(KeyError, ValueError):
        seconds = float(headers["X-RateLimit-Reset-After"])
        if 0 <= seconds <= 86400:
            remaining = int(headers["X-RateLimit-Remaining"])
            reset_after = _ms(seconds)
            name = headers["X-RateLimit-Bucket"][:100]
    # The scope "shared" means that requests of other programs reached the limit.
    is_invalid = status in COUNTED and headers.get("X-RateLimit-Scope") != "shared"
    try:
        _ask(
            _LEARN,
            scope,
            name,
            remaining,
            reset_after,
            channel,
            int(is_invalid),
            _ms(CHANNEL_SECONDS),
            _ms(INVALID_SECONDS),
            _REMEMBERED,
        )
    except Unknown:
        log.info("limit not noted", extra={"status": status})


def _ask(script: str, scope: Scope, *arguments: str | int) -> int:
    # Runs a script in Redis. Raises Unknown if Redis is down.
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
