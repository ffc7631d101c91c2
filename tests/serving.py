"""Runs a small HTTP server in a thread, for the servers that are not ours and stand around the product in tests."""

import contextlib
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from django.conf import settings


class Handler(BaseHTTPRequestHandler):
    """A handler that writes no line for each request."""

    def log_message(self, *_: Any) -> None:
        """Stay silent."""

    def body(self) -> bytes:
        """Return the body of the request."""
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def answer(self, status: int, body: bytes = b"", headers: Mapping[str, str] | None = None) -> None:
        """Answer with these headers, and with the length of the body."""
        self.send_response(status)
        for name, value in {**(headers or {}), "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        # Whoever asked may have gone before the end.
        with contextlib.suppress(OSError):
            self.wfile.write(body)


@contextlib.contextmanager
def named(origin: str) -> Iterator[None]:
    """Let the desk call this place of this machine, as an operator would who names it in OUTGOING_ALLOW."""
    allow = settings.OUTGOING_ALLOW
    allow.append(origin)
    try:
        yield
    finally:
        allow.remove(origin)


@contextlib.contextmanager
def serving(handler: type[Handler], port: int = 0) -> Iterator[str]:
    """Serve on this port of the loopback, or a free one, and give the origin, which the desk may call."""
    server = ThreadingHTTPServer(("127.0.0.1", port), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        with named(f"http://127.0.0.1:{server.server_port}"):
            yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)
