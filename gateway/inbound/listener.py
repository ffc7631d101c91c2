"""Runs the SMTP listener in a thread of its own event loop, beside whatever else the process does.

Made for the worker's parent process, which forks new pool children now and then: a child closes what it inherits of
the connections, or a client would wait for an end that never comes. It uses nothing else of this.
"""

import asyncio
import contextlib
import logging
import os
import socket
import threading
from collections.abc import Callable
from ipaddress import ip_address

from gateway.inbound.reception import MOST_SESSIONS, Reception
from gateway.inbound.session import Busy, InboundSession

log = logging.getLogger(__name__)

_BACKLOG = 100


class Listener:
    """Listens from `start` to `stop`; calls `died` when its thread ends in between."""

    def __init__(self, *, host: str, port: int, died: Callable[[], None] = lambda: None) -> None:
        self._socket = _bind(host, port)
        self.port: int = self._socket.getsockname()[1]
        self._died = died
        self._reception = Reception()
        self._loop = asyncio.new_event_loop()
        self._ended = asyncio.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name="inbound")

    def start(self) -> None:
        """Begin to listen."""
        os.register_at_fork(after_in_child=self._let_go)
        self._thread.start()
        log.info("listening for mail", extra={"port": self.port})

    def stop(self) -> None:
        """End; a message that is being stored is stored, and what is not acknowledged comes again."""
        self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join()

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(self._serve())
        except Exception:
            log.exception("listener failed")
        finally:
            if not self._ended.is_set():
                self._died()

    async def _serve(self) -> None:
        reception = self._reception

        def session() -> asyncio.BaseProtocol:
            if len(reception.room.connections) >= MOST_SESSIONS:
                return Busy()
            return InboundSession(reception, loop=self._loop)

        server = await self._loop.create_server(session, sock=self._socket, backlog=_BACKLOG)
        await self._ended.wait()
        server.close()
        for connection in reception.room.connections:
            connection.abort()
        # What is cancelled by that ends first.
        await asyncio.sleep(0)
        reception.close()

    def _let_go(self) -> None:
        """Close the inherited connections in a forked child. The objects stay: closed twice, they would hit others."""
        connections = self._reception.room.connections
        for one in (self._socket, *(connection.get_extra_info("socket") for connection in connections)):
            with contextlib.suppress(OSError):
                os.close(one.fileno())


def _bind(host: str, port: int) -> socket.socket:
    """Take the port at once, so that one in use is known before anything else starts."""
    if ip_address(host).version == 4:
        return socket.create_server((host, port))
    return socket.create_server((host, port), family=socket.AF_INET6, dualstack_ipv6=host == "::")
