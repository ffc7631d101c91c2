"""What the parser does with files: says what they are, renders those that people can
look at, draws pictures again.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from typing import Any

from mirror.attachments.detection import detect_file
from mirror.attachments.renderings import (
    opendocument,
    pdf_pages,
    picture_drawn,
    picture_metadata,
    slides,
    word,
    workbook,
)
from mirror.attachments.renderings.refusals import Refused
from parsing.jobs import MEGABYTE, Job, pack, unpack

_READERS: dict[str, Callable[[bytes, str], dict[str, Any]]] = {
    "pdf": pdf_pages.read,
    "docx": word.read,
    "xlsx": workbook.read,
    "pptx": slides.read,
    "odf": opendocument.read,
    **dict.fromkeys(("png", "jpeg", "gif", "webp"), picture_metadata.read),
}


def _detect(request: bytes) -> bytes:
    asked, (content,) = unpack(request)
    found = detect_file(content, name=asked["name"], content_type=asked["content_type"])
    return json.dumps(asdict(found)).encode()


def _read(request: bytes) -> bytes:
    asked, (content,) = unpack(request)
    return _answer(lambda: (_READERS[asked["kind"]](content, asked["kind"]), ()))


def _draw_pages(request: bytes) -> bytes:
    asked, (content,) = unpack(request)
    return _answer(
        lambda: ({}, pdf_pages.draw(content, asked["page"], at_once=asked["at_once"]))
    )


def _draw_picture(content: bytes) -> bytes:
    return _answer(lambda: ({}, (picture_drawn.draw(content),)))


def _answer(read: Callable[[], tuple[dict[str, Any], Iterable[bytes]]]) -> bytes:
    """Return what was read and drawn, or `{"error": …}` with a key of
    `refusals.SENTENCES`.
    """
    try:
        found, pictures = read()
        return pack(found, *_drawn(iter(pictures)))
    except Refused as refused:
        return pack({"error": refused.reason, "detail": refused.detail})
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001 -- whatever a made-up file breaks, its reviewer gets a sentence
        return pack({"error": "broken", "detail": ""})


def _drawn(pictures: Iterator[bytes]) -> Iterator[bytes]:
    """Yield the pictures up to the first that cannot be drawn, unless that is the first
    of all.
    """
    number = 0
    try:
        for picture in pictures:
            number += 1
            yield picture
    except Refused:
        if not number:
            raise


_MEMORY = 512 * MEGABYTE
JOBS = {
    "detect_file": Job(_detect, seconds=2),
    "read_file": Job(_read, seconds=10, memory=_MEMORY),
    "draw_pages": Job(_draw_pages, seconds=10, memory=_MEMORY),
    "draw_picture": Job(_draw_picture, seconds=10, memory=_MEMORY),
}
