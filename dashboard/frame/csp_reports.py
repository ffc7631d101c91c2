"""Counts the reports of browsers, which anybody can send: beyond some a minute nobody reads another one.

Each process counts for itself, and nothing is stored.
"""

from collections import Counter

from django.conf import settings

# So many addresses may report as often as one may.
_ADDRESSES = 10
_counted: Counter[str] = Counter()
_minute = 0


def seconds_to_wait(address: str, *, at: float) -> int:
    """Count one more report at `at` (Unix time); return for how many seconds to send no other, 0 while it is taken."""
    global _minute
    minute, second = divmod(int(at), 60)
    if minute != _minute:
        _counted.clear()
        _minute = minute
    most = settings.CSP_REPORTS_PER_MINUTE
    if _counted[address] >= most or _counted.total() >= most * _ADDRESSES:
        return 60 - second
    _counted[address] += 1
    return 0
