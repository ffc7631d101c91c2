"""One HTTP exchange, bounded as a whole in time, that knows whether a byte of its
request was written.

requests carries it over a connection of its own: no redirect, no retry, no proxy of the
environment. The address of the connection itself is judged, not one looked up before
it, which is what defeats DNS rebinding.
"""

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from http.client import HTTPException
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

import certifi
import requests
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError

from common.origins import is_public

_HEADERS = {
    "User-Agent": requests.utils.default_user_agent(),
    "Accept": "*/*",
    # A compressed answer could unpack to any size.
    "Accept-Encoding": "identity",
    "Connection": "close",
}


class NotConnected(Exception):
    """No byte of the request was written, so trying again is harmless."""


class PrivateAddress(NotConnected):
    """The name resolves to an address that is not public."""


class TimedOut(Exception):
    """The time was over; `by_silence`: nothing was received for too long, although
    there was time left.
    """

    def __init__(self, *, by_silence: bool) -> None:
        super().__init__("silence" if by_silence else "deadline")
        self.by_silence = by_silence


class Interrupted(Exception):
    """The connection broke after it was made, or what came is not HTTP."""


@dataclass(frozen=True)
class Deadline:
    """When all of it must be over, by the monotonic clock."""

    ends: float

    @classmethod
    def after(cls, seconds: float) -> "Deadline":
        """The one that many seconds from now."""
        return cls(time.monotonic() + seconds)

    def left(self) -> float:
        """Return the seconds that are left. Raises TimeoutError when there are none."""
        left = self.ends - time.monotonic()
        if left <= 0:
            raise TimeoutError("the deadline is over")
        return left


@dataclass(kw_only=True)
class Limits:
    """What bounds one exchange. `before_write` runs when the connection is there and
    nothing was written yet.
    """

    deadline: Deadline
    connect_timeout: float
    silence_timeout: float
    may_be_private: bool = False
    before_write: Callable[[], None] | None = None
    has_written: bool = False


@contextmanager
def exchange(
    method: str,
    url: str,
    *,
    headers: dict[str, str],
    body: bytes | None,
    limits: Limits,
) -> Iterator[requests.Response]:
    """Send one request and yield the answer, whatever its status, with its body still
    to be read (`read_raw`).

    Raises NotConnected where it is sure that no byte of the request was written,
    TimedOut or Interrupted for all that comes later. What `limits.before_write` raises
    ends the exchange before anything is written.
    """
    try:
        request = requests.Request(
            method, url, headers=_HEADERS | headers, data=body
        ).prepare()
        adapter = _Adapter(request.url or "", url, limits)
    except (ValueError, HTTPError):
        raise NotConnected("the address is not a valid one") from None
    with closing(adapter):
        try:
            with closing(adapter.send(request, stream=True)) as response:
                yield response
        except (
            requests.RequestException,
            HTTPError,
            HTTPException,
            OSError,
            ValueError,
        ) as error:
            raise (Interrupted if limits.has_written else NotConnected)(
                type(error).__name__
            ) from error


def read_raw(response: requests.Response, size: int) -> bytes:
    """Return at most `size` more bytes of the body, none at its end."""
    return bytes(response.raw.read(size, decode_content=False))


class _Adapter(HTTPAdapter):
    """Gives requests one connection to one address, and leaves `..` in the path as it
    was written.
    """

    def __init__(self, prepared: str, written: str, limits: Limits) -> None:
        super().__init__()
        parts = urlsplit(prepared)
        target = urlsplit(written)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("not the address of a web server")
        self._target = (target.path or "/") + (
            f"?{target.query}" if target.query else ""
        )
        if parts.scheme == "https":
            self._pool: HTTPConnectionPool = _TLSPool(
                parts.hostname, parts.port, limits=limits, ssl_context=_tls_context()
            )
        else:
            self._pool = _Pool(parts.hostname, parts.port, limits=limits)

    def get_connection_with_tls_context(self, *_: Any, **__: Any) -> HTTPConnectionPool:
        return self._pool

    def cert_verify(self, *_: Any) -> None:
        """The context verifies; loading the authorities for each call would take longer
        than the call.
        """

    def request_url(self, *_: Any) -> str:
        return self._target

    def close(self) -> None:
        self._pool.close()
        super().close()


class _Connection(HTTPConnection):
    """Connects where it may, and writes the request in one piece."""

    def __init__(self, *args: Any, limits: Limits, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._limits = limits
        self._request = b""

    def _new_conn(self) -> socket.socket:
        limits = self._limits
        port = self.port or self.default_port
        found = _look_up(self.host, port, limits)
        if not limits.may_be_private and not all(
            is_public(str(target[0])) for *_, target in found
        ):
            raise PrivateAddress(self.host)
        for family, kind, protocol, _, target in found:
            opened = _BoundedSocket(family, kind, protocol)
            try:
                opened.settimeout(min(limits.connect_timeout, limits.deadline.left()))
                opened.connect(target)
                opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                opened.settimeout(min(limits.silence_timeout, limits.deadline.left()))
            except OSError:
                opened.close()
                continue
            return opened
        raise OSError("no address of it could be reached")

    def connect(self) -> None:
        try:
            super().connect()
        except ssl.SSLCertVerificationError as error:
            raise NotConnected(
                f"its certificate is bad, {error.verify_message}"
            ) from None
        except (OSError, ValueError, HTTPError) as error:
            raise NotConnected("the connection was not made") from error
        self.sock.limits = self._limits  # type: ignore[union-attr]

    def send(self, data: Any) -> None:
        self._request += data

    def getresponse(self) -> Any:
        if self.sock is None:
            self.connect()
        if self._limits.before_write is not None:
            self._limits.before_write()
        self._limits.has_written = True
        self.sock.sendall(self._request)
        return super().getresponse()


class _TLSConnection(_Connection, HTTPSConnection):
    pass


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _TLSPool(HTTPSConnectionPool):
    ConnectionCls = _TLSConnection


class _BoundedSocket(socket.socket):
    """Each read and write gets only what is left of the time: a drip does not start the
    time again.
    """

    limits: Limits | None = None

    def recv_into(self, *args: Any) -> int:
        with self._bounded():
            return super().recv_into(*args)

    def send(self, *args: Any) -> int:
        with self._bounded():
            return super().send(*args)

    def sendall(self, data: Any, flags: int = 0) -> None:
        rest = memoryview(data)
        while rest:
            rest = rest[self.send(rest) :]

    @contextmanager
    def _bounded(self) -> Iterator[None]:
        is_silence_first = False
        try:
            if self.limits is not None:
                left = self.limits.deadline.left()
                is_silence_first = self.limits.silence_timeout < left
                self.settimeout(min(self.limits.silence_timeout, left))
            yield
        except TimeoutError:
            raise TimedOut(by_silence=is_silence_first) from None


class _BoundedTLSSocket(_BoundedSocket, ssl.SSLSocket):
    pass


@cache
def _tls_context() -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=certifi.where())
    context.sslsocket_class = _BoundedTLSSocket
    return context


def _look_up(host: str, port: int, limits: Limits) -> list[Any]:
    """Return the addresses of a name. Nothing can interrupt the system's resolver, so a
    thread waits for it alone.
    """
    found: list[Any] = []

    def resolve() -> None:
        with suppress(OSError, UnicodeError):
            found.extend(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))

    try:
        ip_address(host.split("%", 1)[0])
        resolve()
    except ValueError:
        resolver = threading.Thread(target=resolve, daemon=True, name="look-up")
        resolver.start()
        resolver.join(min(limits.silence_timeout, limits.deadline.left()))
    return list(found)
