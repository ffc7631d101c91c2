"""Discord's rate limit of a webhook: so many requests in a window, told in headers. Pure but for its clock."""

import hashlib
import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

LIMIT = 5
WINDOW_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Allowance:
    """What one request was told."""

    granted: bool
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


def refusal_headers(retry_after: float, *, is_global: bool) -> dict[str, str]:
    """Return the headers that only a 429 has."""
    headers = {
        "Retry-After": str(math.ceil(retry_after)),
        "X-RateLimit-Scope": "global" if is_global else "user",
    }
    return {**headers, "X-RateLimit-Global": "true"} if is_global else headers


class RateLimiter:
    """Counts requests in fixed windows, one window a webhook, that begin with their first request."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Start with no windows."""
        self._clock = clock
        self._windows: dict[str, tuple[float, int]] = {}
        self._lock = threading.Lock()

    def take(self, webhook_id: str) -> Allowance:
        """Count one request of this webhook, unless its window is full."""
        with self._lock:
            now = self._clock()
            start, used = self._windows.get(webhook_id, (now, 0))
            if now >= start + WINDOW_SECONDS:
                start, used = now, 0
            granted = used < LIMIT
            used += granted
            self._windows[webhook_id] = (start, used)
        # Discord rounds up to the millisecond, so that waiting exactly as told is enough.
        reset_after = math.ceil((start + WINDOW_SECONDS - now) * 1000) / 1000
        bucket = hashlib.sha256(webhook_id.encode()).hexdigest()[:32]
        return Allowance(granted, LIMIT - used, reset_after, bucket)
