"""Dead or slow endpoints: paused, probed and resumed, in back-off, and never blocking
others.
"""

from collections.abc import Callable
from datetime import timedelta
from types import SimpleNamespace

import pytest
from django.db.models.functions import Now
from django.utils import timezone

from gateway.models import AuditLogEntry, Webhook, WebhookDelivery
from gateway.webhooks import deliveries as webhook_deliveries
from outgoing.guarded import Answer
from tests.integration.gateway.world import (
    noted,
    sweep_and_catch_wake_ups,
    undone,
)


@pytest.fixture
def webhook(world, hook_server):
    return world.listen("oversight.pending", url=hook_server.url)


Sweep = Callable[[], list[object]]


@pytest.fixture
def sweep_rows(monkeypatch):
    """Sweep, and return the rows that it sends tasks for."""
    return lambda: [row for _, row in sweep_and_catch_wake_ups(monkeypatch)]


def newest():
    return WebhookDelivery.objects.latest("pk")


def deliveries(webhook):
    return list(WebhookDelivery.objects.filter(webhook=webhook).order_by("pk"))


def fail_for_good(world):
    """Plan an event whose next failure is final."""
    world.held()
    WebhookDelivery.objects.filter(pk=newest().pk).update(
        attempts=len(webhook_deliveries.RETRIES)
    )
    webhook_deliveries.deliver(newest().pk)


def record_attempt(webhook, seconds, error="", *, lost=False):
    """Record an attempt of this duration, failed if there is an error."""
    outcome = webhook_deliveries.AttemptResult(seconds=seconds, error=error)
    webhook_deliveries.judge(webhook, outcome, lost=lost)
    webhook.refresh_from_db()


@pytest.fixture
def paused(world, webhook, hook_server):
    """Pause the endpoint by a 410, make it accept events again, and return the delivery
    that got the 410.
    """
    hook_server.status = 410
    world.held()
    webhook_deliveries.deliver(newest().pk)
    hook_server.status = 200
    return newest()


def make_probe_due():
    Webhook.objects.update(probe_at=Now() - timedelta(seconds=1))


def test_endpoint_is_paused_after_ten_deliveries_that_failed_for_good(
    world, webhook, hook_server
):
    hook_server.status = 500
    world.held()
    webhook_deliveries.deliver(newest().pk)
    webhook.refresh_from_db()
    # A delivery that will be retried is not a failure yet.
    assert webhook.failures == 0
    assert webhook.last_error == "The answer was 500."
    for _ in range(webhook_deliveries.ENOUGH - 1):
        record_attempt(webhook, 0.1, "The answer was 500.", lost=True)
    assert webhook.failures == 9
    assert webhook.paused_at is None
    with undone():
        record_attempt(webhook, 0.1)
        assert webhook.failures == 0
        assert webhook.last_error == ""
    fail_for_good(world)
    shown = world.get("/v1/webhooks", key="admin")["webhooks"][0]
    assert shown["is_active"] is False
    assert shown["last_error"] == "The answer was 500."
    assert shown["paused_at"]
    assert "10 deliveries" in noted("webhook.paused").metadata["reason"]


def test_endpoint_that_answers_410_is_paused_loses_nothing_and_resumes_after_a_probe(
    world, webhook, paused, hook_server, sweep_rows
):
    world.held()
    assert [row.state for row in WebhookDelivery.objects.all()] == ["due", "due"]
    for delivery in WebhookDelivery.objects.all():
        webhook_deliveries.deliver(delivery.pk)
    assert len(hook_server.posts) == 1
    assert sweep_rows() == []
    assert paused.attempts == 1
    rows = world.get("/v1/webhook-deliveries", key="admin")["deliveries"]
    assert [(row["status"], row["next_attempt_at"]) for row in rows] == [
        ("pending", None)
    ] * 2

    # It is probed with the oldest event.
    assert not webhook_deliveries.probe(webhook.pk), "it is not due"
    make_probe_due()
    assert sweep_rows() == [webhook.pk]
    assert webhook_deliveries.probe(webhook.pk)
    paused.refresh_from_db()
    webhook.refresh_from_db()
    assert paused.state == "delivered"
    assert webhook.paused_at is None
    assert webhook.probe_at is None
    assert webhook.probes == 0
    assert AuditLogEntry.objects.filter(action="webhook.resumed").exists()
    assert sweep_rows() == [newest().pk]


def test_failed_probe_uses_no_attempt_and_the_next_one_comes_later(
    webhook, paused, hook_server
):
    hook_server.status = 500
    waits = []
    for number in range(6):
        webhook.refresh_from_db()
        assert webhook.probe_at is not None
        waits.append(round((webhook.probe_at - timezone.now()).total_seconds() / 60))
        make_probe_due()
        # Only the last attempt is made; the earlier ones are skipped.
        if number < 4:
            assert webhook_deliveries.begin_probe(webhook.pk)
        elif number == 4:
            assert not webhook_deliveries.probe(webhook.pk)
    assert waits == [5, 10, 20, 40, 60, 60]
    after = newest()
    assert after.state == "due"
    assert after.attempts == 1
    assert after.next_attempt_at == paused.next_attempt_at
    assert len(after.history) == 2
    assert webhook_deliveries.begin_probe(webhook.pk)
    assert not webhook_deliveries.probe(webhook.pk), "somebody has it"


