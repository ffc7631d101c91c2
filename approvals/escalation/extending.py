"""Extends the deadlines of a held message: its targets and its expiry. It asks for a
reason, and is recorded.
"""

from datetime import datetime, timedelta
from uuid import UUID

from django.db.models.functions import Now

from approvals import tasks
from approvals.decisions.ruling import lock_visible, may_handle
from approvals.desk_messages import awaits_review
from approvals.errors import AlreadyDecided
from approvals.models import Review
from audit.recording import changed
from common.actors import Actor
from common.postgres import clock
from common.postgres.retry import atomic_with_retry
from mirror.errors import ActNotAllowed
from mirror.models import Message
from mirror.recording import record_about

MAX_REASON = 500
LONGEST = timedelta(days=90)


@atomic_with_retry
def extend_deadline(
    *, message: UUID, actor: Actor, until: datetime, reason: str
) -> Message:
    """Extend every deadline of a message that is earlier than `until` to that time.

    Of an extension and the expiry at one moment the first counts: what has expired
    stays so. Raises ActNotAllowed, AlreadyDecided.
    """
    locked = lock_visible(message, actor=actor)
    if not may_handle(actor, locked):
        raise ActNotAllowed(
            "Only a reviewer or admin of this mailbox can extend a deadline."
        )
    if not awaits_review(locked.pk):
        raise AlreadyDecided(
            "This message is already decided, so its deadline cannot be extended."
        )
    now = clock()
    deadline = deadline_of(locked)
    if deadline is None:
        raise ActNotAllowed("This message has no deadline.")
    if locked.expires_at is not None and locked.expires_at <= now:
        raise ActNotAllowed("This message has expired; it is being rejected.")
    if not reason.strip():
        raise ActNotAllowed("Write why it needs more time.")
    if until <= max(now, deadline):
        raise ActNotAllowed("Choose a time after now and after its present deadline.")
    if until > now + LONGEST:
        raise ActNotAllowed("Choose a time in the next 90 days.")
    before = locked.expires_at
    if before is not None:
        locked.expires_at = max(before, until)
    locked.save(update_fields=["expires_at"])
    # It is warned of the new expiry too.
    Review.objects.filter(pk=locked.pk).update(
        extended_to=until, expiry_told_at=None, late_since=None, watch_at=Now()
    )
    details = {
        "subject": locked.subject,
        "reason": reason,
        "deadline": f"{until:%Y-%m-%d %H:%M} UTC",
        **changed(before=_moment(before), after=_moment(locked.expires_at)),
    }
    record_about("message.extended", locked, actor=actor, details=details, about=locked)
    if locked.expires_at != before and locked.connection.is_our_gateway:
        tasks.tell_expiry.delay_on_commit(locked.pk)
    return locked


def deadline_of(message: Message) -> datetime | None:
    """Return the earliest deadline that a message has."""
    return min(
        filter(
            None, (message.expires_at, message.review.decide_by, message.review.look_by)
        ),
        default=None,
    )


def _moment(at: datetime | None) -> str:
    return f"expires: {at:%Y-%m-%d %H:%M} UTC" if at else "expires: never"
