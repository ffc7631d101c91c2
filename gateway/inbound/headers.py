"""Headers of received mail, read by the standard library within limits of time and
size.

Reading never raises, ends soon, and gives text that the database can store.
"""

import re
import time
from collections.abc import Callable
from contextlib import suppress
from email.message import Message
from email.policy import EmailPolicy
from typing import Any

from common.mail_addresses import clean_address

# The library's address parser is quadratic: at this length the worst input takes a
# tenth of a second.
MAX_HEADER = 4_000
MAX_MIME_HEADER = 1_000
# For all headers of a message and its parts; ordinary headers need a hundredth of it.
MAX_SECONDS = 1
MAX_SUBJECT = 998
MAX_NAME = 200
MAX_IDS = 30
MAX_ADDRESSES = 200
_CONTROL = re.compile(r"[\x00-\x1f\x7f\x85\u2028\u2029]+")
_UNKEEPABLE = re.compile(r"[\x00\ud800-\udfff]")
# A reference longer than the column of ids (300) cannot be one of ours.
_ID = re.compile(r"<[!-;=?-~]{1,298}>")
_ADDRESS = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9.-]{1,190}")


class HeaderCache:
    """The headers of one message that were parsed so far, and the time spent on them."""

    def __init__(self) -> None:
        self.known: dict[tuple[str, str], Any] = {}
        self.spent = 0.0


class BoundedPolicy(EmailPolicy):
    """The library's modern policy, with bounds on what is parsed. The received bytes
    stay as they are.
    """

    reading: Any = None

    def header_fetch_parse(self, name: str, value: Any) -> Any:
        """Return the header, decoded; as plain text where the library fails over it or
        has taken too long already.
        """
        if hasattr(value, "name"):
            return value
        text = decoded(str(value))[
            : MAX_MIME_HEADER if name.lower().startswith("content-") else MAX_HEADER
        ]
        # Parsing a message reads the same header many times.
        known = self.reading.known
        if (name, text) not in known:
            known[name, text] = text
            began = time.thread_time()
            if self.reading.spent <= MAX_SECONDS:
                # The library's parser fails with errors of a dozen kinds,
                # RecursionError too.
                with suppress(Exception):
                    known[name, text] = super().header_fetch_parse(name, text)
            self.reading.spent += time.thread_time() - began
        return known[name, text]


def bounded_policy(message_factory: Callable[..., Message]) -> BoundedPolicy:
    """Return the policy for one message. Parts are returned byte for byte as far as
    possible.
    """
    return BoundedPolicy(  # type: ignore[call-overload, no-any-return]
        reading=HeaderCache(),
        message_factory=message_factory,
        refold_source="none",
        linesep="\r\n",
        cte_type="8bit",
    )


def decoded(text: str) -> str:
    """Decode text whose bytes beyond ASCII were stored as surrogates, in their most
    probable encoding.
    """
    try:
        raw = text.encode("ascii", "surrogateescape")
    except UnicodeEncodeError:
        return text
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("cp1252", "replace")


def storable(text: str) -> str:
    """Return text without what PostgreSQL cannot keep: U+0000 and halves of surrogate
    pairs.
    """
    return _UNKEEPABLE.sub(lambda found: "" if found[0] == "\x00" else "�", text)


def line_of(message: Message, name: str, *, most: int = MAX_SUBJECT) -> str:
    """Return a header as one line of text; empty where there is none."""
    return one_line(str(message.get(name, "")))[:most]


def one_line(text: str) -> str:
    """Return text without control characters and line ends."""
    return storable(_CONTROL.sub(" ", text)).strip()


def people_of(message: Message, name: str) -> list[tuple[str, str]]:
    """Return the display names and addresses of a header; what is no usable address is
    left out.
    """
    found: dict[str, str] = {}
    for header in message.get_all(name, [])[:10]:
        if (parsed := getattr(header, "addresses", None)) is None:
            people = [("", address) for address in _ADDRESS.findall(str(header))]
        else:
            people = [
                (one.display_name, f"{one.username}@{one.domain}") for one in parsed
            ]
        for shown, address in people:
            try:
                found.setdefault(clean_address(address), one_line(shown)[:MAX_NAME])
            except ValueError:
                continue
    return [(shown, address) for address, shown in list(found.items())[:MAX_ADDRESSES]]


def ids_of(message: Message, name: str) -> list[str]:
    """Return the message ids in a header: of a long list the last, which are the
    nearest.
    """
    value = next(
        (str(value) for key, value in message.raw_items() if key.lower() == name), ""
    )
    return list(dict.fromkeys(_ID.findall(value[-MAX_HEADER:])))[-MAX_IDS:]


def has_long_header(message: Message) -> bool:
    """Whether a header was longer than what is read of it."""
    return any(len(str(value)) > MAX_HEADER for _, value in message.raw_items())
