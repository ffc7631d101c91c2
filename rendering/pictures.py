"""The pictures of a message: which may be drawn, and which are tracking pixels.

Drawn are raster pictures that travel with it, of moderate size, nothing else. A
tracking pixel tells its server who opened the message and when; it is told by what the
message says of it, and nothing is loaded.
"""

import base64
import binascii
import hashlib
import re
import struct
from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import NamedTuple
from urllib.parse import unquote

MAX_PICTURE = 700_000  # characters of base64, about 500 kB
MAX_ALL_PICTURES = 3_000_000
# The limit for all pictures of a message: a few bytes can unpack to more than the
# browser's memory.
MAX_PIXELS = 40_000_000

_DATA = re.compile(r"data:image/(png|jpe?g|gif);base64,", re.IGNORECASE)
_SPACE = re.compile(r"[ \t\n\r\f]+")
_BASE64 = re.compile(r"[A-Za-z0-9+/]+={0,2}")
_STARTS = {
    "png": (b"\x89PNG\r\n\x1a\n",),
    "jpeg": (b"\xff\xd8\xff",),
    "gif": (b"GIF87a", b"GIF89a"),
}


class Picture(NamedTuple):
    """A picture that may be drawn: a clean `data:` address, empty where it may not, and
    how many pixels it takes.
    """

    source: str = ""
    pixels: int = 0


