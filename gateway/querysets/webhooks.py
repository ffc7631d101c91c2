"""Queries of subscriptions and deliveries."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from django.db import models
from django.db.models import Exists, OuterRef, Q

from courier.models import DeliveryQuerySet

if TYPE_CHECKING:
    from gateway.models import Webhook, WebhookDelivery  # noqa: F401


class WebhookQuerySet(models.QuerySet["Webhook"]):
    """Subscriptions."""

    def alive(self) -> Self:
        """Those that are not deleted."""
        return self.filter(deleted_at=None)

    def listening(self, *, account_id: str, mailbox_id: str | None) -> Self:
        """Who may want an event of this mailbox, oldest subscription first."""
        wanted = self.alive().filter(account_id=account_id).filter(Q(mailbox=None) | Q(mailbox_id=mailbox_id))
        return wanted.order_by("id")


class WebhookDeliveryQuerySet(DeliveryQuerySet):
    """Deliveries, with the promise that events of one message arrive in order."""

    def _earlier_open(self) -> Exists:
        earlier = self.model._default_manager.filter(
            webhook=OuterRef("webhook"), email=OuterRef("email"), pk__lt=OuterRef("pk"), state__in=["due", "sending"]
        )
        return Exists(earlier)

    def due(self) -> Self:
        """What should be tried now; not what has an earlier event of its message before it."""
        return super().due().exclude(self._earlier_open())

    def next_after(self, delivery: WebhookDelivery) -> int | None:
        """The delivery of the same message and subscription that may go now, if any."""
        same = self.due().filter(webhook_id=delivery.webhook_id, email_id=delivery.email_id)
        return same.order_by("pk").values_list("pk", flat=True).first() if delivery.email_id else None
