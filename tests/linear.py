"""Checks that the time of some work grows in proportion to its input. It measures
processor time, so other processes on the machine do not count.
"""

import time
from typing import TypeVar

T = TypeVar("T")

# Seconds. Shorter times cannot be told from noise.
LEAST = 0.001


def seconds(work, value):
    """Return the processor time of one call, in seconds."""
    began = time.process_time()
    work(value)
    return time.process_time() - began


def is_linear(work, small, large):
    """Whether `large`, which is eight times `small`, takes at most 24 times as long.
    Quadratic work takes 64 times as long.

    Each is tried three times and the shortest time counts, because disturbances only
    add to it.
    """
    least = max(min(seconds(work, small) for _ in range(3)), LEAST)
    return any(seconds(work, large) <= 24 * least for _ in range(3))
