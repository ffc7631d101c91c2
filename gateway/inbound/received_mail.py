"""The values that reading a received message gives: `Mail`, and `Report` if it is a
mail server's report about sent mail. Nothing is parsed here.
"""

from dataclasses import dataclass
from itertools import takewhile

from gateway.attachments import File

MAX_HEADERS_BYTES = 256 * 1024
# The library keeps an object for each line: 25 MB of empty lines would take a gigabyte.
MAX_LINES = 500_000
# Headers that differ between two messages of the same content.
_MARKS = frozenset({b"message-id", b"date", b"received"})
# Headers of whoever wrote a message. Servers add any others on its way.
_WRITTEN = frozenset(
    b"message-id date from sender reply-to to cc subject in-reply-to references auto-submitted mime-version "
    b"content-type content-transfer-encoding content-disposition".split()
)
FAILED = "failed"
COMPLAINT = "complaint"


@dataclass(frozen=True)
class RecipientReport:
    """What a report says about one recipient. `action` is failed, delayed, delivered,
    relayed, expanded or complaint; `status` is an enhanced code such as 5.1.1, or
    empty.

    `recipient` is empty if a complaint names nobody.
    """

    recipient: str
    action: str
    status: str
    diagnostic: str


@dataclass(frozen=True)
class Report:
    """A mail server's report. `result` is what it says about each recipient. The other
    fields name the mail that it is about: by message ids, return addresses, and the
    envelope id, which only mail servers know.
    """

    result: list[RecipientReport]
    message_ids: list[str]
    return_addresses: list[str]
    envelope_id: str


class NotAccepted(Exception):
    """The message is refused for good; the text is the SMTP reply for the sending
    server.
    """


@dataclass(frozen=True)
class Mail:
    """One received message."""

    message_id: str
    in_reply_to: list[str]
    references: list[str]
    sender: str
    sender_name: str
    reply_to: list[str]
    to: list[str]
    cc: list[str]
    subject: str
    text: str
    html: str | None
    files: list[File]
    # "" for mail that a person wrote, else what Auto-Submitted says: no program should
    # answer it.
    automatic: str
    # What was longer than its limit: headers, text, html.
    cut: list[str]
    # The report, if the message is one.
    report: Report | None


def is_marked(content: bytes) -> bool:
    """Whether the headers have anything that belongs to this message alone. Every mail
    program and mail server puts that in.
    """
    return not _MARKS.isdisjoint(_name(line) for line in _headers_of(content))


def without_route(content: bytes) -> bytes:
    """Return a message with the headers of its author alone: by those that servers add
    on its way, two copies of one message differ. One without a Message-ID or a Date is unchanged.
    """
    headers = _headers_of(content)
    if not {b"message-id", b"date"}.issubset(map(_name, headers)):
        return content
    kept = [content[len(b"".join(headers)) :]]
    is_kept = True
    for line in headers:
        if not line.startswith((b" ", b"\t")):
            is_kept = _name(line) in _WRITTEN
        if is_kept:
            kept.append(line)
    return b"".join(kept)


def _headers_of(content: bytes) -> list[bytes]:
    lines = content[:MAX_HEADERS_BYTES].splitlines(keepends=True)
    return list(takewhile(lambda line: line.rstrip(b"\r\n"), lines))


def _name(line: bytes) -> bytes:
    return line.partition(b":")[0].rstrip(b" \t").lower()
