"""Runs a coroutine to its end, for tests without a loop."""

import asyncio
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any


def in_own_loop(coroutine: Coroutine[Any, Any, Any], timeout: float = 60) -> Any:
    """Return its result, from a thread of its own: browser tests leave a loop running
    in theirs.
    """
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, asyncio.wait_for(coroutine, timeout)).result()
