"""Reads what a picture carries besides its pixels: camera, place, dates and software of EXIF, and written text."""

import re
import struct
import zlib
from collections.abc import Iterator
from typing import Any

from mirror.attachments.renderings.refusals import Refused

MAX_FACTS, MAX_VALUE, MAX_FIELDS = 60, 500, 200
Fact = tuple[str, str]
_FIELDS = {
    0x010E: "Description",
    0x010F: "Camera make",
    0x0110: "Camera model",
    0x0131: "Software",
    0x0132: "Changed",
    0x013B: "Artist",
    0x8298: "Copyright",
    0x9003: "Taken",
    0x9286: "Comment",
    0x9C9B: "Title",
    0x9C9C: "Comment",
    0x9C9D: "Author",
    0x9C9E: "Keywords",
    0xA430: "Owner of the camera",
    0xA431: "Serial number of the camera",
    0xA434: "Lens",
}
_EXIF, _GPS = 0x8769, 0x8825
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 7: 1, 9: 4, 10: 8}
_XMP = re.compile(
    rb"<(?:xmp|photoshop|dc|Iptc4xmpCore):(\w++)[^<>]*+>([^<]{1,500}+)<|xmp:(CreatorTool|\w+Date)=\"([^\"]{1,500})\""
)


def read(content: bytes, kind: str) -> dict[str, Any]:
    """Return the facts as pairs of a name and a value. Raises Refused."""
    try:
        facts = list(_READERS[kind](content))
    except (struct.error, IndexError, ValueError) as error:
        raise Refused("broken") from error
    return {"facts": [(name, value.replace("\0", " ").strip()[:MAX_VALUE]) for name, value in facts[:MAX_FACTS]]}


def _png(content: bytes) -> Iterator[Fact]:
    at = 8
    while at + 8 <= len(content):
        (length,), name = struct.unpack_from(">I", content, at), content[at + 4 : at + 8]
        data = content[at + 8 : at + 8 + length]
        at += 12 + length
        if name == b"IEND":
            yield from _appended(content, at)
            return
        if name == b"tIME" and len(data) == 7:
            yield "Changed", "{:04}-{:02}-{:02} {:02}:{:02}:{:02}".format(*struct.unpack(">H5B", data))
        elif name == b"eXIf":
            yield from _exif(data)
        elif name in (b"tEXt", b"zTXt", b"iTXt"):
            yield from _png_text(name, data)


def _png_text(name: bytes, data: bytes) -> Iterator[Fact]:
    key, _, value = data.partition(b"\0")
    is_packed = name == b"zTXt"
    if name == b"iTXt":
        is_packed = value[:1] == b"\1"
        value = value[2:].partition(b"\0")[2].partition(b"\0")[2]
    elif is_packed:
        value = value[1:]
    if is_packed:
        try:
            value = zlib.decompressobj().decompress(value, 100_000)
        except zlib.error:
            value = b"(cannot be unpacked)"
    if key.startswith(b"XML:com.adobe.xmp"):
        yield from _xmp(value)
    else:
        text = value.decode("utf-8" if name == b"iTXt" else "latin-1", "replace")
        yield f"Text “{key[:79].decode('latin-1')}”", text


def _jpeg(content: bytes) -> Iterator[Fact]:
    at = 2
    while at + 4 <= len(content) and content[at] == 0xFF:
        marker = content[at + 1]
        if marker == 0xFF:
            at += 1
            continue
        if marker in (0xD9, 0xDA):
            break
        (length,) = struct.unpack_from(">H", content, at + 2)
        data = content[at + 4 : at + 2 + length]
        at += 2 + length
        if marker == 0xE1 and data.startswith(b"Exif\0\0"):
            yield from _exif(data[6:])
        elif marker == 0xE1 and data.startswith(b"http://ns.adobe.com/xap/"):
            yield from _xmp(data)
        elif marker == 0xFE:
            yield "Comment", data.decode("utf-8", "replace")
    end = content.rfind(b"\xff\xd9")
    if end >= 0:
        yield from _appended(content, end + 2)


def _webp(content: bytes) -> Iterator[Fact]:
    at = 12
    while at + 8 <= len(content):
        name, (length,) = content[at : at + 4], struct.unpack_from("<I", content, at + 4)
        data = content[at + 8 : at + 8 + length]
        at += 8 + length + length % 2
        if name == b"EXIF":
            yield from _exif(data.removeprefix(b"Exif\0\0"))
        elif name == b"XMP ":
            yield from _xmp(data)
    (whole,) = struct.unpack_from("<I", content, 4)
    yield from _appended(content, 8 + whole + whole % 2)


