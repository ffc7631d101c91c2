"""Remote pictures of one message, fetched once by the desk when somebody asks for them.

`request_pictures` stores what is to be fetched and wakes a worker. `load_pictures`
fetches in that worker: the only caller of `guarded.download`. A row is marked before
its picture is requested; where the worker died after that, the picture is not requested
again unless a person asks for it. No lock is held during a request or while a picture
is drawn.
"""

import hashlib
import logging
import struct
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.db import transaction

from approvals import tasks
from approvals.decisions.ruling import content_changed, lock_visible, stop_of
from approvals.errors import PicturesStopped
from common.actors import Actor, worker
from common.logs import traced
from common.postgres import atomic_with_retry
from common.time_zones import there, zone_word
from mirror.attachments.file_types import Refused
from mirror.attachments.parsed import draw_picture
from mirror.errors import ActNotAllowed
from mirror.models import Message, RemotePicture
from mirror.recording import record_about
from outgoing.guarded import NotDownloaded, download
from rendering import RemotePicture as FoundPicture

MAX_PICTURES = 20
# Bytes of one picture as it comes, and of all of a message; what is stored of them has
# the second limit too.
MAX_BYTES = 2 * 1024 * 1024
MAX_ALL_BYTES = 10 * 1024 * 1024
_State = RemotePicture.State

# Not loaded for good: its server would give the same again.
REFUSALS = {
    "private": "refused: its address, or one that it redirects to, is not one of the open internet",
    "address": "refused: its address, or one that it redirects to, is not one of the web",
    "redirects": "refused: it redirects too often",
    "too_large": "refused: it is larger than 2 MB",
    "too_many": "refused: this message's pictures are larger than 10 MB together",
    "kind": "refused: it is {}, and only PNG, JPEG, GIF and WebP pictures are loaded",
    "pixels": "refused: it claims {} pixels, which would fill the memory",
    "broken": "refused: it is damaged, or cannot be drawn again safely",
    "too_much": "refused: drawing it takes too much memory or time",
    "tiny": "tracking pixel: {} pixels, as the desk found once it was fetched; its server knows that it was",
}
BEYOND = f"only {MAX_PICTURES} pictures of a message are loaded"
# Not loaded this time.
FAILURES = {
    "time": "its server took too long",
    "late": "there was no time left for it",
    "connection": "its server could not be reached",
    "status": "its server answered {}",
    "interrupted": "the worker stopped while it was fetched",
    "busy": "the desk could not draw it at the moment",
    "off": "an admin has switched remote pictures off for this mailbox",
    "stopped": "the kill switch is pulled, so nothing is fetched",
    "changed": "the message changed before it was fetched",
}


def loadable(found: Iterable[FoundPicture]) -> list[FoundPicture]:
    """Return the pictures of a message that may be fetched: no tracking pixels, and not
    more than the limit.
    """
    return [one for one in found if not one.tracking][:MAX_PICTURES]


def key_of(url: str) -> str:
    """Return the key of an address: SHA-256, as an address may be longer than an index
    takes.
    """
    return hashlib.sha256(url.encode(errors="surrogatepass")).hexdigest()


def outcome_of(row: RemotePicture) -> str:
    """Return what became of a picture, in words for its box."""
    if row.state == _State.LOADED and row.fetched_at is not None:
        at = there(row.fetched_at)
        when = f"{at:%H:%M} {zone_word(row.fetched_at)} on {at:%-d %b}"
        return f"fetched by the desk at {when}; the recipient may see another picture"
    if row.state == _State.DELETED:
        return "fetched by the desk once, and deleted here since: its time was over"
    if row.state in (_State.REFUSED, _State.FAILED):
        return reason_of(row)
    return "being fetched by the desk"


def reason_of(row: RemotePicture) -> str:
    """Return why a picture was not loaded, in words."""
    return (REFUSALS | FAILURES).get(row.reason, "not loaded").format(row.detail)


def hosts_in_words(hosts: Sequence[str]) -> str:
    """Return hosts with how often each was named, for the ledger: no more than these
    are kept of an address.
    """
    return ", ".join(f"{host} ({hosts.count(host)})" for host in dict.fromkeys(hosts))


