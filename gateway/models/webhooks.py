"""The tables of webhook subscriptions, and of deliveries: one row for each event to
each subscription.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Self

from django.contrib.postgres.fields import ArrayField
from django.db import models, transaction
from django.db.models import Exists, F, OuterRef, Q, Window
from django.db.models.functions import Now, RowNumber
from django.utils import timezone

from common.encryption import EncryptedTextField
from common.postgres import one_of
from gateway.models.accounts import Account, ApiKey, Mailbox, UlidModel
from gateway.models.emails import Email
from outgoing.models import Delivery, DeliveryQuerySet

# The event that is sent to test a subscription.
TEST_EVENT = "webhook.test"
_OPEN = (Delivery.State.DUE, Delivery.State.SENDING)
# How many deliveries of one subscription a sweep hands out, so that one long backlog
# does not delay others.
_TURNS = 20
# How long finished deliveries are kept, for the log and for a replay.
RETENTION = timedelta(days=30)
# How long an event waits for a paused endpoint.
PATIENCE = timedelta(days=3)


def _waits() -> Q:
    """Return the condition that a delivery waits for its endpoint: it is due, or its
    worker died during a probe.
    """
    return Q(state=Delivery.State.DUE) | Q(
        state=Delivery.State.SENDING, lease_until__lt=Now()
    )


class WebhookQuerySet(models.QuerySet["Webhook"]):
    def alive(self) -> Self:
        """Subscriptions that are not deleted."""
        return self.filter(deleted_at=None)

    def visible_to(self, key: ApiKey) -> Self:
        """The account's subscriptions. A limited key sees only those to its own
        mailboxes, a sandbox key only those to the sandbox.
        """
        subscriptions = self.alive().filter(account_id=key.account_id)
        if key.sandbox:
            subscriptions = subscriptions.filter(sandbox=True)
        return key.limited(subscriptions)

    def to_probe(self) -> Self:
        """Paused subscriptions with a waiting delivery, whose next probe is due."""
        waiting = WebhookDelivery.objects.filter(_waits(), webhook=OuterRef("pk"))
        return self.alive().filter(
            Exists(waiting), paused_at__isnull=False, probe_at__lte=Now()
        )

    def after_overlap(self) -> Self:
        """Subscriptions whose previous secret is not used any more."""
        return self.filter(previous_until__lte=Now())


class WebhookDeliveryQuerySet(DeliveryQuerySet):
    """Queries of deliveries, which keep the events of one message in order.

    Conditions on other rows are EXISTS, never joins: an UPDATE that waited for a lock
    checks only its own row again.
    """

    def visible_to(self, key: ApiKey) -> Self:
        """Deliveries of subscriptions that the key may see, with the subscription and
        the email.
        """
        deliveries = self.filter(webhook__account_id=key.account_id)
        if key.sandbox:
            deliveries = deliveries.filter(webhook__sandbox=True)
        deliveries = key.limited(deliveries, "webhook__mailbox_id")
        return deliveries.select_related("webhook", "email").defer("body")

    def due(self) -> Self:
        """Deliveries that should be tried now.

        Left out are those that must wait for another event of the same message, and
        those for a paused endpoint. A test is sent in any case.
        """
        endpoint = Webhook.objects.filter(pk=OuterRef("webhook"), paused_at=None)
        is_awake = Q(event=TEST_EVENT) | Exists(endpoint)
        return super().due().filter(self._its_turn(), is_awake)

    def in_turn(self) -> Self:
        """What the sweep hands out: the oldest few of each subscription, taking
        turns.
        """
        turn = Window(RowNumber(), partition_by="webhook", order_by="pk")
        few = self.due().annotate(turn=turn).filter(turn__lte=_TURNS)
        return few.order_by("turn", "pk")

    def next_of(self, webhook_id: str) -> int | None:
        """Return the id of the delivery that this subscription should get now, the
        longest due; uses the index webhook_delivery_open.
        """
        deliveries = self.due().filter(webhook_id=webhook_id, state__in=_OPEN)
        return (
            deliveries.order_by("next_attempt_at", "pk")
            .values_list("pk", flat=True)
            .first()
        )

    def claim(self, pk: int) -> WebhookDelivery | None:
        """Take one delivery for one attempt. Returns None if it is not due or another
        worker has it.
        """
        with transaction.atomic():
            # Claims of a subscription are serialized by its lock.
            subscription = Webhook.objects.select_for_update(no_key=True).filter(
                pk__in=self.filter(pk=pk).values("webhook")
            )
            webhook = subscription.first()
            if not webhook:
                return None
            delivery: WebhookDelivery | None = super().claim(pk)
            if delivery:
                delivery.webhook = webhook
            return delivery

    def claim_waiting(self, webhook_id: str) -> WebhookDelivery | None:
        """Take the oldest delivery that waits for this endpoint, although it is
        paused.
        """
        with transaction.atomic():
            waiting = self.filter(_waits(), self._its_turn(), webhook_id=webhook_id)
            # Choosing and claiming are one step: claims of a subscription are
            # serialized by its lock.
            Webhook.locked(webhook_id)
            pk = waiting.order_by("pk").values_list("pk", flat=True).first()
            claimed = pk is not None and waiting.filter(pk=pk).take()
            return self.select_related("webhook").get(pk=pk) if claimed else None

    def waiting_too_long(self) -> Self:
        """Deliveries that have waited for a paused endpoint longer than PATIENCE."""
        paused = Webhook.objects.filter(pk=OuterRef("webhook"), paused_at__isnull=False)
        return self.filter(
            _waits(), Exists(paused), next_attempt_at__lt=Now() - PATIENCE
        )

    def past_retention(self, most: int) -> Self:
        """Finished deliveries that are kept no longer, among the `most` oldest rows,
        which the primary key finds.
        """
        oldest = self.order_by("pk").values("pk")[:most]
        return self.filter(
            pk__in=oldest,
            state__in=[Delivery.State.DELIVERED, Delivery.State.FAILED],
            created_at__lt=Now() - RETENTION,
        )

    def _its_turn(self) -> Q:
        """Return the condition that no earlier event of the message is still on its
        way, and no later one is being sent at this moment.
        """
        same = self.model._default_manager.filter(
            webhook=OuterRef("webhook"), email=OuterRef("email"), state__in=_OPEN
        ).exclude(pk=OuterRef("pk"))
        is_being_sent = Q(state=Delivery.State.SENDING, lease_until__gte=Now())
        # In an OR, so that PostgreSQL checks row by row, by the index
        # webhook_delivery_order. It would plan a join by what it knew before the
        # backlog, and might compare each row with all others.
        return Q(email=None) | Q(
            ~Exists(same.filter(Q(pk__lt=OuterRef("pk")) | is_being_sent))
        )


class Webhook(UlidModel):
    """A subscription: a URL that gets signed events. If it is deleted, its row stays
    for the delivery log.
    """

    account = models.ForeignKey(Account, models.CASCADE, related_name="webhooks")
    mailbox = models.ForeignKey(Mailbox, models.CASCADE, null=True, related_name="+")
    url = models.CharField(max_length=2000)
    # Made by a sandbox key: it gets events of sandbox mail only.
    sandbox = models.BooleanField(default=False)
    # Made by a live key that did not switch it off: it gets events of live and sandbox
    # mail.
    include_sandbox = models.BooleanField(default=True, db_default=True)
    # As the subscriber spelled them: an event is sent under the first spelling that
    # matches.
    events = ArrayField(models.CharField(max_length=60))
    secret = EncryptedTextField()
    # The secret before a rotation, which is used until this moment.
    previous_secret = EncryptedTextField(default="")
    previous_until = models.DateTimeField(null=True)
    # Deliveries that failed for good and attempts that got no answer in time, one after
    # the other; enough of them pause the subscription.
    failures = models.PositiveIntegerField(default=0)
    paused_at = models.DateTimeField(null=True)
    # When a paused endpoint is next tried, and how often it has been.
    probe_at = models.DateTimeField(null=True)
    probes = models.PositiveIntegerField(default=0)
    # Why the newest attempt failed; empty after a success.
    last_error = models.TextField(default="")
    deleted_at = models.DateTimeField(null=True)

    objects = WebhookQuerySet.as_manager()

    class Meta:
        indexes = [
            # Every event looks up its subscriptions.
            models.Index(
                fields=["account"],
                condition=Q(deleted_at=None),
                name="webhook_listening",
            )
        ]

    @property
    def is_active(self) -> bool:
        """Whether it is not paused."""
        return not self.paused_at

    def has_previous_secret(self) -> bool:
        """Whether a rotation of its secret still overlaps."""
        ends = self.previous_until
        return bool(self.previous_secret and ends and timezone.now() < ends)


class WebhookDelivery(Delivery):
    """One event for one subscription. `body` is stored byte for byte, so that every
    attempt sends the same.
    """

    webhook = models.ForeignKey(Webhook, models.CASCADE, related_name="deliveries")
    email = models.ForeignKey(Email, models.CASCADE, null=True, related_name="+")
    event_id = models.CharField(max_length=26)
    event = models.CharField(max_length=60)
    body = models.BinaryField()
    # How the newest attempts went, oldest first: time, status, error, milliseconds.
    history = models.JSONField(default=list)

    objects = WebhookDeliveryQuerySet.as_manager()  # type: ignore[misc]

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["webhook", "event_id"], name="webhook_event_once"
            ),
            one_of("state", Delivery.State.values, "webhook_delivery_state_known"),
        ]
        indexes = [
            # For the sweep: what should be tried now.
            models.Index(
                fields=["next_attempt_at"],
                condition=Q(state__in=["due", "sending"]),
                name="webhook_delivery_open",
            ),
            # For the order: is an earlier event of this message still on its way?
            models.Index(
                fields=["webhook", "email", "id"],
                condition=Q(state__in=["due", "sending"]),
                name="webhook_delivery_order",
            ),
        ]

    def waits(self, *, error: str, status: int | None) -> bool:
        """Make the row due again without counting the attempt, which was only a probe
        of a paused endpoint.
        """
        return self._finish(
            state=self.State.DUE,
            attempts=F("attempts") - 1,
            response_status=status,
            last_error=error[:2000],
        )

    def _finish(self, **fields: Any) -> bool:
        return super()._finish(history=self.history, **fields)
