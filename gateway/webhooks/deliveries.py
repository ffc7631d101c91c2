"""Delivers webhook events: signed over their exact bytes, retried three times, every
attempt recorded; and judges endpoints by these attempts: a dead one is paused and probed.

Events for a paused endpoint wait in their rows. One of them is tried from time to time; its
success lets all others go.
"""

import hmac
import logging
import time
from dataclasses import dataclass
from datetime import timedelta

from django.db import transaction
from django.db.models.functions import Now
from django.utils import timezone

from common.logs import traced
from gateway import auditing
from gateway.models import Webhook, WebhookDelivery
from gateway.timestamps import iso
from outgoing.backoff import retry_after_attempt
from outgoing.guarded import DeliveryError, request

log = logging.getLogger(__name__)

RETRIES = (10, 60, 300)
# Bounds the attempts of an event that kills its worker.
MAX_ATTEMPTS = len(RETRIES) + 3
# Seconds for the whole of an attempt, whatever the endpoint does.
TIMEOUT = 10.0
_GONE = 410
# A paused endpoint may be tried for days with one delivery.
_KEPT_ATTEMPTS = 20
HEADER = "X-MultiMail-Signature"
NEXT_HEADER = "X-MultiMail-Signature-Next"
# So many deliveries that failed for good, or failures that took longer than SLOW, one
# after the other: paused.
ENOUGH = 10
# Minutes between probes of a paused endpoint; the last value repeats.
PROBES = (5, 10, 20, 40, 60)
SLOW = 3.0
_JUDGED = ("last_error", "failures", "paused_at", "probe_at", "probes")


@dataclass(frozen=True)
class AttemptResult:
    """How an attempt went: an empty `error` is a success."""

    seconds: float
    status: int | None = None
    error: str = ""
    # A retry cannot help.
    is_hopeless: bool = False


def deliver(delivery_id: int) -> int | None:
    """Make one attempt, if the delivery is due and free. Returns the next delivery of
    the same subscription; none after a failure that is tried again.
    """
    delivery = WebhookDelivery.objects.claim(delivery_id)
    if delivery is None or not attempt(delivery):
        return None
    return WebhookDelivery.objects.next_of(delivery.webhook_id)


def probe(webhook_id: str) -> bool:
    """Try a paused endpoint with its oldest waiting delivery; True when it is resumed."""
    if not begin_probe(webhook_id):
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
        if not outcome.is_hopeless:
            wait = retry_after_attempt(delivery.attempts, schedule=RETRIES)
        if status == _GONE and wait is None:
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
            judge(webhook, outcome, lost=finished and bool(error))
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
    status = None
    error = ""
    is_hopeless = False
    began = time.monotonic()
    try:
        answer = request("POST", webhook.url, body=body, headers=headers, limit=TIMEOUT)
        status = answer.status
        if not 200 <= status < 300:
            error = f"The answer was {status}."
    except DeliveryError as failure:
        error = str(failure)
        is_hopeless = failure.refused
    return AttemptResult(time.monotonic() - began, status, error, is_hopeless)


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


def judge(webhook: Webhook, outcome: AttemptResult, *, lost: bool) -> None:
    """Write into the (locked) row what an attempt says about its endpoint; `lost` when
    its delivery failed for good.
    """
    if not outcome.error:
        if webhook.paused_at is not None:
            auditing.record("webhook.resumed", webhook, probes=webhook.probes)
        # Most attempts succeed and change nothing.
        if webhook.failures or webhook.last_error or webhook.paused_at:
            wake(webhook)
        return
    webhook.last_error = outcome.error[:2000]
    webhook.failures += lost or outcome.seconds >= SLOW
    reason = ""
    if outcome.status == _GONE:
        reason = "The endpoint answered 410: it is gone."
    elif webhook.failures >= ENOUGH:
        reason = (
            f"{ENOUGH} deliveries in a row failed for good or got no answer in time."
        )
    if reason and webhook.paused_at is None and webhook.deleted_at is None:
        webhook.paused_at = timezone.now()
        webhook.probes = 0
        webhook.probe_at = Now() + timedelta(minutes=PROBES[0])
        auditing.record("webhook.paused", webhook, reason=reason)
    webhook.save(update_fields=_JUDGED)


def begin_probe(webhook_id: str) -> bool:
    """Claim a due probe of a paused endpoint, and schedule the next; False when it is
    not due or claimed.
    """
    webhook = Webhook.objects.to_probe().filter(pk=webhook_id).first()
    if webhook is None:
        return False
    wait = timedelta(minutes=PROBES[min(webhook.probes + 1, len(PROBES) - 1)])
    mine = Webhook.objects.to_probe().filter(pk=webhook_id, probes=webhook.probes)
    # Set before the attempt, so that one that kills its worker is not repeated at once.
    return bool(mine.update(probes=webhook.probes + 1, probe_at=Now() + wait))


def wake(webhook: Webhook) -> None:
    """Resume the endpoint with no failures. The caller writes the audit entry."""
    webhook.paused_at = webhook.probe_at = None
    webhook.failures = webhook.probes = 0
    webhook.last_error = ""
    webhook.save(update_fields=_JUDGED)


def give_up_waiting() -> int:
    """Fail what has waited for a paused endpoint for three days."""
    sentence = "Abandoned: the subscription was paused for three days because its endpoint did not accept events."
    return WebhookDelivery.objects.waiting_too_long().update(
        state=WebhookDelivery.State.FAILED, last_error=sentence
    )
