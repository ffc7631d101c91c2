"""How long a failed delivery waits for its next attempt."""

import random


def retry_after_attempt(
    attempt: int, *, schedule: tuple[int, ...], jitter: float = 0.0
) -> float | None:
    """Return how many seconds to wait after attempt number `attempt` failed (the first
    is 1), or None to give up: `schedule` has the seconds after each attempt.

    With a `jitter` of 0.2 the wait is up to a fifth longer, at random, so that many
    rows do not come due at the same moment.
    """
    if attempt > len(schedule):
        return None
    return schedule[attempt - 1] * (1 + random.uniform(0, jitter))
