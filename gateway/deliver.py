"""Delivers one webhook event: signed over its exact bytes, retried three times, every attempt recorded."""

import hashlib
import hmac
import logging

from common.logs import traced
from courier.backoff import retry_after_attempt
from courier.guarded import DeliveryError, request
from gateway.models import WebhookDelivery

log = logging.getLogger(__name__)

RETRIES = (10, 60, 300)
# An event that ends its worker must not do so for ever.
MAX_ATTEMPTS = len(RETRIES) + 3


def sign(secret: str, body: bytes) -> str:
    """Return the value of X-MultiMail-Signature for these bytes."""
    return "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def deliver(*, delivery_id: int) -> int | None:
    """Make one attempt, if the delivery is due and free. Returns the next delivery of the same message that may go."""
    delivery = WebhookDelivery.objects.claim(delivery_id)
    if delivery is None:
        return None
    with traced(delivery.trace):
        finished = _attempt(delivery)
    return WebhookDelivery.objects.next_after(delivery) if finished else None


def _attempt(delivery: WebhookDelivery) -> bool:
    webhook = delivery.webhook
    if webhook.deleted_at is not None:
        return delivery.failed(error="The subscription was deleted.")
    if delivery.attempts > MAX_ATTEMPTS:
        return delivery.failed(error="Given up: every attempt ended without an outcome.")
    body = bytes(delivery.body)
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "Countersign-Gateway/1",
        "X-MultiMail-Signature": sign(webhook.secret, body),
        "X-MultiMail-Event": delivery.event,
        "X-MultiMail-Event-Id": delivery.event_id,
        "X-Request-Id": delivery.event_id,
    }
    try:
        answer = request("POST", webhook.url, body=body, headers=headers)
    except DeliveryError as error:
        return _later(delivery, str(error), None, hopeless=error.refused)
    if 200 <= answer.status < 300:
        log.info("webhook delivered", extra=_facts(delivery) | {"status": answer.status})
        return delivery.delivered(status=answer.status)
    return _later(delivery, f"The answer was {answer.status}.", answer.status)


def _later(delivery: WebhookDelivery, error: str, status: int | None, *, hopeless: bool = False) -> bool:
    """Plan the next attempt; True when there is none, so that later events of the message may go."""
    log.warning("webhook not delivered", extra=_facts(delivery) | {"reason": error})
    wait = None if hopeless else retry_after_attempt(delivery.attempts, schedule=RETRIES)
    if wait is None:
        return delivery.failed(error=error, status=status)
    delivery.postponed(seconds=wait, error=error, status=status)
    return False


def _facts(delivery: WebhookDelivery) -> dict[str, object]:
    return {"delivery": delivery.pk, "event": delivery.event, "email": delivery.email_id, "attempt": delivery.attempts}
