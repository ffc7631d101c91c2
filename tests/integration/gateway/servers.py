"""Real servers for the gateway to talk to: one takes mail, in the moods that mail servers have, one takes webhooks."""

import asyncio
import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from aiosmtpd.controller import Controller

from tests.serving import Handler, serving


@dataclass
class MailServer:
    """Takes mail by its mood: ok, busy, sign in, hang up, stall early; with the message: drop, stall, refuse, defer."""

    mood: str = "ok"
    refuse: dict[str, str] = field(default_factory=dict)
    taken: list[Any] = field(default_factory=list)
    seen: int = 0
    mails: int = 0
    url: str = ""

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: Any) -> str:  # noqa: N802
        if address in self.refuse:
            return self.refuse[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_MAIL(self, server: Any, session: Any, envelope: Any, address: str, options: Any) -> str:  # noqa: N802
        self.mails += 1
        if self.mood == "stall early":
            await asyncio.sleep(3600)
        if self.mood == "busy":
            return "451 come back later"
        if self.mood == "sign in":
            return "530 5.7.0 Authentication required"
        if self.mood == "hang up":
            server.transport.abort()
        envelope.mail_from = address
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802
        self.seen += 1
        if self.mood == "drop":
            self.taken.append(envelope)
            server.transport.abort()
            return "250 OK"
        if self.mood == "stall":
            self.taken.append(envelope)
            await asyncio.sleep(3600)
        if self.mood == "refuse message":
            return "554 not with this content"
        if self.mood == "defer message":
            return "452 no room"
        self.taken.append(envelope)
        return "250 OK"


class AnyPort(Controller):
    """Listens on a free port, and looks for itself there."""

    def _trigger_server(self) -> None:
        assert self.server is not None
        self.port = self.server.sockets[0].getsockname()[1]
        super()._trigger_server()


@contextlib.contextmanager
def mail_server() -> Iterator[MailServer]:
    """Run a mail server on a free port."""
    handler = MailServer()
    controller = AnyPort(handler, hostname="127.0.0.1", port=0, ready_timeout=5)
    controller.start()
    handler.url = f"smtp://127.0.0.1:{controller.port}"
    try:
        yield handler
    finally:
        controller.stop(no_assert=True)


@dataclass
class HookServer:
    """Takes webhooks and answers `status`, to a redirect with `location`, after `delay` seconds."""

    status: int = 200
    location: str = ""
    delay: float = 0
    got: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    url: str = ""


@contextlib.contextmanager
def hook_server(port: int = 0) -> Iterator[HookServer]:
    """Run a webhook receiver on this port, or a free one."""
    state = HookServer()

    class Answers(Handler):
        def do_POST(self) -> None:  # noqa: N802
            body = self.rfile.read(int(self.headers["Content-Length"]))
            state.got.append((dict(self.headers), body))
            time.sleep(state.delay)
            with contextlib.suppress(OSError):
                self.answer()

        def answer(self) -> None:
            self.send_response(state.status)
            if state.location:
                self.send_header("Location", state.location)
            self.send_header("Content-Length", "0")
            self.end_headers()

    with serving(Answers, port) as origin:
        state.url = f"{origin}/hook"
        yield state
