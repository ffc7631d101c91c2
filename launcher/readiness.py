"""Asks a local port whether it is ready. Plain sockets, because an HTTP library would double the launcher's memory."""

import socket
from dataclasses import dataclass

_LATE_SECONDS = 10


@dataclass(frozen=True, kw_only=True)
class Check:
    """What has to answer: a path with status 200, or without a path just a listening port."""

    port: int
    path: str = ""
    host: str = "127.0.0.1"

    def passes(self) -> bool:
        """One question, one answer, no second try."""
        return self._ask() == 200

    def is_silent(self) -> bool:
        """Whether nothing is answered at all; "not ready" is an answer, for it may be somebody else's fault.

        Who has many requests to answer is late, and no better off for being killed.
        """
        return self._ask(timeout=_LATE_SECONDS) == 0

    def _ask(self, *, timeout: float = 2) -> int:
        try:
            with socket.create_connection((self.host, self.port), timeout=timeout) as client:
                return self._status(client) if self.path else 200
        except (OSError, ValueError):
            return 0

    def _status(self, client: socket.socket) -> int:
        request = f"GET {self.path} HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\nConnection: close\r\n\r\n"
        client.sendall(request.encode())
        # "HTTP/1.1 200" is twelve bytes; they may come in pieces.
        answer = b""
        while len(answer) < 12 and (part := client.recv(4096)):
            answer += part
        return int(answer.split(b" ")[1][:3]) if answer.startswith(b"HTTP/") else 0
