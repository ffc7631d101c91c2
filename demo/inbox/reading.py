"""A stored message, taken apart for a person to look at. Never raises on a malformed
one; decides nothing.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from email import message_from_bytes
from email.errors import MessageError
from email.header import decode_header, make_header
from email.message import Message
from email.parser import BytesHeaderParser
from email.utils import getaddresses

MOST_SHOWN = 200_000
_HEADERS_OF_OURS = ("x-envelope-from", "x-envelope-to")


@dataclass(frozen=True, slots=True)
class Summary:
    """A line of the list."""

    key: str
    received_at: datetime
    sender: str
    envelope_to: tuple[str, ...]
    subject: str


@dataclass(frozen=True, slots=True)
class File:
    """An attachment, by what identifies it."""

    name: str
    content_type: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Mail:
    """A whole message."""

    summary: Summary
    envelope_from: str
    to: str
    cc: str
    named: frozenset[str]
    headers: tuple[tuple[str, str], ...]
    text: str
    html: str
    files: tuple[File, ...]


def summarise(key: str, content: bytes) -> Summary:
    """Return what the list shows; the body is not parsed."""
    return _summary(key, BytesHeaderParser().parsebytes(content))


def read_mail(key: str, content: bytes) -> Mail:
    """Return everything the page shows."""
    message = message_from_bytes(content)
    summary = _summary(key, message)
    files = []
    for part in filter(_is_file, _leaves(message)):
        content = _bytes(part)
        files.append(
            File(
                name=_decoded(part.get_filename() or "(no name)"),
                content_type=part.get_content_type(),
                size=len(content),
                sha256=hashlib.sha256(content).hexdigest(),
            )
        )
    named = getaddresses([_header(message, "To"), _header(message, "Cc")])
    return Mail(
        summary=summary,
        envelope_from=_header(message, "X-Envelope-From"),
        to=_header(message, "To"),
        cc=_header(message, "Cc"),
        named=frozenset(address.lower() for _, address in named if address),
        headers=tuple(
            (name, _decoded(value))
            for name, value in message.items()
            if name.lower() not in _HEADERS_OF_OURS
        ),
        text=_body(message, "text/plain"),
        html=_body(message, "text/html"),
        files=tuple(files),
    )


def _summary(key: str, message: Message) -> Summary:
    recipients = _header(message, "X-Envelope-To").split(",")
    seconds = key.partition(".")[0]
    return Summary(
        key=key,
        received_at=datetime.fromtimestamp(
            int(seconds) if seconds.isascii() and seconds.isdigit() else 0, UTC
        ),
        sender=_header(message, "From"),
        envelope_to=tuple(address.strip() for address in recipients if address.strip()),
        subject=_header(message, "Subject"),
    )


def _header(message: Message, name: str) -> str:
    return _decoded(message.get(name, ""))


def _decoded(value: object) -> str:
    try:
        text = str(make_header(decode_header(str(value))))
    except (
        MessageError,
        ValueError,
        LookupError,
    ):  # shown as it came, which is what a reader needs then
        text = str(value)
    return " ".join(text.split())


def _leaves(message: Message) -> Iterator[Message]:
    return (part for part in message.walk() if not part.is_multipart())


def _is_file(part: Message) -> bool:
    shown = part.get_content_type() in ("text/plain", "text/html")
    return (
        part.get_content_disposition() == "attachment"
        or part.get_filename() is not None
        or not shown
    )


def _body(message: Message, content_type: str) -> str:
    for part in _leaves(message):
        if part.get_content_type() == content_type and not _is_file(part):
            content = _bytes(part)
            try:
                text = content.decode(part.get_content_charset("utf-8"), "replace")
            except LookupError:  # a character set nobody knows
                text = content.decode("utf-8", "replace")
            return text.replace("\r\n", "\n")[:MOST_SHOWN]
    return ""


def _bytes(part: Message) -> bytes:
    content = part.get_payload(decode=True)
    return content if isinstance(content, bytes) else b""
