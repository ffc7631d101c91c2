"""What the page says of a message's remote pictures, and the frame's document with
those that the desk has fetched.

Nothing is fetched here: `approvals.pictures` does that in a worker, when somebody asks
for it.
"""

import base64
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.utils import timezone

from approvals.message_page.content.rendered import rendered_message_of
from approvals.pictures.outcomes import BEYOND, key_of, loadable, outcome_of
from mirror.models import Message, RemotePicture, Revision
from mirror.store import stored_content
from rendering import FetchedPicture, RenderedMessage, render_message
from rendering.result import Words

# A worker that runs begins within this time.
SOON = timedelta(seconds=20)
_State = RemotePicture.State


@dataclass(frozen=True)
class PicturesLine:
    """The line about remote pictures above the frame: how many were loaded, are under
    way, or can be loaded.
    """

    to_load: int = 0
    found: int = 0
    to_retry: int = 0
    under_way: int = 0
    is_late: bool = False
    asked: int = 0
    loaded: int = 0
    tracking: int = 0
    # Of all that the message would load, pictures or not.
    left_out: int = 0
    is_allowed: bool = False


def pictures_line(
    message: Message, rendered: RenderedMessage | None
) -> PicturesLine | None:
    """Return the line; None where the message has no remote pictures."""
    if rendered is None or not rendered.remote:
        return None
    # Without the pictures themselves.
    asked = RemotePicture.objects.filter(revision=message.revision_id)
    rows = list(asked.only("url_sha256", "state", "reason", "asked_at", "lease_until"))
    known = {row.url_sha256 for row in rows}
    loaded = {row.url_sha256 for row in rows if row.state == _State.LOADED}
    tracking = sum(bool(one.tracking) for one in rendered.remote)
    under_way = [row for row in rows if row.state in (_State.WAITING, _State.FETCHING)]
    long_ago = timezone.now() - SOON
    is_late = any(
        row.lease_until is None and row.asked_at < long_ago for row in under_way
    )
    return PicturesLine(
        to_load=sum(key_of(one.url) not in known for one in loadable(rendered.remote)),
        found=len(rendered.remote) - tracking,
        to_retry=sum(row.state == _State.FAILED for row in rows),
        under_way=len(under_way),
        is_late=is_late,
        asked=len(rows),
        loaded=len(loaded),
        tracking=tracking + sum(row.reason == "tiny" for row in rows),
        left_out=sum(
            not loaded or key_of(one.url) not in loaded for one in rendered.blocked
        ),
        is_allowed=message.mailbox is not None and message.mailbox.loads_pictures,
    )


def document_with_pictures(
    revision: Revision, *, until: datetime | None = None, found: Words | None = None
) -> str:
    """Return the frame's document, with the remote pictures that were fetched, until
    then where a time is given.

    It is made anew each time: as what is approved, the rendering that is kept knows
    nothing of them. Nor does it know of the words that are `found`, which get a mark.
    """
    rows = RemotePicture.objects.filter(revision=revision)
    if until is not None:
        rows = rows.filter(fetched_at__lte=until)
    fetched = {row.url: _as_fetched(row) for row in rows}
    rendered = rendered_message_of(revision)
    if rendered.doubt or not (fetched or found):
        return rendered.document
    may = {one.url for one in loadable(rendered.remote)}
    fetched |= {
        one.url: FetchedPicture(BEYOND)
        for one in rendered.remote
        if not one.tracking and one.url not in may
    }
    return render_message(stored_content(revision), fetched, found=found).document


def _as_fetched(row: RemotePicture) -> FetchedPicture:
    if row.state != _State.LOADED or row.content is None:
        return FetchedPicture(outcome_of(row))
    source = f"data:image/png;base64,{base64.b64encode(row.content).decode()}"
    return FetchedPicture(outcome_of(row), source, row.width * row.height)
