"""Limits of an account (API calls a minute, emails a day and a month), and how much it
has used.

Calls are counted in Redis only, and counting never makes a request fail: while Redis is
away, calls are not counted. Sandbox mail has no quota. Held mail counts against the
quota when it is accepted, so that an approval never finds the quota used up.
"""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import TypeVar

from django.conf import settings
from redis import RedisError

from common.redis import is_resting, quick_redis, rest
from gateway.errors import TooManyRequests
from gateway.models import Account, ApiKey, Email
from gateway.states import Direction

# A Lua script for Redis, which counts a call: for the limit of the minute, and within
# that limit also for the usage of the day. Returns the calls of this minute. One round
# trip; both counters expire by themselves.
_HIT = """
local calls = redis.call('INCR', KEYS[1])
if calls == 1 then redis.call('EXPIRE', KEYS[1], 120) end
local limit = tonumber(ARGV[1])
if limit == 0 or calls <= limit then
  redis.call('INCR', KEYS[2])
  redis.call('EXPIRE', KEYS[2], ARGV[2])
end
return calls
"""
T = TypeVar("T")
_DAY = timedelta(days=1)
# How long Redis keeps the calls of a day. A period of usage is never longer.
_KEPT = 367 * _DAY


def _calls_key(key: ApiKey, day: date) -> str:
    # The key in Redis that counts the calls of the account on this day.
    return f"gateway:calls:{key.account_id}:{day.isoformat()}"


def _ask_redis(question: Callable[[], T], otherwise: T) -> T:
    # Returns the answer of Redis to `question`, or `otherwise` while Redis is away.
    if is_resting():
        return otherwise
    try:
        return question()
    except RedisError as error:
        rest(error)
        return otherwise


def check_rate(key: ApiKey, *, now: datetime) -> None:
    """Count this call. Raises TooManyRequests if the key made too many calls in this
    minute.
    """
    limit = settings.GATEWAY_RATE_LIMIT
    minute, second = divmod(int(now.timestamp()), 60)
    keys = [f"gateway:rate:{key.pk}:{minute}", _calls_key(key, now.date())]
    kept = int(_KEPT.total_seconds())
    calls = _ask_redis(lambda: quick_redis().eval(_HIT, 2, *keys, limit, kept), 0)
    if not limit or calls <= limit:
        return
    raise TooManyRequests(
        f"Too many requests: this key may make {limit} a minute. Wait for the seconds in Retry-After.",
        retry_after=60 - second,
        limit=limit,
    )


def check_quota(account: Account, *, sandbox: bool, now: datetime) -> None:
    """Check that the account may store one more email, in the transaction that stores
    it. Raises TooManyRequests.

    An account with a quota is locked, so that two requests cannot both use its last
    message.
    """
    if sandbox or (
        account.monthly_email_quota is None and account.warmup_daily_limit is None
    ):
        return
    account = Account.locked(account.pk)
    quota = account.monthly_email_quota
    if quota is not None and emails_sent_this_month(account, now) >= quota:
        ends = start_of_month(start_of_month(now) + 31 * _DAY)
        raise TooManyRequests(
            f"The monthly quota of {quota} emails is used up. It resets at {ends:%Y-%m-%d} 00:00 UTC; "
            "the operator can raise it.",
            code="quota_exceeded",
            retry_after=_seconds_rounded_up(ends - now),
            monthly_email_quota=quota,
        )
    limit = account.warmup_daily_limit
    today = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    if limit is None:
        return
    sent = Email.objects.charged_to(account, today).count()
    if sent >= limit:
        raise TooManyRequests(
            f"This account is warming up: it may send {limit} emails a day, and has sent {sent} today.",
            code="warmup_limit",
            hint="Send the rest after midnight UTC.",
            retry_after=_seconds_rounded_up(today + _DAY - now),
            warmup_stage=1,
            daily_sent=sent,
            daily_limit=limit,
        )


def start_of_month(moment: datetime) -> datetime:
    """Return when the month of `moment` began, in UTC."""
    return moment.astimezone(UTC).replace(
        day=1, hour=0, minute=0, second=0, microsecond=0
    )


def _seconds_rounded_up(wait: timedelta) -> int:
    return int(wait.total_seconds()) + 1


def usage_by_day(
    key: ApiKey, *, begin: datetime, end: datetime
) -> dict[date, dict[str, int]]:
    """Return the counts of each day (UTC) from `begin` until before `end`, by name, of
    the mail that the key may see.

    API calls are counted for whole days, and for the account as a whole.
    """
    first = begin.astimezone(UTC).date()
    last = (end - timedelta(microseconds=1)).astimezone(UTC).date()
    emails = Email.objects.visible_to(key)
    by_day = {
        "emails_sent": emails.filter(direction=Direction.OUTBOUND).by_day(
            "sent_at", begin, end
        ),
        "emails_received": emails.received().by_day("created_at", begin, end),
        "oversight_actions": emails.by_day("decided_at", begin, end),
    }
    days = {
        first + number * _DAY: dict.fromkeys((*by_day, "api_calls"), 0)
        for number in range(max(0, (last - first).days) + 1)
    }
    for name, numbers in by_day.items():
        for day, number in numbers:
            days[day][name] = number
    keys = [_calls_key(key, day) for day in days]
    counted: list[bytes | None] = _ask_redis(lambda: quick_redis().mget(keys), [])
    for counts, calls in zip(days.values(), counted, strict=False):
        counts["api_calls"] = int(calls or 0)
    return days


def emails_sent_this_month(account: Account, now: datetime) -> int:
    """Return how many emails of this month (UTC) count against the account's quota."""
    return Email.objects.charged_to(account, start_of_month(now)).count()
