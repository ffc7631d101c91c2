"""Received bytes as a message: read whole, bounded in time and memory, or refused with an SMTP answer.

Knows nothing of tables or connections. The only exception that leaves `read_mail` is NotAccepted.
"""

import logging
import re
from dataclasses import dataclass
from email.message import EmailMessage
from email.parser import BytesFeedParser
from typing import Any

from gateway.inbound.headers import bounded_policy, has_long_header, ids_of, line_of, people_of
from gateway.inbound.parts import take_apart
from gateway.inbound.reports import Report, read_report
from gateway.letters import File

log = logging.getLogger(__name__)

MAX_HEADERS_BYTES = 256 * 1024
# The library keeps an object for each line: 25 MB of empty ones would fill a gigabyte.
MAX_LINES = 500_000
MAX_PARTS = 100
# As many servers as other systems allow a message to pass before they call it a loop.
MAX_HOPS = 30
_PIECE = 64 * 1024

_END_OF_HEADERS = re.compile(rb"\r?\n\r?\n|\r\r")
_HOP = re.compile(rb"^received[ \t]*:", re.IGNORECASE | re.MULTILINE)
# What tells two messages apart that say the same.
_MARK = re.compile(rb"^(message-id|date|received)[ \t]*:", re.IGNORECASE | re.MULTILINE)
_AUTOMATIC = ("auto-generated", "auto-replied", "auto-notified")


class NotAccepted(Exception):
    """The message is refused for good; the text is the answer that the sending server gets."""


@dataclass(frozen=True)
class Mail:
    """One received message, as far as anybody here wants to know it."""

    message_id: str
    in_reply_to: list[str]
    references: list[str]
    sender: str
    sender_name: str
    reply_to: str
    to: list[str]
    cc: list[str]
    subject: str
    text: str
    html: str | None
    files: tuple[File, ...]
    # "" for mail that a person wrote, else what Auto-Submitted says: a program should not answer it.
    automatic: str
    # What was longer than is kept: headers, text, html.
    cut: tuple[str, ...]
    # Where it is one of a mail server about mail that was sent.
    report: Report | None = None


def read_mail(content: bytes) -> Mail:
    """Return the message in `content`. Raises NotAccepted for loops and for what is built to cost time or memory."""
    _check_size(content)
    try:
        return _read(content)
    except _TooManyParts:
        raise NotAccepted(f"554 5.6.0 The message has more than {MAX_PARTS} parts") from None
    except Exception as error:
        # Nothing is known to come here; mail that does must neither be lost unsaid nor stop the mail behind it.
        log.exception("mail not understood")
        raise NotAccepted("554 5.6.0 The message cannot be read") from error


def is_marked(content: bytes) -> bool:
    """Whether anything in the headers belongs to this message alone, as every mail program and server puts in."""
    ending = _END_OF_HEADERS.search(content, 0, MAX_HEADERS_BYTES)
    return _MARK.search(content[: ending.start() if ending else MAX_HEADERS_BYTES]) is not None


class _TooManyParts(Exception):
    pass


class _Counted:
    """Makes the parts of one message, and stops when there are too many: each level costs time for every line."""

    def __init__(self) -> None:
        self.made = 0

    def __call__(self, *args: Any, **options: Any) -> EmailMessage:
        self.made += 1
        if self.made > MAX_PARTS:
            raise _TooManyParts
        return EmailMessage(*args, **options)


def _check_size(content: bytes) -> None:
    ending = _END_OF_HEADERS.search(content, 0, MAX_HEADERS_BYTES)
    if ending is None and len(content) > MAX_HEADERS_BYTES:
        raise NotAccepted("552 5.3.4 The headers are larger than 256 kB")
    headers = content[: ending.start() if ending else None]
    if len(_HOP.findall(headers)) >= MAX_HOPS:
        raise NotAccepted(f"554 5.4.6 The message has passed {MAX_HOPS} servers: this is a loop")
    if content.count(b"\n") + content.count(b"\r") - content.count(b"\r\n") > MAX_LINES:
        raise NotAccepted(f"554 5.6.0 The message has more than {MAX_LINES} lines")


def _read(content: bytes) -> Mail:
    parser = BytesFeedParser(policy=bounded_policy(_Counted()))
    # By pieces: as a whole the library would first keep four bytes for each one.
    for start in range(0, len(content), _PIECE):
        parser.feed(content[start : start + _PIECE])
    message = parser.close()
    parts = take_apart(message)
    senders = people_of(message, "from")
    replies = people_of(message, "reply-to")
    cut = [*(["headers"] if has_long_header(message) else []), *parts.cut]
    return Mail(
        message_id=next(iter(ids_of(message, "message-id")), ""),
        in_reply_to=ids_of(message, "in-reply-to"),
        references=ids_of(message, "references"),
        sender=senders[0][1] if senders else "",
        sender_name=senders[0][0] if senders else line_of(message, "from", most=200),
        reply_to=replies[0][1] if replies else "",
        to=[address for _, address in people_of(message, "to")],
        cc=[address for _, address in people_of(message, "cc")],
        subject=line_of(message, "subject"),
        text=parts.text,
        html=parts.html,
        files=tuple(parts.files),
        automatic=_automatic(line_of(message, "auto-submitted", most=100)),
        cut=tuple(cut),
        report=read_report(message),
    )


def _automatic(value: str) -> str:
    word = value.partition(";")[0].strip().lower()
    if word in ("", "no"):
        return ""
    return word if word in _AUTOMATIC else "auto-generated"
