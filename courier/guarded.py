"""A session for addresses that people typed in: it refuses private targets at connect time, and bounds time and size.

Checking the address of the open connection, not of a look-up made before it, is what defeats DNS rebinding
(docs/proofs.md, security 12 to 15).
"""

import socket
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import requests
from django.conf import settings
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import HTTPError, NewConnectionError

from common.origins import is_public, origin_of

MAX_ANSWER = 64 * 1024
CONNECT_TIMEOUT = 5
READ_TIMEOUT = 10
# Everything together, however slowly the other side lets its answer drip. Looking up the name comes on top: nothing
# can interrupt the system's resolver.
TOTAL_TIMEOUT = 20.0


class DeliveryError(Exception):
    """The request got no usable answer. `refused` is True where trying again cannot help."""

    def __init__(self, sentence: str, *, refused: bool = False) -> None:
        super().__init__(sentence)
        self.refused = refused


@dataclass(frozen=True)
class Answer:
    """What came back: status, headers and at most MAX_ANSWER bytes of body."""

    status: int
    headers: requests.structures.CaseInsensitiveDict[str]
    body: bytes


@dataclass
class _Attempt:
    """One request: whether its target may be private, and when all of it must be over."""

    allowed: bool
    deadline: float
    late: bool = False
    handles: list[socket.socket] = field(default_factory=list)

    def left(self) -> float:
        """Return the seconds that are left, and a little more than none."""
        return max(self.deadline - time.monotonic(), 0.01)

    def watch(self, opened: socket.socket) -> None:
        # A second handle, because TLS takes the first one over.
        self.handles.append(opened.dup())

    def cut(self) -> None:
        """End what is still being waited for; called from another thread."""
        self.late = True
        for handle in self.handles:
            with suppress(OSError):
                handle.shutdown(socket.SHUT_RDWR)


_current = threading.local()


@contextmanager
def _attempt(*, allowed: bool, limit: float) -> Iterator[_Attempt]:
    """Run one request that is cut off after `limit` seconds: time limits of a socket begin anew with each byte."""
    attempt = _current.attempt = _Attempt(allowed, time.monotonic() + limit)
    timer = threading.Timer(limit, attempt.cut)
    timer.daemon = True
    timer.start()
    try:
        yield attempt
    finally:
        timer.cancel()
        _current.attempt = None
        for handle in attempt.handles:
            handle.close()


class _CheckedConnection(HTTPConnection):
    def _new_conn(self) -> socket.socket:
        return _connect_checked(self, _current.attempt)


class _CheckedTLSConnection(HTTPSConnection):
    def _new_conn(self) -> socket.socket:
        return _connect_checked(self, _current.attempt)


def _connect_checked(connection: HTTPConnection, attempt: _Attempt) -> socket.socket:
    problem: Exception = OSError("the name has no address")
    try:
        found = socket.getaddrinfo(connection.host, connection.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise NewConnectionError(connection, f"cannot look up {connection.host}: {error}") from error
    for family, kind, protocol, _, target in found:
        if not attempt.allowed and not is_public(str(target[0])):
            raise DeliveryError(
                f"{connection.host} is a private address, and OUTGOING_ALLOW does not name it.", refused=True
            )
        opened = socket.socket(family, kind, protocol)
        opened.settimeout(min(CONNECT_TIMEOUT, attempt.left()))
        try:
            opened.connect(target)
        except OSError as error:
            opened.close()
            problem = error
            continue
        attempt.watch(opened)
        return opened
    raise NewConnectionError(connection, f"cannot connect: {problem}")


class _CheckedPool(HTTPConnectionPool):
    ConnectionCls = _CheckedConnection


class _CheckedTLSPool(HTTPSConnectionPool):
    ConnectionCls = _CheckedTLSConnection


class _CheckedAdapter(HTTPAdapter):
    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {"http": _CheckedPool, "https": _CheckedTLSPool}


def request(
    method: str,
    url: str,
    *,
    body: bytes,
    headers: dict[str, str],
    allow: Iterable[str] | None = None,
    limit: float = TOTAL_TIMEOUT,
) -> Answer:
    """Send one request and return the answer, whatever its status; redirects are answers, not followed.

    `allow` are exact origins that may be private or plain http (default: OUTGOING_ALLOW). Raises DeliveryError, at the
    latest after `limit` seconds.
    """
    allowed = origin_of(url) in {origin_of(one) for one in (settings.OUTGOING_ALLOW if allow is None else allow)}
    if not url.startswith("https://") and not allowed:
        raise DeliveryError("Only https addresses are used, but for the origins in OUTGOING_ALLOW.", refused=True)
    with _attempt(allowed=allowed, limit=limit) as attempt, requests.Session() as session:
        session.trust_env = False
        for scheme in ("https://", "http://"):
            session.mount(scheme, _CheckedAdapter())
        try:
            with session.request(
                method,
                url,
                data=body,
                headers=headers,
                timeout=(CONNECT_TIMEOUT, min(READ_TIMEOUT, limit)),
                allow_redirects=False,
                stream=True,
            ) as response:
                if attempt.late:
                    raise DeliveryError(f"No answer within {limit:g} seconds.")
                return Answer(response.status_code, response.headers, _read_bounded(response, attempt))
        except (requests.RequestException, HTTPError, OSError) as error:
            if attempt.late:
                raise DeliveryError(f"No answer within {limit:g} seconds.") from error
            raise DeliveryError(f"No answer: {type(error).__name__}.") from error


def _read_bounded(response: requests.Response, attempt: _Attempt) -> bytes:
    """Read at most MAX_ANSWER bytes; of an answer that is late, what came: its status is known."""
    read = bytearray()
    try:
        for chunk in response.iter_content(8192):
            read += chunk
            if len(read) > MAX_ANSWER:
                break
    except (requests.RequestException, HTTPError, OSError):
        if not attempt.late:
            raise
    return bytes(read[:MAX_ANSWER])
