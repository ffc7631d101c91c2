"""Draws a picture of a stranger again, as a PNG of our own making, so that none of its own bytes reaches a browser.

JPEG is drawn by PDFium, GIF (its first picture) and PNG are read here. Whatever else a file holds is left behind.
"""

import io
import struct
import zlib
from collections.abc import Iterator

import pypdfium2

from mirror.attachments.renderings.pdf_pages import PNG, chunk, png_header, png_of
from mirror.attachments.renderings.refusals import Refused

# Pixels that a picture may have, and each of its sides. Reading GIF takes a second for each million.
MAX_PIXELS, MAX_SIDE = 25_000_000, 16_000
MAX_GIF_PIXELS = 6_000_000
# A photograph is drawn no larger than a message is wide: as PNG it takes four times the bytes.
MAX_DRAWN = 800
# How many samples a pixel has, and how many bits each of them may have, by how colours are told (PNG, 11.2.1).
_SAMPLES: dict[int, tuple[int, tuple[int, ...]]] = {
    0: (1, (1, 2, 4, 8, 16)),
    2: (3, (8, 16)),
    3: (1, (1, 2, 4, 8)),
    4: (2, (8, 16)),
    6: (4, (8, 16)),
}
_PALETTE, _MAX_PALETTE = 3, 768
# Where each pass of an interlaced PNG begins, and its steps: x, y, dx, dy (PNG, 8.2).
_PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
_MAX_FILTER = 4


def draw(content: bytes, page: int) -> Iterator[bytes]:
    """Yield the picture. Raises Refused for one that is damaged, too large, or of another kind."""
    try:
        if content.startswith(PNG):
            yield _png(content)
        elif content.startswith((b"GIF87a", b"GIF89a")):
            yield _gif(content)
        elif content.startswith(b"\xff\xd8\xff"):
            yield _jpeg(content)
        else:
            raise Refused("form")
    except (struct.error, IndexError, ValueError, zlib.error, pypdfium2.PdfiumError) as error:
        raise Refused("broken") from error


def _check_size(width: int, height: int, most: int = MAX_PIXELS) -> None:
    if not width or not height:
        raise Refused("broken")
    if width * height > most or max(width, height) > MAX_SIDE:
        raise Refused("too_large")


def _jpeg(content: bytes) -> bytes:
    document = pypdfium2.PdfDocument.new()
    image = pypdfium2.PdfImage.new(document)
    image.load_jpeg(io.BytesIO(content), inline=True)
    width, height = image.get_px_size()
    _check_size(width, height)
    # Raises where it cannot be decoded: the page would stay white.
    image.get_bitmap(render=False).close()
    page = document.new_page(width, height)
    image.set_matrix(pypdfium2.PdfMatrix().scale(width, height))
    page.insert_obj(image)
    page.gen_content()
    return png_of(page, min(1.0, MAX_DRAWN / max(width, height)))


def _png(content: bytes) -> bytes:
    """Return the same pixels, packed again: only their size, colours and rows are taken over."""
    width, height, depth, colours, packing, filtering, interlaced = struct.unpack_from(">IIBBBBB", content, 16)
    samples, depths = _SAMPLES.get(colours, (0, ()))
    if content[12:16] != b"IHDR" or depth not in depths or packing or filtering or interlaced > 1:
        raise Refused("broken")
    _check_size(width, height)
    kept = _kept_chunks(content, colours)
    rows = _rows(width, height, samples * depth, bool(interlaced))
    size = sum(number * length for number, length in rows)
    pixels = zlib.decompressobj().decompress(kept.pop(b"IDAT"), size)
    if len(pixels) < size:
        raise Refused("broken")
    at = 0
    for number, length in rows:
        if number and max(pixels[at : at + number * length : length]) > _MAX_FILTER:
            raise Refused("broken")
        at += number * length
    extra = b"".join(chunk(name, data) for name, data in kept.items())
    head = png_header(width, height, depth, colours, interlaced)
    return PNG + head + extra + chunk(b"IDAT", zlib.compress(pixels, 6)) + chunk(b"IEND", b"")


