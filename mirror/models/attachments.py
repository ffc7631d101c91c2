"""The attached files of held messages, and the remote pictures of messages that somebody
had fetched. What is stored of them is a view; nothing here decides.
"""

from collections.abc import Iterable
from datetime import timedelta
from typing import Any, Self, TypeVar

from django.contrib.postgres.fields import ArrayField
from django.db import models, transaction
from django.db.models import F, Q, Sum
from django.db.models.functions import Length, Now

from mirror.models.connections import is_well
from mirror.models.messages import Message, Revision
from mirror.states import MessageState
from mirror.terms import DONE

Row = TypeVar("Row", bound=models.Model)
_OPEN = ("waiting", "failing", "not_visible", "gone")


class StoredBytesQuerySet(models.QuerySet[Row]):
    """Reads of rows that belong to a version of a message, and whose bytes are stored
    for a while.
    """

    def without_bytes(self) -> Self:
        """Without the bytes, which are read only to be served."""
        return self.defer("content")

    def past_retention(self, age: timedelta) -> Self:
        """Those whose bytes are stored although their message was decided so long ago,
        or has a newer version.
        """
        past = Q(message__state__in=DONE, message__changed_at__lt=Now() - age)
        replaced = Q(fetched_at__lt=Now() - age) & ~Q(revision=F("message__revision"))
        return self.filter(past | replaced, content__isnull=False)

    def drop_bytes(self) -> int:
        """Delete the bytes; what is known of them stays."""
        return self.filter(content__isnull=False).update(content=None, state="deleted")


class AttachedFileQuerySet(StoredBytesQuerySet["AttachedFile"]):
    """Reads of attached files."""

    def in_order(self) -> Self:
        return self.order_by("place")

    def to_fetch(self) -> Self:
        """Due by the database's clock, of the version that is held, on a connection
        that can be asked (file_to_fetch).

        Files that are gone, or that no key shows, are retried occasionally, because
        keys are replaced.
        """
        return self.filter(
            is_well("message__connection__"),
            state__in=_OPEN,
            not_before__lte=Now(),
            revision=F("message__revision"),
            message__state=MessageState.HELD,
        )

    def differing(self) -> Self:
        """Those whose bytes are known to differ from those that the message's
        fingerprint names.
        """
        return (
            self.exclude(sha256="")
            .exclude(found_sha256="")
            .exclude(sha256__iexact=F("found_sha256"))
        )


class AttachedFile(models.Model):
    """One file of one version of a message: its name and type as claimed, and, once it
    was fetched, what it is.
    """

    class State(models.TextChoices):
        WAITING = "waiting", "not fetched yet"
        FETCHED = "fetched", "here"
        TOO_LARGE = "too_large", "too large to fetch"
        GONE = "gone", "no longer available"
        NOT_VISIBLE = "not_visible", "not visible with this key"
        FAILING = "failing", "could not be fetched yet"
        DELETED = "deleted", "deleted after the retention time"

    message = models.ForeignKey(Message, on_delete=models.CASCADE, related_name="files")
    revision = models.ForeignKey(
        Revision, on_delete=models.CASCADE, related_name="files"
    )
    # Its position among the files of that version, from 1.
    place = models.PositiveSmallIntegerField()
    # As the message claims.
    name = models.TextField()
    content_type = models.TextField()
    size = models.BigIntegerField(default=0)
    sha256 = models.CharField(max_length=64)
    # As it was fetched.
    content = models.BinaryField(null=True)
    found_size = models.BigIntegerField(null=True)
    found_sha256 = models.CharField(max_length=64)
    # The kind of its bytes, and the `Detection` of `attachments.detection` as JSON.
    kind = models.CharField(max_length=20)
    seen = models.JSONField(default=dict)
    # The state of fetching it.
    state = models.CharField(max_length=12, choices=State, default=State.WAITING)
    problem = models.TextField()
    tries = models.PositiveSmallIntegerField(default=0)
    # Not fetched before this time, by the database's clock; also the lease of the
    # worker that fetches it.
    not_before = models.DateTimeField(db_default=Now())
    fetched_at = models.DateTimeField(null=True)

    objects = AttachedFileQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["revision", "place"], name="file_once")
        ]
        indexes = [
            # Files still to be fetched: few of all.
            models.Index(
                fields=["not_before"], condition=Q(state__in=("waiting", "failing", "not_visible", "gone")),
                name="file_to_fetch",
            ),
            # Files whose bytes are stored, oldest first.
            models.Index(fields=["fetched_at"], condition=Q(content__isnull=False), name="file_kept"),
        ]  # fmt: skip

    @property
    def differs(self) -> bool:
        """Whether the fetched bytes are known to differ from those in the message's
        fingerprint.
        """
        return (
            bool(self.sha256 and self.found_sha256)
            and self.sha256.lower() != self.found_sha256
        )


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
        current = self.filter(
            pk=row.pk,
            state="waiting",
            tries=row.tries,
            message__mailbox__loads_pictures=True,
        ).filter(revision=F("message__revision"))
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
        return (
            "changed"
            if self.filter(pk=row.pk, message__mailbox__loads_pictures=True).exists()
            else "off"
        )

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
    reason = models.CharField(max_length=20)
    detail = models.CharField(max_length=100)
    # The hosts that were named on the way, in order; bytes that came.
    hosts = ArrayField(models.CharField(max_length=255), default=list)
    size = models.PositiveIntegerField(default=0)
    # As the desk drew it again: a PNG picture.
    content = models.BinaryField(null=True)
    width = models.PositiveIntegerField(default=0)
    height = models.PositiveIntegerField(default=0)
    # How often its server was asked, or may have been.
    tries = models.PositiveSmallIntegerField(default=0)
    asked_at = models.DateTimeField(db_default=Now())
    fetched_at = models.DateTimeField(null=True)
    # The lease of the worker that has it, by the database's clock.
    lease_until = models.DateTimeField(null=True)
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
