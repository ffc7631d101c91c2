"""Makes renderings in a process apart, a few at a time, and keeps them on disk for a while.

A file's renderings are found by the SHA-256 of its bytes. What could not be made is kept too: a hostile file costs its
time once.
"""

import contextlib
import json
import logging
import os
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.conf import settings

from mirror.attachments.renderings.refusals import SENTENCES, Refused
from mirror.models import AttachedFile

# Started by its path: nothing of it may be imported here, where its libraries would stay in memory.
PROGRAM = str(Path(__file__).with_name("program.py"))
log = logging.getLogger(__name__)

# Part of each name: raise it when renderings change.
VERSION = 1
PNG = b"\x89PNG\r\n\x1a\n"
KINDS = frozenset({"pdf", "docx", "xlsx", "pptx", "odf", "png", "jpeg", "gif", "webp"})
# Seconds from start to end, of which the process itself may compute a part: see `confinement`.
DEADLINE = 20.0
MAX_OUTPUT = 16 * 1024 * 1024
# Processes at once, and seconds that a request waits for one: the desk has few threads, and others need them.
SLOTS, PATIENCE = 2, 1.5
# Seconds that a worker waits for one: nobody waits for the worker.
LONG_PATIENCE = 30.0
_slots = threading.BoundedSemaphore(SLOTS)
# Bytes and seconds that renderings are kept.
MAX_KEPT, MAX_AGE = 128 * 1024 * 1024, 3600.0


def read_rendering(file: AttachedFile) -> dict[str, Any]:
    """Return what the file's reader found: see `read` of the modules beside this one. Raises Refused."""
    found = _made(file, "read", 0)
    answer: dict[str, Any] = json.loads(found)
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


def drawn_again(content: bytes) -> bytes:
    """Return a stranger's picture as a PNG picture that was made of it here; it is not kept. Raises Refused."""
    if not _slots.acquire(timeout=LONG_PATIENCE):
        raise Refused("busy")
    try:
        answer, pictures = _run(content, "remote", 1)
    except OSError as error:
        raise Refused("no_room") from error
    finally:
        _slots.release()
    if not pictures:
        reason = json.loads(answer).get("error")
        raise Refused(reason if reason in SENTENCES else "broken")
    return pictures[0]


def drop_old_renderings() -> int:
    """Delete renderings that are old, and the oldest while there are too many; return how many."""
    found = []
    for path in _folder().glob("*-*"):
        with contextlib.suppress(OSError):
            facts = path.stat()
            found.append((facts.st_mtime, facts.st_size, path))
    dropped, total = 0, 0
    for made_at, size, path in sorted(found, reverse=True):
        total += size
        if total > MAX_KEPT or made_at < time.time() - MAX_AGE:
            path.unlink(missing_ok=True)
            dropped += 1
    return dropped


def _made(file: AttachedFile, part: str, page: int) -> bytes:
    try:
        path = _path(file, part)
        if (kept := _kept(path)) is not None:
            return kept
        if file.kind not in KINDS or file.content is None:
            raise Refused("form")
        if not _slots.acquire(timeout=PATIENCE):
            raise Refused("busy")
        try:
            return _make(file, path, page)
        finally:
            _slots.release()
    except OSError as error:
        raise Refused("no_room") from error


def _make(file: AttachedFile, path: Path, page: int) -> bytes:
    answer, pictures = _run(bytes(file.content or b""), file.kind, page)
    for number, picture in enumerate(pictures[1:], start=page + 1):
        _keep(_path(file, f"page-{number}"), picture)
    made = pictures[0] if pictures else answer
    _keep(path, made)
    drop_old_renderings()
    return made


def _run(content: bytes, kind: str, page: int) -> tuple[bytes, list[bytes]]:
    """Run the process on these bytes; return its answer, which is an error where it came to none, and pictures."""
    command = [sys.executable, "-I", PROGRAM, kind, *([str(page)] if page else [])]
    with tempfile.TemporaryFile() as source:
        source.write(content)
        source.seek(0)
        # Nothing is inherited: no descriptor but these, and no environment, in which the desk's secrets are.
        with subprocess.Popen(
            command, stdin=source, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env={}, cwd="/"
        ) as process:
            deadline = threading.Timer(DEADLINE, process.kill)
            deadline.start()
            try:
                assert process.stdout is not None
                output = process.stdout.read(MAX_OUTPUT + 1)
                if len(output) > MAX_OUTPUT:
                    process.kill()
                process.wait()
            finally:
                process.kill()
                deadline.cancel()
    line, _, rest = output.partition(b"\n")
    pictures = list(_pictures(rest))
    if len(output) > MAX_OUTPUT or (process.returncode and not pictures) or not (pictures or _is_answer(line)):
        log.warning("no rendering", extra={"kind": kind, "status": process.returncode, "size": len(output)})
        if process.returncode > 0:
            # It did not even begin: that is not the file's doing, so it is not kept.
            raise Refused("failed")
        return json.dumps({"error": "too_much"}).encode(), []
    return line, pictures


def _is_answer(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def _pictures(rest: bytes) -> Iterator[bytes]:
    """Yield the pictures that came whole."""
    at = 0
    while at + 4 <= len(rest):
        (size,) = struct.unpack_from(">I", rest, at)
        picture = rest[at + 4 : at + 4 + size]
        if len(picture) < size or not picture.startswith(PNG):
            return
        yield picture
        at += 4 + size


def _folder() -> Path:
    folder = Path(settings.DATA_DIR) / "renderings"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def _path(file: AttachedFile, part: str) -> Path:
    return _folder() / f"{file.found_sha256}-{VERSION}-{file.kind}-{part}"


def _kept(path: Path) -> bytes | None:
    try:
        return path.read_bytes() if path.stat().st_mtime > time.time() - MAX_AGE else None
    except OSError:
        return None


def _keep(path: Path, made: bytes) -> None:
    """Keep it, unless the disk is full: then it is made again."""
    with contextlib.suppress(OSError), tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
        file.write(made)
        file.flush()
        os.replace(file.name, path)
