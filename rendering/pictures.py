"""Which pictures inside a mail may be drawn: raster pictures that travel with it, of moderate size, nothing else."""

import base64
import binascii
import re
import struct
from typing import NamedTuple

from rendering.picture_sizes import size_of

MAX_PICTURE = 700_000  # characters of base64, about 500 kB
MAX_ALL_PICTURES = 3_000_000
# All pictures of a letter together: a few bytes can unpack to more than the reviewer's browser has room for.
MAX_PIXELS = 40_000_000

_DATA = re.compile(r"\s{0,20}data:image/(png|jpe?g|gif|webp|bmp);base64,", re.IGNORECASE)
_SPACE = re.compile(r"[ \t\n\r\f]+")
_BASE64 = re.compile(r"[A-Za-z0-9+/]+={0,2}")
_STARTS = {
    "png": (b"\x89PNG\r\n\x1a\n",),
    "jpeg": (b"\xff\xd8\xff",),
    "gif": (b"GIF87a", b"GIF89a"),
    "webp": (b"RIFF",),
    "bmp": (b"BM",),
}


class Picture(NamedTuple):
    """A picture that may be drawn: a clean `data:` address, empty where it may not, and how many pixels it takes."""

    source: str = ""
    pixels: int = 0


def drawable(source: str) -> Picture:
    """Return the picture in `source` when it may be drawn.

    The first bytes must be those of the type it claims, so that nothing else is drawn under a picture's name; and its
    head must tell how large it is.
    """
    match = _DATA.match(source)
    if not match or len(source) > MAX_PICTURE:
        return Picture()
    kind = "jpeg" if match.group(1).lower() == "jpg" else match.group(1).lower()
    data = _SPACE.sub("", source[match.end() :])
    if not _BASE64.fullmatch(data):
        return Picture()
    try:
        content = base64.b64decode(data + "=" * (-len(data) % 4))
    except binascii.Error:
        return Picture()
    width, height = (_size_of_bitmap(content) if kind == "bmp" else size_of(kind, content)) or (0, 0)
    if not content.startswith(_STARTS[kind]) or not 0 < width * height <= MAX_PIXELS:
        return Picture()
    return Picture(f"data:image/{kind};base64,{data}", width * height)


def _size_of_bitmap(content: bytes) -> tuple[int, int] | None:
    if len(content) < 26:
        return None
    (head,) = struct.unpack_from("<I", content, 14)
    width, height = struct.unpack_from("<HH" if head == 12 else "<ii", content, 18)
    return abs(width), abs(height)
