"""What a received message is once it was read: plain values. Nothing is parsed here."""

import re
from dataclasses import dataclass

from gateway.attachments import File

MAX_HEADERS_BYTES = 256 * 1024
# The library keeps an object for each line: 25 MB of empty ones would fill a gigabyte.
MAX_LINES = 500_000
END_OF_HEADERS = re.compile(rb"\r?\n\r?\n|\r\r")
# Headers that differ between two messages of the same content.
_MARK = re.compile(rb"^(message-id|date|received)[ \t]*:", re.IGNORECASE | re.MULTILINE)
FAILED = "failed"
COMPLAINT = "complaint"


@dataclass(frozen=True)
class RecipientReport:
    """What is reported of one recipient; `status` is an enhanced code such as 5.1.1, or
    empty.

    `recipient` is empty where a complaint names nobody.
    """

    recipient: str
    action: str
    status: str
    diagnostic: str


@dataclass(frozen=True)
class Report:
    """What one report says, and by what it names the mail that it is about: message
    ids, return addresses, and the envelope id, which mail servers alone know.
    """

    result: tuple[RecipientReport, ...]
    message_ids: tuple[str, ...] = ()
    return_addresses: tuple[str, ...] = ()
    envelope_id: str = ""


class NotAccepted(Exception):
    """The message is refused for good; the text is the answer that the sending server
    gets.
    """


@dataclass(frozen=True)
class Mail:
    """One received message."""

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
    # "" for mail that a person wrote, else what Auto-Submitted says: a program should
    # not answer it.
    automatic: str
    # Which were longer than the limit: headers, text, html.
    cut: tuple[str, ...]
    # Where it is one of a mail server about mail that was sent.
    report: Report | None = None


def is_marked(content: bytes) -> bool:
    """Whether anything in the headers belongs to this message alone, as every mail
    program and server puts in.
    """
    ending = END_OF_HEADERS.search(content, 0, MAX_HEADERS_BYTES)
    return (
        _MARK.search(content[: ending.start() if ending else MAX_HEADERS_BYTES])
        is not None
    )
