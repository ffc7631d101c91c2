"""Lists what a zip archive says it holds: names and sizes from its directory. Nothing is ever unpacked."""

import struct
from dataclasses import dataclass

# What a person looks through; the rest is counted.
MAX_LISTED = 200
# A directory of more entries than this is not read to its end.
MAX_ENTRIES = 20_000
_END, _ENTRY = b"PK\x05\x06", b"PK\x01\x02"
_END_SIZE, _ENTRY_SIZE, _MAX_COMMENT = 22, 46, 65_535


@dataclass(frozen=True)
class Member:
    """One entry of the directory, as the archive tells of it."""

    name: str
    size: int
    packed: int
    is_locked: bool


class NotListed(Exception):
    """The directory cannot be read: cut off, made up, or of a form for archives larger than any message's."""


def members_of(content: bytes) -> list[Member]:
    """Return the entries of a zip archive's directory, at most MAX_ENTRIES. Raises NotListed."""
    end = content.rfind(_END, max(0, len(content) - _END_SIZE - _MAX_COMMENT))
    if end < 0 or end + _END_SIZE > len(content):
        raise NotListed
    total, size, offset = struct.unpack_from("<HII", content, end + 10)
    if offset == 0xFFFFFFFF or total == 0xFFFF:
        raise NotListed
    # Bytes put in front of an archive move its directory, and programs that open it find it all the same.
    at = end - size
    if at < 0 or (total and content[at : at + 4] != _ENTRY):
        at = offset
    found: list[Member] = []
    for _ in range(min(total, MAX_ENTRIES)):
        member, at = _member(content, at)
        found.append(member)
    return found


def _member(content: bytes, at: int) -> tuple[Member, int]:
    if content[at : at + 4] != _ENTRY or at + _ENTRY_SIZE > len(content):
        raise NotListed
    (flags,) = struct.unpack_from("<H", content, at + 8)
    packed, size, name_size, extra_size, comment_size = struct.unpack_from("<IIHHH", content, at + 20)
    name = content[at + _ENTRY_SIZE : at + _ENTRY_SIZE + name_size]
    # A name may hold any byte; PostgreSQL keeps no U+0000.
    text = name.decode("utf-8" if flags & 0x800 else "cp437", "replace").replace("\0", "\ufffd")
    return Member(text, size, packed, bool(flags & 1)), at + _ENTRY_SIZE + name_size + extra_size + comment_size
