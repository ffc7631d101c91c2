"""Commands on webhook subscriptions: adding and deleting them, rotating their secrets,
testing them, and replaying a delivery.
"""

import secrets
from contextlib import suppress
from datetime import timedelta
from urllib.parse import urlsplit

from django.conf import settings
from django.db import transaction
from django.db.models.functions import Now
from django.utils import timezone

from common.identifiers import ulid
from common.origins import is_public, origin_of
from gateway import auditing, tasks
from gateway.errors import Conflict, Invalid
from gateway.models import ApiKey, Webhook, WebhookDelivery
from gateway.models.webhooks import TEST_EVENT
from gateway.webhooks.events import KNOWN, SPELLINGS, envelope


def add_webhook(key: ApiKey, webhook: Webhook) -> Webhook:
    """Subscribe a URL to events. Raises Invalid for a URL or an event name that is not
    accepted.
    """
    check_url(webhook.url)
    if unknown := [name for name in webhook.events if name not in KNOWN]:
        names = ", ".join([*SPELLINGS, "email.decided"])
        raise Invalid(
            f"events: there is no event named {unknown[0][:60]!a}; there are {names}."
        )
    webhook.account_id = key.account_id
    webhook.sandbox = key.sandbox
    webhook.include_sandbox = webhook.include_sandbox and not key.sandbox
    webhook.events = list(dict.fromkeys(webhook.events))
    webhook.secret = webhook.secret or new_secret()
    with transaction.atomic():
        webhook.save()
        auditing.record("webhook.created", webhook, key)
    webhook.refresh_from_db(fields=["created_at"])
    return webhook


@transaction.atomic
def delete_webhook(key: ApiKey, webhook: Webhook) -> None:
    """Delete a subscription; its due deliveries fail."""
    Webhook.objects.alive().filter(pk=webhook.pk).update(deleted_at=timezone.now())
    waiting = WebhookDelivery.objects.filter(
        webhook=webhook, state=WebhookDelivery.State.DUE
    )
    waiting.update(
        state=WebhookDelivery.State.FAILED, last_error="The subscription was deleted."
    )
    auditing.record("webhook.deleted", webhook, key)


@transaction.atomic
def rotate_secret(
    key: ApiKey, webhook: Webhook, *, secret: str | None, overlap: timedelta
) -> Webhook:
    """Give a subscription a new secret. Until the overlap is over, events are signed
    with the old one too (`signatures` in deliveries.py).
    """
    webhook = Webhook.locked(webhook.pk)
    old_secret = webhook.secret
    if webhook.has_previous_secret():
        # It is rotated again before the overlap is over: the oldest secret is kept, the
        # only one that every receiver knows for sure.
        old_secret = webhook.previous_secret
    webhook.save_fields(
        secret=secret or new_secret(),
        previous_secret=old_secret if overlap else "",
        previous_until=timezone.now() + overlap if overlap else None,
    )
    auditing.record(
        "webhook.rotated", webhook, key, overlap_s=int(overlap.total_seconds())
    )
    return webhook


def test_webhook(key: ApiKey, webhook: Webhook) -> WebhookDelivery:
    """Have one signed event sent that is about no message. A paused endpoint that
    accepts it is resumed.
    """
    event_id = ulid()
    body = envelope(
        TEST_EVENT,
        event_id=event_id,
        now=timezone.now(),
        facts={"webhook_id": webhook.pk},
    )
    with transaction.atomic():
        delivery = WebhookDelivery.objects.create(
            webhook=webhook,
            event_id=event_id,
            event=TEST_EVENT,
            body=body,
            trace=event_id,
        )
        auditing.record("webhook.tested", webhook, key)
        tasks.deliver_webhook.delay_on_commit(delivery.pk)
    delivery.refresh_from_db()
    return delivery


def new_secret() -> str:
    return f"whsec_{secrets.token_urlsafe(32)}"


def check_url(url: str) -> None:
    """Raise Invalid unless `url` may be subscribed. Where the name of its host leads is
    checked when an event is sent.
    """
    try:
        parts = urlsplit(url)
        origin = origin_of(url)
    except ValueError:
        raise Invalid("url: is not an address.") from None
    host = parts.hostname
    if not host or parts.username is not None or parts.scheme not in ("https", "http"):
        raise Invalid("url: must be an https address without a user name.")
    if origin in {origin_of(one) for one in settings.OUTGOING_ALLOW}:
        return
    if parts.scheme != "https":
        raise Invalid(
            "url: must be https. The operator can allow exceptions in OUTGOING_ALLOW."
        )
    # A host name is no address: where that leads is checked when an event is sent.
    with suppress(ValueError):
        if not is_public(host):
            raise Invalid(
                "url: is a private address. The operator can allow it in OUTGOING_ALLOW."
            )


def replay_delivery(key: ApiKey, delivery: WebhookDelivery) -> WebhookDelivery:
    """Make a finished delivery due again; the audit log keeps its state, attempts and
    response status. Raises Conflict.
    """
    finished = (WebhookDelivery.State.DELIVERED, WebhookDelivery.State.FAILED)
    with transaction.atomic():
        webhook = Webhook.locked(delivery.webhook_id)
        if webhook.deleted_at:
            raise Conflict(
                "Its subscription was deleted; create a new one.",
                code="webhook_deleted",
            )
        replayed = WebhookDelivery.objects.filter(pk=delivery.pk, state__in=finished)
        if not replayed.update(
            state=WebhookDelivery.State.DUE, attempts=0, next_attempt_at=Now()
        ):
            raise Conflict(
                "This delivery is not finished; only a finished one can be sent again.",
                code="not_finished",
            )
        auditing.record(
            "webhook.replayed",
            delivery,
            key,
            webhook_id=delivery.webhook_id,
            event_id=delivery.event_id,
            was=delivery.state,
            attempts=delivery.attempts,
            response_status=delivery.response_status,
        )
        if not webhook.paused_at:
            tasks.deliver_webhook.delay_on_commit(delivery.pk)
        else:
            # A replay to a paused endpoint probes the endpoint at once, with its oldest
            # waiting delivery.
            webhook.save_fields(probe_at=Now(), probes=0)
            tasks.probe_webhook.delay_on_commit(webhook.pk)
    delivery.refresh_from_db()
    return delivery