@atomic_with_retry
def request_pictures(
    *, message: UUID, actor: Actor, fingerprint: str, found: Sequence[FoundPicture]
) -> int:
    """Have the pictures that were found in this version fetched, and those that failed
    tried again; return how many.

    Each is fetched once for a version, however often and by how many people it is asked
    for. What waits for a worker is enqueued again. Raises ActNotAllowed where no admin
    allows it, PicturesStopped while the kill switch is pulled, ContentChanged where the
    version is not the current one, and VerdictNotAllowed where the actor may not see
    it.
    """
    locked = lock_visible(message, actor=actor)
    if locked.mailbox is None or not locked.mailbox.loads_pictures:
        raise ActNotAllowed(
            "Remote pictures are not loaded in this mailbox. An admin can allow it there."
        )
    if locked.revision is None or locked.revision.fingerprint != fingerprint:
        raise content_changed(locked, fingerprint)
    if stop_of(locked) is not None:
        raise PicturesStopped(
            "The kill switch is pulled, so nothing is fetched. Try again once it is released."
        )
    stored = RemotePicture.objects.filter(revision=locked.revision)
    known = set(stored.values_list("url_sha256", flat=True))
    keys = {key_of(one.url): one for one in loadable(found)}
    again = list(stored.to_retry().values_list("url_sha256", flat=True))
    stored.ask_again()
    new = [key for key in keys if key not in known]
    RemotePicture.objects.bulk_create(
        RemotePicture(
            message=locked, revision=locked.revision, url=keys[key].url, url_sha256=key
        )
        for key in new
    )
    asked = [*new, *again]
    if asked:
        hosts = hosts_in_words([keys[key].host for key in asked if key in keys])
        details = {
            "subject": locked.subject,
            "pictures": str(len(asked)),
            "hosts": hosts,
        }
        record_about(
            "pictures.asked",
            locked,
            actor=actor,
            fingerprint=fingerprint,
            details=details,
        )
    if free := stored.free().order_by("pk").only("pk").first():
        tasks.load_pictures.delay_on_commit(free.pk)
    return len(asked)


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
# The parser's reasons for not drawing a picture, as reasons of ours; any other is
# "broken". Where the parser is busy the picture can be tried again.
_REASONS = {
    "busy": "busy",
    "kind": "kind",
    "pixels": "pixels",
    "tiny": "tiny",
    "too_large": "too_much",
    "too_much": "too_much",
}


def load_pictures(*, picture_id: int) -> str:
    """Go on with what is to be fetched of the message that has this picture, and record
    what came of it.
    """
    rows = _claim(picture_id)
    if not rows:
        return "not due"
    message = rows[0].message
    ends = time.monotonic() + ALL_LIMIT
    with traced(message.trace):
        asked = RemotePicture.objects.filter(revision=rows[0].revision_id)
        fetched, stored = asked.used()
        for row in rows:
            if row.state != _State.WAITING:
                continue
            outcome = _fetch(row, ends=ends, fetched=fetched, stored=stored)
            fetched += outcome.get("size", 0)
            stored += len(outcome.get("content", b""))
            to = _State.LOADED
            if reason := outcome.get("reason"):
                to = _State.REFUSED if reason in REFUSALS else _State.FAILED
            if not RemotePicture.objects.settle(row, to=to, **outcome):
                log.info("picture is another worker's", extra={"picture": row.pk})
        return _record(message, rows[0].revision_id)


@transaction.atomic
def _claim(picture_id: int) -> list[RemotePicture]:
    """Claim all pictures of this one's message that are due. Those that a dead worker
    had begun are not tried again.
    """
    asked = RemotePicture.objects.filter(pk=picture_id).values("revision")
    free = RemotePicture.objects.free().filter(revision__in=asked).without_bytes()
    with_all = free.select_related("message__connection", "message__mailbox")
    rows = list(
        with_all.select_for_update(of=("self",), skip_locked=True).order_by("pk")
    )
    RemotePicture.objects.lease([row.pk for row in rows], lasting=LEASE)
    for row in rows:
        if row.state == _State.FETCHING:
            RemotePicture.objects.settle(row, to=_State.FAILED, reason="interrupted")
    return rows


def _fetch(
    row: RemotePicture, *, ends: float, fetched: int, stored: int
) -> dict[str, Any]:
    """Fetch one picture, and return what its row says of that: its picture, or the
    reason why there is none. So many bytes of the message's were `fetched` before, and
    so many are `stored`.
    """
    room = MAX_ALL_BYTES - fetched
    if ends - time.monotonic() < 1:
        return {"reason": "late"}
    if room <= 0:
        return {"reason": "too_many"}
    if stop_of(row.message) is not None:
        return {"reason": "stopped"}
    if not RemotePicture.objects.begin(row):
        return {"reason": RemotePicture.objects.why_not_begun(row)}
    try:
        answer = download(
            row.url,
            headers=HEADERS,
            most=min(MAX_BYTES, room),
            limit=min(ONE_LIMIT, ends - time.monotonic()),
            allow=ALLOWED,
        )
    except NotDownloaded as error:
        return {"hosts": [host[:255] for host in error.hosts], "reason": error.reason}
    came: dict[str, Any] = {
        "hosts": [host[:255] for host in answer.hosts],
        "size": len(answer.body),
    }
    if answer.status != 200:
        return came | {"reason": "status", "detail": str(answer.status)}
    if answer.is_cut:
        return came | {"reason": "too_large" if room >= MAX_BYTES else "too_many"}
    try:
        drawn = draw_picture(answer.body)
    except Refused as refused:
        reason = _REASONS.get(refused.reason, "broken")
        return came | {"reason": reason, "detail": refused.detail[:100]}
    if stored + len(drawn) > MAX_ALL_BYTES:
        return came | {"reason": "too_many"}
    # The header of the PNG that the parser drew.
    width, height = struct.unpack_from(">II", drawn, 16)
    return came | {"content": drawn, "width": width, "height": height}


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
