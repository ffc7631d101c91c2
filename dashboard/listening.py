"""Ends connections whose readers take nothing, in the kernel.

The web server hands a stream out on one of its few threads, part by part, and waits for its reader without an end: a
laptop that sleeps would keep the thread for as long as its connection stays. Python has no way into that wait, but
sockets inherit how long unread data may stand from the one that listens.
"""

import os
import socket
import stat

# Milliseconds in which a reader takes something.
PATIENCE = 60_000


def let_go_of_stalled_readers() -> None:
    """Give every listening socket of this process an end to its patience, where the kernel knows one (Linux)."""
    option = getattr(socket, "TCP_USER_TIMEOUT", None)
    if option is None:
        return
    for number in _open_sockets():
        # A copy: closing it leaves the server's own open.
        with socket.socket(fileno=os.dup(number)) as one:
            is_tcp = one.family in (socket.AF_INET, socket.AF_INET6) and one.type == socket.SOCK_STREAM
            if is_tcp and one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                one.setsockopt(socket.IPPROTO_TCP, option, PATIENCE)


def _open_sockets() -> list[int]:
    found = []
    for name in os.listdir("/proc/self/fd"):
        try:
            if stat.S_ISSOCK(os.stat(int(name)).st_mode):
                found.append(int(name))
        except OSError:
            # That of this very listing is closed by now.
            continue
    return found
