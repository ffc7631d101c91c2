"""Runs a WSGI application in a few threads, behind an event loop that waits for slow
clients.

A thread gets a request when its body is complete, and is free again when the response
is complete. So neither a client that sends slowly nor one that reads slowly holds a
thread. A body that comes too slowly is answered 408. `usage.py` limits how much one
client may have in progress.
"""

import asyncio
import json
import logging
import sys
import time
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from tempfile import SpooledTemporaryFile
from threading import Lock
from types import ModuleType
from typing import Any

from django.conf import settings

from common.threads import LastUsedExecutor
from dashboard.serving.usage import THREADS, CountedRequest, Environ, Refused, Usages

log = logging.getLogger(__name__)

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Application = Callable[[Environ, Callable[..., Any]], Iterable[bytes]]

# All in bytes. Larger requests and responses are buffered on disk.
IN_MEMORY = 256 * 1024
# For a larger body, the rules say how much is accepted from its sender.
SMALL_BODY = 64 * 1024
# How long a client waits for the answer that it has too many requests.
REFUSED_SECONDS = 1.0
# A response is sent in pieces of this size.
PIECE = 128 * 1024


class WsgiBridge:
    """An ASGI application that has a WSGI application answer its requests. `rules` is
    a module such as `dashboard.serving.request_rules`.
    """

    def __init__(self, application: Application, rules: ModuleType) -> None:
        self._application = application
        self._rules = rules
        self._usages = Usages(rules)
        self._pool = LastUsedExecutor(THREADS, "request")
        # What answers POST at these paths instead, in the event loop, as it waits for
        # longer than a thread may.
        self.in_loop: dict[str, Any] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        environ = environ_of(scope)
        request = self._usages.request(environ)
        with SpooledTemporaryFile(IN_MEMORY) as body:
            try:
                most = settings.DATA_UPLOAD_MAX_NUMBER_FIELDS
                if environ["QUERY_STRING"].count("&") >= most:
                    # Django checks this only in views that read the parameters.
                    sentence = f"The address has more than {most:,} query parameters."
                    raise Refused(400, "too_many_parameters", sentence)
                is_read = await self._take_body(environ, request, receive, body)
                request.begin()
                in_loop = self.in_loop.get(scope["path"])
                if in_loop and is_read and scope["method"] == "POST":
                    request.check_held()
                    body.seek(0)
                    await in_loop(scope, body.read(), receive, send)
                    return
                await request.take_thread()
                # The client's other requests may hold too much by now.
                request.check_held()
                body.seek(0)
                environ["wsgi.input"] = body
                await self._run(environ, request, send, is_read=is_read)
            except Refused as refusal:
                # Before the refusal is sent, because the client may not read that
                # either.
                request.end()
                # A client that does not wait gets as many refusals as one that does.
                await asyncio.sleep(REFUSED_SECONDS if refusal.retry_after else 0)
                await _refuse(send, refusal)
            finally:
                request.end()

    async def _take_body(
        self,
        environ: Environ,
        request: CountedRequest,
        receive: Receive,
        body: "SpooledTemporaryFile[bytes]",
    ) -> bool:
        """Read the request's body into `body`, and set its length in `environ`. Return
        False if the body is not read. Raises Refused.
        """
        is_chunked = bool(environ.pop("HTTP_TRANSFER_ENCODING", ""))
        length = environ.get("CONTENT_LENGTH", "")
        declared = int(length) if length.isdecimal() and len(length) < 20 else 0
        if not is_chunked and not declared:
            return True
        max_bytes = self._rules.most_body(environ)
        sentence = f"The body is too large: at most {max_bytes:,} bytes here."
        too_large = Refused(413, "too_large", sentence)
        if declared > max_bytes > 0:
            raise too_large
        if max_bytes and (is_chunked or declared > SMALL_BODY):
            request.begin()
            await request.take_thread()
            try:
                max_bytes = await asyncio.get_running_loop().run_in_executor(
                    self._pool, self._rules.most_of_sender, environ
                )
            finally:
                request.give_thread_back()
        if not max_bytes:
            # The application refuses by the headers, and its response says what is
            # missing.
            environ.pop("CONTENT_LENGTH", None)
            return False
        # A body may take a fixed time, plus the time that the bytes received so far take
        # at the minimum rate.
        ends = time.monotonic() + settings.REQUEST_BODY_SECONDS
        rate = max(1, settings.REQUEST_BODY_RATE)
        is_complete = False
        while not is_complete:
            left = ends + body.tell() / rate - time.monotonic()
            try:
                async with asyncio.timeout(left):
                    message = await receive()
            except TimeoutError:
                log.info(
                    "request body too slow",
                    extra={"bytes": body.tell(), "address": environ["REMOTE_ADDR"]},
                )
                sentence = "The request body did not arrive in time."
                raise Refused(408, "request_timeout", sentence) from None
            if message["type"] != "http.request":
                # The client closed the connection, or stopped sending.
                sentence = "The body ended before its Content-Length was reached."
                raise Refused(400, "bad_request", sentence)
            body.write(message.get("body", b""))
            if body.tell() > max_bytes:
                raise too_large
            request.hold("body", body.tell())
            request.check_held()
            is_complete = not message.get("more_body")
        environ["CONTENT_LENGTH"] = str(body.tell())
        return True

    async def _run(
        self, environ: Environ, request: CountedRequest, send: Send, *, is_read: bool
    ) -> None:
        """Run the application in a thread, and send its response at the client's
        pace.
        """
        answer = BufferedResponse(environ, request, asyncio.get_running_loop())
        self._pool.submit(answer.make, self._application)
        try:
            await _wait_for_change(answer)
            if answer.has_failed and not answer.has_begun:
                sentence = "The desk had an error, which was logged."
                await _refuse(send, Refused(500, "internal", sentence))
                return
            headers = [*answer.headers]
            if not is_read:
                # The unread rest of a body would be parsed as the connection's next
                # request.
                headers.append((b"connection", b"close"))
            has_length = b"content-length" in dict(headers)
            is_whole = answer.is_complete and not answer.has_failed
            if is_whole and not has_length and answer.status not in (204, 304):
                # The server would send it in chunks, also to clients of HTTP/1.0.
                headers.append((b"content-length", b"%d" % answer.size))
            await send(
                {
                    "type": "http.response.start",
                    "status": answer.status,
                    "headers": headers,
                }
            )
            while True:
                piece = answer.take()
                if not piece and not answer.is_consumed:
                    await _wait_for_change(answer)
                    continue
                is_last = answer.is_consumed
                if is_last and answer.has_failed:
                    # Without a last piece, so that the client sees that the response is
                    # truncated.
                    return
                await send(
                    {
                        "type": "http.response.body",
                        "body": piece,
                        "more_body": not is_last,
                    }
                )
                if is_last:
                    return
        finally:
            answer.is_abandoned = True
            # The caller closes the request's body next, which the application may still
            # be reading.
            while not answer.is_complete:
                await _wait_for_change(answer)
            answer.buffer.close()


