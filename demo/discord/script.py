"""Answers that a test asked for in advance (`POST /control`): each is used up by one
webhook request.
"""

import json
import threading
from collections import deque
from dataclasses import dataclass
from typing import Any

from demo.discord.rates import limited
from demo.web import Answer, Request, json_answer

MOST_SECONDS = 120.0


class BadScript(Exception):
    """The control request cannot be used; the text says why."""


@dataclass(frozen=True, slots=True)
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
