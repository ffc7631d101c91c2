"""What every request to a webhook or a bot's channel passes: a test's script first,
then the limits.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from demo.discord.channel import Message
from demo.discord.messages import Outcome, Refused
from demo.discord.rates import RateLimiter, limited
from demo.discord.script import Script
from demo.web import Answer


@dataclass(slots=True)
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
