"""Who is told about events, and each telling."""

from typing import Any

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now

from common.encryption import EncryptedTextField
from common.identifiers import ulid
from gateway.models.accounts import Account, Mailbox
from gateway.models.emails import Email
from gateway.querysets.webhooks import WebhookDeliveryQuerySet, WebhookQuerySet
from outgoing.models import Delivery

# A paused endpoint may be tried for days with one delivery.
_KEPT_ATTEMPTS = 20


class Webhook(models.Model):
    """A subscription: an address that gets signed events. Deleting one keeps its row for the delivery log."""

    id = models.CharField(primary_key=True, max_length=26, default=ulid, editable=False)
    account = models.ForeignKey(Account, models.CASCADE, related_name="webhooks")
    mailbox = models.ForeignKey(Mailbox, models.CASCADE, null=True, related_name="+")
    url = models.CharField(max_length=2000)
    # Made by a sandbox key: it hears of sandbox mail only.
    sandbox = models.BooleanField(default=False)
    # Made by a live key that asked for it: it hears of live mail and of sandbox mail.
    include_sandbox = models.BooleanField(default=False, db_default=False)
    # As the subscriber spelled them: events are sent under the first spelling that matches.
    events = ArrayField(models.CharField(max_length=60))
    secret = EncryptedTextField()
    # While a rotation overlaps, until this moment.
    previous_secret = EncryptedTextField(blank=True, default="")
    previous_until = models.DateTimeField(null=True)
    # Deliveries that failed for good, one after the other; enough of them pause the subscription.
    failures = models.PositiveIntegerField(default=0)
    paused_at = models.DateTimeField(null=True)
    # When a paused endpoint is tried again by itself.
    probe_at = models.DateTimeField(null=True)
    probes = models.PositiveIntegerField(default=0)
    # An endpoint that is slow rests, so that others get their events: until this moment, and after how many attempts
    # in a row that were slow and failed.
    rests_until = models.DateTimeField(null=True)
    slow_attempts = models.PositiveIntegerField(default=0)
    # Why the newest attempt failed; empty after a success.
    last_error = models.TextField(blank=True, default="")
    created_at = models.DateTimeField(db_default=Now())
    deleted_at = models.DateTimeField(null=True)

    objects = WebhookQuerySet.as_manager()

    class Meta:
        indexes = [
            # Every event asks who listens.
            models.Index(fields=["account"], condition=Q(deleted_at=None), name="webhook_listening"),
        ]

    def __str__(self) -> str:
        return self.id


class WebhookDelivery(Delivery):
    """One event for one subscription. `body` is kept byte for byte, so that every attempt carries the same."""

    webhook = models.ForeignKey(Webhook, models.CASCADE, related_name="deliveries")
    email = models.ForeignKey(Email, models.CASCADE, null=True, related_name="+")
    event_id = models.CharField(max_length=26)
    event = models.CharField(max_length=60)
    body = models.BinaryField()
    # How the newest attempts went, oldest first: when, status, error, milliseconds.
    history = models.JSONField(default=list)

    objects = WebhookDeliveryQuerySet.as_manager()  # type: ignore[misc]

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["webhook", "event_id"], name="webhook_event_once"),
            models.CheckConstraint(condition=Q(state__in=Delivery.State.values), name="webhook_delivery_state_known"),
        ]
        indexes = [
            # The sweep: what should be tried now.
            models.Index(
                fields=["next_attempt_at"], condition=Q(state__in=["due", "sending"]), name="webhook_delivery_open"
            ),
            # Order: is an earlier event of this message still on its way?
            models.Index(
                fields=["webhook", "email", "id"],
                condition=Q(state__in=["due", "sending"]),
                name="webhook_delivery_order",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.event} {self.event_id}"

    def waits(self, *, error: str, status: int | None) -> bool:
        """Put the row back as it was: the attempt only tried whether its paused endpoint is there again."""
        return self._finish(
            state=self.State.DUE, attempts=F("attempts") - 1, response_status=status, last_error=error[:2000]
        )

    def remember(self, *, at: str, status: int | None, error: str, milliseconds: int) -> None:
        """Keep how an attempt went, to be saved with its outcome."""
        entry = {"at": at, "response_status": status, "error": error[:500] or None, "milliseconds": milliseconds}
        self.history = [*self.history, entry][-_KEPT_ATTEMPTS:]

    def _finish(self, **fields: Any) -> bool:
        return super()._finish(history=self.history, **fields)
