"""The HTTP server of the web processes and of the live process:
`python -m common.http_server PORT APPLICATION`.

It is uvicorn with the parser of Node.js, which refuses requests that two servers could
read differently, such as with lines that end in a bare LF. What uvicorn lacks is added:
limits of headers, of the time for them, and of clients that do not read.
"""

import asyncio
import os
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

    def connection_made(self, transport: asyncio.Transport) -> None:
        """Set the time limits of the connection."""
        super().connection_made(transport)
        transport.get_extra_info("socket").setsockopt(
            socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNREAD_MILLISECONDS
        )
        self.timeout_keep_alive_task = self.loop.call_later(
            self.timeout_keep_alive, self.timeout_keep_alive_handler
        )
        if len(self.connections) > MOST_CONNECTIONS:
            transport.abort()

    def _unset_keepalive_if_required(self) -> None:
        # uvicorn stops its timer at the first byte; here it runs until the last header.
        if not self._reads_headers or self.transport.is_closing():
            super()._unset_keepalive_if_required()

    def data_received(self, data: bytes) -> None:
        """Parse what came, and refuse headers that are too long before they end."""
        if self._reads_headers:
            # The parser skips empty lines before a request, whatever ends them.
            if not self._header_bytes and data.startswith(b"\n"):
                self.send_400_response("Lines end in CRLF.")
                return
            self._header_bytes += len(data)
        super().data_received(data)
        if self._reads_headers and self._header_bytes > MOST_HEADER_BYTES:
            self.send_400_response("The headers are too large.")

    def on_headers_complete(self) -> None:
        """Begin the request, or refuse it if its headers are not clear."""
        self._reads_headers = False
        self._unset_keepalive_if_required()
        version = self.parser.get_http_version()
        size = sum(len(name) + len(value) for name, value in self.headers)
        names = [name for name, _ in self.headers]
        encodings = [
            value.lower()
            for name, value in self.headers
            if name == b"transfer-encoding"
        ]
        if (
            version not in ("1.0", "1.1")
            or (encodings and (encodings != [b"chunked"] or version == "1.0"))
            or names.count(b"host") != 1
            or len(names) > MOST_HEADERS
            or len(self.url) + size > MOST_HEADER_BYTES
        ):
            raise httptools.HttpParserError
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Expect the next request."""
        super().on_message_complete()
        self._reads_headers = True
        self._header_bytes = 0


def serve(application: Any, *, port: int) -> None:
    """Serve an ASGI application on this port of the interface in LISTEN_HOST, the
    loopback interface by default, until a signal ends the process.
    """
    uvicorn.run(
        application,
        host=os.environ.get("LISTEN_HOST") or "127.0.0.1",
        port=port,
        http=Connection,
        ws="none",
        lifespan="auto",
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
