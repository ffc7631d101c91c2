"""An HTTP proxy before the gateway or the desk, which records requests and injects
faults: it can answer itself, cut, hold or delay.

A fault is a function of one `Exchange` (tests/faults/wire.py). It applies to requests
of one kind, usually about one message, so that the rest of the product goes on.
"""

import contextlib
import json
import socket
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from urllib.parse import parse_qs, urlsplit

from tests.stack import wait_for

DECIDE = "decide"
READ = "read"
LIST = "list"
WEBHOOK = "webhook"
OTHER = "other"
# Socket option: close with a reset.
_RST = struct.pack("ii", 1, 0)
# Seconds.
PATIENCE = 120


@dataclass(frozen=True)
class Request:
    """One received request. READ fetches one message, LIST all held ones."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def kind(self):
        parts = urlsplit(self.path)
        if parts.path == "/v1/oversight/decide":
            return DECIDE
        if parts.path == "/v1/oversight/pending":
            return READ if "email_id" in parse_qs(parts.query) else LIST
        return WEBHOOK if parts.path.startswith("/webhooks/") else OTHER

    @property
    def json(self):
        try:
            body = json.loads(self.body)
        except ValueError:
            return {}
        return body if isinstance(body, dict) else {}

    @property
    def email_id(self):
        asked = parse_qs(urlsplit(self.path).query).get("email_id", [""])[0]
        return asked or str(self.json.get("email_id") or "")


@dataclass(frozen=True)
class Answer:
    """An HTTP answer."""

    status: int
    body: bytes = b"{}"
    headers: dict[str, str] = field(
        default_factory=lambda: {"Content-Type": "application/json"}
    )

    def head(self, length):
        lines = [
            f"HTTP/1.1 {self.status} Said by the proxy",
            f"Content-Length: {length}",
        ]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        return "\r\n".join([*lines, "", ""]).encode("latin-1")


@dataclass
class Seen:
    """One request in the record, whether it went on to the server, and the status of
    the server's answer.
    """

    request: Request
    has_reached: bool = False
    status: int | None = None


Fault = Callable[["Exchange"], None]


class Exchange:
    """One request and its connection, with what a fault can do to them."""

    def __init__(self, proxy, connection, seen):
        self.request = seen.request
        self.seen = seen
        self.is_open = True
        self._proxy = proxy
        self._connection = connection

    def forward(self):
        """Send the request on to the server, and return its answer."""
        self.seen.has_reached = True
        answer = self._proxy.ask_gateway(self.request)
        self.seen.status = answer.status
        return answer

    def reply(self, answer):
        self.write(answer.head(len(answer.body)) + answer.body)

    def write(self, raw):
        """Send bytes to the client. Return whether the connection is still open."""
        try:
            self._connection.sendall(raw)
        except OSError:
            self.is_open = False
        return self.is_open

    def reset(self):
        """Cut the connection so that the client notices at once."""
        reset(self._connection)
        self.is_open = False


def reset(connection):
    """Close a connection with a reset, even while another thread reads from it."""
    with contextlib.suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RST)
        connection.close()


def pass_on(exchange):
    exchange.reply(exchange.forward())


@dataclass
class Rule:
    """A fault for the next `left` requests of one kind and one message; empty stands
    for any. `met` are the requests that had it.
    """

    fault: Fault
    kind: str
    email_id: str
    left: int
    met: list[Seen] = field(default_factory=list)

    def takes(self, request):
        return (
            self.left > 0
            and self.kind in ("", request.kind)
            and self.email_id in ("", request.email_id)
        )

    def wait(self, times=1, timeout=PATIENCE):
        wait_for(
            lambda: len(self.met) >= times,
            timeout,
            f"{times} requests of kind {self.kind!r}",
        )


class Proxy:
    """A proxy on one loopback port. `seen` is its record, oldest first."""

    def __init__(self, port=0):
        self.seen = []
        self.gateway = ""
        self._rules = []
        self._lock = threading.Lock()
        self._open = set()
        self._bound = self._bind(port)
        self.port = self._bound.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"

    def serve(self, gateway):
        """Accept connections, and send requests on to the server at this origin."""
        self.gateway = gateway
        self._bound.listen(128)
        threading.Thread(target=self._accept, args=[self._bound], daemon=True).start()

    def close(self):
        self._unlisten()

    @contextlib.contextmanager
    def fault(self, fault, kind=DECIDE, email_id="", times=1_000_000):
        """Apply a fault to requests while the block runs. Newer rules come first."""
        rule = Rule(fault, kind, email_id, times)
        with self._lock:
            self._rules.insert(0, rule)
        try:
            yield rule
        finally:
            rule.left = 0

    def requests(self, kind, email_id=""):
        """The recorded requests of this kind and message, oldest first."""
        return [
            seen
            for seen in list(self.seen)
            if seen.request.kind == kind and email_id in ("", seen.request.email_id)
        ]

    def reached(self, kind, email_id=""):
        """Those of `requests` that went on to the server."""
        return [seen for seen in self.requests(kind, email_id) if seen.has_reached]

    def ask_gateway(self, request):
        address = urlsplit(self.gateway)
        upstream = HTTPConnection(str(address.hostname), address.port, timeout=PATIENCE)
        try:
            headers = {
                name: text
                for name, text in request.headers.items()
                if name != "connection"
            }
            upstream.request(
                request.method, request.path, request.body or None, headers
            )
            response = upstream.getresponse()
            passed_on = ("content-type", "retry-after", "x-countersign-gateway")
            answer_headers = {
                name: value
                for name, value in response.getheaders()
                if name.lower() in passed_on
            }
            return Answer(response.status, response.read(), answer_headers)
        except (OSError, HTTPException):
            return Answer(502, b'{"error": "The proxy could not reach the gateway."}')
        finally:
            upstream.close()

    def _bind(self, port):
        bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(("127.0.0.1", port))
        return bound

    def _unlisten(self):
        with contextlib.suppress(OSError):
            self._bound.shutdown(socket.SHUT_RDWR)
        self._bound.close()
        for connection in list(self._open):
            reset(connection)

    def _accept(self, listener):
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                threading.Thread(
                    target=self._serve_one, args=[connection], daemon=True
                ).start()

    def _serve_one(self, connection):
        self._open.add(connection)
        try:
            with contextlib.suppress(OSError), connection.makefile("rb") as stream:
                while request := _read_request(stream):
                    if not self._meet(connection, request):
                        return
        finally:
            self._open.discard(connection)
            connection.close()

    def _meet(self, connection, request):
        """Record one request, and pass it on or apply a fault. Return whether the
        connection can be used again.
        """
        seen = Seen(request)
        exchange = Exchange(self, connection, seen)
        with self._lock:
            self.seen.append(seen)
            rule = next((rule for rule in self._rules if rule.takes(request)), None)
            if rule:
                rule.left -= 1
                rule.met.append(seen)
        (rule.fault if rule else pass_on)(exchange)
        return (
            exchange.is_open
            and request.headers.get("connection", "").lower() != "close"
        )


def _read_request(stream):
    """Return the next request; None at the end of the connection."""
    first_line = stream.readline().decode("latin-1").split()
    if len(first_line) != 3:
        return None
    headers = {}
    while text := stream.readline().decode("latin-1").strip():
        name, _, value = text.partition(":")
        headers[name.lower()] = value.strip()
    length = int(headers.get("content-length", 0))
    return Request(
        first_line[0], first_line[1], headers, stream.read(length) if length else b""
    )
