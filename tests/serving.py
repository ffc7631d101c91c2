"""Runs a small HTTP server in a thread, for the servers that are not ours and stand
around the product in tests.
"""

import contextlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from django.conf import settings


class Handler(BaseHTTPRequestHandler):
    """A handler that reads and answers whole bodies, and writes no line for each
    request.
    """

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
        # Whoever asked may have gone before the end.
        with contextlib.suppress(OSError):
            self.wfile.write(content)

    def log_message(self, *_):
        """Stay silent."""


@contextlib.contextmanager
def named(origin):
    """Let the desk call this place of this machine, as an operator would who names it
    in OUTGOING_ALLOW.
    """
    allow = settings.OUTGOING_ALLOW
    allow.append(origin)
    try:
        yield
    finally:
        allow.remove(origin)


@contextlib.contextmanager
def standing_in(standin, answer):
    """Serve a stand-in on a free port, which it knows as its `url`: `answer` is what
    its handler does with each request.
    """
    methods = ("GET", "POST", "PUT", "PATCH", "DELETE")
    answers = {f"do_{method}": answer for method in methods}
    with serving(type("Answers", (Handler,), answers)) as standin.url:
        yield standin


@contextlib.contextmanager
def serving(handler, port=0):
    """Serve on this port of the loopback, or a free one, and give the origin, which the
    desk may call.
    """
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
