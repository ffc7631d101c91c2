"""The two jobs on attached files that run in the parser's confined processes: to detect
what a file is, and to render it. Each takes bytes and returns bytes.
"""

import json
from dataclasses import asdict

from common.unique_keys import Json
from mirror.attachments.detection import detect_file
from mirror.attachments.file_types import Refused
from mirror.attachments.renderings import pdf_pages, pictures
from mirror.attachments.renderings.documents import read_slides, read_word
from mirror.attachments.renderings.office import Outline, Package
from mirror.attachments.renderings.open_documents import read_opendocument
from mirror.attachments.renderings.sheets import read_workbook
from parsing.jobs import MEGABYTE, Job, unpack

_OFFICE = {
    "docx": read_word,
    "xlsx": read_workbook,
    "pptx": read_slides,
    "odf": read_opendocument,
}


def _read(content: bytes, kind: str) -> Json:
    """Return what is in a file as plain data; of an Office file it is its outline (see
    `Outline.found`). Raises Refused.
    """
    if kind == "pdf":
        return pdf_pages.read(content)
    if kind not in _OFFICE:
        return pictures.read(content, kind)
    package = Package(content)
    outline = Outline(package.notes())
    _OFFICE[kind](package, outline)
    return outline.found()


def _detect(request: bytes) -> bytes:
    parameters, (content,) = unpack(request)
    return json.dumps(asdict(detect_file(content, **parameters))).encode()


def _render(request: bytes) -> bytes:
    """Return a page of a PDF as a PNG picture, or JSON with what the file's reader
    found. If the file cannot be rendered it is `{"error": …}` with a key of
    `file_types.SENTENCES`.
    """
    parameters, (content,) = unpack(request)
    try:
        if parameters["page"]:
            return pdf_pages.draw(content, parameters["page"])
        return json.dumps(_read(content, parameters["kind"])).encode()
    except Refused as refused:
        error = refused.reason
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001 -- whatever a made-up file breaks, its reviewer gets a sentence
        error = "broken"
    return json.dumps({"error": error}).encode()


JOBS = {
    "detect_file": Job(_detect, seconds=2),
    "render_file": Job(_render, seconds=4, memory=512 * MEGABYTE),
}
