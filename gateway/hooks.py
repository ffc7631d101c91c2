"""Subscriptions to events: making, ending and trying them."""

import logging
import secrets
from datetime import datetime
from urllib.parse import urlsplit

from django.conf import settings
from django.db import transaction

from common.identifiers import ulid
from common.nudge import nudge
from courier.guarded import is_public, origin_of
from gateway import auditing
from gateway.errors import Invalid
from gateway.event_names import KNOWN, TEST
from gateway.events import envelope
from gateway.models import ApiKey, Mailbox, Webhook, WebhookDelivery

log = logging.getLogger(__name__)


def add_webhook(*, key: ApiKey, url: str, events: list[str], mailbox: Mailbox | None, secret: str | None) -> Webhook:
    """Subscribe an address to events. Raises Invalid for an address or a name that is not taken."""
    _check_url(url)
    if unknown := [name for name in events if name not in KNOWN]:
        raise Invalid(f"events: there is no event named {unknown[0][:60]!a}.", field="events")
    with transaction.atomic():
        webhook = Webhook.objects.create(
            account_id=key.account_id,
            mailbox=mailbox,
            url=url,
            events=list(dict.fromkeys(events)),
            secret=secret or f"whsec_{secrets.token_urlsafe(32)}",
        )
        auditing.note_thing("webhook.created", account_id=key.account_id, kind="webhook", thing_id=webhook.pk, key=key)
    webhook.refresh_from_db(fields=["created_at"])
    log.info("webhook created", extra={"webhook": webhook.pk, "events": webhook.events})
    return webhook


def end_webhook(*, key: ApiKey, webhook: Webhook, now: datetime) -> None:
    """End a subscription; what is still on its way to it is given up."""
    with transaction.atomic():
        Webhook.objects.alive().filter(pk=webhook.pk).update(deleted_at=now)
        auditing.note_thing("webhook.deleted", account_id=key.account_id, kind="webhook", thing_id=webhook.pk, key=key)
    log.info("webhook deleted", extra={"webhook": webhook.pk})


def test_webhook(*, webhook: Webhook, now: datetime) -> WebhookDelivery:
    """Send one signed event that is about no message."""
    event_id = ulid()
    body = envelope(TEST, event_id=event_id, now=now, facts={"webhook_id": webhook.pk})
    with transaction.atomic():
        delivery = WebhookDelivery.objects.create(
            webhook=webhook, event_id=event_id, event=TEST, body=body, trace=event_id
        )
        nudge("gateway.tasks.deliver_webhook", delivery.pk)
    delivery.refresh_from_db()
    return delivery


def _check_url(url: str) -> None:
    try:
        parts = urlsplit(url)
        origin = origin_of(url)
    except ValueError:
        raise Invalid("url: is not an address.", field="url") from None
    if not parts.hostname or parts.username or parts.scheme not in ("https", "http"):
        raise Invalid("url: must be an https address without a user name.", field="url")
    if origin in {origin_of(one) for one in settings.OUTGOING_ALLOW}:
        return
    if parts.scheme != "https":
        raise Invalid("url: must be https. The operator can allow others in OUTGOING_ALLOW.", field="url")
    if _is_private(parts.hostname):
        raise Invalid("url: is a private address. The operator can allow it in OUTGOING_ALLOW.", field="url")


def _is_private(host: str) -> bool:
    """Whether the host is written as a private address. Names are judged when they are connected to."""
    try:
        return not is_public(host)
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
