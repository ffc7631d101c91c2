"""Attached documents are shown as the programs of recipients show them. Everything here
is read by the parser's confined processes.
"""

import io

import pytest
from PIL import Image

from mirror.attachments import parsed
from mirror.attachments.preview import pdf_pages
from tests.integration.test_enclosed import of_bytes
from tests.office_files import packed_pdf, pdf_page, pdf_stream

TEXT = b"BT /F 18 Tf 72 720 Td (Payment order) Tj ET "
FORM = b"/AcroForm << /Fields [5 0 R] /DA (/F 12 Tf 0 g) >>"
FIELD = b"<< /Type /Annot /Subtype /Widget /FT /Tx /T (Amount) /V (EUR 94,000.00) /F %d"
FIELD += b" /DA (/F 12 Tf 0 g) /Rect [130 640 330 700] %s >>"
NOTE = b"<< /Type /Annot /F 4 /Rect [130 640 330 700] %s >>"
DRAWN = b"/Type /XObject /Subtype /Form /BBox [0 0 200 60] /Resources << /Font << /F"
DRAWN += b" << /Type /Font /Subtype /Type1 /BaseFont /Helvetica >> >> >>"
APPEARANCE = pdf_stream(b"BT /F 12 Tf 2 6 Td (EUR 94,000.00) Tj ET", DRAWN)
OTHER = pdf_stream(b"BT /F 12 Tf 2 6 Td (EUR 9.40) Tj ET", DRAWN)
LAYER = b"/OCProperties << /OCGs [5 0 R] /D << /OFF [5 0 R] >> >>"
SCRIPT = b"/OpenAction << /S /JavaScript /JS (app.alert\\(1\\)) >>"


def with_note(entries, *objects):
    return pdf_page(TEXT, NOTE % entries, *objects, page=b"/Annots [5 0 R]")


def with_field(entries, *objects, flags=4):
    field = FIELD % (flags, entries)
    return pdf_page(TEXT, field, *objects, catalog=FORM, page=b"/Annots [5 0 R]")


# By kind: a PDF, what its text has, and the notes beside it.
DRAWN_PDFS = {
    "a field with an appearance": (
        with_field(b"/AP << /N 6 0 R >>", APPEARANCE),
        "EUR 94,000.00",
        [],
    ),
    "a field without one": (with_field(b""), "EUR 94,000.00", []),
    "a field that draws another value": (
        with_field(b"/AP << /N 6 0 R >>", OTHER),
        "EUR 9.40",
        [("The value of a field, which is not drawn", "EUR 94,000.00")],
    ),
    "a stamp": (with_note(b"/Subtype /Stamp /AP << /N 6 0 R >>", APPEARANCE), "EUR 94,000.00", []),
    "a text typed onto the page": (
        with_note(b"/Subtype /FreeText /DA (/F 12 Tf) /Contents (to EUR 1)"), "to EUR 1", []
    ),
    "larger points": (
        pdf_page(b"BT /F 1.8 Tf 7 72 Td (EUR 94,000.00) Tj ET", page=b"/UserUnit 10", box=b"0 0 61.2 79.2"),
        "EUR 94,000.00",
        [],
    ),
}  # fmt: skip
UNDRAWN_PDFS = {
    "a hidden field": (
        with_field(b"", flags=2),
        [("The value of a field, which is not drawn", "EUR 94,000.00")],
    ),
    "a note": (with_note(b"/Subtype /Text /Contents (Pay 5,000)"), [("A note", "Pay 5,000")]),
    "a link": (
        with_note(b"/Subtype /Link /A << /S /URI /URI (https://evil.example/) >>"),
        [("Links to", "https://evil.example/")],
    ),
    "text beside the page": (
        pdf_page(TEXT + b"BT /F 12 Tf 700 600 Td (and more) Tj ET"),
        [("Text outside of the page", "and more")],
    ),
    "text that is cut off": (
        pdf_page(TEXT + b"BT /F 12 Tf 72 100 Td (and more) Tj ET", page=b"/CropBox [0 400 612 792]"),
        [("Text outside of the page", "and more")],
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", DRAWN_PDFS)
def test_pdf_is_drawn_with_fields_and_annotations_and_its_text_has_them(kind):
    content, words, notes = DRAWN_PDFS[kind]
    file = of_bytes(content)
    [page] = pdf_pages(file).pages
    assert words in page["text"]
    assert page["notes"] == notes
    picture = Image.open(io.BytesIO(parsed.page_picture(file, 1)))
    assert picture.size == (page["width"], page["height"]) == (1302, 1684)
    # The place where it is drawn has black points.
    assert picture.convert("L").crop((150, 100, 1000, 350)).getextrema()[0] < 100
    if "UserUnit" not in str(content):
        # Also where only the field or annotation is.
        assert picture.convert("L").crop((270, 195, 910, 325)).getextrema()[0] < 100


def test_what_a_pdf_does_not_draw_is_named():
    for kind, (content, notes) in UNDRAWN_PDFS.items():
        [page] = pdf_pages(of_bytes(content)).pages
        assert page["text"].strip() == "Payment order", kind
        assert page["notes"] == notes, kind
    pages = b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>"
    page = b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 9 9] >>"
    for content, flag in (
        (packed_pdf(b"<< /Pages 2 0 R %s >>" % SCRIPT, pages, page), "It contains JavaScript"),
        (packed_pdf(b"<< /Pages 2 0 R /A << /S /Launch >> >>", pages, page), "It can start a program."),
        (pdf_page(TEXT, b"<< /Type /OCG /Name (L) >>", catalog=LAYER), "It has a hidden layer"),
        (pdf_page(TEXT, b"<<>>", catalog=b"/AcroForm << /XFA 5 0 R >>"), "(XFA) that is not drawn"),
    ):  # fmt: skip
        [only] = of_bytes(content).seen["flags"]
        assert flag in only["sentence"]
