"""Delivers webhook events: signed over their exact bytes, retried three times, every
attempt recorded; and judges endpoints by these attempts: a slow one rests, a dead one is
paused and probed.

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
from gateway import auditing, tasks
from gateway.models import Email, Webhook, WebhookDelivery
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
# Seconds that mail and other subscriptions wait at most, as long as this one answers at
# once.
MOMENT = 0.25
_AT_ONCE = 20
# A paused endpoint may be tried for days with one delivery.
_KEPT_ATTEMPTS = 20
HEADER = "X-MultiMail-Signature"
NEXT_HEADER = "X-MultiMail-Signature-Next"
# So many deliveries that failed for good, or attempts that ran into the time limit, one
# after the other: paused.
ENOUGH = 10
# Minutes between probes of a paused endpoint; the last value repeats.
PROBES = (5, 10, 20, 40, 60)
# Seconds that an endpoint rests after slow failures in a row.
RESTS = (10, 30, 60, 120, 300, 600)
# An endpoint that takes longer than SLOW seconds while other work waits rests as long
# as it took, so that it gets no more than half of a worker's time; a failure that took
# longer than SLOW_FAILURE rests by the table above.
SLOW = 0.1
SLOW_FAILURE = 3.0
_JUDGED = (
    "last_error",
    "failures",
    "slow_attempts",
    "rests_until",
    "paused_at",
    "probe_at",
    "probes",
)


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
    the same message that may go.
    """
    delivery = WebhookDelivery.objects.claim(delivery_id)
    if delivery is None:
        return None
    return WebhookDelivery.objects.next_after(delivery) if attempt(delivery) else None


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
            # The result says nothing about a new address that was set meanwhile.
            if webhook.url == delivery.webhook.url:
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


def drain(delivery_id: int) -> int | None:
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


def judge(webhook: Webhook, outcome: AttemptResult, *, lost: bool) -> None:
    """Write into the (locked) row what an attempt says about its endpoint; `lost` when
    its delivery failed for good.
    """
    if not outcome.error:
        if webhook.paused_at is not None:
            auditing.record("webhook.resumed", webhook, probes=webhook.probes)
        # Most attempts succeed and change nothing.
        if (
            webhook.failures
            or webhook.slow_attempts
            or webhook.last_error
            or webhook.paused_at
        ):
            wake(webhook)
        if outcome.seconds > SLOW:
            _rest(webhook, outcome.seconds)
            webhook.save(update_fields=["rests_until"])
        return
    slow = outcome.seconds >= SLOW_FAILURE
    webhook.last_error = outcome.error[:2000]
    webhook.failures += lost
    webhook.slow_attempts = webhook.slow_attempts + 1 if slow else 0
    if slow:
        webhook.rests_until = Now() + timedelta(
            seconds=RESTS[min(webhook.slow_attempts, len(RESTS)) - 1]
        )
    else:
        _rest(webhook, outcome.seconds)
    reason = ""
    if outcome.status == _GONE:
        reason = "The endpoint answered 410: it is gone."
    elif webhook.failures >= ENOUGH:
        reason = f"{ENOUGH} deliveries in a row failed for good."
    elif webhook.slow_attempts >= ENOUGH:
        reason = f"{ENOUGH} attempts in a row got no answer in time."
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
    webhook.paused_at = webhook.probe_at = webhook.rests_until = None
    webhook.failures = webhook.slow_attempts = webhook.probes = 0
    webhook.last_error = ""
    webhook.save(update_fields=_JUDGED)


def give_up_waiting() -> int:
    """Fail what has waited for a paused endpoint for three days."""
    sentence = "Abandoned: the subscription was paused for three days because its endpoint did not accept events."
    return WebhookDelivery.objects.waiting_too_long().update(
        state=WebhookDelivery.State.FAILED, last_error=sentence
    )


def _rest(webhook: Webhook, seconds: float) -> None:
    """Let the endpoint rest as long as it took, if other work waits, and enqueue its
    next delivery after the rest.
    """
    others = WebhookDelivery.objects.due().exclude(webhook=webhook)
    if seconds <= SLOW or not (Email.objects.in_outbox().exists() or others.exists()):
        webhook.rests_until = None
        return
    webhook.rests_until = Now() + timedelta(seconds=seconds)
    if following := WebhookDelivery.objects.next_of(webhook.pk):
        tasks.deliver_webhook.apply_async_on_commit((following,), countdown=seconds)
