"""What the parser does with files: says what they are, renders those that people can
look at.
"""

import json
from collections.abc import Callable
from dataclasses import asdict
from functools import wraps
from typing import Any

from mirror.attachments.detection import detect_file
from mirror.attachments.file_types import Refused
from mirror.attachments.renderings import documents, pdf_pages, pictures
from parsing.jobs import MEGABYTE, Job, pack, unpack

_READERS: dict[str, Callable[[bytes, str], dict[str, Any]]] = {
    "pdf": pdf_pages.read,
    **dict.fromkeys(("docx", "xlsx"), documents.read),
    **dict.fromkeys(("png", "jpeg", "gif", "webp"), pictures.read),
}


def _detect(request: bytes) -> bytes:
    asked, (content,) = unpack(request)
    return json.dumps(asdict(detect_file(content, **asked))).encode()


def _answering(answer: Callable[[bytes], bytes]) -> Callable[[bytes], bytes]:
    """Have a job answer `{"error": …}` with a key of `file_types.SENTENCES` for what
    cannot be read or drawn.
    """

    @wraps(answer)
    def job(request: bytes) -> bytes:
        try:
            return answer(request)
        except Refused as refused:
            return pack({"error": refused.reason})
        except MemoryError:
            raise
        except Exception:  # noqa: BLE001 -- whatever a made-up file breaks, its reviewer gets a sentence
            return pack({"error": "broken"})

    return job


@_answering
def _read(request: bytes) -> bytes:
    asked, (content,) = unpack(request)
    return pack(_READERS[asked["kind"]](content, asked["kind"]))


@_answering
def _draw_pages(request: bytes) -> bytes:
    asked, (content,) = unpack(request)
    drawn: list[bytes] = []
    try:
        for picture in pdf_pages.draw(content, **asked):
            drawn.append(picture)
    except Refused:
        # Those before it can be shown.
        if not drawn:
            raise
    return pack({}, *drawn)


_MEMORY = 512 * MEGABYTE
JOBS = {
    "detect_file": Job(_detect, seconds=2),
    "read_file": Job(_read, seconds=10, memory=_MEMORY),
    "draw_pages": Job(_draw_pages, seconds=10, memory=_MEMORY),
}
