"""Draws pages of a PDF as PNG pictures, and reads their text, both with form fields and
annotations, as readers draw them. Nothing in the PDF is run: this PDFium is built without
scripts. Fonts that the file does not contain are replaced by PDFium's own."""

import contextlib
import ctypes
import io
import math
import re
import time
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import pypdfium2
from PIL import Image
from pypdfium2 import raw

from common.unique_keys import Json
from mirror.attachments.file_types import Refused

# Loads Pillow's modules now: a process that is confined cannot open their files.
Image.init()
MAX_PAGES = 200
# In pixels: the longer side of a picture. Points do not count, because a page may say
# that its points are larger, and PDFium does not tell.
LONGER_SIDE = 1684
# In bytes: a larger picture is drawn again at half its size.
MAX_PICTURE = 3 * 1024 * 1024
# In seconds of processor time: after this, no more text is read.
BUDGET = 1.0
# In bytes, for all streams: PDFium has no limit, and reads so much in about a second.
MAX_UNPACKED = 12 * 1024 * 1024
# So many bytes of pictures and fonts count as one.
DATA_PER_BYTE = 16
_STREAM = re.compile(rb"(?<!end)stream\r?\n?")
# In characters, for all pages.
MAX_TEXT = 100_000
# So many notes are returned of a page, and so many characters of each.
MAX_NOTES = 500
MAX_WORDS = 2000
# Something on a page that is not drawn, or not as text: its kind, which is "note",
# "field", "link" or "outside", and its words.
Note = tuple[str, str]
_FIELDS_WITH_TEXT = (
    raw.FPDF_FORMFIELD_TEXTFIELD,
    raw.FPDF_FORMFIELD_COMBOBOX,
    raw.FPDF_FORMFIELD_LISTBOX,
)


def read(content: bytes) -> Json:
    """Return a dict: `count` is how many pages the PDF has; `pages` has the size in
    pixels, the text and the notes of each of the first MAX_PAGES; `is_text_whole` says
    whether all text of these was read. Raises Refused.
    """
    document = _open(content)
    text_left = MAX_TEXT
    is_whole = True
    pages = []
    for index in range(min(len(document), MAX_PAGES)):
        width, height, _ = _drawn_size(document, index)
        text = ""
        notes: list[Note] = []
        is_read = text_left > 0 and time.process_time() < BUDGET
        try:
            if is_read:
                text, notes = _read_page(document, index)
        except pypdfium2.PdfiumError:
            is_read = False
        if len(text) > text_left or len(notes) > MAX_NOTES:
            is_read = False
            text = text[:text_left]
            notes = notes[:MAX_NOTES]
        text_left -= len(text) + sum(len(words) for _, words in notes)
        is_whole = is_whole and is_read
        pages.append({"width": width, "height": height, "text": text, "notes": notes})
    return {"count": len(document), "pages": pages, "is_text_whole": is_whole}


def _read_page(document: pypdfium2.PdfDocument, index: int) -> tuple[str, list[Note]]:
    """Return the text that is drawn on a page, and what is on it but is not drawn."""
    page = document[index]
    found = dict.fromkeys(_annotations(document, page))
    # The appearance of fields and annotations becomes part of the page, and its text.
    raw.FPDFPage_Flatten(page, raw.FLAT_NORMALDISPLAY)
    page.close()
    page = document[index]
    text_page = page.get_textpage()
    text = str(text_page.get_text_bounded())
    drawn = "".join(text.split())
    notes = [note for note in found if "".join(note[1].split()) not in drawn]
    if text_page.get_text_range() != text:
        left, bottom, right, top = page.get_bbox()
        for number in range(text_page.count_rects()):
            box = text_page.get_rect(number)
            if box[0] > right or box[2] < left or box[1] > top or box[3] < bottom:
                notes.append(("outside", str(text_page.get_text_bounded(*box))))
    return text, [(kind, words[:MAX_WORDS]) for kind, words in notes]


