"""Small real files for the letters to carry. The "programs" among them are text with a program's name."""


def small_pdf(lines: tuple[str, ...]) -> bytes:
    """Return a one-page PDF that any viewer opens."""
    shown = " ".join(f"({_quoted(line)}) Tj 0 -22 Td" for line in lines)
    stream = f"BT /F1 14 Tf 64 760 Td {shown} ET".encode("latin-1", "replace")
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R"
        b" /Resources << /Font << /F1 << /Type /Font /Subtype /Type1 /BaseFont /Helvetica >> >> >> >>",
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(stream), stream),
    ]
    out, places = bytearray(b"%PDF-1.4\n"), []
    for number, content in enumerate(objects, start=1):
        places.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, content)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    size = len(objects) + 1
    end = b"trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (size, len(out))
    return bytes(out) + b"xref\n0 %d\n0000000000 65535 f \n%s%s" % (size, table, end)


def _quoted(line: str) -> str:
    return line.replace("\\", "\\\\").replace("(", "\\(").replace(")", "\\)")


INVOICE_PDF = small_pdf(("Invoice", "Team plan, 25 seats", "EUR 1,225.00", "Payable within 14 days"))
DRAFT_PDF = small_pdf(("Master services agreement", "Draft 3, section 4: liability", "Not for signature"))
NOT_A_PROGRAM = b"MZ is how a program begins. This one is a line of text: the demo carries nothing that runs.\n"
