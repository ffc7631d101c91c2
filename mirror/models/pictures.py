"""The remote pictures of messages that somebody had fetched. What is stored of them is
a view; nothing here decides.
"""

from collections.abc import Iterable
from datetime import timedelta
from typing import Any, Self

from django.contrib.postgres.fields import ArrayField
from django.db import models, transaction
from django.db.models import F, Q, Sum
from django.db.models.functions import Length, Now

from mirror.models.attachments import StoredBytesQuerySet
from mirror.models.messages import Message, Revision

_OVER = ("loaded", "refused", "failed", "deleted")


class RemotePictureQuerySet(StoredBytesQuerySet["RemotePicture"]):
    """Reads of remote pictures; leases are judged by the database's clock."""

    def free(self) -> Self:
        """Those that no worker has, and of which the ledger does not say yet what came
        of them.
        """
        return self.filter(
            Q(lease_until=None) | Q(lease_until__lt=Now()), is_recorded=False
        )

    def due(self) -> Self:
        """The first of each message's that a worker has to go on with (relies on
        remote_picture_to_do).
        """
        return self.free().order_by("message_id", "pk").distinct("message_id")

    def over(self) -> Self:
        """Those that were fetched or not, and of which the ledger does not say so yet."""
        return self.filter(state__in=_OVER, is_recorded=False)

    def to_retry(self) -> Self:
        """Those that a person may have tried again: their servers gave nothing that the
        desk would refuse again.
        """
        return self.filter(state="failed", is_recorded=True)

    def ask_again(self) -> int:
        """Have those that failed tried once more; return how many."""
        changes = {"state": "waiting", "reason": "", "detail": "", "is_recorded": False}
        return self.to_retry().update(**changes, asked_at=Now(), lease_until=None)

    def used(self) -> tuple[int, int]:
        """Return how many bytes came of these, and how many are stored."""
        total = self.aggregate(fetched=Sum("size"), stored=Sum(Length("content")))
        return total["fetched"] or 0, total["stored"] or 0

    def lease(self, keys: Iterable[int], *, lasting: timedelta) -> None:
        """Let this worker have them for so long."""
        self.filter(pk__in=keys).update(lease_until=Now() + lasting)

    def begin(self, row: "RemotePicture") -> bool:
        """Mark one as being fetched, the last thing before its server is asked; return
        whether that may be.

        It may not where another worker has begun, an admin does not allow it any more,
        or the message has changed.
        """
        waiting = self.filter(
            pk=row.pk,
            state="waiting",
            tries=row.tries,
            message__mailbox__loads_pictures=True,
        )
        current = waiting.filter(revision=F("message__revision"))
        with transaction.atomic():
            # Locked first: an UPDATE with joins would not compare again what it had to
            # wait for.
            if not current.select_for_update(of=("self",)).values_list("pk", flat=True):
                return False
            self.filter(pk=row.pk).update(state="fetching", tries=row.tries + 1)
        row.tries += 1
        return True

    def why_not_begun(self, row: "RemotePicture") -> str:
        """Return as a reason why this one could not be begun."""
        allowed = self.filter(pk=row.pk, message__mailbox__loads_pictures=True)
        return "changed" if allowed.exists() else "off"

    def settle(self, row: "RemotePicture", *, to: str, **fields: Any) -> bool:
        """Store what became of one, if nobody else has since; return whether that was
        so.
        """
        mine = self.filter(
            pk=row.pk, tries=row.tries, state__in=("waiting", "fetching")
        )
        changes = {"state": to, "fetched_at": Now(), **fields}
        return bool(mine.update(**changes))

    def erase(self) -> int:
        """Delete the bytes, and fetch none of them any more; return how many had bytes."""
        dropped = self.drop_bytes()
        self.exclude(state__in=_OVER).update(state="deleted", is_recorded=True)
        return dropped


class RemotePicture(models.Model):
    """A picture that a version of a message would load from elsewhere, and that
    somebody asked the desk to fetch.

    It is no part of the message: neither its fingerprint nor what is approved covers
    it.
    """

    class State(models.TextChoices):
        WAITING = "waiting", "to be fetched"
        FETCHING = "fetching", "being fetched"
        LOADED = "loaded", "here"
        REFUSED = "refused", "not loaded"
        FAILED = "failed", "not loaded, and can be tried again"
        DELETED = "deleted", "deleted here, its time was over"

    message = models.ForeignKey(
        Message, on_delete=models.CASCADE, related_name="pictures"
    )
    revision = models.ForeignKey(
        Revision, on_delete=models.CASCADE, related_name="pictures"
    )
    url = models.TextField()
    # An address may be longer than an index takes.
    url_sha256 = models.CharField(max_length=64)
    state = models.CharField(max_length=8, choices=State, default=State.WAITING)
    # Why it was not loaded: a key of `approvals.pictures`, and what more is to
    # say, such as "404".
    reason = models.CharField(max_length=20, blank=True)
    detail = models.CharField(max_length=100, blank=True)
    # The hosts that were named on the way, in order; bytes that came.
    hosts = ArrayField(models.CharField(max_length=255), default=list)
    size = models.PositiveIntegerField(default=0)
    # As the desk drew it again: a PNG picture.
    content = models.BinaryField(null=True, blank=True)
    width = models.PositiveIntegerField(default=0)
    height = models.PositiveIntegerField(default=0)
    # How often its server was asked, or may have been.
    tries = models.PositiveSmallIntegerField(default=0)
    asked_at = models.DateTimeField(db_default=Now())
    fetched_at = models.DateTimeField(null=True, blank=True)
    # The lease of the worker that has it, by the database's clock.
    lease_until = models.DateTimeField(null=True, blank=True)
    # Whether the ledger says what came of it.
    is_recorded = models.BooleanField(default=False)

    objects = RemotePictureQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["revision", "url_sha256"], name="remote_picture_once"
            )
        ]
        indexes = [
            # Pictures that a worker has to go on with: few of all.
            models.Index(
                fields=["lease_until"],
                condition=Q(is_recorded=False),
                name="remote_picture_to_do",
            ),
            # Pictures whose bytes are stored, oldest first.
            models.Index(
                fields=["fetched_at"],
                condition=Q(content__isnull=False),
                name="remote_picture_kept",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.url[:60]} {self.state}"