def _annotations(
    document: pypdfium2.PdfDocument, page: pypdfium2.PdfPage
) -> Iterator[Note]:
    """Yield the texts, values and addresses of a page's annotations."""
    form = document.formenv
    for index in range(raw.FPDFPage_GetAnnotCount(page)):
        annotation = raw.FPDFPage_GetAnnot(page, index)
        if raw.FPDFAnnot_GetFormFieldType(form, annotation) in _FIELDS_WITH_TEXT:
            yield "field", _string(raw.FPDFAnnot_GetFormFieldValue, form, annotation)
        yield "note", _string(raw.FPDFAnnot_GetStringValue, annotation, b"Contents")
        if link := raw.FPDFAnnot_GetLink(annotation):
            action = raw.FPDFLink_GetAction(link)
            buffer = ctypes.create_string_buffer(MAX_WORDS)
            raw.FPDFAction_GetURIPath(document, action, buffer, MAX_WORDS)
            yield "link", buffer.value.decode("utf-8", "replace")
        raw.FPDFPage_CloseAnnot(annotation)


def _string(read_into: Callable[..., int], *of: Any) -> str:
    """Return a text of PDFium's, which is written into a buffer of 16-bit numbers."""
    buffer = (ctypes.c_ushort * (read_into(*of, None, 0) // 2))()
    read_into(*of, buffer, ctypes.sizeof(buffer))
    return bytes(buffer).decode("utf-16-le", "replace").rstrip("\0")


def all_objects(content: bytes) -> bytes:
    """Return the objects of a PDF in plain form, also those that it has packed; nothing
    if it cannot be opened.
    """
    copy = io.BytesIO()
    try:
        document = pypdfium2.PdfDocument(content)
    except pypdfium2.PdfiumError:
        return b""
    # An error here is none of opening: what is packed may be too large. Then nobody
    # knows what is in it.
    document.save(copy)
    return copy.getvalue()


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


def _check_unpacked(content: bytes) -> None:
    """Raise Refused if the streams that FlateDecode packed, once or several times,
    unpack to more than MAX_UNPACKED. Others hardly grow.
    """
    left = MAX_UNPACKED * DATA_PER_BYTE
    for match in _STREAM.finditer(content):
        entries = content[max(0, match.start() - 1000) : match.start()]
        is_data = b"/Image" in entries or b"/Length1" in entries
        weight = 1 if is_data else DATA_PER_BYTE
        packed = memoryview(content)[match.end() :]
        while unpacked := _unpack(packed, most=left // weight + 1):
            left -= len(unpacked) * weight
            if left < 0:
                raise Refused("too_large")
            packed = memoryview(unpacked)


def _unpack(packed: memoryview, *, most: int) -> bytes:
    """Return what FlateDecode unpacks. As in PDFium, an error only ends it."""
    unpacker = zlib.decompressobj()
    unpacked = bytearray()
    with contextlib.suppress(zlib.error):
        for start in range(0, len(packed), 4096):
            piece: Any = packed[start : start + 4096]
            while piece and not unpacker.eof and len(unpacked) < most:
                unpacked += unpacker.decompress(piece, 4096)
                piece = unpacker.unconsumed_tail
            if unpacker.eof or piece:
                break
    return bytes(unpacked)


def _open(content: bytes) -> pypdfium2.PdfDocument:
    _check_unpacked(content)
    try:
        document = pypdfium2.PdfDocument(content)
    except pypdfium2.PdfiumError as error:
        is_locked = error.err_code in (raw.FPDF_ERR_PASSWORD, raw.FPDF_ERR_SECURITY)
        raise Refused("locked" if is_locked else "broken") from error
    if not len(document):
        raise Refused("broken")
    # Gives fields and annotations that have no appearance the usual one.
    config = raw.FPDF_FORMFILLINFO(version=2)
    form = raw.FPDFDOC_InitFormFillEnvironment(document, config)
    document.formenv = pypdfium2.PdfFormEnv(form, config)
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
    scale = LONGER_SIDE / longer
    return max(1, math.ceil(width * scale)), max(1, math.ceil(height * scale)), scale


def _png_of(page: pypdfium2.PdfPage, scale: float) -> bytes:
    output = io.BytesIO()
    page.render(scale=scale, rev_byteorder=True).to_pil().save(output, "PNG")
    return output.getvalue()
