"""What every request to a webhook or a bot's channel passes: a test's script first, then
Discord's limits.

A test asks for answers in advance (`POST /control`); each is used up by one request. Of
the limits one is reported in headers, and one is hidden.
"""

import hashlib
import json
import math
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from demo.discord.channel import Message
from demo.discord.messages import Outcome, Refused
from demo.web import Answer, Request, json_answer

LIMIT = 5
WINDOW_SECONDS = 2.0
# No header reports this limit.
HIDDEN_LIMIT = 30
HIDDEN_SECONDS = 60.0


@dataclass(frozen=True)
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


MOST_SECONDS = 120.0


class BadScript(Exception):
    """The control request cannot be used; the text says why."""


@dataclass(frozen=True)
class Step:
    """One answer in place of the true one; without a status the request is obeyed, then
    `hang` or `drop` apply.
    """

    status: int | None = None
    retry_after: float = 1.0
    is_global: bool = False
    hang: float = 0.0
    drop: bool = False

    def answer(self) -> Answer:
        """Return the answer of a step that has a status."""
        status = self.status or 500
        if status == 429:
            return limited(self.retry_after, is_global=self.is_global)
        words = {
            401: ("Invalid Webhook Token", 50027),
            403: ("Missing Permissions", 50013),
            404: ("Unknown Webhook", 10015),
        }
        message, code = words.get(status, (f"{status}: scripted answer", 0))
        return json_answer({"message": message, "code": code}, status)


class Script:
    """The steps that still wait for a request."""

    def __init__(self) -> None:
        """Start with none."""
        self._steps: deque[Step] = deque()
        self._lock = threading.Lock()

    def next_step(self) -> Step | None:
        """Take the next step, if there is one."""
        with self._lock:
            return self._steps.popleft() if self._steps else None

    def control(self, request: Request) -> Answer:
        """Answer `POST /control`: its `next` list replaces what was still waiting."""
        # A form on another site can send text/plain but not this type without asking
        # first.
        if request.content_type != "application/json":
            return json_answer({"message": "Send application/json."}, 415)
        try:
            body = json.loads(request.body)
            steps = body.get("next") if isinstance(body, dict) else None
            if not isinstance(steps, list):
                raise BadScript(
                    'expected {"next": [{"status": 429, "retry_after": 1.0}, {"hang": 2}, ...]}'
                )
            steps = [_read_step(step) for step in steps]
        except (ValueError, BadScript) as error:
            return json_answer({"message": f"Not a script: {error}"}, 400)
        with self._lock:
            self._steps = deque(steps)
        return json_answer({"waiting": len(steps)})


def _read_step(step: Any) -> Step:
    if not isinstance(step, dict) or not {"status", "hang", "drop"} & set(step):
        raise BadScript("each step needs status, hang or drop")
    status = step.get("status")
    if status is not None and (not isinstance(status, int) or not 400 <= status <= 599):
        raise BadScript("status must be from 400 to 599")
    try:
        return Step(
            status=status,
            retry_after=min(float(step.get("retry_after", 1.0)), MOST_SECONDS),
            is_global=bool(step.get("global", False)),
            hang=min(float(step.get("hang", 0)), MOST_SECONDS),
            drop=bool(step.get("drop", False)),
        )
    except TypeError as error:
        raise BadScript(str(error)) from error


@dataclass
class Gate:
    """Applies Discord's limits to requests, unless a test's script overrides them."""

    script: Script
    rates: RateLimiter = field(default_factory=RateLimiter)
    pause: Callable[[float], None] = time.sleep

    def answer(
        self,
        key: str,
        act: Callable[[], Outcome],
        record: Callable[[Answer, Message | None], None],
    ) -> Answer:
        """Answer one request that counts for `key`; `record` writes it down before the
        answer leaves.
        """
        step = self.script.next_step()
        message: Message | None = None
        if step is not None and step.status is not None:
            self.pause(step.hang)
            answer = step.answer()
        else:
            allowance = self.rates.take(key)
            if allowance.granted:
                try:
                    answer, message = act()
                except Refused as refused:
                    answer = refused.answer
            else:
                answer = limited(allowance.retry_after)
            answer.headers |= allowance.headers()
        record(answer, message)
        if step is not None and step.status is None:
            # The request took effect; only its answer is late or lost.
            self.pause(step.hang)
            answer.drop = step.drop
        return answer
