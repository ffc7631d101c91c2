"""A small load generator for HTTP: sends whole requests, as bytes, over a few
connections that are kept open, in one thread.
"""

import selectors
import socket
import time
from collections.abc import Callable
from contextlib import ExitStack

Request = Callable[[], bytes]


def requests_a_second(
    port: int, *, clients: int, seconds: float, request: Request, expect: bytes
) -> float:
    """Keep `clients` requests under way for `seconds`, and return how many a second
    were answered with `expect`.
    """
    answered = 0
    with ExitStack() as stack:
        selector = stack.enter_context(selectors.DefaultSelector())
        for _ in range(clients):
            connection = stack.enter_context(
                socket.create_connection(("127.0.0.1", port), timeout=30)
            )
            selector.register(connection, selectors.EVENT_READ)
            connection.sendall(request())
        began = time.perf_counter()
        while (now := time.perf_counter()) - began < seconds:
            for key, _ in selector.select(timeout=1):
                connection = key.fileobj  # type: ignore[assignment]
                check(read_answer(connection), expect)
                answered += 1
                connection.sendall(request())
        elapsed = now - began
        for key in selector.get_map().values():
            check(read_answer(key.fileobj), expect)  # type: ignore[arg-type]
    return answered / elapsed


def read_answer(connection: socket.socket) -> bytes:
    """Return one whole answer: its head, and the body by its Content-Length."""
    received = b""
    while b"\r\n\r\n" not in received:
        received += more(connection)
    head, _, body = received.partition(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
    while len(body) < length:
        body += more(connection)
    return head + b"\r\n\r\n" + body


def more(connection: socket.socket) -> bytes:
    """Return the next bytes. Raises RuntimeError if the server has hung up."""
    data = connection.recv(262_144)
    if not data:
        raise RuntimeError("the server hung up")
    return data


def check(answer: bytes, expect: bytes) -> None:
    """Raise RuntimeError if the status of an answer does not begin with `expect`."""
    if not answer.startswith(b"HTTP/1.1 " + expect):
        raise RuntimeError(f"the answer was {answer[:400]!r}")
