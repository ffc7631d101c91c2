"""Reads the width and height that a picture declares, from its header alone. Nothing is decoded."""

import struct
from collections.abc import Callable

# A frame of a JPEG begins with one of these; what else starts with C is a table.
_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_JPEG_ALONE = frozenset({0x01, *range(0xD0, 0xD9)})


def size_of(kind: str, content: bytes) -> tuple[int, int] | None:
    """Return width and height in pixels; None where the header does not tell."""
    try:
        return _READERS[kind](content)
    except (KeyError, struct.error, IndexError):
        return None


def _png(content: bytes) -> tuple[int, int] | None:
    if content[12:16] != b"IHDR":
        return None
    width, height = struct.unpack_from(">II", content, 16)
    return width, height


def _gif(content: bytes) -> tuple[int, int] | None:
    width, height = struct.unpack_from("<HH", content, 6)
    return width, height


def _jpeg(content: bytes) -> tuple[int, int] | None:
    at = 2
    while at < len(content):
        if content[at] != 0xFF:
            return None
        marker = content[at + 1]
        if marker == 0xFF:
            at += 1
            continue
        if marker in _JPEG_FRAMES:
            height, width = struct.unpack_from(">HH", content, at + 5)
            # Zero lines: the height comes later in the file, after as many lines as there are.
            return (width, height) if height else None
        (length,) = (0,) if marker in _JPEG_ALONE else struct.unpack_from(">H", content, at + 2)
        at += 2 + length
    return None


def _webp(content: bytes) -> tuple[int, int] | None:
    form = content[12:16]
    if form == b"VP8X":
        width, height = (int.from_bytes(content[at : at + 3], "little") + 1 for at in (24, 27))
        return width, height
    if form == b"VP8L" and content[20] == 0x2F:
        (packed,) = struct.unpack_from("<I", content, 21)
        return (packed & 0x3FFF) + 1, (packed >> 14 & 0x3FFF) + 1
    if form == b"VP8 " and content[23:26] == b"\x9d\x01\x2a":
        width, height = struct.unpack_from("<HH", content, 26)
        return width & 0x3FFF, height & 0x3FFF
    return None


_READERS: dict[str, Callable[[bytes], tuple[int, int] | None]] = {
    "png": _png,
    "gif": _gif,
    "jpeg": _jpeg,
    "webp": _webp,
}
