"""The pictures of a message that may be drawn: raster pictures that travel with it, of
moderate size, nothing else. And which of the remote ones are tracking pixels, by what
the message says of them.
"""

import base64
import re
import struct
from collections.abc import Collection, Mapping
from contextlib import suppress
from urllib.parse import unquote

MAX_PICTURE = 700_000  # characters of base64, about 500 kB
MAX_ALL_PICTURES = 3_000_000  # the same, of all pictures of a message
# Pixels of all pictures of a message: a few bytes can unpack to more than the browser's
# memory.
MAX_PIXELS = 40_000_000

_DATA = re.compile(r"data:image/(png|jpe?g|gif);base64,", re.IGNORECASE)
_STARTS = {
    "png": (b"\x89PNG\r\n\x1a\n",),
    "jpeg": (b"\xff\xd8\xff",),
    "gif": (b"GIF87a", b"GIF89a"),
}


def drawable(source: str) -> tuple[str, int]:
    """Return the picture in a `data:` address as a clean one, and its number of pixels;
    an empty text and 0 if it may not be drawn.

    Its first bytes must be those of the type that it claims, so that nothing else is
    drawn in the name of a picture, and its header must tell its size.
    """
    match = _DATA.match(source)
    if not match or len(source) > MAX_PICTURE:
        return "", 0
    kind = match[1].lower().replace("jpg", "jpeg")
    # Blanks are no part of base64, and the signs that fill it up may be missing.
    data = "".join(source[match.end() :].split()).rstrip("=")
    data += "=" * (-len(data) % 4)
    with suppress(ValueError):
        content = base64.b64decode(data, validate=True)
        width, height = size_of(kind, content)
        pixels = width * height
        if content.startswith(_STARTS[kind]) and 0 < pixels <= MAX_PIXELS:
            return f"data:image/{kind};base64,{data}", pixels
    return "", 0


# Pixels of a side: what is no larger is not made to be seen.
TINY = 2


def tracking_reason(
    url: str, attributes: Mapping[str, str], readers: Collection[str]
) -> str:
    """Return why a remote picture seems to be a tracking pixel, in words; empty if
    nothing says so. `readers` are the recipients, with or without names.
    """
    sides = [attributes[name] for name in ("width", "height") if name in attributes]
    if sides and all(int(side) <= TINY for side in sides):
        return f"{' × '.join(sides)} pixels"
    address = unquote(url).lower()
    # Without the names before the addresses.
    bare = [reader.rpartition("<")[2].rstrip("> ").lower() for reader in readers]
    if any(one and one in address for one in bare):
        return "its address names the recipient"
    return ""


# A frame of a JPEG begins with one of these; what else starts with C is a table.
_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
# Markers that no length and data follow.
_JPEG_ALONE = frozenset({0x01, *range(0xD0, 0xD9)})


def size_of(kind: str, content: bytes) -> tuple[int, int]:
    """Return width and height in pixels; (0, 0) if the header lacks them."""
    width = height = 0
    with suppress(struct.error, IndexError):
        if kind == "png" and content[12:16] == b"IHDR":
            width, height = struct.unpack_from(">II", content, 16)
        elif kind == "gif":
            width, height = struct.unpack_from("<HH", content, 6)
        elif kind == "jpeg":
            width, height = _size_of_jpeg(content)
        elif kind == "webp":
            width, height = _size_of_webp(content)
    return width, height


# Walks from marker to marker up to the first frame, which has the size.
def _size_of_jpeg(content: bytes) -> tuple[int, int]:
    position = 2
    while content[position] == 0xFF:
        marker = content[position + 1]
        if marker == 0xFF:
            position += 1
        elif marker in _JPEG_FRAMES:
            # A height of 0 means that it comes only after the picture's lines, where it
            # is not looked for.
            height, width = struct.unpack_from(">HH", content, position + 5)
            return (width, height) if height else (0, 0)
        elif marker in _JPEG_ALONE:
            position += 2
        else:
            (length,) = struct.unpack_from(">H", content, position + 2)
            position += 2 + length
    return 0, 0


# Reads the size from the first chunk, in the form of each of WebP's three kinds.
def _size_of_webp(content: bytes) -> tuple[int, int]:
    chunk = content[12:16]
    if chunk == b"VP8X":
        width = int.from_bytes(content[24:27], "little")
        height = int.from_bytes(content[27:30], "little")
        return width + 1, height + 1
    if chunk == b"VP8L" and content[20] == 0x2F:
        (packed,) = struct.unpack_from("<I", content, 21)
        return (packed & 0x3FFF) + 1, (packed >> 14 & 0x3FFF) + 1
    if chunk == b"VP8 " and content[23:26] == b"\x9d\x01\x2a":
        width, height = struct.unpack_from("<HH", content, 26)
        return width & 0x3FFF, height & 0x3FFF
    return 0, 0
