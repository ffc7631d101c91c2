"""Sends an event again that is over and done with: the same bytes under the same event id, as a first attempt."""

import logging

from django.db import transaction
from django.db.models.functions import Now

from common.nudge import nudge
from gateway import auditing
from gateway.errors import Conflict
from gateway.models import ApiKey, Webhook, WebhookDelivery

log = logging.getLogger(__name__)


def replay_delivery(*, key: ApiKey, delivery: WebhookDelivery) -> WebhookDelivery:
    """Make a finished delivery due again; how it had ended stays in the audit log. Raises Conflict."""
    finished = (WebhookDelivery.State.DELIVERED, WebhookDelivery.State.FAILED)
    with transaction.atomic():
        webhook = Webhook.objects.locked(delivery.webhook_id)
        if webhook.deleted_at is not None:
            raise Conflict("Its subscription was deleted; make a new one.", code="webhook_deleted")
        again = WebhookDelivery.objects.filter(pk=delivery.pk, state__in=finished)
        if not again.update(state=WebhookDelivery.State.DUE, attempts=0, next_attempt_at=Now(), lease_until=None):
            raise Conflict("This delivery is still on its way; only a finished one is sent again.", code="not_finished")
        _note(key, delivery)
        _nudge(webhook, delivery)
    delivery.refresh_from_db()
    log.info("webhook replayed", extra={"delivery": delivery.pk, "event": delivery.event})
    return delivery


def _note(key: ApiKey, delivery: WebhookDelivery) -> None:
    auditing.note_thing(
        "webhook.replayed",
        account_id=key.account_id,
        kind="webhook_delivery",
        thing_id=str(delivery.pk),
        key=key,
        webhook_id=delivery.webhook_id,
        event_id=delivery.event_id,
        was=delivery.state,
        attempts=delivery.attempts,
        response_status=delivery.response_status,
    )


def _nudge(webhook: Webhook, delivery: WebhookDelivery) -> None:
    if webhook.paused_at is None:
        nudge("gateway.tasks.deliver_webhook", delivery.pk)
        return
    # Somebody thinks that the endpoint is there again: it is tried at once, with what has waited longest.
    webhook.probe_at = Now()
    webhook.probes = 0
    webhook.save(update_fields=["probe_at", "probes"])
    nudge("gateway.tasks.probe_webhook", webhook.pk)
