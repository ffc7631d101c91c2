"""Everything that is known of a message besides its text: its headers as they were given, and what is not visible.

Pure but for the message's own columns. Nothing is left out: long lists and long values go on a page further.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from approvals.message_page.content.source import STRETCH, Stretch, page_count, stretch_of
from common.fingerprint import FIELDS, Content
from mirror.models import Message

# So many addresses of one field are one page.
LISTED = 500
VALUE = STRETCH
NAMES = {
    "from": "From",
    "from_name": "From, the name beside it",
    "reply_to": "Reply-To",
    "to": "To",
    "cc": "Cc",
    "bcc": "Bcc",
    "subject": "Subject",
    "markdown": "Text",
    "html": "HTML",
    "in_reply_to": "In-Reply-To",
    "attachments": "Attachments",
    "additions": "Added on sending",
    "send_at": "Send at",
}


@dataclass(frozen=True)
class Header:
    """One line: its name and values. Not `covered`: the key does not show it. `note` counts what is elsewhere."""

    name: str
    values: tuple[Stretch, ...] = ()
    covered: bool = True
    note: str = ""


@dataclass(frozen=True)
class Headers:
    """The lines of the letter itself, what MultiMail says of the message, and what the sender said about it."""

    letter: tuple[Header, ...]
    message: tuple[Header, ...]
    metadata: tuple[Header, ...]
    unseen: tuple[str, ...]
    page: int
    pages: int


def headers_of(message: Message, content: Content, *, page: int) -> Headers:
    """Return one page of the headers; what is short stands on the first."""
    lines = list(_letter_lines(content))
    metadata = [(str(name), [_told(value)]) for name, value in message.trigger.items()]
    lists = [values for _, values, _ in lines] + [values for _, values in metadata]
    pages = max(map(_pages, lists), default=1)
    page = max(1, min(page, pages))
    letter = [_header(name, values, page, covered=covered) for name, values, covered in lines]
    about = [_header(name, [value], page) for name, value in _message_lines(message) if value]
    said = [_header(name, values, page) for name, values in metadata]
    unseen = tuple(NAMES[name] for name in FIELDS if name not in content.coverage)
    return Headers(_there(letter), _there(about), _there(said), unseen, page, pages)


def _there(lines: Iterable[Header | None]) -> tuple[Header, ...]:
    return tuple(one for one in lines if one is not None)


def _letter_lines(content: Content) -> Iterator[tuple[str, list[str], bool]]:
    values: Mapping[str, Iterable[str | None]] = {
        "from": [content.sender],
        "from_name": [content.sender_name],
        "reply_to": [content.reply_to],
        "to": content.to,
        "cc": content.cc,
        "bcc": content.bcc,
        "subject": [content.subject],
        "in_reply_to": [content.in_reply_to],
        "send_at": [content.send_at],
    }
    for name, given in values.items():
        yield NAMES[name], [one for one in given if one], name in content.coverage
    for name, text in content.additions.items():
        yield f"Added: {name}", [text], True


def _message_lines(message: Message) -> Iterator[tuple[str, str]]:
    yield "MultiMail's id", message.upstream_id
    yield "Thread", message.thread_id
    yield "Status at MultiMail", message.upstream_status
    yield "Direction", message.direction
    yield "Mailbox", message.mailbox.address if message.mailbox else ""
    yield "Sent with the key", message.sent_by_key_name
    yield "Held since", _time(message.held_at)
    yield "Read by the desk", _time(message.hydrated_at)
    yield "Expires", _time(message.expires_at)
    yield "Test message", "yes: nobody gets it" if message.sandbox else ""


def _time(value: datetime | None) -> str:
    return f"{value:%Y-%m-%d %H:%M:%S} UTC" if value else ""


def _told(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _pages(values: list[str]) -> int:
    if len(values) == 1:
        return page_count(values[0], size=VALUE)
    return -(-len(values) // LISTED)


def _header(name: str, values: list[str], page: int, *, covered: bool = True) -> Header | None:
    """Return what stands of a line on this page; None where it ended on an earlier one."""
    if not covered or not values:
        return Header(name, covered=covered) if page == 1 else None
    if len(values) == 1:
        if page > page_count(values[0], size=VALUE):
            return None
        one = stretch_of(values[0], page=page, size=VALUE)
        part = f"characters {one.first:,} to {one.end:,} of {one.total:,}"
        return Header(name, (one,), note="" if one.is_whole else part)
    shown = values[(page - 1) * LISTED : page * LISTED]
    first = (page - 1) * LISTED + 1
    note = f"{first:,} to {first + len(shown) - 1:,} of {len(values):,}" if len(values) > LISTED else ""
    cut = tuple(stretch_of(one, page=1, size=VALUE) for one in shown)
    return Header(name, cut, note=note) if shown else None
