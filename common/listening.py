"""Makes the kernel close connections whose clients have stopped reading.

A web server hands a stream out on one of its few threads, part by part, and waits for its reader without an end: a
laptop that sleeps would keep the thread for as long as its connection stays. Python has no way into that wait, but the
kernel ends a connection whose data stands unread for too long, if it is told to.
"""

import os
import socket
import stat
from collections.abc import Iterator

# Milliseconds in which a reader takes something.
PATIENCE = 60_000


def let_go_of_stalled_readers() -> None:
    """Set a time limit for unread data on every connection that this process accepted or will accept (Linux only)."""
    option = getattr(socket, "TCP_USER_TIMEOUT", None)
    if option is None:
        return
    found = list(_own_sockets())
    try:
        # What is accepted inherits it; the server listens only after it has loaded us, so that this comes late enough.
        listening = [one for one in found if one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)]
        ports = {one.getsockname()[1] for one in listening}
        for one in found:
            if one.getsockname()[1] in ports:
                one.setsockopt(socket.IPPROTO_TCP, option, PATIENCE)
    finally:
        for one in found:
            one.close()


def _own_sockets() -> Iterator[socket.socket]:
    """Yield a copy of each TCP socket: closing it leaves the server's own open."""
    for name in os.listdir("/proc/self/fd"):
        try:
            if not stat.S_ISSOCK(os.stat(int(name)).st_mode):
                continue
            one = socket.socket(fileno=os.dup(int(name)))
        except OSError:
            # Closed meanwhile.
            continue
        if one.family in (socket.AF_INET, socket.AF_INET6) and one.type == socket.SOCK_STREAM:
            yield one
        else:
            one.close()
