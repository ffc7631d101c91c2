"""Has renderings made by the parser, and keeps them on disk for a while.

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

from mirror.attachments.parsed import PNG, draw_pages, read_file
from mirror.attachments.renderings.refusals import SENTENCES, Refused
from mirror.models import AttachedFile

# Part of each name: raise it when renderings change.
VERSION = 2
KINDS = frozenset({"pdf", "docx", "xlsx", "pptx", "odf", "png", "jpeg", "gif", "webp"})
# Bytes and seconds that renderings are kept.
MAX_KEPT = 128 * 1024 * 1024
MAX_AGE = 3600.0


def read_rendering(file: AttachedFile) -> dict[str, Any]:
    """Return what the file's reader found: see `read` of the modules beside this one.
    Raises Refused.
    """
    answer: dict[str, Any] = json.loads(_made(file, "read", 0))
    if error := answer.get("error"):
        raise Refused(error if error in SENTENCES else "broken")
    return answer


def page_picture(file: AttachedFile, page: int) -> bytes:
    """Return one page of a PDF as a PNG picture. Raises Refused."""
    found = _made(file, f"page-{page}", page)
    if not found.startswith(PNG):
        reason = json.loads(found).get("error")
        raise Refused(reason if reason in SENTENCES else "broken")
    return found


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


def _made(file: AttachedFile, part: str, page: int) -> bytes:
    try:
        path = _path(file, part)
        with contextlib.suppress(OSError):
            if path.stat().st_mtime > time.time() - MAX_AGE:
                return path.read_bytes()
        if file.kind not in KINDS or file.content is None:
            raise Refused("form")
        content = bytes(file.content)
        try:
            if page:
                made, *following = draw_pages(content, page)
                for number, picture in enumerate(following, start=page + 1):
                    _keep(_path(file, f"page-{number}"), picture)
            else:
                made = json.dumps(read_file(content, file.kind)).encode()
        except Refused as refused:
            if refused.reason == "busy":
                raise
            made = json.dumps({"error": refused.reason}).encode()
        _keep(path, made)
        drop_old_renderings()
        return made
    except OSError as error:
        raise Refused("no_room") from error


def _folder() -> Path:
    folder = Path(settings.DATA_DIR) / "renderings"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def _path(file: AttachedFile, part: str) -> Path:
    return _folder() / f"{file.found_sha256}-{VERSION}-{file.kind}-{part}"


def _keep(path: Path, made: bytes) -> None:
    """Keep it, unless the disk is full: then it is made again."""
    with (
        contextlib.suppress(OSError),
        tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file,
    ):
        file.write(made)
        file.flush()
        os.replace(file.name, path)
