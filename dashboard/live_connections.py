"""The connections of the live process: uvicorn's own, with an end for clients that are slow or gone."""

import asyncio
import socket
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

# Within which the headers must be complete, and for which a client may take nothing of what is sent to it.
HEADER_SECONDS = 30
UNREAD_MILLISECONDS = 60_000


class LiveConnection(H11Protocol):  # type: ignore[misc]
    """One connection. uvicorn limits neither how slowly headers come nor how slowly answers are read."""

    def connection_made(self, transport: asyncio.Transport) -> None:
        """Begin."""
        super().connection_made(transport)
        own: Any = transport.get_extra_info("socket")
        own.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNREAD_MILLISECONDS)
        self.loop.call_later(HEADER_SECONDS, self._end_without_request)

    def _end_without_request(self) -> None:
        # Each answer of this process ends its connection, so one request is all there is.
        if self.cycle is None:
            self.transport.abort()
