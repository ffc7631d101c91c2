"""Delivers webhook events: signed over their exact bytes, retried three times, every
attempt recorded. Judges endpoints by these attempts: an endpoint that fails again and
again is paused, and probed from time to time.

Events for a paused endpoint wait in their rows. A probe sends the oldest of them; if
that succeeds, all others are sent.
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

# Seconds between attempts.
RETRIES = (10, 60, 300)
# More than the retries, because attempts that end with the worker's death count too.
MAX_ATTEMPTS = len(RETRIES) + 3
# Seconds for the whole of an attempt, whatever the endpoint does.
TIMEOUT = 10.0
# The HTTP status for an endpoint that is gone for good.
_GONE = 410
# Attempts in the log of a delivery: a paused endpoint may be tried for days with the
# same one.
_KEPT_ATTEMPTS = 20
HEADER = "X-MultiMail-Signature"
NEXT_HEADER = "X-MultiMail-Signature-Next"
# An endpoint is paused after this many failures in a row: deliveries that failed for
# good, or attempts that failed after more than SLOW seconds.
ENOUGH = 10
# Minutes between probes of a paused endpoint; the last value repeats.
PROBES = (5, 10, 20, 40, 60)
SLOW = 3.0
# The fields of a subscription that say how its endpoint behaves.
_JUDGED = ("last_error", "failures", "paused_at", "probe_at", "probes")


@dataclass(frozen=True)
class AttemptResult:
    """How an attempt went. An empty `error` means success."""

    seconds: float
    status: int | None = None
    error: str = ""
    # A retry cannot help.
    is_hopeless: bool = False


def deliver(delivery_id: int) -> int | None:
    """Make one attempt at a delivery, if it is due and free. Returns the id of the next
    delivery of the same subscription; None after a failure that is tried again.
    """
    delivery = WebhookDelivery.objects.claim(delivery_id)
    if not delivery or not attempt(delivery):
        return None
    return WebhookDelivery.objects.next_of(delivery.webhook_id)


def probe(webhook_id: str) -> bool:
    """Try a paused endpoint with its oldest waiting delivery. Returns whether it works
    again.
    """
    if not begin_probe(webhook_id):
        return False
    delivery = WebhookDelivery.objects.claim_waiting(webhook_id)
    if not delivery:
        return False
    return (
        attempt(delivery, probing=True)
        and not Webhook.objects.get(pk=webhook_id).paused_at
    )


def attempt(delivery: WebhookDelivery, *, probing: bool = False) -> bool:
    """Make one attempt at a claimed delivery. Returns whether it is finished, so that
    later events of the message may be sent.
    """
    with traced(delivery.trace):
        if delivery.webhook.deleted_at:
            return delivery.failed(error="The subscription was deleted.")
        if delivery.attempts > MAX_ATTEMPTS:
            return delivery.failed(
                error="Abandoned: every attempt ended without a result."
            )
        outcome = _post(delivery)
        error = outcome.error
        status = outcome.status
        milliseconds = round(outcome.seconds * 1000)
        log_entry = {
            "at": iso(timezone.now()),
            "response_status": status,
            "error": error[:500] or None,
            "milliseconds": milliseconds,
        }
        # Saved with the outcome.
        delivery.history = [*delivery.history, log_entry][-_KEPT_ATTEMPTS:]
        wait = None
        if not outcome.is_hopeless:
            wait = retry_after_attempt(delivery.attempts, schedule=RETRIES)
        if status == _GONE and wait is None:
            # A 410 pauses the endpoint, so this delivery waits like all others to it.
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
            facts["reason"] = error
            log.warning("webhook not delivered", extra=facts)
        else:
            log.info("webhook delivered", extra=facts)
        return finished


def _post(delivery: WebhookDelivery) -> AttemptResult:
    # Sends the event to the subscriber's URL, signed. Returns how that went.
    webhook = delivery.webhook
    body = bytes(delivery.body)
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "Countersign-Gateway/1",
        **signatures(webhook, body),
        "X-MultiMail-Event": delivery.event,
        "X-MultiMail-Event-Id": delivery.event_id,
        "X-Request-Id": delivery.trace,
    }
    began = time.monotonic()
    try:
        answer = request("POST", webhook.url, body=body, headers=headers, limit=TIMEOUT)
    except DeliveryError as failure:
        return AttemptResult(
            time.monotonic() - began, error=str(failure), is_hopeless=failure.refused
        )
    status = answer.status
    error = "" if 200 <= status < 300 else f"The answer was {status}."
    return AttemptResult(time.monotonic() - began, status, error)


def sign(secret: str, body: bytes) -> str:
    """Return the value of a signature header for these bytes."""
    return "sha256=" + hmac.digest(secret.encode(), body, "sha256").hex()


def signatures(webhook: Webhook, body: bytes) -> dict[str, str]:
    """Return the headers that prove to the subscriber who sent `body`.

    While a rotation overlaps, the header that every receiver knows is still made with
    the old secret, and another header with the new one: a receiver that does not know
    the new secret yet goes on working, and one that does can check either header. Two
    signatures in one header would break the published form.
    """
    if not webhook.has_previous_secret():
        return {HEADER: sign(webhook.secret, body)}
    return {
        HEADER: sign(webhook.previous_secret, body),
        NEXT_HEADER: sign(webhook.secret, body),
    }


def judge(webhook: Webhook, outcome: AttemptResult, *, lost: bool) -> None:
    """Store what an attempt says about its endpoint in the subscription, which is
    locked; `lost` means that the delivery failed for good.
    """
    if not outcome.error:
        if webhook.paused_at:
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
    if reason and not webhook.paused_at and not webhook.deleted_at:
        webhook.paused_at = timezone.now()
        webhook.probes = 0
        webhook.probe_at = Now() + timedelta(minutes=PROBES[0])
        auditing.record("webhook.paused", webhook, reason=reason)
    webhook.save(update_fields=_JUDGED)


def begin_probe(webhook_id: str) -> bool:
    """Claim a due probe of a paused endpoint, and schedule the next one. Returns False
    if none is due or another worker has claimed it.
    """
    due = Webhook.objects.to_probe().filter(pk=webhook_id)
    webhook = due.first()
    if not webhook:
        return False
    wait = timedelta(minutes=PROBES[min(webhook.probes + 1, len(PROBES) - 1)])
    mine = due.filter(probes=webhook.probes)
    # The next time is set before the attempt, so that a probe that kills its worker is
    # not repeated at once.
    return bool(mine.update(probes=webhook.probes + 1, probe_at=Now() + wait))


def wake(webhook: Webhook) -> None:
    """Resume an endpoint, and forget its failures. The caller writes the audit
    entry.
    """
    webhook.save_fields(
        paused_at=None, probe_at=None, failures=0, probes=0, last_error=""
    )


def give_up_waiting() -> int:
    """Fail deliveries that have waited for a paused endpoint for three days. Returns
    how many.
    """
    sentence = "Abandoned: the subscription was paused for three days because its endpoint did not accept events."
    return WebhookDelivery.objects.waiting_too_long().update(
        state=WebhookDelivery.State.FAILED, last_error=sentence
    )
