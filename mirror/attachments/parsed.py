"""Sends attached files to the parser, a confined process, and returns what it answers:
what a file is, or a rendering of it. Renderings are stored on disk for an hour at most.

The SHA-256 of a file's bytes is part of the name of its rendering on disk. The answer
that a file could not be rendered is stored too, so that a hostile file takes its time
only once.
"""

import contextlib
import json
import os
import tempfile
import time
from pathlib import Path

from django.conf import settings

from common.unique_keys import Json
from mirror.attachments.file_types import Detection, Event, Flag, Refused
from mirror.models import AttachedFile, StoredFile
from parsing.client import ParserKilled, ParserUnavailable, from_source, parse
from parsing.jobs import pack

# For how many seconds a page waits for the parser, and a worker.
PATIENCE = 20.0
LONG_PATIENCE = 60.0
PNG = b"\x89PNG\r\n\x1a\n"
NOT_SAFE = Flag(
    "high",
    "It could not be read safely: that took too much time or memory, twice.",
    "hides",
)


def detect_file(content: bytes, *, name: str, content_type: str) -> Detection:
    """Return what the parser detects about a file. If the parser has to be killed, the
    detection says that the file is unsafe. Raises ParserUnavailable.
    """
    request = pack({"name": name, "content_type": content_type}, content)
    try:
        answer = json.loads(parse("detect_file", request, patience=LONG_PATIENCE))
    except ParserKilled:
        return Detection(kind="unknown", flags=(NOT_SAFE,), is_unsafe=True)
    answer["flags"] = [Flag(**one) for one in answer["flags"]]
    answer["events"] = [Event(**one) for one in answer["events"]]
    return Detection(**answer)


def render_file(content: bytes, kind: str, page: int) -> bytes:
    """Return a page of a PDF as a PNG picture; with page 0 what the file's reader
    found, as JSON. If the file cannot be rendered, the JSON says why. Raises Refused if
    the parser is busy.
    """
    request = pack({"kind": kind, "page": page}, content)
    try:
        return parse("render_file", request, patience=PATIENCE)
    except ParserKilled:
        return b'{"error": "too_much"}'
    except ParserUnavailable as error:
        raise Refused("busy") from error


# --- Renderings on disk ---------------------------------------------------------------


# Part of each name: raise it when renderings change.
VERSION = 14
# PDF and Office files are drawn, and of pictures the metadata is read.
RENDERED = frozenset("pdf docx xlsx pptx odf".split())
KINDS = RENDERED | {"png", "jpeg", "gif", "webp"}
# How many bytes of renderings are stored, and for how many seconds.
MAX_KEPT = 128 * 1024 * 1024
MAX_AGE = 3600.0


def read_rendering(file: StoredFile) -> Json:
    """Return what the file's reader found: see `read` of the modules in `renderings`.
    Raises Refused.
    """
    answer: Json = json.loads(_rendering(file))
    if error := answer.get("error"):
        raise Refused(error)
    return answer


def page_picture(file: AttachedFile, page: int) -> bytes:
    """Return one page of a PDF as a PNG picture. Raises Refused."""
    if file.kind != "pdf" or not page:
        raise Refused("no_page")
    rendering = _rendering(file, page)
    if not rendering.startswith(PNG):
        raise Refused(json.loads(rendering).get("error"))
    return rendering


def drop_old_renderings() -> int:
    """Delete old renderings, and the oldest ones while all together are too large;
    return how many were deleted.
    """
    renderings = []
    for path in _folder().glob("*"):
        with contextlib.suppress(OSError):
            info = path.stat()
            renderings.append((info.st_mtime, info.st_size, path))
    dropped = 0
    total = 0
    for made_at, size, path in sorted(renderings, reverse=True):
        total += size
        if total > MAX_KEPT or made_at < time.time() - MAX_AGE:
            path.unlink(missing_ok=True)
            dropped += 1
    return dropped


def _rendering(file: StoredFile, page: int = 0) -> bytes:
    """Return the picture of a page, or what the file's reader found."""
    try:
        path = _folder() / f"{file.found_sha256}-{VERSION}-{file.kind}-{page}"
        with contextlib.suppress(OSError):
            if path.stat().st_mtime > time.time() - MAX_AGE:
                return path.read_bytes()
        if file.kind not in KINDS or file.content is None:
            raise Refused("form")
        with from_source(f"file {file.found_sha256}"):
            rendering = render_file(bytes(file.content), file.kind, page)
        # If it cannot be stored, because the disk is full, it is made again next time.
        with (
            contextlib.suppress(OSError),
            tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as temporary,
        ):
            temporary.write(rendering)
            temporary.flush()
            os.replace(temporary.name, path)
        drop_old_renderings()
        return rendering
    except OSError as error:
        raise Refused("no_room") from error


def _folder() -> Path:
    folder = Path(settings.DATA_DIR) / "renderings"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder
