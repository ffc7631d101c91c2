"""What an account may do in a minute, a day and a month, and how much it did.

Calls are counted in Redis and moved to the database by the sweep. Counting never costs a request: while Redis is
away, calls pass uncounted. Sandbox mail has no quota. Held mail counts against the quota when it is accepted, so that
approving never finds it used up.
"""

import logging
import time
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from functools import cache
from typing import Any, TypeVar

from django.conf import settings
from django.db import DatabaseError
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from gateway.errors import TooManyRequests
from gateway.models import Account, ApiKey, Email, UsageDay
from gateway.states import Direction

log = logging.getLogger(__name__)

TIMEOUT = 0.2
# How long Redis is left alone after it failed, so that not every request waits for it.
REST = 5.0
_CALLS = "gateway:calls"
# A call over the limit does not count as usage. One round trip; the counter of the minute expires by itself.
_HIT = """
local calls = redis.call('INCR', KEYS[1])
if calls == 1 then redis.call('EXPIRE', KEYS[1], 120) end
local limit = tonumber(ARGV[1])
if limit == 0 or calls <= limit then redis.call('HINCRBY', KEYS[2], ARGV[2], 1) end
return calls
"""
Day = tuple[str, date]
T = TypeVar("T")
_DAY = timedelta(days=1)


class _Health:
    """Whether Redis answers. Threads share it without a lock: a stale value costs one call."""

    asked_again_at = 0.0
    away = False


def hit(*, key_id: str, account_id: str, limit: int, now: datetime) -> int:
    """Count one call of a key, and return its calls in this minute; 0 while Redis is away."""
    minute = int(now.timestamp()) // 60
    keys = [f"gateway:rate:{key_id}:{minute}", _CALLS]
    return _ask(lambda: int(_hit()(keys=keys, args=[limit, _name(account_id, now.date())])), 0)


def take_calls() -> dict[Day, int]:
    """Remove the counted calls from Redis and return them, for writing them into rows."""
    return _read(_ask(lambda: _redis().pipeline().hgetall(_CALLS).delete(_CALLS).execute()[0], {}))


def put_back(calls: dict[Day, int]) -> None:
    """Return calls to Redis that could not be written into rows."""
    pipeline = _redis().pipeline()
    for (account_id, day), number in calls.items():
        pipeline.hincrby(_CALLS, _name(account_id, day), number)
    _ask(pipeline.execute, None)


def calls_not_moved(account_id: str) -> dict[date, int]:
    """Return the calls of an account that are still in Redis, by day."""
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
    # By default the client would retry for seconds.
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


def check_rate(*, key: ApiKey, now: datetime) -> None:
    """Count this call. Raises TooManyRequests where the key made too many in this minute."""
    own = key.account.requests_per_minute
    limit = settings.GATEWAY_RATE_LIMIT if own is None else own
    calls = hit(key_id=key.pk, account_id=key.account_id, limit=limit, now=now)
    if not limit or calls <= limit:
        return
    raise TooManyRequests(
        f"Too many requests: this key may make {limit} a minute. Wait for the seconds in Retry-After.",
        retry_after=60 - int(now.timestamp()) % 60,
        limit=limit,
    )


def check_quota(*, account: Account, sandbox: bool, now: datetime) -> None:
    """Check that one more email may be stored, within the transaction that stores it. Raises TooManyRequests.

    The account is locked where it has a quota, so that two requests never both take its last message.
    """
    if sandbox or not (account.monthly_email_quota is not None or _warms_up(account)):
        return
    account = Account.objects.select_for_update(no_key=True).get(pk=account.pk)
    quota = account.monthly_email_quota
    begin = start_of_month(now)
    if quota is not None and Email.objects.charged_to(account, since=begin).count() >= quota:
        ends = start_of_month(begin + 31 * _DAY)
        raise TooManyRequests(
            f"The monthly quota of {quota} emails is used up. It resets at {ends:%Y-%m-%d} 00:00 UTC; "
            "the operator can raise it.",
            code="quota_exceeded",
            retry_after=_seconds(ends - now),
            monthly_email_quota=quota,
        )
    if _warms_up(account):
        _check_day(account, now)


def _check_day(account: Account, now: datetime) -> None:
    begin = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    sent, limit = Email.objects.charged_to(account, since=begin).count(), account.warmup_daily_limit or 0
    if sent < limit:
        return
    raise TooManyRequests(
        f"This account is warming up: it may send {limit} emails a day at this stage, and has sent {sent} today.",
        code="warmup_limit",
        hint="Send the rest after midnight UTC. The limit rises with each warm-up stage.",
        retry_after=_seconds(begin + _DAY - now),
        warmup_stage=account.warmup_stage,
        daily_sent=sent,
        daily_limit=limit,
    )


def start_of_month(moment: datetime) -> datetime:
    """Return when the month of `moment` began, in UTC."""
    return moment.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)


def _warms_up(account: Account) -> bool:
    return account.warmup_stage > 0 and account.warmup_daily_limit is not None


def _seconds(wait: timedelta) -> int:
    return max(1, int(wait.total_seconds()) + 1)


def usage_by_day(*, key: ApiKey, begin: datetime, end: datetime) -> dict[date, dict[str, int]]:
    """Return what happened on each day (UTC) from `begin` until before `end`, as far as the key may know of it.

    Calls are known by whole days, and for the account as a whole.
    """
    first, last = begin.astimezone(UTC).date(), (end - timedelta(milliseconds=1)).astimezone(UTC).date()
    emails = Email.objects.visible_to(key)
    written = UsageDay.objects.filter(account_id=key.account_id, day__range=(first, last))
    by_day = {
        "emails_sent": emails.filter(direction=Direction.OUTBOUND).by_day("sent_at", begin, end),
        "emails_received": emails.received().by_day("created_at", begin, end),
        "api_calls": [*written.values_list("day", "api_calls"), *calls_not_moved(key.account_id).items()],
        "oversight_actions": emails.by_day("decided_at", begin, end),
    }
    length = max(0, (last - first).days) + 1
    days = {first + timedelta(days=number): dict.fromkeys(by_day, 0) for number in range(length)}
    for name, numbers in by_day.items():
        for day, number in numbers:
            if day in days:
                days[day][name] += number
    return days


def emails_sent_this_month(account: Account, *, now: datetime) -> int:
    """Return how many emails of this month (UTC) the account's quota counts."""
    return Email.objects.charged_to(account, since=start_of_month(now)).count()


def write_down_calls() -> int:
    """Move the counted calls from Redis into rows; what cannot be written is counted again next time."""
    calls = take_calls()
    try:
        UsageDay.objects.add(calls)
    except DatabaseError:
        put_back(calls)
        raise
    return sum(calls.values())
