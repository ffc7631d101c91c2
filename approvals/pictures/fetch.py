"""Fetches remote pictures that somebody asked for, in a worker: the only caller of
`guarded.download`.

A row is marked before its picture is requested. Where the worker died after that, the
picture is not requested again unless a person asks for it. No lock is held during a
request or while a picture is drawn.
"""

import logging
import struct
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from django.db import transaction

from approvals.decisions.ruling import stop_of
from approvals.pictures.outcomes import (
    MAX_ALL_BYTES,
    MAX_BYTES,
    hosts_in_words,
    reason_of,
)
from common.actors import worker
from common.logs import traced
from mirror.attachments.parsed import draw_picture
from mirror.attachments.renderings.refusals import Refused
from mirror.models import Message, RemotePicture
from mirror.recording import record_about
from outgoing.guarded import NotDownloaded, download

log = logging.getLogger(__name__)

ACTOR = worker("pictures")
# Seconds for one picture, and for all of a message.
ONE_LIMIT = 10.0
ALL_LIMIT = 30.0
# Longer than all of that, with the time for drawing the last picture.
LEASE = timedelta(seconds=90)
# Nothing here identifies the desk. No cookies are kept.
HEADERS = {
    "User-Agent": "Mozilla/5.0",
    "Accept": "image/png,image/jpeg,image/gif,image/webp",
}
# Origins that may be in a private network: none, because strangers wrote the
# addresses.
ALLOWED: tuple[str, ...] = ()
_State = RemotePicture.State
# The parser's reasons for not drawing a picture, as reasons of ours. Where the parser
# is busy the picture can be tried again.
_REASONS = {
    "kind": "kind",
    "pixels": "pixels",
    "tiny": "tiny",
    "too_large": "too_much",
    "too_much": "too_much",
}


@dataclass
class _Run:
    """One round through a message's pictures, and what is left for it."""

    message: Message
    ends: float
    fetched: int = 0
    stored: int = 0


@dataclass(frozen=True)
class _Outcome:
    """What became of one picture, as its row stores it."""

    to: str
    reason: str = ""
    detail: str = ""
    more: dict[str, Any] = field(default_factory=dict)


def load_pictures(*, picture_id: int) -> str:
    """Go on with what is to be fetched of the message that has this picture, and record
    what came of it.
    """
    rows = _claim(picture_id)
    if not rows:
        return "not due"
    message = rows[0].message
    with traced(message.trace):
        used = RemotePicture.objects.filter(revision=rows[0].revision_id).used()
        run = _Run(message, time.monotonic() + ALL_LIMIT, *used)
        for row in rows:
            if row.state == _State.WAITING:
                _load(row, run)
        return _record(message, rows[0].revision_id)


@transaction.atomic
def _claim(picture_id: int) -> list[RemotePicture]:
    """Claim all pictures of this one's message that are due. Those that a dead worker
    had begun are not tried again.
    """
    asked = RemotePicture.objects.filter(pk=picture_id).values("revision")
    free = RemotePicture.objects.free().filter(revision__in=asked).without_bytes()
    with_all = free.select_related(
        "message__connection", "message__mailbox", "revision"
    )
    rows = list(
        with_all.select_for_update(of=("self",), skip_locked=True).order_by("pk")
    )
    RemotePicture.objects.lease([row.pk for row in rows], lasting=LEASE)
    for row in rows:
        if row.state == _State.FETCHING:
            RemotePicture.objects.settle(row, to=_State.FAILED, reason="interrupted")
    return rows


def _load(row: RemotePicture, run: _Run) -> None:
    """Fetch one picture, and store what became of it."""
    if run.ends - time.monotonic() < 1:
        outcome = _Outcome(_State.FAILED, "late")
    elif run.fetched >= MAX_ALL_BYTES:
        outcome = _Outcome(_State.REFUSED, "too_many")
    elif stop_of(run.message) is not None:
        outcome = _Outcome(_State.FAILED, "stopped")
    elif RemotePicture.objects.begin(row):
        outcome = _fetched(row, run)
    else:
        outcome = _Outcome(_State.FAILED, RemotePicture.objects.why_not_begun(row))
    changes = {"reason": outcome.reason, "detail": outcome.detail[:100], **outcome.more}
    if not RemotePicture.objects.settle(row, to=outcome.to, **changes):
        log.info("picture is another worker's", extra={"picture": row.pk})
    run.fetched += outcome.more.get("size", 0)
    run.stored += len(outcome.more.get("content", b""))


def _fetched(row: RemotePicture, run: _Run) -> _Outcome:
    """Ask the server, and return what became of its answer."""
    room = MAX_ALL_BYTES - run.fetched
    limit = min(ONE_LIMIT, run.ends - time.monotonic())
    try:
        found = download(
            row.url,
            headers=HEADERS,
            most=min(MAX_BYTES, room),
            limit=limit,
            allow=ALLOWED,
        )
    except NotDownloaded as error:
        hosts = {"hosts": [host[:255] for host in error.hosts]}
        return _Outcome(
            _State.REFUSED if error.refused else _State.FAILED, error.reason, more=hosts
        )
    more: dict[str, Any] = {
        "hosts": [host[:255] for host in found.hosts],
        "size": len(found.body),
    }
    if found.status != 200:
        return _Outcome(_State.FAILED, "status", str(found.status), more)
    if found.is_cut:
        return _Outcome(
            _State.REFUSED, "too_large" if room >= MAX_BYTES else "too_many", more=more
        )
    try:
        drawn = draw_picture(found.body)
    except Refused as refused:
        if refused.reason == "busy":
            return _Outcome(_State.FAILED, "busy", more=more)
        return _Outcome(
            _State.REFUSED, _REASONS.get(refused.reason, "broken"), refused.detail, more
        )
    if run.stored + len(drawn) > MAX_ALL_BYTES:
        return _Outcome(_State.REFUSED, "too_many", more=more)
    # The header of the PNG that the parser drew.
    width, height = struct.unpack_from(">II", drawn, 16)
    return _Outcome(
        _State.LOADED, more={**more, "content": drawn, "width": width, "height": height}
    )


@transaction.atomic
def _record(message: Message, revision: int) -> str:
    """Record what became of the pictures whose end is not in the ledger yet, as numbers
    and hosts.
    """
    over = RemotePicture.objects.over().filter(revision=revision).without_bytes()
    rows = list(
        over.select_for_update(of=("self",)).select_related("revision").order_by("pk")
    )
    if not rows:
        return "nothing"
    RemotePicture.objects.filter(pk__in=[row.pk for row in rows]).update(
        is_recorded=True, lease_until=None
    )
    reasons = Counter(
        reason_of(row) for row in rows if row.state in (_State.REFUSED, _State.FAILED)
    )
    loaded = sum(row.state == _State.LOADED for row in rows)
    details = {
        "subject": message.subject,
        "loaded": f"{loaded} of {len(rows)}",
        "not_loaded": "\n".join(
            f"{number} {reason}" for reason, number in reasons.items()
        ),
        "hosts": hosts_in_words([host for row in rows for host in row.hosts]),
        "bytes": f"{sum(row.size for row in rows):,}",
    }
    record_about(
        "pictures.fetched",
        message,
        actor=ACTOR,
        fingerprint=rows[0].revision.fingerprint,
        details=details,
    )
    return f"{details['loaded']} loaded"
