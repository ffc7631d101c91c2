"""Runs small HTTP servers in threads, for the stand-ins of other services in tests."""

import contextlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from django.conf import settings


class Handler(BaseHTTPRequestHandler):
    """A request handler that reads and answers whole bodies, and logs nothing."""

    def body(self):
        """Read the body of the request."""
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def reply(self, status, content=b"", **headers):
        """Answer with bytes as they are, or anything else as JSON."""
        if not isinstance(content, bytes):
            content = json.dumps(content).encode()
            headers = {"Content-Type": "application/json", **headers}
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        # The client may have closed the connection already.
        with contextlib.suppress(OSError):
            self.wfile.write(content)

    def log_message(self, *_):
        """Stay silent."""


@contextlib.contextmanager
def named(origin):
    """Let the desk call this address of this machine: add it to OUTGOING_ALLOW, as an
    operator would.
    """
    allow = settings.OUTGOING_ALLOW
    allow.append(origin)
    try:
        yield
    finally:
        allow.remove(origin)


@contextlib.contextmanager
def standing_in(standin, answer):
    """Serve a stand-in on a free port and set its `url`. `answer` is called with the
    handler for each request.
    """
    methods = ("GET", "POST", "PUT", "PATCH", "DELETE")
    answers = {f"do_{method}": answer for method in methods}
    with serving(type("Answers", (Handler,), answers)) as standin.url:
        yield standin


@contextlib.contextmanager
def serving(handler, port=0):
    """Serve on this port or a free one; yield the origin. The desk may call it."""
    server = ThreadingHTTPServer(("127.0.0.1", port), handler)
    thread = threading.Thread(
        target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
    )
    thread.start()
    try:
        with named(f"http://127.0.0.1:{server.server_port}"):
            yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)
