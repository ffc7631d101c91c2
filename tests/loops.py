"""Runs a coroutine to its end, for tests without a loop."""

import asyncio
from concurrent.futures import ThreadPoolExecutor


def in_own_loop(coroutine, timeout=60):
    """Return its result, from a thread of its own: browser tests leave a loop running
    in theirs.
    """
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, asyncio.wait_for(coroutine, timeout)).result()
