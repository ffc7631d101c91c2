"""Has the remote pictures of one message fetched. Nothing is fetched here: rows are
stored, and a worker is woken.
"""

from collections.abc import Sequence
from uuid import UUID

from approvals import tasks
from approvals.decisions.ruling import content_changed, lock_visible, stop_of
from approvals.errors import PicturesStopped
from approvals.pictures.outcomes import hosts_in_words, key_of, loadable
from common.actors import Actor
from common.postgres.retry import atomic_with_retry
from mirror.errors import ActNotAllowed
from mirror.models import RemotePicture
from mirror.recording import record_about
from rendering import RemotePicture as FoundPicture


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
    new = [
        RemotePicture(
            message=locked, revision=locked.revision, url=one.url, url_sha256=key
        )
        for key, one in keys.items()
        if key not in known
    ]
    RemotePicture.objects.bulk_create(new)
    asked = [*(row.url_sha256 for row in new), *again]
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
