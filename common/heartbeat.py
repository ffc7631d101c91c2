"""Shows the launcher that the work loop of this process goes on: the loop calls `beat`,
which changes a file.

Nothing else may call it: a thread for it would go on while the loop hangs.
"""

import asyncio
import contextlib
import os
from functools import cache

# Seconds between two beats. The launcher ends a process that gave none for a minute.
EVERY = 5.0


def beat() -> None:
    """Change the file's time. On a full disk too: its one byte is written again."""
    descriptor = _descriptor()
    if descriptor is not None:
        with contextlib.suppress(OSError):
            os.pwrite(descriptor, b".", 0)


async def keep_beating() -> None:
    """Beat from an event loop. A thread that keeps the interpreter for itself stops the
    loop too.
    """
    while True:
        beat()
        await asyncio.sleep(EVERY)


@cache
def _descriptor() -> int | None:
    path = os.environ.get("HEARTBEAT_FILE")
    if not path:
        return None
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
