"""Subscriptions to events: making, changing, ending and trying them."""

import logging
import secrets
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction

from common.identifiers import ulid
from common.nudge import nudge
from gateway import auditing, endpoints
from gateway.errors import Invalid
from gateway.event_names import KNOWN, SPELLINGS, TEST
from gateway.events import envelope
from gateway.hook_targets import check_url
from gateway.models import ApiKey, Mailbox, Webhook, WebhookDelivery

log = logging.getLogger(__name__)


def add_webhook(
    *, key: ApiKey, url: str, events: list[str], mailbox: Mailbox | None, secret: str | None, include_sandbox: bool
) -> Webhook:
    """Subscribe an address to events. Raises Invalid for an address or a name that is not taken."""
    check_url(url)
    _check_events(events)
    with transaction.atomic():
        webhook = Webhook.objects.create(
            account_id=key.account_id,
            mailbox=mailbox,
            sandbox=key.sandbox,
            include_sandbox=include_sandbox and not key.sandbox,
            url=url,
            events=list(dict.fromkeys(events)),
            secret=secret or new_secret(),
        )
        auditing.note_thing("webhook.created", account_id=key.account_id, kind="webhook", thing_id=webhook.pk, key=key)
    webhook.refresh_from_db(fields=["created_at"])
    log.info("webhook created", extra={"webhook": webhook.pk, "events": webhook.events})
    return webhook


def change_webhook(*, key: ApiKey, webhook: Webhook, changes: dict[str, Any]) -> Webhook:
    """Change `url`, `events`, `mailbox` or `include_sandbox` of a subscription; another address begins anew.

    Raises Invalid.
    """
    if "url" in changes:
        check_url(changes["url"])
    if "events" in changes:
        _check_events(changes["events"])
        changes["events"] = list(dict.fromkeys(changes["events"]))
    if not changes:
        return webhook
    with transaction.atomic():
        webhook = Webhook.objects.locked(webhook.pk)
        moved = changes.get("url", webhook.url) != webhook.url
        for name, value in changes.items():
            setattr(webhook, name, value)
        webhook.save(update_fields=list(changes))
        if moved:
            endpoints.wake(webhook)
        auditing.note_thing(
            "webhook.updated",
            account_id=key.account_id,
            kind="webhook",
            thing_id=webhook.pk,
            key=key,
            fields=sorted(changes),
        )
    log.info("webhook updated", extra={"webhook": webhook.pk, "fields": sorted(changes)})
    return webhook


def end_webhook(*, key: ApiKey, webhook: Webhook, now: datetime) -> None:
    """End a subscription; what is still on its way to it is given up."""
    with transaction.atomic():
        Webhook.objects.alive().filter(pk=webhook.pk).update(deleted_at=now)
        waiting = WebhookDelivery.objects.filter(webhook=webhook, state=WebhookDelivery.State.DUE)
        waiting.update(state=WebhookDelivery.State.FAILED, last_error="The subscription was deleted.")
        auditing.note_thing("webhook.deleted", account_id=key.account_id, kind="webhook", thing_id=webhook.pk, key=key)
    log.info("webhook deleted", extra={"webhook": webhook.pk})


def rotate_secret(*, key: ApiKey, webhook: Webhook, secret: str | None, overlap: timedelta, now: datetime) -> Webhook:
    """Give a subscription another secret, which takes over when the overlap is over (signing.py)."""
    with transaction.atomic():
        webhook = Webhook.objects.locked(webhook.pk)
        overlapping = bool(webhook.previous_secret and webhook.previous_until and now < webhook.previous_until)
        # Rotated again before the overlap was over: the secret that receivers certainly know is still the oldest one.
        known = webhook.previous_secret if overlapping else webhook.secret
        webhook.secret = secret or new_secret()
        webhook.previous_secret = known if overlap else ""
        webhook.previous_until = now + overlap if overlap else None
        webhook.save(update_fields=["secret", "previous_secret", "previous_until"])
        auditing.note_thing(
            "webhook.rotated",
            account_id=key.account_id,
            kind="webhook",
            thing_id=webhook.pk,
            key=key,
            overlap_s=int(overlap.total_seconds()),
        )
    log.info("webhook secret rotated", extra={"webhook": webhook.pk})
    return webhook


def forget_previous_secrets() -> int:
    """Delete the secrets whose overlap is over."""
    return Webhook.objects.after_overlap().update(previous_secret="", previous_until=None)


def test_webhook(*, key: ApiKey, webhook: Webhook, now: datetime) -> WebhookDelivery:
    """Send one signed event that is about no message; also to a paused endpoint, which wakes when it takes it."""
    event_id = ulid()
    body = envelope(TEST, event_id=event_id, now=now, facts={"webhook_id": webhook.pk})
    with transaction.atomic():
        delivery = WebhookDelivery.objects.create(
            webhook=webhook, event_id=event_id, event=TEST, body=body, trace=event_id
        )
        auditing.note_thing("webhook.tested", account_id=key.account_id, kind="webhook", thing_id=webhook.pk, key=key)
        nudge("gateway.tasks.deliver_webhook", delivery.pk)
    delivery.refresh_from_db()
    return delivery


def new_secret() -> str:
    """Return a secret of our own making."""
    return f"whsec_{secrets.token_urlsafe(32)}"


def _check_events(events: list[str]) -> None:
    if unknown := [name for name in events if name not in KNOWN]:
        names = ", ".join([*SPELLINGS, "email.decided"])
        raise Invalid(f"events: there is no event named {unknown[0][:60]!a}; there are {names}.", field="events")
