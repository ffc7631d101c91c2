"""Small real files for the messages to carry. The "programs" among them are text with a
program's name.
"""

import random
import struct
import zlib


def small_pdf(lines: tuple[str, ...]) -> bytes:
    """Return a one-page PDF that any viewer opens."""
    quoted = str.maketrans({sign: f"\\{sign}" for sign in "\\()"})
    shown = " ".join(f"({line.translate(quoted)}) Tj 0 -22 Td" for line in lines)
    stream = f"BT /F1 14 Tf 64 760 Td {shown} ET".encode("latin-1", "replace")
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R"
        b" /Resources << /Font << /F1 << /Type /Font /Subtype /Type1 /BaseFont /Helvetica >> >> >> >>",
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(stream), stream),
    ]
    out = bytearray(b"%PDF-1.4\n")
    offsets = []
    for number, content in enumerate(objects, start=1):
        offsets.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, content)
    table = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    size = len(objects) + 1
    end = b"trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (
        size,
        len(out),
    )
    return bytes(out) + b"xref\n0 %d\n0000000000 65535 f \n%s%s" % (size, table, end)


def small_picture(width: int, height: int) -> bytes:
    """Return a PNG of a parcel's label: a frame, a dark head, and bars that mean
    nothing.
    """
    chance = random.Random(4471)
    bars = bytearray(b"\xff" * width)
    at = 40
    while at < width - 60:
        thick = chance.choice((3, 3, 6, 9))
        bars[at : at + thick] = bytes(thick)
        at += thick + chance.choice((3, 6, 6))
    blank = b"\xff" * width
    edge = bytes(width)
    head = b"\xff" * 24 + b"\x30" * (width - 48) + b"\xff" * 24
    rows = [blank] * height
    rows[24 : height // 4] = [head] * (height // 4 - 24)
    rows[height // 3 : height - 40] = [bytes(bars)] * (height - 40 - height // 3)
    framed = (
        [edge] * 4
        + [bytes(4) + row[4:-4] + bytes(4) for row in rows[4:-4]]
        + [edge] * 4
    )
    lines = zlib.compress(b"".join(b"\x00" + row for row in framed), 9)
    # Eight bits of grey a pixel.
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    out = b"\x89PNG\r\n\x1a\n"
    for kind, content in ((b"IHDR", header), (b"IDAT", lines), (b"IEND", b"")):
        checksum = struct.pack(">I", zlib.crc32(kind + content))
        out += struct.pack(">I", len(content)) + kind + content + checksum
    return out


INVOICE_PDF = small_pdf(
    ("Invoice", "Team plan, 25 seats", "EUR 1,225.00", "Payable within 14 days")
)
DRAFT_PDF = small_pdf(
    ("Master services agreement", "Draft 3, section 4: liability", "Not for signature")
)
NOT_A_PROGRAM = b"MZ is how a program begins. This one is a line of text: the demo carries nothing that runs.\n"
RETURN_LABEL = small_picture(520, 300)
HOW_TO_RETURN = (
    b"Sending it back\n\n1. Put the mugs into their box; broken ones too.\n2. Print label.png and stick it over ours.\n"
    b"3. Leave the parcel at any counter within 14 days.\n\nYou pay nothing for it.\n"
)
# A page that asks for a password, under the name and the type of a PDF.
NOT_A_PDF = b"""<!doctype html><title>Statement</title>
<form action="https://statements.example/sign-in"><p>Sign in to open your statement</p>
<input name="password" type="password"></form>
"""
