"""Draws pages of a PDF as PNG pictures, and reads their text. Nothing in the PDF is
run: PDFium is used without forms and scripts. Fonts that the file does not contain are
replaced by PDFium's own."""

import io
import math
import time
from typing import Any

import pypdfium2
from PIL import Image
from pypdfium2 import raw

from mirror.attachments.file_types import Refused

# Loads Pillow's modules now: a process that is confined cannot open their files.
Image.init()
MAX_PAGES = 200
# In pixels: the longer side of a picture, and a point of the page at most.
MAX_SIDE = 1700
MAX_SCALE = 2.0
# In bytes: a larger picture is drawn again at half its size.
MAX_PICTURE = 3 * 1024 * 1024
# In seconds of processor time: after this, no more text is read.
BUDGET = 3.0
# In characters, for all pages.
MAX_TEXT = 100_000


def read(content: bytes, kind: str) -> dict[str, Any]:
    """Return a dict: `count` is how many pages the PDF has; `pages` has the size in
    pixels and the text of each of the first MAX_PAGES; `is_text_whole` says whether all
    text of these was read. Raises Refused.
    """
    document = _open(content)
    text_left = MAX_TEXT
    is_whole = True
    pages = []
    for index in range(min(len(document), MAX_PAGES)):
        text = ""
        try:
            if text_left > 0 and time.process_time() < BUDGET:
                read_text = document[index].get_textpage().get_text_bounded()
                text = str(read_text)[:text_left]
        except pypdfium2.PdfiumError:
            is_whole = False
        text_left -= len(text)
        width, height, _ = _drawn_size(document, index)
        pages.append({"width": width, "height": height, "text": text})
    return {
        "count": len(document),
        "pages": pages,
        "is_text_whole": is_whole and text_left > 0 and time.process_time() < BUDGET,
    }


def draw(content: bytes, page: int) -> bytes:
    """Return a PNG picture of one page; the first page is 1. Raises Refused."""
    document = _open(content)
    if not 1 <= page <= min(len(document), MAX_PAGES):
        raise Refused("no_page")
    _, _, scale = _drawn_size(document, page - 1)
    if not scale:
        raise Refused("broken")
    try:
        drawn_page = document[page - 1]
        picture = _png_of(drawn_page, scale)
        return (
            picture if len(picture) <= MAX_PICTURE else _png_of(drawn_page, scale / 2)
        )
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
    # Width and height in pixels, and the scale; the scale is 0 if the page is broken.
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