def _gif(content: bytes) -> Iterator[Fact]:
    at = 13 + (3 << (content[10] & 7) + 1 if content[10] & 0x80 else 0)
    while content[at] != 0x3B:
        is_comment, text = content[at : at + 2] == b"!\xfe", b""
        if content[at] == 0x2C:
            flags = content[at + 9]
            at += 11 + (3 << (flags & 7) + 1 if flags & 0x80 else 0)
        else:
            at += 2
        while size := content[at]:
            text += content[at + 1 : at + 1 + size] if is_comment and len(text) < MAX_VALUE else b""
            at += 1 + size
        at += 1
        if text:
            yield "Comment", text.decode("utf-8", "replace")
    yield from _appended(content, at + 1)


def _appended(content: bytes, end: int) -> Iterator[Fact]:
    if left := len(content) - end:
        yield "After the picture", f"{left:,} bytes that are not part of the picture"


def _xmp(data: bytes) -> Iterator[Fact]:
    for found in _XMP.finditer(data):
        name, value = found[1] or found[3], found[2] or found[4]
        if value.strip():
            yield f"XMP {name.decode()}", value.decode("utf-8", "replace")


def _exif(data: bytes) -> Iterator[Fact]:
    order = {b"II": "<", b"MM": ">"}.get(data[:2])
    if order is None:
        return
    (first,) = struct.unpack_from(f"{order}I", data, 4)
    fields, following = _fields(data, order, first)
    yield from _named(fields)
    if inner := fields.get(_EXIF):
        yield from _named(_fields(data, order, int(inner[0]))[0])
    if place := fields.get(_GPS):
        yield from _place(_fields(data, order, int(place[0]))[0])
    if following and _fields(data, order, following)[0]:
        yield "Embedded preview", "It contains a preview, which may show parts that were cut away."


def _fields(data: bytes, order: str, at: int) -> tuple[dict[int, Any], int]:
    """Return the fields of one directory by their tags, and where the next directory is."""
    (count,) = struct.unpack_from(f"{order}H", data, at)
    fields: dict[int, Any] = {}
    for entry in range(at + 2, at + 2 + 12 * min(count, MAX_FIELDS), 12):
        tag, kind, number = struct.unpack_from(f"{order}HHI", data, entry)
        size = _SIZES.get(kind, 0) * number
        if not 0 < size <= 10_000:
            continue
        start = entry + 8 if size <= 4 else struct.unpack_from(f"{order}I", data, entry + 8)[0]
        raw = data[start : start + size]
        if len(raw) == size:
            fields[tag] = _typed(raw, kind, number, order)
    return fields, struct.unpack_from(f"{order}I", data, at + 2 + 12 * count)[0] if count <= MAX_FIELDS else 0


def _typed(raw: bytes, kind: int, number: int, order: str) -> Any:
    if kind in (3, 4, 9):
        return struct.unpack(f"{order}{number}{ {3: 'H', 4: 'I', 9: 'i'}[kind] }", raw)
    if kind in (5, 10):
        pairs = struct.unpack(f"{order}{2 * number}{'I' if kind == 5 else 'i'}", raw)
        return tuple(above / below if below else 0.0 for above, below in zip(pairs[::2], pairs[1::2], strict=True))
    return raw


def _named(fields: dict[int, Any]) -> Iterator[Fact]:
    for tag, name in _FIELDS.items():
        value = fields.get(tag)
        if not isinstance(value, bytes):
            continue
        if tag == 0x9286:
            encoding = "utf-16" if value.startswith(b"UNICODE") else "utf-8"
            text = value[8:].decode(encoding, "replace")
        else:
            text = value.decode("utf-16-le" if 0x9C9B <= tag <= 0x9C9E else "utf-8", "replace")
        if text.strip("\0 "):
            yield name, text


def _place(fields: dict[int, Any]) -> Iterator[Fact]:
    degrees = []
    for letter, value in ((1, 2), (3, 4)):
        parts = fields.get(value)
        if isinstance(parts, tuple) and len(parts) == 3:
            number = parts[0] + parts[1] / 60 + parts[2] / 3600
            degrees.append(f"{number:.5f}° {fields.get(letter, b'').decode('ascii', 'replace').strip(chr(0))}")
    if len(degrees) == 2:
        yield "Place (GPS)", ", ".join(degrees)
    if isinstance(day := fields.get(0x1D), bytes):
        yield "Day (GPS)", day.decode("ascii", "replace")


_READERS = {"png": _png, "jpeg": _jpeg, "webp": _webp, "gif": _gif}
