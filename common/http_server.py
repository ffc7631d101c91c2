"""The HTTP server of the web processes and of the live process:
`python -m common.http_server PORT APPLICATION`.

It is uvicorn with the parser of Node.js, which refuses requests that two servers could
read differently, such as with lines that end in a bare LF. What uvicorn lacks is added:
limits of headers, of the time for them, and of clients that do not read.
"""

import asyncio
import json
import socket
import sys
from typing import Any

import httptools
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

# The headers of a request must be complete within this time, and an idle connection is
# closed after it.
HEADER_SECONDS = 30
# How many bytes the headers of a request may have, and how many of them there may be.
MOST_HEADER_BYTES = 64 * 1024
MOST_HEADERS = 100
# The most connections of one process; others are closed.
MOST_CONNECTIONS = 2048
# How long a client may read nothing of what was sent to it, before it is disconnected.
UNREAD_MILLISECONDS = 60_000


class Connection(HttpToolsProtocol):  # type: ignore[misc]
    """One connection of a client."""

    _reads_headers = True
    _header_bytes = 0
    _until_headers: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:
        """Set the time limits of the connection."""
        super().connection_made(transport)
        client = transport.get_extra_info("socket")
        client.setsockopt(
            socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNREAD_MILLISECONDS
        )
        self._await_headers()
        if len(self.connections) > MOST_CONNECTIONS:
            transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """End the timer."""
        self._until_headers.cancel()  # type: ignore[union-attr]
        super().connection_lost(exc)

    def _await_headers(self) -> None:
        self._until_headers = self.loop.call_later(HEADER_SECONDS, self.transport.abort)

    def data_received(self, data: bytes) -> None:
        """Parse what came, and refuse headers that are too long before they end."""
        if self._reads_headers:
            if not self._header_bytes and data.startswith(b"\n"):
                # The parser skips empty lines before a request, whatever ends them.
                self.send_400_response("")
                return
            self._header_bytes += len(data)
        super().data_received(data)
        if self._reads_headers and self._header_bytes > MOST_HEADER_BYTES:
            self.send_400_response("")

    def on_headers_complete(self) -> None:
        """Begin the request, or refuse it if its headers are not clear."""
        self._until_headers.cancel()  # type: ignore[union-attr]
        self._reads_headers = False
        version = self.parser.get_http_version()
        size = sum(len(name) + len(value) for name, value in self.headers)
        hosts = [value for name, value in self.headers if name == b"host"]
        encodings = [
            value.lower()
            for name, value in self.headers
            if name == b"transfer-encoding"
        ]
        if (
            version not in ("1.0", "1.1")
            or size + len(self.url) > MOST_HEADER_BYTES
            or len(self.headers) > MOST_HEADERS
            or len(hosts) != 1
            or (encodings and (encodings != [b"chunked"] or version == "1.0"))
        ):
            raise httptools.HttpParserError
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Expect the next request."""
        super().on_message_complete()
        self._reads_headers = True
        self._header_bytes = 0

    def on_response_complete(self) -> None:
        """Begin the next request, or wait for it."""
        is_last = not self.pipeline
        super().on_response_complete()
        if is_last:
            self._await_headers()

    def send_400_response(self, msg: str) -> None:
        """Refuse a request that is not clear, in the form of the gateway's errors, and
        close the connection. Responses that are under way come first.
        """
        cycle = self.cycle
        is_busy = cycle is not None and not cycle.response_complete
        if is_busy and (self.pipeline or cycle.response_started or not cycle.more_body):
            cycle.keep_alive = False
            return
        error = {"error": "The request is not valid.", "code": "bad_request"}
        body = json.dumps(error).encode()
        self.transport.write(
            b"HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\n"
            b"Connection: close\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
        )
        self.transport.close()


def serve(application: Any, *, port: int, lifespan: str = "off") -> None:
    """Serve an ASGI application on this port of the loopback interface, until a signal
    ends the process.
    """
    uvicorn.run(
        application,
        host="127.0.0.1",
        port=port,
        http=Connection,
        ws="none",
        lifespan=lifespan,
        timeout_keep_alive=HEADER_SECONDS,
        timeout_graceful_shutdown=2,
        proxy_headers=False,
        server_header=False,
        access_log=False,
        log_config=None,
        # A warning would be logged for each request that is refused.
        log_level="error",
    )


if __name__ == "__main__":
    serve(sys.argv[2], port=int(sys.argv[1]))
