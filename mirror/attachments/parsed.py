"""Has files read by the parser: bytes go to a process apart, and plain values and
pictures come back.
"""

import json
from collections.abc import Sequence
from typing import Any

from mirror.attachments.flags import Detection, Flag
from mirror.attachments.renderings.refusals import SENTENCES, Refused
from parsing.client import ParserKilled, ParserUnavailable, parse
from parsing.jobs import pack, unpack

# Seconds that a request waits, and a worker, for whom nobody waits.
PATIENCE = 20.0
LONG_PATIENCE = 60.0
PNG = b"\x89PNG\r\n\x1a\n"
# Pages of a PDF that are drawn at once.
AT_ONCE = 4
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


def read_file(content: bytes, kind: str) -> dict[str, Any]:
    """Return what a file's reader found: see `read` of the modules in `renderings`.
    Raises Refused.
    """
    found, _ = _asked("read_file", pack({"kind": kind}, content), patience=PATIENCE)
    return found


def draw_pages(content: bytes, page: int, *, at_once: int = AT_ONCE) -> Sequence[bytes]:
    """Return a page of a PDF and some that follow, each as a PNG picture. Raises
    Refused.
    """
    request = pack({"page": page, "at_once": at_once}, content)
    try:
        _, pictures = _asked("draw_pages", request, patience=PATIENCE, tries=1)
    except Refused as refused:
        if refused.reason != "too_much" or at_once == 1:
            raise
        # Perhaps only one that follows takes too much.
        return draw_pages(content, page, at_once=1)
    return pictures


def draw_picture(content: bytes) -> bytes:
    """Return a stranger's picture as a PNG picture that was made of it here. Raises
    Refused.
    """
    _, pictures = _asked("draw_picture", content, patience=LONG_PATIENCE)
    return pictures[0]


def _asked(
    job: str, request: bytes, *, patience: float, tries: int = 2
) -> tuple[dict[str, Any], list[bytes]]:
    try:
        found, pictures = unpack(parse(job, request, tries=tries, patience=patience))
    except ParserKilled as error:
        raise Refused("too_much") from error
    except ParserUnavailable as error:
        raise Refused("busy") from error
    if reason := found.get("error"):
        raise Refused(
            reason if reason in SENTENCES else "broken", str(found.get("detail", ""))
        )
    if not (found or pictures) or not all(one.startswith(PNG) for one in pictures):
        raise Refused("broken")
    return found, pictures
