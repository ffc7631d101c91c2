"""Has files read by the parser: bytes go to a process apart, and plain values and
pictures come back. Renderings are kept on disk for a while.

A file's renderings are found by the SHA-256 of its bytes. What could not be made is
kept too: a hostile file costs its time once.
"""

import contextlib
import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any

from django.conf import settings

from mirror.attachments.file_types import SENTENCES, Detection, Flag, Refused
from mirror.models import AttachedFile, StoredFile
from parsing.client import ParserKilled, ParserUnavailable, parse
from parsing.jobs import pack

# Seconds that a request waits, and a worker, for whom nobody waits.
PATIENCE = 20.0
LONG_PATIENCE = 60.0
PNG = b"\x89PNG\r\n\x1a\n"
NOT_SAFE = Flag(
    "high", "It could not be read safely: that took too much time or memory, twice."
)


def detect_file(content: bytes, *, name: str, content_type: str) -> Detection:
    """Return what these bytes are, and what contradicts the name and type under which
    they are sent.

    Of bytes that cannot be read safely only that is known. Raises ParserUnavailable.
    """
    request = pack({"name": name, "content_type": content_type}, content)
    try:
        found = json.loads(parse("detect_file", request, patience=LONG_PATIENCE))
    except ParserKilled:
        return Detection(kind="unknown", flags=(NOT_SAFE,), is_unsafe=True)
    flags = tuple(Flag(**one) for one in found["flags"])
    return Detection(**{**found, "flags": flags, "members": tuple(found["members"])})


def render_file(content: bytes, kind: str, page: int) -> bytes:
    """Return a page of a PDF as a PNG picture, or as JSON what the file says, or why
    there is neither. Raises Refused where the parser is busy.
    """
    request = pack({"kind": kind, "page": page}, content)
    try:
        return parse("render_file", request, tries=1, patience=PATIENCE)
    except ParserKilled:
        return b'{"error": "too_much"}'
    except ParserUnavailable as error:
        raise Refused("busy") from error


# --- Renderings on disk ---------------------------------------------------------------


# Part of each name: raise it when renderings change.
VERSION = 6
# PDF and Office files are drawn, and of pictures the metadata is read.
RENDERED = frozenset({"pdf", "docx", "xlsx", "pptx", "odf"})
KINDS = RENDERED | {"png", "jpeg", "gif", "webp"}
# Bytes and seconds that renderings are kept.
MAX_KEPT = 128 * 1024 * 1024
MAX_AGE = 3600.0


def read_rendering(file: StoredFile) -> dict[str, Any]:
    """Return what the file's reader found: see `read` of the modules in `renderings`.
    Raises Refused.
    """
    answer: dict[str, Any] = json.loads(_made(file))
    if error := answer.get("error"):
        raise Refused(error if error in SENTENCES else "broken")
    return answer


def page_picture(file: AttachedFile, page: int) -> bytes:
    """Return one page of a PDF as a PNG picture. Raises Refused."""
    if file.kind != "pdf" or not page:
        raise Refused("no_page")
    made = _made(file, page)
    if not made.startswith(PNG):
        error = json.loads(made).get("error")
        raise Refused(error if error in SENTENCES else "broken")
    return made


def drop_old_renderings() -> int:
    """Delete renderings that are old, and the oldest while there are too many; return
    how many.
    """
    found = []
    for path in _folder().glob("*-*"):
        with contextlib.suppress(OSError):
            facts = path.stat()
            found.append((facts.st_mtime, facts.st_size, path))
    dropped = 0
    total = 0
    for made_at, size, path in sorted(found, reverse=True):
        total += size
        if total > MAX_KEPT or made_at < time.time() - MAX_AGE:
            path.unlink(missing_ok=True)
            dropped += 1
    return dropped


def _made(file: StoredFile, page: int = 0) -> bytes:
    """Return the picture of a page, or what the file's reader found."""
    try:
        path = _folder() / f"{file.found_sha256}-{VERSION}-{file.kind}-{page}"
        with contextlib.suppress(OSError):
            if path.stat().st_mtime > time.time() - MAX_AGE:
                return path.read_bytes()
        if file.kind not in KINDS or file.content is None:
            raise Refused("form")
        made = render_file(bytes(file.content), file.kind, page)
        # Unless the disk is full: then it is made again.
        with (
            contextlib.suppress(OSError),
            tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as kept,
        ):
            kept.write(made)
            kept.flush()
            os.replace(kept.name, path)
        drop_old_renderings()
        return made
    except OSError as error:
        raise Refused("no_room") from error


def _folder() -> Path:
    folder = Path(settings.DATA_DIR) / "renderings"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder
