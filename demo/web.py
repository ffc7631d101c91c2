"""A small HTTP server for the demo, with one thread for each connection. It passes each
request to one function, `site`, and sends what that returns.

It knows no URLs. It also has the functions that render templates and read static files
from `assets/`.
"""

import json
import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

from django.template import Context, Engine

log = logging.getLogger("demo.web")

# In bytes.
MAX_BODY = 10_000_000
# The headers of every answer. A page may load only this server's own files, so that
# HTML injected by a card or a mail has no effect.
EVERY_ANSWER = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


@dataclass(frozen=True)
class Request:
    """The parts of a request that the demo uses. The names of headers are in lower
    case.
    """

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes

    @property
    def is_json(self) -> bool:
        """Whether the Content-Type is JSON. A form on another site can post text/plain
        here, but for JSON the browser would ask this server first.
        """
        kind = self.headers.get("content-type", "").partition(";")[0]
        return kind.strip().lower() == "application/json"


@dataclass
class Answer:
    """A response."""

    status: int = 200
    body: bytes = b""
    content_type: str = "text/html; charset=utf-8"
    headers: dict[str, str] = field(default_factory=dict)


def html_answer(page: str, status: int = 200) -> Answer:
    """Return an answer with an HTML page."""
    return Answer(status, page.encode("utf-8", "replace"))


def json_answer(value: object, status: int = 200) -> Answer:
    """Return an answer with `value` as JSON."""
    return Answer(status, json.dumps(value, indent=1).encode(), "application/json")


class Server(ThreadingHTTPServer):
    """A web server on the loopback address. `site` answers its requests."""

    request_queue_size = 64

    def __init__(
        self,
        port: int,
        site: Callable[[Request], Answer],
        allowed_hosts: frozenset[str],
    ) -> None:
        """Bind the port now, so that a port in use is an error before anything else
        starts.
        """
        self.site = site
        self.allowed_hosts = allowed_hosts
        super().__init__(("127.0.0.1", port), _Handler)


class _Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"
    # A connection is closed after so many seconds without a request.
    timeout = 60
    # Headers and body are sent in one piece: the second of two small writes could be
    # delayed by 40 ms.
    wbufsize = -1
    disable_nagle_algorithm = True

    def version_string(self) -> str:
        return "countersign-demo"

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing, because URLs of webhooks are secrets. The stand-ins keep their
        own records.
        """

    def answer(self) -> None:
        host = urlsplit(f"//{self.headers.get('Host', '')}").hostname or ""
        length = self.headers.get("Content-Length") or "0"
        # Another site could let its own host name point to this server (DNS rebinding).
        # Its pages must not read the mail that is shown here.
        if not {"*", host.lower()} & self.server.allowed_hosts:
            words = "This name is not served here; see ALLOWED_HOSTS."
            self._refuse(HTTPStatus.BAD_REQUEST, words)
        elif (
            "Transfer-Encoding" in self.headers
            or not re.fullmatch("[0-9]{1,8}", length)
            or int(length) > MAX_BODY
        ):
            words = "Send a Content-Length, of at most ten million bytes."
            self._refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, words)
        else:
            parts = urlsplit(self.path)
            request = Request(
                method=self.command,
                path=unquote(parts.path, errors="replace"),
                query=dict(parse_qsl(parts.query, keep_blank_values=True)),
                headers={name.lower(): value for name, value in self.headers.items()},
                body=self.rfile.read(int(length)),
            )
            try:
                answer = self.server.site(request)
            except Exception:  # one bad request must not stop the server
                log.exception("request failed", extra={"method": request.method})
                error = {"message": "500: Internal Server Error", "code": 0}
                answer = json_answer(error, 500)
            self._send(answer)

    do_GET = do_HEAD = do_POST = do_PATCH = do_PUT = do_DELETE = answer  # noqa: N815

    def _refuse(self, status: int, words: str) -> None:
        self.close_connection = True
        self._send(html_answer(f"<p>{words}", status))

    def _send(self, answer: Answer) -> None:
        self.send_response(answer.status)
        for name, value in {**EVERY_ANSWER, **answer.headers}.items():
            self.send_header(name, value)
        if answer.status != HTTPStatus.NO_CONTENT:
            self.send_header("Content-Type", answer.content_type)
            self.send_header("Content-Length", str(len(answer.body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD" and answer.status != HTTPStatus.NO_CONTENT:
            self.wfile.write(answer.body)


_ASSETS = Path(__file__).parent / "assets"
_TYPES = {
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}


def fill(template: str, **values: object) -> str:
    """Return a template of `assets/` with these values, which it escapes."""
    # Without them the template would ask Django's settings, which the demo has not.
    context = Context(values, use_l10n=False, use_tz=False)
    return _templates().get_template(template).render(context)


@cache
def _templates() -> Engine:
    """Return Django's templates, with the filters of those modules that use them."""
    libraries = {"discord": "demo.discord.markdown", "inbox": "demo.inbox"}
    return Engine([str(_ASSETS)], libraries=libraries)


def asset(name: str, kind: str) -> Answer | None:
    """Return a static file of `assets/`; None if there is none of that name."""
    path = _ASSETS / f"{name}.{kind}"
    return Answer(200, path.read_bytes(), _TYPES[kind]) if path.is_file() else None
