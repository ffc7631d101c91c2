"""Which pictures inside a mail may be drawn: raster pictures that travel with it, of moderate size, nothing else."""

import base64
import binascii
import re

MAX_PICTURE = 700_000  # characters of base64, about 500 kB
MAX_ALL_PICTURES = 3_000_000

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


def drawable(source: str) -> str:
    """Return a clean `data:` address when `source` is a picture that may be drawn; empty otherwise.

    The first bytes must be those of the type it claims, so that nothing else is drawn under a picture's name.
    """
    match = _DATA.match(source)
    if not match or len(source) > MAX_PICTURE:
        return ""
    kind = "jpeg" if match.group(1).lower() == "jpg" else match.group(1).lower()
    data = _SPACE.sub("", source[match.end() :])
    if not _BASE64.fullmatch(data):
        return ""
    try:
        start = base64.b64decode(data[:32] + "=" * (-len(data[:32]) % 4))
    except binascii.Error:
        return ""
    return f"data:image/{kind};base64,{data}" if start.startswith(_STARTS[kind]) else ""
