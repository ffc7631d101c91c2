"""Shows the launcher, or systemd, that the work loop of this process still runs: the
loop calls `beat`, which changes the time of a file.

Only the work loop may call it: a thread of its own would go on while the loop hangs.
"""

import asyncio
import contextlib
import os
import socket
from functools import cache

# Seconds between two beats. The launcher ends a process that gave none for a minute.
EVERY = 5.0


def beat() -> None:
    """Change the file's time by overwriting its one byte, which works on a full disk
    too. Tell systemd, if that started this process, by its protocol sd_notify.
    """
    if address := os.environ.get("NOTIFY_SOCKET"):
        # "@" stands for the zero byte of an abstract socket.
        address = "\0" + address[1:] if address.startswith("@") else address
        with (
            contextlib.suppress(OSError),
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd,
        ):
            # Somebody who does not read must not stop the work loop.
            systemd.setblocking(False)
            systemd.sendto(b"READY=1\nWATCHDOG=1", address)
    descriptor = _descriptor()
    if descriptor is not None:
        with contextlib.suppress(OSError):
            os.pwrite(descriptor, b".", 0)


async def keep_beating() -> None:
    """Beat from an event loop, for ever. If a thread blocks the interpreter, the loop
    and with it the beats stop too.
    """
    while True:
        beat()
        await asyncio.sleep(EVERY)


@cache
def _descriptor() -> int | None:
    # Only the launcher sets this variable; a command that is run by hand does not beat.
    path = os.environ.get("HEARTBEAT_FILE")
    if not path:
        return None
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