@pytest.mark.slow
def test_test_event_and_replay_resume_a_paused_endpoint(
    world, webhook, paused, hook_server
):
    world.post(f"/v1/webhooks/{webhook.pk}/test", key="admin")
    done = newest()
    webhook_deliveries.deliver(done.pk)
    webhook.refresh_from_db()
    assert newest().state == "delivered"
    assert webhook.paused_at is None
    Webhook.objects.update(paused_at=timezone.now())
    WebhookDelivery.objects.exclude(pk=done.pk).delete()
    world.post(f"/v1/webhook-deliveries/{done.pk}/replay", key="admin")
    assert webhook_deliveries.probe(webhook.pk)
    done.refresh_from_db()
    assert done.state == "delivered"


def test_event_that_waited_three_days_for_its_endpoint_fails_with_a_sentence(
    world, webhook, paused, sweep_rows
):
    WebhookDelivery.objects.update(next_attempt_at=Now() - timedelta(days=3, minutes=1))
    with undone():
        # Downtime of the gateway itself does not count against the endpoint.
        Webhook.objects.update(paused_at=None)
        assert sweep_rows() == [paused.pk]
        assert newest().state == "due"
    world.held()
    sweep_rows()
    paused.refresh_from_db()
    assert paused.state == "failed"
    assert newest().state == "due"
    assert "three days" in paused.last_error
    world.delete(f"/v1/webhooks/{webhook.pk}")
    assert newest().state == "failed"
    assert newest().last_error == "The subscription was deleted."


def test_unresponsive_endpoint_backs_off_is_paused_and_does_not_block_others(
    world, webhook, sweep_rows
):
    other = world.listen("oversight.pending")
    world.held()
    world.held()
    rests = []
    for _ in range(webhook_deliveries.ENOUGH):
        assert webhook.paused_at is None
        record_attempt(webhook, 10, "No answer within 10 seconds.")
        assert webhook.rests_until is not None
        rests.append(round((webhook.rests_until - timezone.now()).total_seconds()))
    assert WebhookDelivery.objects.claim(deliveries(webhook)[0].pk) is None
    assert rests == [10, 30, 60, 120, 300, 600, 600, 600, 600, 600]
    assert webhook.paused_at is not None
    assert sweep_rows() == [delivery.pk for delivery in deliveries(other)]


def test_attempt_has_a_time_limit_and_its_duration_is_rated(
    world, webhook, monkeypatch
):
    times = iter([100.0, 110.5])
    limits = []

    def answer(*_, limit, **__):
        limits.append(limit)
        return Answer(status=500, headers={}, body=b"")

    monkeypatch.setattr(webhook_deliveries, "request", answer)
    monkeypatch.setattr(
        webhook_deliveries, "time", SimpleNamespace(monotonic=lambda: next(times))
    )
    world.held()
    webhook_deliveries.deliver(newest().pk)
    webhook.refresh_from_db()
    assert limits == [10.0]
    assert webhook.slow_attempts == 1
    assert newest().history[0]["milliseconds"] == 10_500


def test_slow_endpoint_backs_off_only_while_others_wait(world, webhook):
    world.held()
    world.held()
    first, second = deliveries(webhook)
    # An unresponsive endpoint gets one attempt at a time.
    with undone():
        Webhook.objects.update(slow_attempts=1)
        assert WebhookDelivery.objects.claim(first.pk)
        assert WebhookDelivery.objects.claim(second.pk) is None
        Webhook.objects.update(slow_attempts=0)
        assert WebhookDelivery.objects.claim(second.pk)
    record_attempt(webhook, 9.5)
    assert webhook.rests_until is None
    world.listen("oversight.pending")
    world.held()
    record_attempt(webhook, 9.5)
    assert webhook.rests_until is not None
    assert WebhookDelivery.objects.claim(first.pk) is None
    Webhook.objects.update(rests_until=Now() - timedelta(seconds=1))
    assert WebhookDelivery.objects.claim(first.pk)


@pytest.mark.slow
def test_sweep_serves_every_subscription_before_the_backlog_of_one(world, webhook):
    for _ in range(3):
        world.held()
    other = world.listen("oversight.pending")
    world.held()
    backlog = [one.pk for one in deliveries(webhook)]
    [fresh] = [one.pk for one in deliveries(other)]
    assert WebhookDelivery.objects.in_turn(3) == [
        (backlog[0], False),
        (fresh, False),
        (backlog[1], True),
    ]
    Webhook.objects.filter(pk=webhook.pk).update(slow_attempts=2)
    assert WebhookDelivery.objects.in_turn(2) == [(fresh, False), (backlog[0], True)]


def test_endpoint_that_moved_during_an_attempt_is_not_rated_by_it(
    world, webhook, hook_server
):
    world.held()
    delivery = WebhookDelivery.objects.claim(newest().pk)
    assert delivery is not None
    hook_server.status = 410
    moved = {"url": f"{hook_server.url}/moved"}
    world.patch(f"/v1/webhooks/{webhook.pk}", **moved)
    assert not webhook_deliveries.attempt(delivery)
    webhook.refresh_from_db()
    assert len(hook_server.posts) == 1
    assert webhook.paused_at is None
    assert newest().state == "due"


def test_late_worker_cannot_overwrite_an_attempt_after_a_replay(world, webhook):
    world.held()
    asleep = WebhookDelivery.objects.claim(newest().pk)
    assert asleep is not None
    WebhookDelivery.objects.update(state="due", attempts=0, lease_until=None)
    awake = WebhookDelivery.objects.claim(asleep.pk)
    assert awake is not None
    assert awake.attempts == asleep.attempts
    assert not asleep.failed(error="late")
    assert awake.delivered(status=200)
