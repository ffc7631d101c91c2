"""The attached files of held messages, and their remote pictures, as they were fetched.
Nothing here decides.
"""

from datetime import timedelta
from typing import Self

from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now

from mirror.models.connections import is_well
from mirror.models.messages import Message, Revision
from mirror.states import DONE, MessageState

# States of files that are still to be fetched.
_OPEN = ("waiting", "failing", "not_visible", "gone")


class AttachedFileQuerySet(models.QuerySet["AttachedFile"]):
    """Queries of attached files."""

    def without_bytes(self) -> Self:
        """Without the files' bytes, which are long and needed only to show a file."""
        return self.defer("content")

    def past_retention(self, age: timedelta) -> Self:
        """Files whose bytes are still stored although their message was decided longer
        ago than `age`, or has had a newer version for so long.
        """
        past = Q(message__state__in=DONE, message__changed_at__lt=Now() - age)
        replaced = Q(fetched_at__lt=Now() - age) & ~Q(revision=F("message__revision"))
        return self.filter(past | replaced, content__isnull=False)

    def drop_bytes(self) -> int:
        """Delete the bytes of these files; what was detected stays. Return how many."""
        return self.filter(content__isnull=False).update(content=None, state="deleted")

    def in_order(self) -> Self:
        return self.order_by("place")

    def to_fetch(self) -> Self:
        """Files that are due to be fetched, of the current version of held messages, on
        connections that can be asked (uses the index file_to_fetch).

        Files that are gone, or that no key may read, are tried again from time to time,
        because keys are replaced.
        """
        return self.filter(
            is_well("message__connection__"),
            state__in=_OPEN,
            not_before__lte=Now(),
            revision=F("message__revision"),
            message__state=MessageState.HELD,
        )

    def differing(self) -> Self:
        """Files whose fetched bytes have another hash than the message says."""
        return (
            self.exclude(sha256="")
            .exclude(found_sha256="")
            .exclude(sha256__iexact=F("found_sha256"))
        )


class StoredFile(models.Model):
    """Bytes that were fetched, and what they are."""

    name = models.TextField()
    state = models.CharField(max_length=12, default="waiting")
    problem = models.TextField()
    content = models.BinaryField(null=True)
    found_size = models.BigIntegerField(null=True)
    found_sha256 = models.CharField(max_length=64)
    # The kind of its bytes, and the `Detection` of `attachments.detection` as JSON.
    kind = models.CharField(max_length=20)
    seen = models.JSONField(default=dict)

    class Meta:
        abstract = True


class AttachedFile(StoredFile):
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
    # As the message claims; so is its name.
    content_type = models.TextField()
    size = models.BigIntegerField(default=0)
    sha256 = models.CharField(max_length=64)
    # The state of fetching it.
    state = models.CharField(max_length=12, choices=State, default=State.WAITING)
    tries = models.PositiveSmallIntegerField(default=0)
    # The file is not fetched before this time, by the database's clock. Also the end of
    # the lease of the worker that fetches it.
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
        """Whether the fetched bytes have another hash than the message says."""
        return (
            bool(self.sha256 and self.found_sha256)
            and self.sha256.lower() != self.found_sha256
        )


class RemotePictureQuerySet(models.QuerySet["RemotePicture"]):
    """Reads of remote pictures."""

    def of_current_version(self, message: Message) -> Self:
        return self.filter(revision=message.revision_id).order_by("place")

    def begin(self, picture: "RemotePicture") -> bool:
        """Mark a picture as being fetched. Returns False if another worker did so."""
        mine = self.order_by().filter(pk=picture.pk, state="waiting")
        return bool(mine.update(state="fetching", asked_at=Now()))

    def give_up_abandoned(self) -> None:
        """Mark as failed what a worker began to fetch and, since it died, never ended."""
        begun = self.order_by().filter(
            state="fetching", asked_at__lt=Now() - timedelta(minutes=5)
        )
        begun.update(state="failed", problem="The desk stopped while it fetched it.")

    def past_retention(self, age: timedelta) -> Self:
        """Those that were fetched so long ago, of messages that are decided."""
        return self.filter(message__state__in=DONE, asked_at__lt=Now() - age)


class RemotePicture(StoredFile):
    """A picture that one version of a message loads from elsewhere, as the desk fetched
    it when a person asked for it. `problem` says why it was not loaded.
    """

    class State(models.TextChoices):
        WAITING = "waiting", "not fetched yet"
        FETCHING = "fetching", "being fetched"
        FETCHED = "fetched", "here"
        FAILED = "failed", "not loaded"

    message = models.ForeignKey(
        Message, on_delete=models.CASCADE, related_name="remote_pictures"
    )
    revision = models.ForeignKey(
        Revision, on_delete=models.CASCADE, related_name="remote_pictures"
    )
    # Its position among the remote pictures of that version, from 1.
    place = models.PositiveSmallIntegerField()
    # Its name is the host in this address.
    url = models.TextField()
    state = models.CharField(max_length=12, choices=State, default=State.WAITING)
    asked_at = models.DateTimeField(db_default=Now())

    objects = RemotePictureQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["revision", "place"], name="picture_once")
        ]
        # For retention.
        indexes = [models.Index(fields=["asked_at"], name="picture_asked")]
