"""Remote pictures of one message, fetched once by the desk when somebody asks for them.

Their servers learn the desk's address and the time, so an admin must have allowed it
for the mailbox. The pictures are shown beside the message: what is approved, and the
message in its frame, know nothing of them.
"""

import hashlib
import time
from collections.abc import Iterable
from typing import Any
from uuid import UUID

from django.db import transaction

from approvals import tasks
from approvals.decisions.ruling import check_content, lock_visible, stop_of
from common.actors import Actor, worker
from common.logs import traced
from mirror.attachments.file_types import KINDS
from mirror.attachments.parsed import detect_file
from mirror.errors import ActNotAllowed
from mirror.models import Mailbox, Message, RemotePicture
from mirror.recording import record_about
from outgoing.guarded import DeliveryError, request
from parsing.client import ParserUnavailable, from_source
from rendering import RemotePicture as FoundPicture
from rendering.pictures import TINY

MAX_PICTURES = 20
# Bytes of one picture.
MAX_BYTES = 2 * 1024 * 1024
# Seconds for one picture, and for all of a message.
ONE_LIMIT = 10.0
ALL_LIMIT = 30.0
# Nothing here identifies the desk or the reader: no cookies, no referrer.
HEADERS = {
    "User-Agent": "Mozilla/5.0",
    "Accept": "image/png,image/jpeg,image/gif,image/webp",
}
# Origins that may be in a private network: none, since strangers wrote the addresses.
ALLOWED: tuple[str, ...] = ()
_State = RemotePicture.State
_UNDER_WAY = (_State.WAITING, _State.FETCHING)


def shown_pictures(message: Message) -> dict[str, Any] | None:
    """Return what the page shows of the remote pictures that were asked for, in their
    order; None if its mailbox loads none.
    """
    if message.mailbox is None or not message.mailbox.loads_pictures:
        return None
    stored = RemotePicture.objects.of_current_version(message)
    pictures = list(stored.defer("content"))
    return {
        "pictures": pictures,
        "is_under_way": any(one.state in _UNDER_WAY for one in pictures),
        "loaded": sum(one.state == _State.FETCHED for one in pictures),
    }


@transaction.atomic
def request_pictures(
    *, message: UUID, fingerprint: str, found: Iterable[FoundPicture], actor: Actor
) -> None:
    """Have the remote pictures that were found in this version fetched, except tracking
    pixels. Each is requested once, however often people ask.

    Raises ActNotAllowed if no admin allowed it or the kill switch is pulled,
    ContentChanged if the version is not the current one, and VerdictNotAllowed if the
    actor may not see the message.
    """
    locked = lock_visible(message, actor)
    if locked.mailbox is None or not locked.mailbox.loads_pictures:
        raise ActNotAllowed(
            "Remote pictures are not loaded in this mailbox. An admin can allow it there."
        )
    revision = check_content(locked, fingerprint)
    if stop_of(locked) is not None:
        raise ActNotAllowed(
            "The kill switch is pulled, so nothing is fetched. Try again after it is released."
        )
    stored = RemotePicture.objects.of_current_version(locked)
    if not stored.exists():
        every_host = {one.source: one.host for one in found if not one.tracking}
        hosts = dict(list(every_host.items())[:MAX_PICTURES])
        rows = [
            RemotePicture(
                message=locked, revision=revision, place=place, url=url, name=host
            )
            for place, (url, host) in enumerate(hosts.items(), start=1)
        ]
        RemotePicture.objects.bulk_create(rows)
        record_about(
            "pictures.asked",
            locked,
            actor,
            fingerprint=fingerprint,
            details={
                "subject": locked.subject,
                "pictures": str(len(rows)),
                "left_out": str(len(every_host) - len(hosts)),
                "hosts": ", ".join(dict.fromkeys(hosts.values())),
            },
        )
    stored.give_up_abandoned()
    # Also for pictures that still wait because their task was lost.
    tasks.fetch_pictures.delay_on_commit(locked.pk)


def fetch_pictures(message_id: int) -> str:
    """Fetch the pictures of a message that are waiting, and record how many came.

    Each is marked before it is requested. If the worker dies after that, the picture is
    not requested again.
    """
    message = Message.objects.select_related("connection").get(pk=message_id)
    waiting = RemotePicture.objects.of_current_version(message).filter(
        state=_State.WAITING
    )
    ends = time.monotonic() + ALL_LIMIT
    fetched = []
    with traced(message.trace):
        for picture in list(waiting):
            if waiting.begin(picture):
                picture.problem = _fetch(picture, message, ends=ends)
                picture.state = _State.FAILED if picture.problem else _State.FETCHED
                picture.save()
                fetched.append(picture)
        if not fetched:
            return "nothing to do"
        loaded = sum(one.state == _State.FETCHED for one in fetched)
        details = {
            "subject": message.subject,
            "loaded": f"{loaded} of {len(fetched)}",
            "not_loaded": "\n".join(one.problem for one in fetched if one.problem),
            "bytes": f"{sum(one.found_size or 0 for one in fetched):,}",
        }
        with transaction.atomic():
            record_about(
                "pictures.fetched",
                message,
                worker("pictures"),
                fingerprint=message.fingerprint,
                details=details,
            )
    return f"{loaded} of {len(fetched)} loaded"


def _fetch(picture: RemotePicture, message: Message, *, ends: float) -> str:
    """Request one picture, and note on its row what came. Return why it is not shown,
    as a sentence; empty if it is.
    """
    limit = min(ONE_LIMIT, ends - time.monotonic())
    if limit < 1:
        return "There was no time left for it."
    allowed = Mailbox.objects.filter(messages=message, loads_pictures=True)
    if stop_of(message) is not None:
        return "The kill switch is pulled, so nothing is fetched."
    if not allowed.exists():
        return "An admin has switched remote pictures off."
    try:
        answer = request(
            "GET",
            picture.url,
            body=b"",
            headers=HEADERS,
            allow=ALLOWED,
            limit=limit,
            most=MAX_BYTES + 1,
        )
    except DeliveryError as error:
        return str(error)
    if answer.status != 200:
        return f"Its server answered {answer.status}."
    if len(answer.body) > MAX_BYTES:
        return "It is larger than 2 MB."
    picture.found_size = len(answer.body)
    claimed = answer.headers.get("Content-Type", "")[:100]
    try:
        with from_source(*message.sources):
            found = detect_file(answer.body, name="", content_type=claimed)
    except ParserUnavailable:
        return "The desk could not check it at the moment."
    if KINDS[found.kind].family != "image":
        return f"It is no picture, but: {KINDS[found.kind].words}."
    if max(found.width, found.height) <= TINY:
        size = f"{found.width} × {found.height} pixels"
        return f"Tracking pixel: {size}, as the desk found when it came."
    picture.kind = found.kind
    picture.seen = {"width": found.width, "height": found.height}
    picture.content = answer.body
    picture.found_sha256 = hashlib.sha256(answer.body).hexdigest()
    return ""
