"""Small pictures of each kind, and a server of pictures that answers what a test puts
into it.
"""

import contextlib
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.serving import standing_in

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


def picture_server():
    """Serve pictures on a free port."""
    server = PictureServer()

    def answer(handler):
        server.asked.append((handler.path, dict(handler.headers)))
        answer = server.answers.get(handler.path, (404, {}, b""))
        status, headers, body = (
            answer if isinstance(answer, tuple) else (200, {}, answer)
        )
        server.meanwhile.get(handler.path, lambda: None)()
        with contextlib.suppress(OSError):
            handler.reply(status, body, **headers)

    return standing_in(server, answer)
