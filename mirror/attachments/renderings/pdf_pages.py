"""Draws pages of a PDF as PNG pictures, and reads their text. Nothing in it runs:
PDFium is used without forms and scripts, and fonts that the file does not carry are
drawn with PDFium's own."""

import io
import math
import time
from contextlib import suppress
from typing import Any

import pypdfium2
from PIL import Image
from pypdfium2 import raw

from mirror.attachments.file_types import Refused

# Imported now: no file can be opened once this process is confined.
Image.init()
MAX_PAGES = 200
# Pixels of the longer side, and how many a point of the page becomes at most.
MAX_SIDE = 1700
MAX_SCALE = 2.0
# A larger picture is drawn again at half its size.
MAX_PICTURE = 3 * 1024 * 1024
# No further text is read after so many seconds of processor time.
BUDGET = 3.0
MAX_TEXT = 100_000


def read(content: bytes, kind: str) -> dict[str, Any]:
    """Return how many pages there are, and of those shown the size as drawn and the
    text. Raises Refused.
    """
    document = _open(content)
    left = MAX_TEXT
    pages = []
    for index in range(min(len(document), MAX_PAGES)):
        text = ""
        if left > 0 and time.process_time() < BUDGET:
            with suppress(pypdfium2.PdfiumError):
                read_text = document[index].get_textpage().get_text_bounded()
                text = str(read_text)[:left]
            left -= len(text)
        width, height, _ = _drawn_size(document, index)
        pages.append({"width": width, "height": height, "text": text})
    return {
        "count": len(document),
        "pages": pages,
        "is_text_whole": left > 0 and time.process_time() < BUDGET,
    }


def draw(content: bytes, page: int) -> bytes:
    """Return the picture of this page, counted from 1. Raises Refused."""
    document = _open(content)
    if not 1 <= page <= min(len(document), MAX_PAGES):
        raise Refused("no_page")
    _, _, scale = _drawn_size(document, page - 1)
    if not scale:
        raise Refused("broken")
    try:
        shown = document[page - 1]
        picture = _png_of(shown, scale)
        return picture if len(picture) <= MAX_PICTURE else _png_of(shown, scale / 2)
    except pypdfium2.PdfiumError as error:
        raise Refused("broken") from error


def _open(content: bytes) -> pypdfium2.PdfDocument:
    try:
        document = pypdfium2.PdfDocument(content)
    except pypdfium2.PdfiumError as error:
        is_locked = error.err_code in (raw.FPDF_ERR_PASSWORD, raw.FPDF_ERR_SECURITY)
        raise Refused("locked" if is_locked else "broken") from error
    if not len(document):
        raise Refused("broken")
    return document


def _drawn_size(document: pypdfium2.PdfDocument, index: int) -> tuple[int, int, float]:
    try:
        width, height = document.get_page_size(index)
    except pypdfium2.PdfiumError:
        return 1, 1, 0
    longer = max(width, height)
    if not 0 < longer < 1e9:
        return 1, 1, 0
    scale = min(MAX_SCALE, MAX_SIDE / longer)
    return max(1, math.ceil(width * scale)), max(1, math.ceil(height * scale)), scale


def _png_of(page: pypdfium2.PdfPage, scale: float) -> bytes:
    output = io.BytesIO()
    page.render(scale=scale, rev_byteorder=True, may_draw_forms=False).to_pil().save(
        output, "PNG"
    )
    return output.getvalue()
