"""The inbox of everybody to whom the demo writes: an SMTP server that stores each
message with its envelope and passes nothing on, and the pages that show the stored
messages.

A recipient whose address begins with "bounce" is refused, so that people can see a
bounce. The pages show HTML mail only as source, and show malformed messages without an
error.
"""

import hashlib
import logging
import re
import socket
import unicodedata
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email import message_from_bytes
from email.errors import MessageError
from email.header import decode_header, make_header
from email.message import Message
from email.parser import BytesHeaderParser
from email.utils import getaddresses
from html import escape
from mailbox import Maildir
from pathlib import Path

from aiosmtpd.smtp import SMTP, Envelope, Session
from django.template import Library
from django.utils.safestring import SafeString
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from demo.web import fill, fresh, html_answer

log = logging.getLogger("demo.smtp")

# In bytes.
MAX_MESSAGE = 30 * 1024 * 1024
# How many characters of a text are shown, and how many messages are listed.
MOST_SHOWN = 200_000
MOST_LISTED = 200
_UNSAFE = re.compile(r"[\x00-\x1f\x7f]")
register = Library()


@dataclass
class SmtpHandler:
    """The handler that aiosmtpd calls at each step of a delivery."""

    folder: Path

    async def handle_RCPT(  # noqa: N802  the name aiosmtpd calls
        self,
        server: SMTP,
        session: Session,
        envelope: Envelope,
        address: str,
        rcpt_options: list[str],
    ) -> str:
        """Accept a recipient, unless the address begins with "bounce": such mail
        bounces.
        """
        if address.lower().startswith("bounce"):
            log.info("recipient refused", extra={"event": "smtp.refused"})
            return "550 5.1.1 No such mailbox; addresses that begin with bounce are refused here"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope
    ) -> str:
        """Store the message, and only then answer that it was accepted."""
        # The envelope is stored in headers before all others. The first header of a
        # name is read, so the message cannot pretend another envelope.
        sender = _UNSAFE.sub("", envelope.mail_from or "")
        recipients = ", ".join(_UNSAFE.sub("", one) for one in envelope.rcpt_tos)
        headers = f"X-Envelope-From: {sender}\r\nX-Envelope-To: {recipients}\r\n"
        content = headers.encode("utf-8", "surrogateescape") + envelope.content
        # Maildir has written the message to the disk when this returns.
        try:
            key = Maildir(self.folder).add(content)
        except OSError:
            return "452 4.3.1 Cannot be stored now, try again later"
        about = {"event": "smtp.kept", "key": key, "recipients": len(envelope.rcpt_tos)}
        log.info("message kept", extra=about)
        return f"250 2.0.0 OK kept as {key}"


def listen(port: int) -> socket.socket:
    """Bind the port now, so that a port in use is an error before anything else
    starts.
    """
    listener = socket.create_server(("127.0.0.1", port))
    listener.setblocking(False)
    return listener


def smtp_session(folder: Path) -> SMTP:
    """Return the side of the server of one SMTP connection."""
    return SMTP(
        SmtpHandler(folder),
        hostname="inbox.test",
        ident="Countersign demo",
        enable_SMTPUTF8=True,
        data_size_limit=MAX_MESSAGE,
    )


