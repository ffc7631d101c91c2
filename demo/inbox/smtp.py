"""The SMTP server for all outgoing mail: stores each message once, with its envelope,
and relays nothing.

A recipient whose local part begins with "bounce" is refused, so that a bounce can be
seen.
"""

import asyncio
import logging
import re
import socket

from aiosmtpd.smtp import SMTP, Envelope, Session

from demo.inbox.maildir import Maildir

log = logging.getLogger("demo.smtp")

MAX_MESSAGE = 30 * 1024 * 1024
_UNSAFE = re.compile(r"[\x00-\x1f\x7f]")


class Inbox:
    """What aiosmtpd asks at each step of a delivery."""

    def __init__(self, maildir: Maildir) -> None:
        """Deliver into `maildir`."""
        self._maildir = maildir

    async def handle_RCPT(  # noqa: N802  the name aiosmtpd calls
        self,
        server: SMTP,
        session: Session,
        envelope: Envelope,
        address: str,
        rcpt_options: list[str],
    ) -> str:
        """Accept a recipient, unless the address asks for a bounce."""
        if address.lower().startswith("bounce"):
            log.info("recipient refused", extra={"event": "smtp.refused"})
            return "550 5.1.1 No such mailbox; addresses that begin with bounce are refused here"
        envelope.rcpt_tos.append(address)
        envelope.rcpt_options.extend(rcpt_options)
        return "250 OK"

    async def handle_DATA(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope
    ) -> str:
        """Store the message; only then say that it was accepted."""
        content = envelope.content
        body = (
            content
            if isinstance(content, bytes)
            else (content or "").encode("utf-8", "surrogateescape")
        )
        # They come first, so a header of the same name that the message brought along
        # is not the one that is read.
        sender = _UNSAFE.sub("", envelope.mail_from or "")
        recipients = ", ".join(
            _UNSAFE.sub("", address) for address in envelope.rcpt_tos
        )
        headers = f"X-Envelope-From: {sender}\r\nX-Envelope-To: {recipients}\r\n"
        key = self._maildir.add(headers.encode("utf-8", "surrogateescape") + body)
        log.info(
            "message kept",
            extra={
                "event": "smtp.kept",
                "key": key,
                "recipients": len(envelope.rcpt_tos),
            },
        )
        return f"250 2.0.0 OK kept as {key}"


def listen(port: int) -> socket.socket:
    """Bind the port at once, so that one in use is known before anything else starts."""
    listener = socket.create_server(("127.0.0.1", port), reuse_port=False)
    listener.setblocking(False)
    return listener


def serve(listener: socket.socket, maildir: Maildir) -> None:
    """Accept mail until the process ends."""
    inbox = Inbox(maildir)

    async def accept() -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(
            lambda: SMTP(
                inbox,
                loop=loop,
                hostname="inbox.test",
                ident="Countersign demo",
                enable_SMTPUTF8=True,
                data_size_limit=MAX_MESSAGE,
            ),
            sock=listener,
        )
        await server.serve_forever()

    asyncio.run(accept())
