"""One HTTP exchange with MultiMail over a connection of its own: bounded as a whole, in time and in memory.

It knows one thing exactly: whether a byte of the request was written. It follows no redirect, repeats nothing, and uses
no proxy of the environment. It calls only hosts that MultiMail may have, and private addresses only where the operator
named them; the address of the connection is judged, not one looked up before it (fault-matrix, lines 12 to 15).
"""

import io
import socket
import ssl
import threading
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from email.message import Message
from functools import cache
from http.client import HTTPException, HTTPResponse
from ipaddress import ip_address
from typing import Any
from urllib.parse import SplitResult, urlsplit

import certifi

from common.origins import is_public
from upstream import errors, hosts

CONNECT_TIMEOUT = 3.0
SILENCE_TIMEOUT = 10.0
# All of one exchange, look-up of the name included. Far below the lease of a decision (60 s).
TOTAL_TIMEOUT = 20.0
_UNREACHED = "MultiMail could not be reached: the connection was not made."


@dataclass(frozen=True)
class Answer:
    """What came back: the whole of it, or there is none."""

    status: int
    headers: Message
    body: bytes


@dataclass(frozen=True)
class Deadline:
    """When all of it must be over, by a clock that nobody can set."""

    ends: float

    @classmethod
    def after(cls, seconds: float) -> "Deadline":
        """The one that many seconds from now."""
        return cls(time.monotonic() + seconds)

    def left(self) -> float:
        """Return the seconds that are left. Raises TimeoutError when there are none."""
        left = self.ends - time.monotonic()
        if left <= 0:
            raise TimeoutError("the time for all of it is over")
        return left


class _Incoming(io.RawIOBase):
    """The socket as a file whose every read gets only what is left of the time: a drip does not begin it anew."""

    def __init__(self, opened: socket.socket, deadline: Deadline) -> None:
        self._opened, self._deadline = opened, deadline

    def readable(self) -> bool:
        """A file to read from."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Wait for some bytes."""
        self._opened.settimeout(min(SILENCE_TIMEOUT, self._deadline.left()))
        return self._opened.recv_into(buffer)


class _Line:
    """What HTTPResponse needs of a socket."""

    def __init__(self, opened: socket.socket, deadline: Deadline) -> None:
        self._opened, self._deadline = opened, deadline

    def makefile(self, *_: Any) -> io.BufferedReader:
        """Return what comes in."""
        return io.BufferedReader(_Incoming(self._opened, self._deadline))

    def write(self, data: bytes) -> None:
        """Write all of it, however slowly the other side takes it."""
        rest = memoryview(data)
        while rest:
            self._opened.settimeout(min(SILENCE_TIMEOUT, self._deadline.left()))
            rest = rest[self._opened.send(rest) :]


def exchange(
    method: str,
    url: str,
    *,
    headers: dict[str, str],
    body: bytes | None,
    limit: int,
    deadline: Deadline,
    before_write: Callable[[], None] | None = None,
) -> Answer:
    """Send one request and return the answer, whatever its status, if it has at most `limit` bytes.

    Raises NotSent where it is sure that no byte of the request was written, OutcomeUnknown for all that comes later.
    `before_write` is called when the connection is there and nothing was written yet; what it raises ends the exchange.
    """
    try:
        parts = urlsplit(url)
        request = _request(method, parts, headers, body)
        problem, may_be_private = hosts.problem_of(url), hosts.is_named(url)
    except (ValueError, UnicodeError):
        raise errors.NotSent("MultiMail's address is not a valid one.") from None
    if problem:
        raise errors.NotSent(problem)
    with closing(_connect(parts, deadline, may_be_private=may_be_private)) as opened:
        line = _Line(opened, deadline)
        if before_write is not None:
            before_write()
        try:
            line.write(request)
            response = HTTPResponse(line, method=method)  # type: ignore[arg-type]
            response.begin()
            return Answer(response.status, response.headers, _read_bounded(response, limit))
        except TimeoutError:
            raise errors.OutcomeUnknown("MultiMail did not answer in time.") from None
        except (OSError, HTTPException, ValueError):
            raise errors.OutcomeUnknown("The connection to MultiMail broke before its answer was complete.") from None


def _request(method: str, parts: SplitResult, headers: dict[str, str], body: bytes | None) -> bytes:
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username is not None:
        raise ValueError("not an address of a web server")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname.encode("idna").decode()
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    lines = {
        "Host": host if parts.port is None else f"{host}:{parts.port}",
        "Accept": "application/json",
        # What comes packed could unpack to any size.
        "Accept-Encoding": "identity",
        "Connection": "close",
        **headers,
        **({} if body is None else {"Content-Type": "application/json", "Content-Length": str(len(body))}),
    }
    head = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in lines.items())]
    if any(not line.isprintable() for line in head) or " " in target:
        raise ValueError("a line that no request can have")
    return "\r\n".join([*head, "", ""]).encode("ascii") + (body or b"")


def _connect(parts: SplitResult, deadline: Deadline, *, may_be_private: bool) -> socket.socket:
    host = str(parts.hostname)
    try:
        found = _look_up(host, parts.port or (443 if parts.scheme == "https" else 80), deadline)
        if not may_be_private and any(not is_public(str(target[0])) for *_, target in found):
            raise errors.NotSent(f"{host} leads to a private address, and OUTGOING_ALLOW does not name it.")
        opened = _open_one_of(found, deadline)
    except (OSError, UnicodeError):
        raise errors.NotSent(_UNREACHED) from None
    if parts.scheme == "http":
        return opened
    try:
        opened.settimeout(min(SILENCE_TIMEOUT, deadline.left()))
        return _tls().wrap_socket(opened, server_hostname=host)
    except ssl.SSLCertVerificationError as error:
        opened.close()
        raise errors.NotSent(
            f"MultiMail could not be reached: its certificate is bad, {error.verify_message}."
        ) from None
    except (OSError, ValueError):
        opened.close()
        raise errors.NotSent(_UNREACHED) from None


def _look_up(host: str, port: int, deadline: Deadline) -> list[Any]:
    """Return the addresses of a name. Nothing can interrupt the system's resolver, so a thread waits for it alone."""
    try:
        ip_address(host.split("%", 1)[0])
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except ValueError:
        pass
    found: list[Any] = []

    def resolve() -> None:
        try:
            found.extend(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except (OSError, UnicodeError):
            pass

    resolver = threading.Thread(target=resolve, daemon=True, name="look-up")
    resolver.start()
    resolver.join(min(SILENCE_TIMEOUT, deadline.left()))
    return list(found)


def _open_one_of(found: list[Any], deadline: Deadline) -> socket.socket:
    for family, kind, protocol, _, target in found:
        opened = socket.socket(family, kind, protocol)
        try:
            opened.settimeout(min(CONNECT_TIMEOUT, deadline.left()))
            opened.connect(target)
            opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError:
            opened.close()
            continue
        return opened
    raise OSError("no address of it could be reached")


@cache
def _tls() -> ssl.SSLContext:
    # Loading the authorities takes longer than the call: once a process.
    return ssl.create_default_context(cafile=certifi.where())


def _read_bounded(response: HTTPResponse, limit: int) -> bytes:
    read = bytearray()
    while chunk := response.read(min(65536, limit + 1 - len(read))):
        read += chunk
        if len(read) > limit or (response.length or 0) > limit:
            raise errors.TooLarge("MultiMail's answer was larger than any it should give.", status=response.status)
    if response.length:
        raise OSError("the answer ended early")
    return bytes(read)