@dataclass
class InboxPages:
    """The pages of the inbox: the list of delivered messages, and one message beside
    it.
    """

    folder: Path
    dashboard_url: str

    def keys(self) -> list[str]:
        """Return the keys of the messages in the Maildir, newest first. A key begins
        with the time of delivery.
        """
        return sorted(
            Maildir(self.folder).keys(),
            key=lambda key: [int(number) for number in re.findall("[0-9]+", key)[:4]],
            reverse=True,
        )

    @property
    def version(self) -> str:
        """A text that changes whenever the list does, so that open pages know when to
        reload it.
        """
        keys = self.keys()
        return f"{len(keys)}-{keys[0] if keys else ''}"

    def rows(self, chosen: str = "") -> str:
        """Return the list's rows as HTML, newest first. `chosen` is the key of the open
        message.
        """
        maildir = Maildir(self.folder)
        rows = []
        for key in self.keys()[:MOST_LISTED]:
            with suppress(KeyError, OSError):  # a mail reader deleted it in between
                message = BytesHeaderParser().parsebytes(maildir.get_bytes(key))
                first, *others = _recipients(message) or ["nobody"]
                rows.append(
                    {
                        "key": key,
                        "first": first,
                        "others": len(others),
                        "subject": _header(message, "Subject"),
                        "sender": _header(message, "From"),
                        "received_at": _received(key),
                    }
                )
        return fill("inbox-rows.html", rows=rows, chosen=chosen)

    def routes(self) -> list[Route]:
        """Return the pages' URLs. Their functions run in threads, because they wait for
        the disk.
        """
        return [
            Route("/inbox/", self.index),
            Route("/inbox/rows/", self.newest),
            Route("/inbox/{key}/", self.detail),
        ]

    def index(self, request: Request) -> Response:
        """Return the page with the list and no message."""
        detail = fill("inbox-empty.html")
        return self._page("", "Delivered mail", detail, view="listing")

    def newest(self, request: Request) -> Response:
        """Return the rows for an open page, if the list has changed."""
        chosen = request.query_params.get("chosen", "")
        answer = fresh(request, self.version, lambda: self.rows(chosen))
        answer.headers["X-Count"] = str(len(self.keys()))
        return answer

    def detail(self, request: Request) -> Response:
        """Return the page with one message beside the list; 404 if no message has this
        key. A key that is not in the folder never becomes a path.
        """
        key = request.path_params["key"]
        try:
            content = Maildir(self.folder).get_bytes(key)
        except (KeyError, OSError):
            raise HTTPException(404) from None
        message = message_from_bytes(content)
        title = _header(message, "Subject") or "(no subject)"
        return self._page(key, title, mail_html(key, message), view="reading")

    def _page(self, chosen: str, title: str, detail: str, *, view: str) -> Response:
        page = fill(
            "inbox.html",
            title=title,
            view=view,
            count=len(self.keys()),
            rows=self.rows(chosen),
            chosen=chosen,
            version=self.version,
            detail=detail,
            dashboard_url=self.dashboard_url,
        )
        return html_answer(page)


@register.filter
def visible(text: str) -> SafeString:
    """Return a text as HTML, in which characters that hide or turn text around are
    replaced by their code, such as U+202E.
    """
    html = ""
    for character in text:
        hides = unicodedata.category(character) in ("Cf", "Cc", "Cs", "Zl", "Zp")
        if hides and character not in "\n\t":
            html += f'<span class="ghost">U+{ord(character):04X}</span>'
        else:
            html += escape(character)
    return SafeString(html)


def mail_html(key: str, message: Message) -> str:
    """Return a message as HTML, with its envelope, headers, text and attachments."""
    texts: dict[str, str] = {}
    files = []
    for part in message.walk():
        kind = part.get_content_type()
        decoded = part.get_payload(decode=True)
        if part.is_multipart():
            continue
        body = decoded if isinstance(decoded, bytes) else b""
        is_text = kind in ("text/plain", "text/html") and part.get_filename() is None
        if is_text and part.get_content_disposition() != "attachment":
            texts.setdefault(kind, _text(part, body))
            continue
        files.append(
            {
                "name": _decoded(part.get_filename() or "(no name)"),
                "kind": kind,
                "size": f"{len(body):,} bytes",
                "sha256": hashlib.sha256(body).hexdigest(),
            }
        )
    headers = [_header(message, "To"), _header(message, "Cc")]
    in_headers = {address.lower() for _, address in getaddresses(headers) if address}
    reached: list[str] = []
    blind: list[str] = []
    for address in _recipients(message):
        (reached if address.lower() in in_headers else blind).append(address)
    return fill(
        "inbox-mail.html",
        subject=_header(message, "Subject"),
        received_at=_received(key),
        key=key,
        addresses={
            "From": _header(message, "From"),
            "To": headers[0],
            "Cc": headers[1],
            "Sent by": _header(message, "X-Envelope-From"),
            "Reached": ", ".join(reached),
        },
        blind=", ".join(blind),
        files=files,
        plain=texts.get("text/plain"),
        html=texts.get("text/html"),
        headers=[
            (name, _decoded(value))
            for name, value in message.items()
            if not name.lower().startswith("x-envelope-")
        ],
    )


def _recipients(message: Message) -> list[str]:
    addresses = _header(message, "X-Envelope-To").split(",")
    return [address.strip() for address in addresses if address.strip()]


def _received(key: str) -> datetime:
    seconds = re.match("[0-9]{1,11}", key)
    return datetime.fromtimestamp(int(seconds[0]) if seconds else 0, UTC)


def _text(part: Message, content: bytes) -> str:
    try:
        text = content.decode(part.get_content_charset("utf-8"), "replace")
    except LookupError:  # a character set nobody knows
        text = content.decode("utf-8", "replace")
    return text.replace("\r\n", "\n")[:MOST_SHOWN]


def _header(message: Message, name: str) -> str:
    return _decoded(message.get(name, ""))


def _decoded(value: object) -> str:
    try:
        text = str(make_header(decode_header(str(value))))
    except (MessageError, ValueError, LookupError):
        # Show a header that cannot be decoded as it is.
        text = str(value)
    return " ".join(text.split())
