"""Connections of clients that are slow on purpose: with headers, with a body, or with
reading what is answered.
"""

import contextlib
import socket

# More than comes of it, and less than any address takes.
_DECLARED = 10_000
# So many large answers are more than the sockets of both sides hold.
_UNREAD = 2


def slow_headers():
    """Return the beginning of a request whose headers do not end."""
    return b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: "


def slow_body(path, **headers):
    """Return a request whose body is to come."""
    named = "".join(
        f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items()
    )
    return f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {_DECLARED}\r\n{named}\r\n".encode()


def slow_reader(path):
    """Return many requests at once, whose answers nobody will read."""
    return f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode() * _UNREAD


@contextlib.contextmanager
def slow_connections(port, beginnings):
    """Open a connection for each beginning and send that; none of them reads."""
    with contextlib.ExitStack() as stack:
        opened = []
        for beginning in beginnings:
            one = stack.enter_context(socket.socket())
            one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            one.settimeout(30)
            one.connect(("127.0.0.1", port))
            one.sendall(beginning)
            one.setblocking(False)
            opened.append(one)
        yield opened
