"""What an account may do in a minute, a day and a month. Each refusal says how much, and how long to wait.

Sandbox mail has no quota. Held mail has its place in one, so that approving never finds it used up.
"""

from datetime import UTC, datetime, timedelta

from django.conf import settings

from gateway import counters
from gateway.errors import TooManyRequests
from gateway.models import Account, ApiKey, Email

_DAY = timedelta(days=1)


def check_rate(*, key: ApiKey, now: datetime) -> None:
    """Count this call. Raises TooManyRequests where the key made too many in this minute."""
    own = key.account.requests_per_minute
    limit = settings.GATEWAY_RATE_LIMIT if own is None else own
    calls = counters.hit(key_id=key.pk, account_id=key.account_id, limit=limit, now=now)
    if not limit or calls <= limit:
        return
    raise TooManyRequests(
        f"Too many requests: this key may make {limit} a minute. Wait as long as Retry-After says.",
        retry_after=60 - int(now.timestamp()) % 60,
        limit=limit,
    )


def check_quota(*, account: Account, sandbox: bool, now: datetime) -> None:
    """Check that one more email may be stored, within the transaction that stores it. Raises TooManyRequests.

    The account is locked where it has a quota, so that two requests never share its last place.
    """
    if sandbox or not (account.monthly_email_quota is not None or _warms_up(account)):
        return
    account = Account.objects.select_for_update(no_key=True).get(pk=account.pk)
    _check_month(account, now)
    if _warms_up(account):
        _check_day(account, now)


def _check_month(account: Account, now: datetime) -> None:
    quota = account.monthly_email_quota
    begin = start_of_month(now)
    if quota is None or Email.objects.charged_to(account, since=begin).count() < quota:
        return
    raise TooManyRequests(
        f"The monthly quota of {quota} emails is used up. It begins anew at {_next_month(begin):%Y-%m-%d} 00:00 UTC; "
        "the operator can raise it.",
        code="quota_exceeded",
        retry_after=_seconds(_next_month(begin) - now),
        monthly_email_quota=quota,
    )


def _check_day(account: Account, now: datetime) -> None:
    begin = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    sent, limit = Email.objects.charged_to(account, since=begin).count(), account.warmup_daily_limit or 0
    if sent < limit:
        return
    raise TooManyRequests(
        f"This account is warming up: it may send {limit} emails a day at this stage, and has sent {sent} today.",
        code="warmup_limit",
        hint="Send the rest after midnight UTC. The limit rises with each stage of the warm-up.",
        retry_after=_seconds(begin + _DAY - now),
        warmup_stage=account.warmup_stage,
        daily_sent=sent,
        daily_limit=limit,
    )


def start_of_month(moment: datetime) -> datetime:
    """Return when the month of `moment` began, in UTC."""
    return moment.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)


def _next_month(begin: datetime) -> datetime:
    return start_of_month(begin + 31 * _DAY)


def _warms_up(account: Account) -> bool:
    return account.warmup_stage > 0 and account.warmup_daily_limit is not None


def _seconds(wait: timedelta) -> int:
    return max(1, int(wait.total_seconds()) + 1)
