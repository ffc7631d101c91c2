"""Whether work costs time in proportion to what it is given: by processor time,
whatever else the machine does.
"""

import time
from typing import TypeVar

T = TypeVar("T")

# What takes less cannot be told from noise.
LEAST = 0.001


def seconds(work, value):
    """Return the processor time of one call."""
    began = time.process_time()
    work(value)
    return time.process_time() - began


def is_linear(work, small, large, *, most=24):
    """Whether `large`, eight times as much as `small`, takes at most `most` times as
    long; quadratic work takes 64.

    The quickest of three counts: what a machine does besides only adds to it.
    """
    least = max(min(seconds(work, small) for _ in range(3)), LEAST)
    return any(seconds(work, large) <= most * least for _ in range(3))
