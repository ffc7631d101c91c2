"""Small pictures of each kind, and a server of pictures that answers what a test puts
into it.
"""

import struct
import zlib

PNG = b"\x89PNG\r\n\x1a\n"


def _chunk(name, data):
    return (
        struct.pack(">I", len(data))
        + name
        + data
        + struct.pack(">I", zlib.crc32(name + data))
    )


def png(width=40, height=30, *, says=b"", rows=None):
    """Return a PNG picture in blue, with a text in it; `rows` may be others."""
    rows = (b"\0" + b"\x10\x20\xc0" * width) * height if rows is None else rows
    text = _chunk(b"tEXt", b"Comment\0" + says) if says else b""
    head = _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    pixels = _chunk(b"IDAT", zlib.compress(rows))
    return PNG + head + text + pixels + _chunk(b"IEND", b"")
