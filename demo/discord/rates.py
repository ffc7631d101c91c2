"""Discord's limits of a webhook or channel: one reported in headers, and a hidden one.
Pure except for a clock.
"""

import hashlib
import math
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from demo.web import Answer, json_answer

LIMIT = 5
WINDOW_SECONDS = 2.0
# No header reports this limit.
HIDDEN_LIMIT = 30
HIDDEN_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Allowance:
    """The limiter's answer to one request."""

    granted: bool
    retry_after: float
    remaining: int
    reset_after: float
    bucket: str

    def headers(self) -> dict[str, str]:
        """Return the headers Discord sends with every answer."""
        return {
            "X-RateLimit-Limit": str(LIMIT),
            "X-RateLimit-Remaining": str(self.remaining),
            "X-RateLimit-Reset": f"{time.time() + self.reset_after:.3f}",
            "X-RateLimit-Reset-After": f"{self.reset_after:.3f}",
            "X-RateLimit-Bucket": self.bucket,
        }


def limited(retry_after: float, *, is_global: bool = False) -> Answer:
    """Return the answer to a request over a limit, with the headers that only a 429
    has.
    """
    message = "You are being rate limited."
    body = {"message": message, "retry_after": retry_after, "global": is_global}
    answer = json_answer(body, 429)
    answer.headers["Retry-After"] = str(math.ceil(retry_after))
    answer.headers["X-RateLimit-Scope"] = "global" if is_global else "user"
    if is_global:
        answer.headers["X-RateLimit-Global"] = "true"
    return answer


class RateLimiter:
    """Counts requests of each key: in fixed windows that begin with their first
    request, and in a sliding one.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Start with no windows."""
        self._clock = clock
        self._windows: dict[str, tuple[float, int]] = {}
        self._times: dict[str, deque[float]] = {}
        self._lock = threading.Lock()

    def take(self, key: str) -> Allowance:
        """Count one request, unless one of the limits is reached."""
        with self._lock:
            now = self._clock()
            start, used = self._windows.get(key, (now, 0))
            if now >= start + WINDOW_SECONDS:
                start = now
                used = 0
            reset_after = _up(start + WINDOW_SECONDS - now)
            times = self._times.setdefault(key, deque())
            while times and times[0] <= now - HIDDEN_SECONDS:
                times.popleft()
            wait = 0.0
            if used >= LIMIT:
                wait = reset_after
            elif len(times) >= HIDDEN_LIMIT:
                wait = _up(times[0] + HIDDEN_SECONDS - now)
            else:
                used += 1
                times.append(now)
            self._windows[key] = (start, used)
        bucket = hashlib.sha256(key.encode()).hexdigest()[:32]
        return Allowance(not wait, wait, LIMIT - used, reset_after, bucket)


def _up(seconds: float) -> float:
    """Discord rounds up to the millisecond, so that waiting exactly that long is
    enough.
    """
    return math.ceil(seconds * 1000) / 1000
