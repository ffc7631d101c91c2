"""Opens connections of clients that are slow on purpose: in sending headers or a body,
or in reading the answer. Tests check that the servers stay usable.
"""

import contextlib
import socket

# The Content-Length of a body that never comes. Every address allows this size.
_DECLARED = 10_000
# How many unread large answers fill the socket buffers of both sides.
_UNREAD = 2


def slow_headers():
    """Return the beginning of a request whose headers do not end."""
    return b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: "


def slow_body(path, **headers):
    """Return the headers of a request whose body is still to come."""
    named = "".join(
        f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items()
    )
    return f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {_DECLARED}\r\n{named}\r\n".encode()


def slow_reader(path):
    """Return several requests, whose answers the client will not read."""
    return f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode() * _UNREAD


@contextlib.contextmanager
def slow_connections(port, beginnings):
    """Open a connection for each beginning, and send that, without reading."""
    with contextlib.ExitStack() as stack:
        opened = []
        for beginning in beginnings:
            connection = stack.enter_context(socket.socket())
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.settimeout(30)
            connection.connect(("127.0.0.1", port))
            connection.sendall(beginning)
            connection.setblocking(False)
            opened.append(connection)
        yield opened
