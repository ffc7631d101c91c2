"""Remembers that the mail server kept an attempt waiting in vain, so that it does not cost the worker that time again
for every mail. Kept in the process: each worker finds out for itself, and one that is started anew asks at once.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from gateway import smtp

# Shorter failures (nobody listens, a refusal) cost nothing to try again.
SLOW = 2.0
# As long as no attempt of another mail is made after a slow failure.
REST = 30.0


class State:
    """When the mail server may be asked again, on the monotonic clock."""

    asked_again_at = 0.0


def rests_for() -> float:
    """Return for how many seconds the mail server is to be left alone; 0 when it can be asked."""
    return max(0.0, State.asked_again_at - time.monotonic())


@contextmanager
def watched() -> Iterator[None]:
    """Watch one attempt: one that took long and led to nothing lets the server rest."""
    began = time.monotonic()
    try:
        yield
    except (smtp.NotTaken, smtp.FateUnknown):
        ended = time.monotonic()
        if ended - began > SLOW:
            State.asked_again_at = ended + REST
        raise
