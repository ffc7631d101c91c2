"""Small files that the demo's messages have as attachments. Two are not what they look
like: NOT_A_PROGRAM is text, and NOT_A_PDF is a page of HTML.
"""

import io

from PIL import Image, ImageDraw


def small_pdf(lines: tuple[str, ...]) -> bytes:
    """Return a valid PDF of one page with these lines of text."""
    quoted = str.maketrans({character: f"\\{character}" for character in "\\()"})
    operators = " ".join(f"({line.translate(quoted)}) Tj 0 -22 Td" for line in lines)
    stream = f"BT /F1 14 Tf 64 760 Td {operators} ET".encode("latin-1", "replace")
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


def parcel_label() -> bytes:
    """Return a PNG that looks like the label of a parcel: a frame with a dark bar."""
    label = Image.new("L", (520, 300), "white")
    draw = ImageDraw.Draw(label)
    draw.rectangle((0, 0, 519, 299), outline="black", width=4)
    draw.rectangle((24, 24, 495, 74), fill="#303030")
    out = io.BytesIO()
    label.save(out, "PNG")
    return out.getvalue()


INVOICE_PDF = small_pdf(
    ("Invoice", "Team plan, 25 seats", "EUR 1,225.00", "Payable within 14 days")
)
DRAFT_PDF = small_pdf(
    ("Master services agreement", "Draft 3, section 4: liability", "Not for signature")
)
# Programs for Windows begin with MZ, so the desk takes this for one.
NOT_A_PROGRAM = b"MZ is how a program begins. This one is a line of text: the demo carries nothing that runs.\n"
RETURN_LABEL = parcel_label()
HOW_TO_RETURN = (
    b"Sending it back\n\n1. Put the mugs into their box; broken ones too.\n2. Print label.png and stick it over ours.\n"
    b"3. Leave the parcel at any counter within 14 days.\n\nYou pay nothing for it.\n"
)
# A page that asks for a password. A message attaches it with the name and type of a PDF.
NOT_A_PDF = b"""<!doctype html><title>Statement</title>
<form action="https://statements.example/sign-in"><p>Sign in to open your statement</p>
<input name="password" type="password"></form>
"""
