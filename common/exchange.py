"""Makes one HTTP request with a time limit for the whole of it. After a failure, the
caller knows whether any byte of the request was written.

The library requests makes it over a connection of its own: no redirects, no retries, no
proxy from the environment. A name is looked up once, and its addresses are checked and
then used; a second look-up could give others (DNS rebinding).
"""

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from functools import cache
from http.client import HTTPException, HTTPResponse
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

import certifi
import requests
from requests.adapters import HTTPAdapter
from requests.structures import CaseInsensitiveDict
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
    """The time was over. `by_silence`: no data moved for too long, although there was
    time left.
    """

    def __init__(self, *, by_silence: bool) -> None:
        super().__init__("silence" if by_silence else "deadline")
        self.by_silence = by_silence


class Interrupted(Exception):
    """The exchange failed after its request was begun: the connection broke, or the
    answer is not HTTP.
    """


@dataclass(frozen=True)
class Deadline:
    """When an exchange, or several together, must be over, by the monotonic clock."""

    ends: float

    @classmethod
    def after(cls, seconds: float) -> "Deadline":
        """Return the deadline that is so many seconds from now."""
        return cls(time.monotonic() + seconds)

    def left(self) -> float:
        """Return the seconds that are left. Raises TimeoutError when there are none."""
        left = self.ends - time.monotonic()
        if left <= 0:
            raise TimeoutError("the deadline is over")
        return left


@dataclass(kw_only=True)
class Limits:
    """The limits of one exchange; times are in seconds. `before_write` is called when
    the connection is made and nothing has been written. The exchange sets
    `has_written`.
    """

    deadline: Deadline
    connect_timeout: float
    silence_timeout: float
    may_be_private: bool = False
    before_write: Callable[[], None] | None = None
    has_written: bool = False


@dataclass(frozen=True)
class Answer:
    """What came back: status, headers, and as much of the body as was asked for."""

    status: int
    headers: CaseInsensitiveDict[str]
    body: bytes


@contextmanager
def exchange(
    method: str,
    url: str,
    *,
    headers: dict[str, str],
    body: bytes | None,
    limits: Limits,
) -> Iterator[requests.Response]:
    """Send one request and yield the answer, whatever its status. Its body has not been
    read yet: use `read_raw`.

    Raises NotConnected if it is certain that no byte of the request was written, and
    TimedOut or Interrupted for every later failure. An exception of
    `limits.before_write` ends the exchange before anything is written.
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
    """Return at most `size` more bytes of the body; no bytes mean that it has ended."""
    return bytes(response.raw.read(size, decode_content=False))


def seconds_asked(retry_after: object) -> float:
    """Return how many seconds an answer asks to wait, by a number or a date: at least
    one, at most an hour, and half a minute if it has neither.
    """
    text = str(retry_after)
    seconds = 30.0
    if text.replace(".", "", 1).isdecimal():
        seconds = float(text)
    else:
        with suppress(ValueError):
            seconds = parsedate_to_datetime(text).timestamp() - time.time()
    return min(max(seconds, 1.0), 3600.0)


class _Adapter(HTTPAdapter):
    """Gives the library requests one connection to one address, and sends the path as
    it was written: requests would resolve `..` in it.
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
                parts.hostname, parts.port, limits=limits, ssl_context=tls_context()
            )
        else:
            self._pool = _Pool(parts.hostname, parts.port, limits=limits)

    def get_connection_with_tls_context(self, *_: Any, **__: Any) -> HTTPConnectionPool:
        return self._pool

    def cert_verify(self, *_: Any) -> None:
        """Do nothing: the TLS context verifies certificates. Here the authorities would
        be loaded for each call, which takes longer than the call.
        """

    def request_url(self, *_: Any) -> str:
        return self._target

    def close(self) -> None:
        self._pool.close()
        super().close()


class _Response(HTTPResponse):
    # What comes before the answer, such as 103 Early Hints, is skipped like a 100, the
    # only one that the library skips.
    def _read_status(self) -> tuple[str, int, str]:
        version, status, reason = super()._read_status()  # type: ignore[misc]
        return version, 100 if status in (102, 103) else status, reason


class _Connection(HTTPConnection):
    """Connects only to addresses that are allowed, and writes the request in one piece."""

    response_class = _Response

    def __init__(self, *args: Any, limits: Limits, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._limits = limits
        self._request = b""

    # Returns a socket to the first address that accepts a connection.
    def _new_conn(self) -> socket.socket:
        limits = self._limits
        addresses = _look_up(self.host, self.port or self.default_port, limits)
        if not limits.may_be_private and not all(
            is_public(str(target[0])) for *_, target in addresses
        ):
            raise PrivateAddress(self.host)
        for family, kind, protocol, _, target in addresses:
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

    # A failure here is NotConnected: nothing has been written yet.
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
        # Only collected: getresponse writes all of it, after `before_write`.
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
    """Gives each read and write only the time that is left in all, so a server that
    sends a byte now and then cannot make the exchange last longer.
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

    # Limits one call of the socket to the time that is left.
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
def tls_context() -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=certifi.where())
    context.sslsocket_class = _BoundedTLSSocket
    return context


def _look_up(host: str, port: int, limits: Limits) -> list[Any]:
    """Return the addresses of a name as getaddrinfo gives them; none if the look-up
    fails or takes too long. The system's resolver cannot be interrupted, so it runs in
    a thread that is left behind after the time limit.
    """
    addresses: list[Any] = []

    def resolve() -> None:
        with suppress(OSError, UnicodeError):
            addresses.extend(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))

    try:
        # An IP address needs no resolver. For a name, this raises ValueError.
        ip_address(host.split("%", 1)[0])
        resolve()
    except ValueError:
        resolver = threading.Thread(target=resolve, daemon=True, name="look-up")
        resolver.start()
        resolver.join(min(limits.silence_timeout, limits.deadline.left()))
    return list(addresses)
