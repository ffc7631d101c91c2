"""What the parser does with files: says what they are, and renders those that people can
look at.
"""

import json
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from mirror.attachments.detection import detect_file
from mirror.attachments.file_types import Refused
from mirror.attachments.renderings import documents, pdf_pages, pictures
from parsing.jobs import MEGABYTE, Job, unpack

_READERS: dict[str, Callable[[bytes, str], dict[str, Any]]] = {
    "pdf": pdf_pages.read,
    **dict.fromkeys(("docx", "xlsx", "pptx", "odf"), documents.read),
    **dict.fromkeys(("png", "jpeg", "gif", "webp"), pictures.read),
}


def _detect(request: bytes) -> bytes:
    asked, (content,) = unpack(request)
    return json.dumps(asdict(detect_file(content, **asked))).encode()


def _render(request: bytes) -> bytes:
    """Return a page as a PNG picture, or as JSON what the file says; of what cannot be
    rendered `{"error": …}` with a key of `file_types.SENTENCES`.
    """
    asked, (content,) = unpack(request)
    try:
        if asked["page"]:
            return pdf_pages.draw(content, asked["page"])
        found = _READERS[asked["kind"]](content, asked["kind"])
        return json.dumps(found).encode()
    except Refused as refused:
        error = refused.reason
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001 -- whatever a made-up file breaks, its reviewer gets a sentence
        error = "broken"
    return json.dumps({"error": error}).encode()


JOBS = {
    "detect_file": Job(_detect, seconds=2),
    "render_file": Job(_render, seconds=10, memory=512 * MEGABYTE),
}
