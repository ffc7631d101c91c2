"""One SMTP session: aiosmtpd's protocol, with its own way of taking the message, which bounds memory.

No relaying, no AUTH, no STARTTLS; VRFY tells nothing. A real mail server in front does those (docs/operators/email.md).
"""

import asyncio
import logging
import socket
from typing import Any

from aiosmtpd.smtp import SMTP

from gateway.inbound.mail import MAX_LINES
from gateway.inbound.reception import Reception

log = logging.getLogger(__name__)

MAX_MESSAGE = 25 * 1024 * 1024
MAX_RECIPIENTS = 100
# Who guesses addresses is sent away.
MAX_UNKNOWN = 20
# For a command, and for a whole message; RFC 5321 asks for five minutes.
TIMEOUT = 300
# How often each command may come in a session; a pool of connections of a busy server stays well below.
_CALLS = {"*": 50, "MAIL": 1_000, "RCPT": 5_000, "DATA": 1_000, "RSET": 1_000}

_TOO_LARGE = "552 5.3.4 The message is larger than 25 MB"
_TOO_BUSY = "452 4.3.1 Too much mail at this moment, try again later"
_TOO_MANY_LINES = f"554 5.6.0 The message has more than {MAX_LINES} lines"
_LONG_LINE = "500 5.5.2 A line is too long"


class Commands:
    """What aiosmtpd asks at each step."""

    def __init__(self, reception: Reception) -> None:
        self._reception = reception
        self._unknown = 0

    async def handle_RCPT(  # noqa: N802 - the name that aiosmtpd calls
        self, server: "InboundSession", session: Any, envelope: Any, address: str, options: list[str]
    ) -> str:
        """Take a recipient that is ours."""
        if len(envelope.rcpt_tos) >= MAX_RECIPIENTS:
            return f"452 4.5.3 At most {MAX_RECIPIENTS} recipients"
        answer = await self._reception.admit(address)
        if answer.startswith("250"):
            envelope.rcpt_tos.append(address)
        elif answer.startswith("5"):
            self._unknown += 1
            if self._unknown > MAX_UNKNOWN:
                server.hang_up()
                return "421 4.7.0 Too many unknown recipients"
        return answer


class InboundSession(SMTP):  # type: ignore[misc]
    """One connection."""

    # Of a line of a message; commands have limits of their own. Servers break at 1,000, scripts do not.
    line_length_limit = 16_000

    def __init__(self, reception: Reception, *, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(
            Commands(reception),
            data_size_limit=MAX_MESSAGE,
            hostname=socket.gethostname(),
            ident="ESMTP Countersign",
            timeout=TIMEOUT,
            command_call_limit=_CALLS,
            auth_exclude_mechanism=("LOGIN", "PLAIN"),
            loop=loop,
        )
        self._reception = reception
        self._held = 0

    def connection_made(self, transport: asyncio.WriteTransport) -> None:
        """Begin."""
        self._reception.room.connections.add(transport)
        super().connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        """End."""
        self._reception.room.connections.discard(self.transport)
        super().connection_lost(error)

    def hang_up(self) -> None:
        """Close the connection once the answer is out."""
        self.loop.call_soon(self.transport.close)

    async def handle_exception(self, error: Exception) -> str:
        """Answer for a mistake of ours; the sending server tries again."""
        log.error("session failed", extra={"reason": type(error).__name__})
        return "451 4.3.0 Something went wrong here, try again later"

    async def smtp_DATA(self, arg: str | None) -> None:  # noqa: N802
        """Take a message and answer for it."""
        if await self.check_helo_needed():
            return
        if arg or not self.envelope.rcpt_tos:
            await self.push("501 5.5.4 Syntax: DATA" if arg else "503 5.5.1 Name a recipient first")
            return
        envelope = self.envelope
        # Reports and automatic replies have an empty one.
        sender = envelope.mail_from.removeprefix("<>")
        try:
            await self.push("354 End data with <CR><LF>.<CR><LF>")
            content, problem = await self._read_message()
            # From here on the time is ours, and no reason to hang up.
            self._reset_timeout()
            self._set_post_data_state()
            await self.push(
                problem or await self._reception.take_in(content=content, sender=sender, recipients=envelope.rcpt_tos)
            )
        finally:
            self._give_back()

    async def _read_message(self) -> tuple[bytes, str]:
        """Read to the final dot; return the message, or an answer that says why it is not kept."""
        data, lines, problem, fresh = bytearray(), 0, "", True
        while True:
            line, whole = await self._read_line()
            if fresh and line == b".\r\n":
                return bytes(data), problem
            if not problem:
                lines += 1
                problem = self._objection(len(data), len(line), lines, whole)
                data += line[1:] if fresh and line.startswith(b".") else line
            if problem and data:
                # The rest is read, for the answer is due only after it, but not kept.
                data.clear()
                self._give_back()
            fresh = whole

    async def _read_line(self) -> tuple[bytes, bool]:
        """Return the next line, or a piece of one that is too long."""
        try:
            return await self._reader.readuntil(b"\r\n"), True
        except asyncio.LimitOverrunError as error:
            return await self._reader.read(error.consumed), False

    def _objection(self, held: int, more: int, lines: int, whole: bool) -> str:
        if not whole:
            return _LONG_LINE
        if held + more > MAX_MESSAGE:
            return _TOO_LARGE
        if lines > MAX_LINES:
            return _TOO_MANY_LINES
        if self._reception.room.bytes < more:
            return _TOO_BUSY
        self._reception.room.bytes -= more
        self._held += more
        return ""

    def _give_back(self) -> None:
        self._reception.room.bytes += self._held
        self._held = 0


class Busy(asyncio.Protocol):
    """For whom there is no room."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Say so, and hang up."""
        assert isinstance(transport, asyncio.WriteTransport)
        transport.write(b"421 4.3.2 Too many connections, try again later\r\n")
        transport.close()
