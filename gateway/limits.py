"""What an account may do in a minute, a day and a month, and how much it did.

Calls are counted in Redis and moved to the database by the sweep. Counting never costs
a request: while Redis is away, calls pass uncounted. Sandbox mail has no quota. Held
mail counts against the quota when it is accepted, so that approving never finds it used
up.
"""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any, TypeVar

from django.conf import settings
from django.db import DatabaseError
from redis import RedisError

from common.redis import is_resting, quick_redis, rest
from gateway.errors import TooManyRequests
from gateway.models import Account, ApiKey, Email, UsageDay
from gateway.states import Direction

_CALLS = "gateway:calls"
# A call over the limit does not count as usage. One round trip; the counter of the
# minute expires by itself.
_HIT = """
local calls = redis.call('INCR', KEYS[1])
if calls == 1 then redis.call('EXPIRE', KEYS[1], 120) end
local limit = tonumber(ARGV[1])
if limit == 0 or calls <= limit then redis.call('HINCRBY', KEYS[2], ARGV[2], 1) end
return calls
"""
T = TypeVar("T")
_DAY = timedelta(days=1)


def hit(key: ApiKey, limit: int, *, now: datetime) -> int:
    """Count one call of a key, and return its calls in this minute; 0 while Redis is
    away.
    """
    minute = int(now.timestamp()) // 60
    keys = [f"gateway:rate:{key.pk}:{minute}", _CALLS]
    name = f"{key.account_id}:{now.date().isoformat()}"
    return _ask(
        lambda: int(quick_redis().register_script(_HIT)(keys=keys, args=[limit, name])),
        0,
    )


def calls_by_day(counted: dict[bytes, bytes]) -> dict[tuple[str, date], int]:
    """Return calls as they are counted in Redis, by account and day."""
    calls = {}
    for name, number in counted.items():
        account_id, _, day = name.decode().rpartition(":")
        calls[account_id, date.fromisoformat(day)] = int(number)
    return calls


def calls_not_moved(account_id: str) -> dict[date, int]:
    """Return the calls of an account that are still in Redis, by day."""
    counted = calls_by_day(_ask(lambda: quick_redis().hgetall(_CALLS), {}))
    return {
        day: number
        for (account, day), number in counted.items()
        if account == account_id
    }


def _ask(question: Callable[[], Any], otherwise: T) -> T:
    if is_resting():
        return otherwise
    try:
        answer: T = question()
    except RedisError as error:
        rest(error)
        return otherwise
    return answer


def check_rate(key: ApiKey, *, now: datetime) -> None:
    """Count this call. Raises TooManyRequests where the key made too many in this
    minute.
    """
    own = key.account.requests_per_minute
    limit = settings.GATEWAY_RATE_LIMIT if own is None else own
    calls = hit(key, limit, now=now)
    if not limit or calls <= limit:
        return
    raise TooManyRequests(
        f"Too many requests: this key may make {limit} a minute. Wait for the seconds in Retry-After.",
        retry_after=60 - int(now.timestamp()) % 60,
        limit=limit,
    )


def check_quota(account: Account, *, sandbox: bool, now: datetime) -> None:
    """Check that one more email may be stored, within the transaction that stores it.
    Raises TooManyRequests.

    The account is locked where it has a quota, so that two requests never both take its
    last message.
    """
    if sandbox or not (account.monthly_email_quota is not None or account.warms_up):
        return
    account = Account.locked(account.pk)
    quota = account.monthly_email_quota
    month = start_of_month(now)
    if quota is not None and emails_sent_this_month(account, now) >= quota:
        ends = start_of_month(month + 31 * _DAY)
        raise TooManyRequests(
            f"The monthly quota of {quota} emails is used up. It resets at {ends:%Y-%m-%d} 00:00 UTC; "
            "the operator can raise it.",
            code="quota_exceeded",
            retry_after=_seconds(ends - now),
            monthly_email_quota=quota,
        )
    if not account.warms_up:
        return
    limit = account.warmup_daily_limit
    today = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    sent = Email.objects.charged_to(account, today).count()
    if limit is not None and sent >= limit:
        raise TooManyRequests(
            f"This account is warming up: it may send {limit} emails a day at this stage, and has sent {sent} today.",
            code="warmup_limit",
            hint="Send the rest after midnight UTC. The limit rises with each warm-up stage.",
            retry_after=_seconds(today + _DAY - now),
            warmup_stage=account.warmup_stage,
            daily_sent=sent,
            daily_limit=limit,
        )


def start_of_month(moment: datetime) -> datetime:
    """Return when the month of `moment` began, in UTC."""
    return moment.astimezone(UTC).replace(
        day=1, hour=0, minute=0, second=0, microsecond=0
    )


def _seconds(wait: timedelta) -> int:
    return max(1, int(wait.total_seconds()) + 1)


def usage_by_day(
    key: ApiKey, *, begin: datetime, end: datetime
) -> dict[date, dict[str, int]]:
    """Return what happened on each day (UTC) from `begin` until before `end`, as far as
    the key may know of it.

    Calls are known by whole days, and for the account as a whole.
    """
    first = begin.astimezone(UTC).date()
    last = (end - timedelta(milliseconds=1)).astimezone(UTC).date()
    emails = Email.objects.visible_to(key)
    written = UsageDay.objects.filter(
        account_id=key.account_id, day__range=(first, last)
    )
    by_day = {
        "emails_sent": emails.filter(direction=Direction.OUTBOUND).by_day(
            "sent_at", begin, end
        ),
        "emails_received": emails.received().by_day("created_at", begin, end),
        "api_calls": [
            *written.values_list("day", "api_calls"),
            *calls_not_moved(key.account_id).items(),
        ],
        "oversight_actions": emails.by_day("decided_at", begin, end),
    }
    length = max(0, (last - first).days) + 1
    days = {
        first + timedelta(days=number): dict.fromkeys(by_day, 0)
        for number in range(length)
    }
    for name, numbers in by_day.items():
        for day, number in numbers:
            if day in days:
                days[day][name] += number
    return days


def emails_sent_this_month(account: Account, now: datetime) -> int:
    """Return how many emails of this month (UTC) the account's quota counts."""
    return Email.objects.charged_to(account, start_of_month(now)).count()


def write_down_calls() -> int:
    """Move the counted calls from Redis into rows; what cannot be written is counted
    again next time.
    """
    counted: dict[bytes, bytes] = _ask(
        lambda: quick_redis().pipeline().hgetall(_CALLS).delete(_CALLS).execute()[0], {}
    )
    calls = calls_by_day(counted)
    try:
        UsageDay.objects.add(calls)
    except DatabaseError:
        pipeline = quick_redis().pipeline()
        for name, number in counted.items():
            pipeline.hincrby(_CALLS, name, int(number))
        _ask(pipeline.execute, None)
        raise
    return sum(calls.values())
