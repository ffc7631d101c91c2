"""Judges the endpoint of a subscription by its attempts: a slow one rests, a dead one
is paused and probed.

Events for a paused endpoint wait in their rows. One of them is tried from time to time;
its success lets all others go. Nothing here delivers.
"""

from dataclasses import dataclass
from datetime import timedelta

from django.db.models.functions import Now
from django.utils import timezone

from gateway import auditing, tasks
from gateway.models import Email, Webhook, WebhookDelivery

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


@dataclass(frozen=True, kw_only=True)
class AttemptResult:
    """How an attempt went: an empty `error` is a success."""

    seconds: float
    status: int | None = None
    error: str = ""
    # A retry cannot help.
    hopeless: bool = False
    # The endpoint answered 410 Gone.
    gone: bool = False


def judge(*, webhook: Webhook, outcome: AttemptResult, lost: bool) -> None:
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
    if outcome.gone:
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


def begin_probe(*, webhook_id: str) -> bool:
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
