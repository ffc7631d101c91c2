"""Runs a coroutine to its end, for tests that are not async."""

import asyncio
from concurrent.futures import ThreadPoolExecutor


def in_own_loop(coroutine, timeout=60):
    """Run a coroutine in a new thread and return its result. In the test's own thread,
    browser tests may have left a running event loop.
    """
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, asyncio.wait_for(coroutine, timeout)).result()
