"""Lists the files in a zip archive, and tells whether every program finds the same ones.
Nothing is written: of some files it is unpacked where they end.

Python's `zipfile` is not used: it follows a ZIP64 record, which may point to another
directory than the one that other programs read. So it could list other files than the
recipient finds.
"""

import struct
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

from mirror.attachments.file_types import claimed_kinds

# How many entries of an archive's directory are read.
MAX_ENTRIES = 20_000
# An archive that unpacks to more than BOMB_SIZE bytes, and to more than BOMB_TIMES its
# own size, is a bomb: text is packed to about a tenth, a bomb to a thousandth.
BOMB_TIMES = 100
BOMB_SIZE = 100 * 1024 * 1024
# The signatures of a file's header, of its entry in the directory, of the sizes that may
# follow it, and of the archive's last record and what may be before that.
_HEADER = b"PK\x03\x04"
_ENTRY = b"PK\x01\x02"
_SIZES = b"PK\x07\x08"
_END = b"PK\x05\x06"
_LOCATOR = b"PK\x06\x07"
# The numbers in a header: flags, method, CRC-32, packed size, size, and the lengths of
# the name and of more fields. In an entry the same, the length of a comment, and where
# the header is.
_HEADER_NUMBERS = struct.Struct("<6xHH4xIIIHH")
_ENTRY_NUMBERS = struct.Struct("<8xHH4xIIIHHH8xI")
_END_SIZE = 22
_LOCATOR_SIZE = 20
_MAX_COMMENT = 65_535
# Flags.
_IS_LOCKED = 1
_SIZES_FOLLOW = 8
# Methods of packing.
_IS_STORED = 0
_IS_DEFLATED = 8
# Kinds of the fields that may follow a name: sizes of 64 bits, and a name in Unicode.
_LARGE = b"\x01\x00"
_UNICODE = b"up"
_IS_LARGE = 0xFFFFFFFF
# How many bytes are unpacked at once.
_STEP = 1024 * 1024
# How many bytes of a file's beginning are read, and from how many packed ones.
_BEGINNING = 33_000
_PACKED_BEGINNING = 64 * 1024


@dataclass(frozen=True)
class Member:
    """One entry of an archive's directory, as the archive states it."""

    # As most programs show it.
    name: str
    # All names that programs may show.
    names: frozenset[str]
    stored_name: bytes
    flags: int
    method: int
    # Its CRC-32, and its sizes in bytes, packed and unpacked.
    checksum: int
    packed: int
    size: int
    # Where its header is, and how long this entry is.
    offset: int
    length: int

    @property
    def is_locked(self) -> bool:
        return bool(self.flags & _IS_LOCKED)


class UnreadableDirectory(Exception):
    """The archive's directory cannot be read: it is cut off or invalid, or has the form
    for archives that are larger than any message.
    """


def end_of_directory(content: bytes) -> int:
    """Return where the last record of a zip archive is, for which programs look at the
    end of any file; -1 if there is none.
    """
    return content.rfind(_END, max(0, len(content) - _END_SIZE - _MAX_COMMENT))


def zip_members(content: bytes) -> list[Member]:
    """Return the entries of a zip archive's directory, at most MAX_ENTRIES. Raises
    UnreadableDirectory. Whether other programs find other files: `is_certain`.
    """
    end = end_of_directory(content)
    if end < 0 or end + _END_SIZE > len(content):
        raise UnreadableDirectory
    total, size, offset = struct.unpack_from("<HII", content, end + 10)
    if offset == _IS_LARGE or total == 0xFFFF:
        raise UnreadableDirectory
    # If there are bytes before the archive, its directory is not at the stated offset.
    # Other programs open such a file, so it is read here too.
    position = end - size
    if position < 0 or (total and not content.startswith(_ENTRY, position)):
        position = offset
    members: list[Member] = []
    # Some programs list what follows the stated number of files too.
    while len(members) < MAX_ENTRIES and (
        len(members) < total or content.startswith(_ENTRY, position)
    ):
        start = position
        position += _ENTRY_NUMBERS.size
        if position > len(content) or not content.startswith(_ENTRY, start):
            raise UnreadableDirectory
        numbers = _ENTRY_NUMBERS.unpack_from(content, start)
        flags, method, checksum, packed, size = numbers[:5]
        name_size, extra_size, comment_size, offset = numbers[5:]
        stored_name = content[position : position + name_size]
        position += name_size
        names = _names(stored_name, content[position : position + extra_size])
        position += extra_size + comment_size
        members.append(
            Member(
                # PostgreSQL cannot store U+0000, which a name may contain.
                name=names[-1].replace("\0", "\ufffd"),
                names=frozenset(names),
                stored_name=stored_name,
                flags=flags,
                method=method,
                checksum=checksum,
                packed=packed,
                size=size,
                offset=offset,
                length=position - start,
            )
        )
    return members


def unpacked(content: bytes, member: Member, *, most: int) -> bytes | None:
    """Return the bytes of one file in an archive; None if these are more than `most`, or
    cannot be read.
    """
    start = _start_of(content, member)
    if not start or member.is_locked or member.size > most:
        return None
    data = content[start : start + member.packed]
    if member.method == _IS_STORED:
        return data if len(data) <= most else None
    with suppress(zlib.error):
        inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        unpacked = inflater.decompress(data, most)
        return unpacked if inflater.eof else None
    return None


