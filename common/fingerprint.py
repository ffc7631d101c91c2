"""The fingerprint of a message: one hash over everything that its recipient gets.

Gateway and desk both compute it with this module, so each can check that the message
that is sent is the one that was reviewed. The algorithm and test vectors are in
docs/fingerprint.md; a change here is a new version of the algorithm.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from common.identifiers import crockford

VERSION = 1

# Every field that a fingerprint can cover. If a source does not give a field, that is
# not in the coverage of its content.
FIELDS = tuple(
    """
    from from_name reply_to to cc bcc subject markdown html in_reply_to attachments additions send_at
""".split()
)

FINGERPRINT = re.compile(r"\A[0-9a-f]{64}\Z")


@dataclass(frozen=True)
class Attachment:
    """What identifies one attached file. `sha256` is empty if the source does not give
    it, and `content_id` unless it is a picture within the text.
    """

    name: str
    content_type: str
    size: int
    sha256: str = ""
    content_id: str = ""


@dataclass(frozen=True)
class Content:
    """Everything that a recipient gets. `coverage` names the fields that the source
    gave; the others are unknown, not empty.
    """

    sender: str = ""
    sender_name: str = ""
    reply_to: str | None = None
    to: tuple[str, ...] = ()
    cc: tuple[str, ...] = ()
    bcc: tuple[str, ...] = ()
    subject: str = ""
    markdown: str | None = None
    html: str | None = None
    in_reply_to: str | None = None
    attachments: tuple[Attachment, ...] = ()
    additions: Mapping[str, str] = field(default_factory=dict)
    send_at: str | None = None
    coverage: tuple[str, ...] = FIELDS

    @property
    def recipients(self) -> tuple[str, ...]:
        """Everybody in To, Cc and Bcc, as written."""
        return (*self.to, *self.cc, *self.bcc)

    @cached_property
    def unseen(self) -> list[str]:
        """The fields that the source did not give, such as those that the connection's
        key does not show. They are unknown, not empty.
        """
        return [name for name in FIELDS if name not in self.coverage]


def content_from_json(stored: Mapping[str, Any]) -> Content:
    """Return the content whose fields were stored as JSON."""
    lists = {name: tuple(stored[name]) for name in ("to", "cc", "bcc", "coverage")}
    attachments = tuple(Attachment(**one) for one in stored["attachments"])
    return Content(**{**stored, **lists, "attachments": attachments})


def normalise_address(address: str) -> str:
    """Return `address` trimmed and with its domain in lower case. The part before the @
    stays: only the receiving server knows whether its case matters.
    """
    address = address.strip()
    local, at, domain = address.rpartition("@")
    return f"{local}@{domain.lower().rstrip('.')}" if at else address


# Made once, because making an encoder takes longer than using it.
_canonical = json.JSONEncoder(
    ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False
).encode


def canonical_json(value: Any) -> bytes:
    """Return `value` in the canonical form of RFC 8785. It may consist of texts, whole
    numbers, lists, objects and null.

    Raises ValueError for text with lone surrogates, which has no canonical form.
    """
    return _canonical(value).encode("utf-8")


def _sorted_addresses(addresses: Iterable[str]) -> list[str]:
    return sorted({normalise_address(address) for address in addresses})


def fingerprint(content: Content) -> str:
    """Return the fingerprint of `content`: 64 lower-case hex digits (SHA-256) over the
    covered fields only, and the coverage itself.
    """
    all_fields: dict[str, Any] = {
        "from": normalise_address(content.sender),
        "from_name": content.sender_name,
        "reply_to": normalise_address(content.reply_to) if content.reply_to else None,
        "to": _sorted_addresses(content.to),
        "cc": _sorted_addresses(content.cc),
        "bcc": _sorted_addresses(content.bcc),
        "subject": content.subject,
        "markdown": content.markdown,
        "html": content.html,
        "in_reply_to": content.in_reply_to,
        "attachments": sorted(
            [a.name, a.content_type, a.size, a.sha256, *filter(None, [a.content_id])]
            for a in content.attachments
        ),
        "additions": {name: text for name, text in content.additions.items() if text},
        "send_at": content.send_at,
    }
    covered = sorted(set(content.coverage) & set(FIELDS))
    hashed = {
        "v": VERSION,
        "coverage": covered,
        "content": {name: all_fields[name] for name in covered},
    }
    return hashlib.sha256(canonical_json(hashed)).hexdigest()


def within(content: Content, coverage: Iterable[str]) -> Content:
    """Return `content` with its coverage reduced to `coverage`, so that it can be
    compared with content from a source that gives fewer fields.
    """
    wanted = set(coverage)
    return replace(
        content, coverage=tuple(name for name in content.coverage if name in wanted)
    )


def short_fingerprint(value: str) -> str:
    """Return the short form of a fingerprint that people see: its first 60 bits in
    three groups of four digits, such as 7F3A-19C2-K0QD.
    """
    digits = crockford(int(value[:15], 16), 12)
    return "-".join(digits[start : start + 4] for start in (0, 4, 8))