def _kept_chunks(content: bytes, colours: int) -> dict[bytes, bytes]:
    """Return the palette, what is transparent, and the packed pixels; of each but the last the first one counts."""
    found: dict[bytes, bytes] = {}
    parts: list[bytes] = []
    at = 8
    while at + 8 <= len(content):
        (length,), name = struct.unpack_from(">I", content, at), content[at + 4 : at + 8]
        data = content[at + 8 : at + 8 + length]
        at += 12 + length
        if name == b"IDAT":
            parts.append(data)
        elif name in (b"PLTE", b"tRNS") and not parts:
            found.setdefault(name, data)
        elif name == b"IEND":
            break
    palette, transparent = found.get(b"PLTE", b""), found.get(b"tRNS", b"")
    if colours == _PALETTE and (not palette or len(palette) % 3 or len(palette) > _MAX_PALETTE):
        raise Refused("broken")
    fits = {0: len(transparent) == 2, 2: len(transparent) == 6, 3: 0 < len(transparent) <= len(palette) // 3}
    return {
        **({b"PLTE": palette} if colours == _PALETTE else {}),
        **({b"tRNS": transparent} if fits.get(colours) else {}),
        b"IDAT": b"".join(parts),
    }


def _rows(width: int, height: int, bits: int, is_interlaced: bool) -> list[tuple[int, int]]:
    """Return how many rows there are, and how many bytes each has with its filter, for each pass."""
    passes = _PASSES if is_interlaced else ((0, 0, 1, 1),)
    sizes = [(-(-(width - x) // dx), -(-(height - y) // dy)) for x, y, dx, dy in passes]
    return [(rows, 1 + (columns * bits + 7) // 8) for columns, rows in sizes if columns > 0 and rows > 0]


def _gif(content: bytes) -> bytes:
    """Return the first picture, on a ground that is transparent."""
    width, height, flags = struct.unpack_from("<HHB", content, 6)
    _check_size(width, height, MAX_GIF_PIXELS)
    at, palette = 13, b""
    transparent: int | None = None
    if flags & 0x80:
        palette, at = _palette(content, at, flags)
    while content[at] == 0x21:
        if content[at + 1] == 0xF9 and content[at + 3] & 1:
            transparent = content[at + 6]
        _, at = _blocks(content, at + 2)
    if content[at] != 0x2C:
        raise Refused("broken")
    left, top, wide, high, flags = struct.unpack_from("<HHHHB", content, at + 1)
    at += 10
    _check_size(wide, high, MAX_GIF_PIXELS)
    if flags & 0x80:
        palette, at = _palette(content, at, flags)
    packed, _ = _blocks(content, at + 1)
    pixels = _unpacked(packed, content[at], wide * high)
    lines = [pixels[start : start + wide] for start in range(0, wide * high, wide)]
    if flags & 0x40:
        order = [row for first, step in ((0, 8), (4, 8), (2, 4), (1, 2)) for row in range(first, high, step)]
        lines = [line for _, line in sorted(zip(order, lines, strict=True))]
    # A colour that is none of its own may have to be added for what the picture does not cover.
    ground = transparent if transparent is not None else min(len(palette) // 3, 255)
    canvas = [bytes((ground,)) * width for _ in range(height)]
    for number, line in enumerate(lines[: max(0, height - top)]):
        row = canvas[top + number]
        canvas[top + number] = row[:left] + line[: max(0, width - left)] + row[left + wide :]
    colours = palette.ljust(_MAX_PALETTE, b"\0")
    clear = bytes(0 if (number == ground and ground * 3 >= len(palette)) or number == transparent else 255
                  for number in range(256))  # fmt: skip
    rows = zlib.compress(b"".join(b"\0" + row for row in canvas), 6)
    body = chunk(b"PLTE", colours) + chunk(b"tRNS", clear) + chunk(b"IDAT", rows)
    return PNG + png_header(width, height, 8, _PALETTE) + body + chunk(b"IEND", b"")


def _palette(content: bytes, at: int, flags: int) -> tuple[bytes, int]:
    size = 3 << ((flags & 7) + 1)
    return content[at : at + size], at + size


def _blocks(content: bytes, at: int) -> tuple[bytes, int]:
    """Return the bytes of blocks that each begin with their length, up to an empty one, and where they end."""
    parts = []
    while length := content[at]:
        parts.append(content[at + 1 : at + 1 + length])
        at += 1 + length
    return b"".join(parts), at + 1


def _unpacked(packed: bytes, size: int, most: int) -> bytes:
    """Return so many pixels of a GIF (LZW with codes of growing width); those that are missing are the first colour."""
    if not 1 <= size <= 8:
        raise Refused("broken")
    clear, end = 1 << size, (1 << size) + 1
    table = [bytes((number,)) for number in range(clear)] + [b"", b""]
    found: list[bytes] = []
    total, last = 0, b""
    width, bits, buffer = size + 1, 0, 0
    for byte in packed:
        buffer |= byte << bits
        bits += 8
        while bits >= width:
            code = buffer & ((1 << width) - 1)
            buffer >>= width
            bits -= width
            if code == end or total >= most:
                return b"".join(found)[:most].ljust(most, b"\0")
            if code == clear:
                del table[end + 1 :]
                width, last = size + 1, b""
                continue
            entry = table[code] if code < len(table) else last + last[:1]
            if not entry or code > len(table):
                raise Refused("broken")
            if last and len(table) < 4096:
                table.append(last + entry[:1])
                width += len(table) == 1 << width and width < 12
            found.append(entry)
            total += len(entry)
            last = entry
    return b"".join(found)[:most].ljust(most, b"\0")
