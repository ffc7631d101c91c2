"""When to try again: a pure function of how often it was tried."""

import random


def retry_after_attempt(
    attempt: int, *, schedule: tuple[int, ...], jitter: float = 0.0
) -> float | None:
    """Return the seconds to wait after attempt number `attempt` (1 is the first)
    failed, None to give up.

    `jitter` of 0.2 spreads the answer by up to a fifth, so that many rows do not come
    due at one instant.
    """
    if attempt > len(schedule):
        return None
    return schedule[attempt - 1] * (1 + random.uniform(0, jitter))
