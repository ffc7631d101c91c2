"""Mail servers for tests of the gateway: one that receives its outgoing mail, and its
own for incoming mail, with a client for that.
"""

import asyncio
import contextlib
import re
import smtplib
import socket
import struct
import threading
import time
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default as modern
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP

from gateway import smtp
from gateway.inbound.smtp_server import Listener


def serve_the_gateway(settings, mail_server):
    """Set Django up to serve the gateway's URLs, with this address of a mail server."""
    settings.ROOT_URLCONF = "gateway.urls"
    settings.MIDDLEWARE = ["gateway.middleware.JsonOnlyMiddleware"]
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 30 * 1024 * 1024
    settings.EMAIL_URL = mail_server
    smtp.State.asked_again_at = 0.0


@dataclass
class MailServer:
    """The state and behaviour of the mail server.

    `mood` is "ok", or says how it fails: at MAIL "busy", "sign in" or "hang up"; at
    DATA "drop", "stall", "garble", "refuse message" or "defer message". `refuse` has
    replies by recipient. `taken` are the mails that it accepted, `mails` and `seen`
    count MAIL and DATA.
    """

    mood: str = "ok"
    accepts: str = "250 OK"
    refuse: dict[str, str] = field(default_factory=dict)
    # How many recipients it takes in a transaction, and its reply to the others.
    most: int = 1_000
    too_many: str = ""
    taken: list[Any] = field(default_factory=list)
    seen: int = 0
    mails: int = 0
    url: str = ""
    # Whether it offers delivery status notifications (RFC 3461). It records the options
    # that a client sends for them.
    dsn: bool = False
    options: list[str] = field(default_factory=list)
    # The recipients as they were written.
    written: list[str] = field(default_factory=list)

    def message(self, number=0):
        """Return one of the accepted mails, parsed."""
        return message_from_bytes(self.taken[number].content, policy=modern)

    async def handle_EHLO(  # noqa: N802
        self, server, session, envelope, name, responses
    ):
        session.host_name = name
        return [*responses[:-1], "250-DSN", responses[-1]] if self.dsn else responses

    async def handle_RCPT(  # noqa: N802
        self, server, session, envelope, address, options
    ):
        if len(envelope.rcpt_tos) >= self.most:
            return self.too_many
        if address in self.refuse:
            return self.refuse[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_MAIL(  # noqa: N802
        self, server, session, envelope, address, options
    ):
        self.mails += 1
        # When the transaction began.
        envelope.began = time.monotonic()
        if self.mood == "busy":
            return "451 come back later"
        if self.mood == "sign in":
            return "530 5.7.0 Authentication required"
        if self.mood == "hang up":
            server.transport.abort()
        envelope.mail_from = address
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):  # noqa: N802
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
        return "accepted" if self.mood == "garble" else self.accepts


class WithNotices(SMTP):
    """The server for one session. It removes and records the options of delivery status
    notifications, which the library would refuse.
    """

    async def smtp_MAIL(self, arg):  # noqa: N802
        await super().smtp_MAIL(self._without_notices(arg))

    async def smtp_RCPT(self, arg):  # noqa: N802
        self.event_handler.written.append(arg)
        await super().smtp_RCPT(self._without_notices(arg))

    def _without_notices(self, arg):
        options = re.findall(r" ((?:RET|ENVID|NOTIFY|ORCPT)=\S+)", arg)
        self.event_handler.options += options
        return re.sub(r" (?:RET|ENVID|NOTIFY|ORCPT)=\S+", "", arg)


class AnyPort(Controller):
    """A controller that runs the server on a free port."""

    def factory(self):
        """Return the server for one session."""
        return WithNotices(self.handler, **self.SMTP_kwargs)

    def _trigger_server(self):
        assert self.server is not None
        self.port = self.server.sockets[0].getsockname()[1]
        super()._trigger_server()


@contextlib.contextmanager
def scripted(*answers):
    """Run a server for one session, which answers its lines one after the other with
    these. Then it resets the connection. Yield its port and the lines.
    """
    lines = []

    def serve():
        connection, _ = listening.accept()
        with connection, connection.makefile("rwb") as stream:
            for answer in (b"220 mx.example", *answers):
                stream.write(answer + b"\r\n")
                stream.flush()
                lines.append(stream.readline().strip())
            now = struct.pack("ii", 1, 0)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, now)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listening.getsockname()[1], lines
        thread.join(10)


@contextlib.contextmanager
def mail_server(**options):
    """Run a mail server on a free port, and yield its `MailServer`."""
    handler = MailServer()
    controller = AnyPort(
        handler, hostname="127.0.0.1", port=0, ready_timeout=5, **options
    )
    controller.start()
    handler.url = f"smtp://127.0.0.1:{controller.port}"
    try:
        yield handler
    finally:
        controller.stop(no_assert=True)


SENDER = "dana@northwind.example"


def mail(text="Where is it?", *, file="", **headers):
    """Return the bytes of a mail with these headers and usual others."""
    message = EmailMessage()
    usual = {
        "From": f"Dana <{SENDER}>",
        "To": "support@acme.example",
        "Subject": "Question",
        "Date": "Fri, 20 Nov 2026 08:00:00 +0000",
    }
    for name, value in {**usual, **headers}.items():
        message[name.replace("_", "-")] = value
    message.set_content(text)
    if file:
        message.add_attachment(
            b"\x00\xffbytes", maintype="image", subtype="png", filename=file
        )
    return message.as_bytes()


@contextlib.contextmanager
def running():
    one = Listener(host="127.0.0.1", port=0)
    one.start()
    try:
        yield one
    finally:
        one.stop()


@contextlib.contextmanager
def connected(listener):
    """Yield an SMTP client that is connected to the gateway's mail server."""
    client = smtplib.SMTP("127.0.0.1", listener.port, timeout=60)
    try:
        client.ehlo("mx.northwind.example")
        yield client
    finally:
        client.close()


def deliver(client, content, *recipients, sender=SENDER):
    """Send a mail as another mail server would. Return the status of the reply."""
    client.rset()
    assert client.mail(sender)[0] == 250
    for recipient in recipients or ("support@acme.example",):
        code, text = client.rcpt(recipient)
        assert code == 250, text
    return client.data(content)[0]
