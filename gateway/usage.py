"""How much an account uses the API: mail is counted where it lies, calls as they were written down.

Sent mail counts on the day it left, received mail when it came, a decision when it was taken.
"""

from dataclasses import dataclass, fields
from datetime import UTC, date, datetime, timedelta

from django.db import DatabaseError

from gateway import counters
from gateway.limits import start_of_month
from gateway.models import Account, ApiKey, Email, UsageDay
from gateway.states import Direction


@dataclass
class Counts:
    """What happened in a period."""

    emails_sent: int = 0
    emails_received: int = 0
    api_calls: int = 0
    oversight_actions: int = 0

    def add(self, other: "Counts") -> None:
        """Add what happened in another period."""
        for field in fields(self):
            setattr(self, field.name, getattr(self, field.name) + getattr(other, field.name))


def usage_by_day(*, key: ApiKey, begin: datetime, end: datetime) -> dict[date, Counts]:
    """Return what happened on each day (UTC) from `begin` until before `end`, as far as the key may know of it.

    Calls are known by whole days, and for the account as a whole.
    """
    first, last = begin.astimezone(UTC).date(), (end - timedelta(milliseconds=1)).astimezone(UTC).date()
    days = {first + timedelta(days=number): Counts() for number in range(max(0, (last - first).days) + 1)}
    emails = Email.objects.visible_to(key)
    for day, number in emails.filter(direction=Direction.OUTBOUND).by_day("sent_at", begin, end):
        days[day].emails_sent = number
    for day, number in emails.received().by_day("created_at", begin, end):
        days[day].emails_received = number
    for day, number in emails.by_day("decided_at", begin, end):
        days[day].oversight_actions = number
    for day, number in _calls(key.account_id, first, last):
        days[day].api_calls += number
    return days


def emails_sent_this_month(account: Account, *, now: datetime) -> int:
    """Return how many emails of this month (UTC) the account's quota counts."""
    return Email.objects.charged_to(account, since=start_of_month(now)).count()


def write_down_calls() -> int:
    """Move the counted calls from Redis into rows; what cannot be written is counted again next time."""
    calls = counters.take_calls()
    try:
        UsageDay.objects.add(calls)
    except DatabaseError:
        counters.put_back(calls)
        raise
    return sum(calls.values())


def _calls(account_id: str, first: date, last: date) -> list[tuple[date, int]]:
    written = UsageDay.objects.filter(account_id=account_id, day__range=(first, last)).values_list("day", "api_calls")
    fresh = counters.calls_not_moved(account_id)
    return [*written, *((day, number) for day, number in fresh.items() if first <= day <= last)]