def beginning(content: bytes, member: Member) -> bytes | None:
    """Return enough of one file in an archive to tell its kind; None if it cannot be
    read.
    """
    start = _start_of(content, member)
    if not start or member.is_locked:
        return None
    data = content[start : start + min(member.packed, _PACKED_BEGINNING)]
    if member.method == _IS_STORED:
        return data[:_BEGINNING]
    if member.method == _IS_DEFLATED:
        with suppress(zlib.error):
            return zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, _BEGINNING)
    return None


def _start_of(content: bytes, member: Member) -> int:
    # Where the bytes of a file begin, after its header; 0 if that is cut off.
    start = member.offset + _HEADER_NUMBERS.size
    if start > len(content):
        return 0
    *_, name_size, extra_size = _HEADER_NUMBERS.unpack_from(content, member.offset)
    return int(start + name_size + extra_size)


def is_certain(content: bytes, members: list[Member]) -> bool:
    """Return whether every program finds these files in the archive, also one that reads
    the headers from the beginning on: its directory is the only one, each header says
    what its entry says, and there is nothing else.
    """
    if sum(one.size for one in members if one.flags & _SIZES_FOLLOW) > BOMB_SIZE:
        return False
    position = 0
    for one in sorted(members, key=lambda one: one.offset):
        end = _end_of(content, one) if one.offset == position else 0
        if not end:
            return False
        position = end
    size = sum(one.length for one in members)
    total = len(members)
    end_record = struct.pack("<4s4HIIH", _END, 0, 0, total, total, size, position, 0)
    locator = len(content) - _END_SIZE - _LOCATOR_SIZE
    return content[position + size :] == end_record and not (
        locator > 0 and content.startswith(_LOCATOR, locator)
    )


def _names(stored_name: bytes, extra: bytes) -> list[str]:
    # The names that programs may show; the one that most of them show is the last.
    name = stored_name.decode("cp437")
    # Some programs write UTF-8 without saying so.
    with suppress(UnicodeDecodeError):
        name = stored_name.decode()
    # Many programs prefer a second name in Unicode, if it is for the first one.
    checksum = struct.pack("<I", zlib.crc32(stored_name))
    return [name] + [
        field[5:].decode("utf-8", "replace")
        for field in _fields(extra, _UNICODE)
        if field[1:5] == checksum
    ]


def _fields(extra: bytes, kind: bytes) -> Iterator[bytes]:
    position = 0
    while position + 4 <= len(extra):
        start = position + 4
        end = start + int.from_bytes(extra[position + 2 : start], "little")
        if extra.startswith(kind, position):
            yield extra[start:end]
        position = end


def _end_of(content: bytes, member: Member) -> int:
    # Where a file ends, with the sizes that may follow it; 0 if the header differs from
    # the entry, or if a program may find another end.
    start = member.offset + _HEADER_NUMBERS.size
    if start > len(content) or not content.startswith(_HEADER, member.offset):
        return 0
    flags, method, *stated, name_size, extra_size = _HEADER_NUMBERS.unpack_from(
        content, member.offset
    )
    stored_name = content[start : start + name_size]
    start += name_size
    extra = content[start : start + extra_size]
    start += extra_size
    end: int = start + member.packed
    if stored_name != member.stored_name or method != member.method:
        return 0
    if method == _IS_STORED and member.packed != member.size:
        return 0
    if (flags ^ member.flags) & (_IS_LOCKED | _SIZES_FOLLOW):
        return 0
    names = member.names.union(_names(stored_name, extra))
    if not _is_one_name(names) or (member.size and stored_name[-1:] in b"/\\"):
        return 0
    if stated[1:] == [_IS_LARGE, _IS_LARGE]:
        fields = list(_fields(extra, _LARGE))
        if len(fields) != 1 or len(fields[0]) < 16:
            return 0
        size, packed = struct.unpack_from("<QQ", fields[0])
        stated[1:] = [packed, size]
    known = [member.checksum, member.packed, member.size]
    if not flags & _SIZES_FOLLOW:
        return end if stated == known else 0
    # Such a file ends where its data say so.
    if any(one not in (0, other) for one, other in zip(stated, known, strict=True)):
        return 0
    if not _ends_by_itself(content[start:end], member):
        return 0
    for numbers in ("<III", "<IQQ"):
        for signature in (_SIZES, b""):
            sizes = signature + struct.pack(numbers, *known)
            if content.startswith(sizes, end):
                return end + len(sizes)
    return 0


def _is_one_name(names: frozenset[str]) -> bool:
    # Whether no program ends a name early, and all names mean the same kinds.
    if any(min(name, default="\0") < " " or "\x7f" in name for name in names):
        return False
    if len(names) == 1:
        return True
    # Besides the stored name, entry and header can have one in Unicode each.
    return (
        len(names) <= 3 and len({frozenset(claimed_kinds(one)) for one in names}) == 1
    )


def _ends_by_itself(data: bytes, member: Member) -> bool:
    # Whether these data of a file end where its entry says so, and not before.
    if member.method == _IS_STORED:
        return _SIZES not in data and _HEADER not in data
    if member.method != _IS_DEFLATED:
        return False
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    size = 0
    with suppress(zlib.error):
        while not inflater.eof and size <= member.size:
            unpacked = inflater.decompress(data, _STEP)
            data = inflater.unconsumed_tail
            size += len(unpacked)
            if not unpacked and not data:
                break
    return inflater.eof and not inflater.unused_data and size == member.size
