"""Delivers webhook events: signed over their exact bytes, retried three times, every
attempt recorded.

`endpoints.judge` decides what the result of an attempt means for the endpoint as a
whole.
"""

import hmac
import logging
import time

from django.db import transaction
from django.utils import timezone

from common.logs import traced
from gateway.models import Webhook, WebhookDelivery
from gateway.timestamps import iso
from gateway.webhooks import endpoints
from gateway.webhooks.endpoints import AttemptResult
from outgoing.backoff import retry_after_attempt
from outgoing.guarded import DeliveryError, request

log = logging.getLogger(__name__)

RETRIES = (10, 60, 300)
# Bounds the attempts of an event that kills its worker.
MAX_ATTEMPTS = len(RETRIES) + 3
# Seconds for the whole of an attempt, whatever the endpoint does.
TIMEOUT = 10.0
_GONE = 410
# Seconds that mail and other subscriptions wait at most, as long as this one answers at
# once.
MOMENT = 0.25
_AT_ONCE = 20
# A paused endpoint may be tried for days with one delivery.
_KEPT_ATTEMPTS = 20
HEADER = "X-MultiMail-Signature"
NEXT_HEADER = "X-MultiMail-Signature-Next"


def deliver(*, delivery_id: int) -> int | None:
    """Make one attempt, if the delivery is due and free. Returns the next delivery of
    the same message that may go.
    """
    delivery = WebhookDelivery.objects.claim(delivery_id)
    if delivery is None:
        return None
    return WebhookDelivery.objects.next_after(delivery) if attempt(delivery) else None


def probe(*, webhook_id: str) -> bool:
    """Try a paused endpoint with its oldest waiting delivery; True when it is resumed."""
    if not endpoints.begin_probe(webhook_id=webhook_id):
        return False
    delivery = WebhookDelivery.objects.claim_waiting(webhook_id)
    if delivery is None:
        return False
    return (
        attempt(delivery, probing=True)
        and not Webhook.objects.get(pk=webhook_id).paused_at
    )


def attempt(delivery: WebhookDelivery, *, probing: bool = False) -> bool:
    """Make one attempt at a claimed delivery; True when it is finished, so that later
    events of the message may go.
    """
    with traced(delivery.trace):
        if delivery.webhook.deleted_at is not None:
            return delivery.failed(error="The subscription was deleted.")
        if delivery.attempts > MAX_ATTEMPTS:
            return delivery.failed(
                error="Abandoned: every attempt ended without a result."
            )
        outcome = _post(delivery)
        error = outcome.error
        status = outcome.status
        milliseconds = round(outcome.seconds * 1000)
        entry = {
            "at": iso(timezone.now()),
            "response_status": status,
            "error": error[:500] or None,
            "milliseconds": milliseconds,
        }
        # Saved with the outcome.
        delivery.history = [*delivery.history, entry][-_KEPT_ATTEMPTS:]
        wait = None
        if not outcome.hopeless:
            wait = retry_after_attempt(delivery.attempts, schedule=RETRIES)
        if outcome.gone and wait is None:
            # A 410 pauses the endpoint, so this delivery waits like all others.
            wait = 0
        finished = False
        # The subscription is locked first, as in a claim: another order could deadlock.
        with transaction.atomic():
            webhook = Webhook.locked(delivery.webhook_id)
            if not error:
                finished = delivery.delivered(status=status or 0)
            elif probing:
                delivery.waits(error=error, status=status)
            elif wait is None:
                finished = delivery.failed(error=error, status=status)
            else:
                delivery.postponed(seconds=wait, error=error, status=status)
            # The result says nothing about a new address that was set meanwhile.
            if webhook.url == delivery.webhook.url:
                endpoints.judge(
                    webhook=webhook, outcome=outcome, lost=finished and bool(error)
                )
        facts = {
            "delivery": delivery.pk,
            "event": delivery.event,
            "email": delivery.email_id,
            "attempt": delivery.attempts,
            "status": status,
            "milliseconds": milliseconds,
        }
        if error:
            log.warning("webhook not delivered", extra=facts | {"reason": error})
        else:
            log.info("webhook delivered", extra=facts)
        return finished


def _post(delivery: WebhookDelivery) -> AttemptResult:
    webhook = delivery.webhook
    body = bytes(delivery.body)
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "Countersign-Gateway/1",
        **signatures(webhook, body),
        "X-MultiMail-Event": delivery.event,
        "X-MultiMail-Event-Id": delivery.event_id,
        "X-Request-Id": delivery.event_id,
    }
    began = time.monotonic()
    try:
        answer = request("POST", webhook.url, body=body, headers=headers, limit=TIMEOUT)
    except DeliveryError as error:
        return AttemptResult(
            seconds=time.monotonic() - began, error=str(error), hopeless=error.refused
        )
    good = 200 <= answer.status < 300
    return AttemptResult(
        seconds=time.monotonic() - began,
        status=answer.status,
        error="" if good else f"The answer was {answer.status}.",
        gone=answer.status == _GONE,
    )


def drain(*, delivery_id: int) -> int | None:
    """Deliver this one and then the longest due, for a moment. Returns the delivery to
    continue with, or None.

    Also None when the first one is claimed: another worker is busy with this
    subscription.
    """
    until = time.monotonic() + MOMENT
    first = WebhookDelivery.objects.claim(delivery_id)
    if first is None or not attempt(first):
        return None
    while waiting := WebhookDelivery.objects.waiting_for(first.webhook_id, _AT_ONCE):
        for key in waiting:
            if time.monotonic() >= until:
                return key
            delivery = WebhookDelivery.objects.claim(key)
            if delivery is not None and not attempt(delivery):
                # An endpoint that refuses events is not sent more at this pace.
                return None
    return None


def sign(secret: str, body: bytes) -> str:
    """Return the value of a signature header for these bytes."""
    return "sha256=" + hmac.digest(secret.encode(), body, "sha256").hex()


def signatures(webhook: Webhook, body: bytes) -> dict[str, str]:
    """Return the headers that prove to the subscriber who sent `body`.

    While a rotation overlaps, the header that every receiver knows stays with the old
    secret: a receiver that has not learned the new one yet goes on working, and one
    that has takes either header. Two signatures in one header would break the published
    form.
    """
    if not webhook.has_previous_secret():
        return {HEADER: sign(webhook.secret, body)}
    return {
        HEADER: sign(webhook.previous_secret, body),
        NEXT_HEADER: sign(webhook.secret, body),
    }
