"""The remote pictures of messages that somebody had fetched. What is stored of them is a view; nothing here decides."""

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from mirror.models.messages import Message, Revision
from mirror.querysets.pictures import RemotePictureQuerySet


class RemotePicture(models.Model):
    """A picture that a version of a message would load from elsewhere, and that somebody asked the desk to fetch.

    It is no part of the message: neither its fingerprint nor what is approved covers it.
    """

    class State(models.TextChoices):
        WAITING = "waiting", "to be fetched"
        FETCHING = "fetching", "being fetched"
        LOADED = "loaded", "here"
        REFUSED = "refused", "not loaded"
        FAILED = "failed", "not loaded, and can be tried again"
        DELETED = "deleted", "deleted here, its time was over"

    message = models.ForeignKey(Message, on_delete=models.CASCADE, related_name="pictures")
    revision = models.ForeignKey(Revision, on_delete=models.CASCADE, related_name="pictures")
    url = models.TextField()
    # An address may be longer than an index takes.
    url_sha256 = models.CharField(max_length=64)
    state = models.CharField(max_length=8, choices=State, default=State.WAITING)
    # Why it was not loaded: a key of `approvals.pictures.outcomes`, and what more is to say, such as "404".
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
        constraints = [models.UniqueConstraint(fields=["revision", "url_sha256"], name="remote_picture_once")]
        indexes = [
            # Pictures that a worker has to go on with: few of all.
            models.Index(fields=["lease_until"], condition=Q(is_recorded=False), name="remote_picture_to_do"),
            # Pictures whose bytes are stored, oldest first.
            models.Index(fields=["fetched_at"], condition=Q(content__isnull=False), name="remote_picture_kept"),
        ]

    def __str__(self) -> str:
        return f"{self.url[:60]} {self.state}"
