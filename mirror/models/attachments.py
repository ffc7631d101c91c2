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
from mirror.states import MessageState
from mirror.terms import DONE

_OPEN = ("waiting", "failing", "not_visible", "gone")


class AttachedFileQuerySet(models.QuerySet["AttachedFile"]):
    """Reads of attached files."""

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


class RemotePictureQuerySet(models.QuerySet["RemotePicture"]):
    """Reads of remote pictures."""

    def of_current_version(self, message: Message) -> Self:
        return self.filter(revision=message.revision_id).order_by("place")

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