def drawable(source: str) -> Picture:
    """Return the picture in `source` when it may be drawn.

    The first bytes must be those of the type it claims, so that nothing else is drawn
    under a picture's name; and its head must tell how large it is.
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
    width, height = size_of(kind, content)
    pixels = width * height
    if not content.startswith(_STARTS[kind]) or not 0 < pixels <= MAX_PIXELS:
        return Picture()
    return Picture(f"data:image/{kind};base64,{data}", pixels)


# A frame of a JPEG begins with one of these; what else starts with C is a table.
_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_JPEG_ALONE = frozenset({0x01, *range(0xD0, 0xD9)})


def size_of(kind: str, content: bytes) -> tuple[int, int]:
    """Return width and height in pixels; 0 where the header does not have them."""
    width = 0
    height = 0
    try:
        if kind == "png" and content[12:16] == b"IHDR":
            width, height = struct.unpack_from(">II", content, 16)
        elif kind == "gif":
            width, height = struct.unpack_from("<HH", content, 6)
        elif kind == "jpeg":
            width, height = _size_of_jpeg(content)
        elif kind == "webp":
            width, height = _size_of_webp(content)
    except (struct.error, IndexError):
        pass
    return width, height


def _size_of_jpeg(content: bytes) -> tuple[int, int]:
    at = 2
    while content[at] == 0xFF:
        marker = content[at + 1]
        if marker == 0xFF:
            at += 1
        elif marker in _JPEG_FRAMES:
            # Without lines the height comes later in the file, after as many lines as
            # there are.
            height, width = struct.unpack_from(">HH", content, at + 5)
            return (width, height) if height else (0, 0)
        elif marker in _JPEG_ALONE:
            at += 2
        else:
            (length,) = struct.unpack_from(">H", content, at + 2)
            at += 2 + length
    return 0, 0


def _size_of_webp(content: bytes) -> tuple[int, int]:
    form = content[12:16]
    if form == b"VP8X":
        width = int.from_bytes(content[24:27], "little")
        height = int.from_bytes(content[27:30], "little")
        return width + 1, height + 1
    if form == b"VP8L" and content[20] == 0x2F:
        (packed,) = struct.unpack_from("<I", content, 21)
        return (packed & 0x3FFF) + 1, (packed >> 14 & 0x3FFF) + 1
    if form == b"VP8 " and content[23:26] == b"\x9d\x01\x2a":
        width, height = struct.unpack_from("<HH", content, 26)
        return width & 0x3FFF, height & 0x3FFF
    return 0, 0


# Pixels of each side up to which nobody sees a picture.
MAX_PIXEL = 2
MAX_ADDRESS = 2000
# So many readers are looked for in an address; a message with more is no personal one.
MAX_READERS = 50
# Letters and digits in a row that are no word: as long as what half a SHA-256 leaves.
_RUN = re.compile(r"[A-Za-z0-9]{16,}")
_UUID = re.compile(
    r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE
)
_FEW_TURNS = 3
_IN_BASE64 = re.compile(r"[A-Za-z0-9+_-]{12,400}")
_PIXELS = re.compile(r"\s{0,20}([0-9]{1,6}(?:\.[0-9]{1,6})?)\s{0,20}(?:px)?\s{0,20}")
_FILE = re.compile(r"\.(?:png|jpe?g|gif|webp)$", re.IGNORECASE)
_ADDRESS = re.compile(r"(?:(https?):)?[/\\]{2,}([^/\\?#]+)([^#]*)", re.IGNORECASE)
_LEFT_OUT = re.compile(r"[\t\n\r]")
_AROUND = "".join(map(chr, range(33)))


def web_address(url: str) -> str:
    """Return the address under which a browser would load `url` from the web, without
    its fragment.

    Empty for other schemes, for an address with a name or password in it, and for one
    that is too long.
    """
    found = _ADDRESS.fullmatch(_LEFT_OUT.sub("", url).strip(_AROUND).partition("#")[0])
    if (
        found is None
        or len(url) > MAX_ADDRESS
        or re.search(r"[\s@%]", found[2])
        or not found[0].isprintable()
    ):
        return ""
    path, mark, query = found[3].partition("?")
    path = path.replace("\\", "/") or "/"
    return f"{(found[1] or 'https').lower()}://{found[2].lower()}{path}{mark}{query}"


def needles(readers: Iterable[str]) -> frozenset[str]:
    """Return what an address holds that names one of these readers: their mail
    addresses, and hashes of these.
    """
    known = [
        reader.strip().lower() for reader in [*readers][:MAX_READERS] if "@" in reader
    ]
    hashes = (hashlib.md5, hashlib.sha1, hashlib.sha256)
    digests = (
        make(one.encode(), usedforsecurity=False).hexdigest()
        for one in known
        for make in hashes
    )
    return frozenset([*known, *digests])


def tracking_reason(
    url: str, attributes: Mapping[str, str], readers: frozenset[str]
) -> str:
    """Return why a picture seems to be a tracking pixel, in words; empty where nothing
    says so.

    `readers` are the needles of those who read the message.
    """
    declared = [
        _PIXELS.fullmatch(attributes.get(name, "")) for name in ("width", "height")
    ]
    sizes = [float(size[1]) for size in declared if size]
    if sizes and (max(sizes) <= MAX_PIXEL or min(sizes) == 0):
        words = (f"{float(size[1]):g}" if size else "?" for size in declared)
        return f"{' × '.join(words)} pixels"
    text = unquote(unquote(url))
    decoded = [one for one in map(_decoded, _IN_BASE64.findall(text)) if "@" in one]
    if any(reader in one for one in (text.lower(), *decoded) for reader in readers):
        return "its address names the recipient"
    path, _, query = unquote(url.partition("://")[2].partition("/")[2]).partition("?")
    is_file = _FILE.search(path) and any(size > MAX_PIXEL for size in sizes)
    # Pictures at their hosts are often files with such names; those that are made to be
    # seen have a size.
    if _has_code(query) or (not is_file and _has_code(path)):
        return "its address holds a code that can tell who opened the message"
    return ""


def _decoded(text: str) -> str:
    """Return what a part of an address says in base64, in lower case; empty where it
    says nothing.
    """
    try:
        is_for_urls = "-" in text or "_" in text
        padded = text + "=" * (-len(text) % 4)
        raw = base64.b64decode(padded, b"-_" if is_for_urls else None, validate=True)
        return raw.decode().lower()
    except (binascii.Error, UnicodeDecodeError):
        return ""


def _has_code(text: str) -> bool:
    """Whether there is a UUID, a long number, or letters and digits that take turns as
    in no word.
    """
    if _UUID.search(text):
        return True
    for run in _RUN.findall(text):
        turns = sum(a.isdigit() != b.isdigit() for a, b in pairwise(run))
        if run.isdigit() or turns >= _FEW_TURNS:
            return True
    return False