def environ_of(scope: Scope) -> Environ:
    """Return the WSGI environment of a request, without its body."""
    server = scope.get("server") or ("localhost", 80)
    client = scope.get("client") or ("", 0)
    environ: Environ = {
        "REQUEST_METHOD": scope["method"],
        "SCRIPT_NAME": "",
        "PATH_INFO": scope["path"].encode().decode("latin-1"),
        "QUERY_STRING": scope["query_string"].decode("latin-1"),
        "SERVER_NAME": server[0],
        "SERVER_PORT": str(server[1]),
        "SERVER_PROTOCOL": f"HTTP/{scope['http_version']}",
        "REMOTE_ADDR": client[0],
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scope.get("scheme", "http"),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }
    for name, value in scope["headers"]:
        if b"_" in name:
            # In the environment it could not be told from the name with a dash, which a
            # proxy may have set.
            continue
        key = name.decode("latin-1").upper().replace("-", "_")
        key = key if key in ("CONTENT_LENGTH", "CONTENT_TYPE") else f"HTTP_{key}"
        text = value.decode("latin-1")
        environ[key] = f"{environ[key]},{text}" if key in environ else text
    return environ


class BufferedResponse:
    """A response that the application's thread writes at full speed, and that the event
    loop reads at the client's pace.
    """

    def __init__(
        self, environ: Environ, request: CountedRequest, loop: asyncio.AbstractEventLoop
    ) -> None:
        self.status = 500
        self.has_begun = False
        self.headers: list[tuple[bytes, bytes]] = []
        self.is_complete = False
        # True until the application has finished without an error.
        self.has_failed = True
        # Set when nobody reads it any more.
        self.is_abandoned = False
        self.changed = asyncio.Event()
        self._environ = environ
        self._request = request
        self._loop = loop
        # Closed by the event loop, when the thread has finished.
        self.buffer = SpooledTemporaryFile(IN_MEMORY)  # noqa: SIM115
        self._lock = Lock()
        # How many bytes the application has written, and how many were taken.
        self.size = self._read = 0

    def make(self, application: Application) -> None:
        """Run the application. This is called in a thread of the pool."""
        try:
            response = application(self._environ, self._start)
            try:
                for chunk in response:
                    if self.is_abandoned:
                        break
                    self._write(chunk)
            finally:
                if hasattr(response, "close"):
                    response.close()
            self.has_failed = False
        except Exception:
            log.exception("request failed outside the application's own handlers")
        finally:
            self.is_complete = True
            self._notify()

    def take(self) -> bytes:
        """Return the next piece to send; empty if there is none yet."""
        with self._lock:
            self.buffer.seek(self._read)
            piece = self.buffer.read(PIECE)
            self._read += len(piece)
        self._request.hold("answer", self.size - self._read)
        return piece

    @property
    def is_consumed(self) -> bool:
        """Whether the response is complete and all of it was taken."""
        return self.is_complete and self._read == self.size

    def _start(
        self, status: str, headers: list[tuple[str, str]], _: Any = None
    ) -> Callable[[bytes], None]:
        self.has_begun = True
        self.status = int(status.split(" ", 1)[0])
        self.headers = [
            (name.lower().encode("latin-1"), value.encode("latin-1"))
            for name, value in headers
        ]
        return self._write

    def _write(self, chunk: bytes) -> None:
        with self._lock:
            self.buffer.seek(self.size)
            self.buffer.write(chunk)
            before = self.size
            self.size += len(chunk)
        # A short response is sent in one piece, once it is complete.
        if before // PIECE != self.size // PIECE:
            self._notify()

    def _notify(self) -> None:
        self._loop.call_soon_threadsafe(self._on_change)

    def _on_change(self) -> None:
        """Update the counts of what the request uses, and wake whoever waits. The event
        loop calls this, also while it waits for the client to read.
        """
        self._request.hold("answer", self.size - self._read)
        if self.is_complete:
            self._request.give_thread_back()
        self.changed.set()


async def _wait_for_change(answer: BufferedResponse) -> None:
    await answer.changed.wait()
    answer.changed.clear()


async def _refuse(send: Send, refusal: Refused) -> None:
    """Send a refusal as JSON, without the application, and end the connection."""
    body = json.dumps({"error": refusal.sentence, "code": refusal.code}).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
        (b"x-content-type-options", b"nosniff"),
        (b"connection", b"close"),
    ]
    if refusal.retry_after:
        headers.append((b"retry-after", str(refusal.retry_after).encode()))
    await send(
        {"type": "http.response.start", "status": refusal.status, "headers": headers}
    )
    await send({"type": "http.response.body", "body": body})
