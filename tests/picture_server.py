"""Small pictures of each kind, and a server of pictures that answers what a test puts
into it.
"""

import contextlib
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.serving import Handler, serving

PNG = b"\x89PNG\r\n\x1a\n"


def _chunk(name, data):
    return (
        struct.pack(">I", len(data))
        + name
        + data
        + struct.pack(">I", zlib.crc32(name + data))
    )


def png(width=40, height=30, *, says=b"", rows=None, **head):
    """Return a PNG picture in blue, with a text in it; `rows` and the fields of its
    head may be others.
    """
    depth, colours, interlaced = (
        head.get(name, value)
        for name, value in (("depth", 8), ("colours", 2), ("lace", 0))
    )
    rows = (b"\0" + b"\x10\x20\xc0" * width) * height if rows is None else rows
    text = _chunk(b"tEXt", b"Comment\0" + says) if says else b""
    start = (
        _chunk(
            b"IHDR",
            struct.pack(">IIBBBBB", width, height, depth, colours, 0, 0, interlaced),
        )
        + text
    )
    return PNG + start + _chunk(b"IDAT", zlib.compress(rows)) + _chunk(b"IEND", b"")


def jpeg(side=8):
    """Return a grey JPEG picture, not larger than its only block."""
    tables = b"\xff\xdb\0\x43\0" + b"\1" * 64
    for table in (b"\0", b"\x10"):
        tables += b"\xff\xc4\0\x14" + table + b"\1" + bytes(16)
    frame = b"\xff\xc0\0\x0b\x08" + struct.pack(">HH", side, side) + b"\1\1\x11\0"
    return b"\xff\xd8" + tables + frame + b"\xff\xda\0\x08\1\1\0\0\x3f\0\x3f\xff\xd9"


def gif(width=8, height=6, *, at=(0, 0), screen=(0, 0)):
    """Return a GIF picture of two colours that take turns, on a larger screen where one
    is given.
    """
    pixels = [number % 2 for number in range(width * height)]
    table = {(0,): 0, (1,): 1}
    codes = [(4, 3)]
    width_of = 3
    last = ()
    for pixel in pixels:
        if (*last, pixel) in table:
            last = (*last, pixel)
            continue
        codes.append((table[last], width_of))
        table[(*last, pixel)] = len(table) + 4
        width_of += len(table) + 4 > 1 << width_of
        last = (pixel,)
    codes += [(table[last], width_of), (5, width_of)]
    number = shift = 0
    for code, bits in codes:
        number |= code << shift
        shift += bits
    packed = number.to_bytes((shift + 7) // 8, "little")
    blocks = b"".join(
        bytes((len(packed[i : i + 255]),)) + packed[i : i + 255]
        for i in range(0, len(packed), 255)
    )
    head = b"GIF89a" + struct.pack(
        "<HHBBB", *(screen if any(screen) else (width, height)), 0x80, 0, 0
    )
    image = (
        b"," + struct.pack("<HHHHB", *at, width, height, 0) + b"\x02" + blocks + b"\0;"
    )
    return head + b"\xff\0\0\0\0\xff" + image


@dataclass
class PictureServer:
    """`answers` maps a path to a body, or to (status, headers, body); `asked` are paths
    and headers, in order.

    What stands in `meanwhile` happens after a request arrived and before it is
    answered.
    """

    url: str = ""
    answers: dict[str, Any] = field(default_factory=dict)
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    meanwhile: dict[str, Callable[[], object]] = field(default_factory=dict)

    @property
    def paths(self):
        """The paths that were asked for."""
        return [path for path, _ in self.asked]


@contextlib.contextmanager
def picture_server():
    """Serve pictures on a free port."""
    server = PictureServer()

    class Answers(Handler):
        def do_GET(self):  # noqa: N802
            server.asked.append((self.path, dict(self.headers)))
            answer = server.answers.get(self.path, (404, {}, b""))
            status, headers, body = (
                answer if isinstance(answer, tuple) else (200, {}, answer)
            )
            server.meanwhile.get(self.path, lambda: None)()
            with contextlib.suppress(OSError):
                self.reply(status, body, **headers)

    with serving(Answers) as origin:
        server.url = origin
        yield server
