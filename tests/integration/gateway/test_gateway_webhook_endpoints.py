"""Endpoints that are dead or slow: paused and woken, at rest, and never in the way of others."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.db.models.functions import Now
from django.utils import timezone

from gateway import deliver, endpoints
from gateway.models import AuditLogEntry, Webhook, WebhookDelivery
from tests.integration.gateway.servers import HookServer
from tests.integration.gateway.world import World, sweep_and_catch_nudges


@pytest.fixture
def webhook(world: World, hook_server: HookServer) -> Webhook:
    return world.listen("oversight.pending", url=hook_server.url)


Sweep = Callable[[], list[object]]


@pytest.fixture
def swept(monkeypatch: pytest.MonkeyPatch) -> Sweep:
    """Sweep, and return the rows that it hands out."""
    return lambda: [row for _, row in sweep_and_catch_nudges(monkeypatch)]


def newest() -> WebhookDelivery:
    return WebhookDelivery.objects.latest("pk")


def fail_for_good(world: World) -> None:
    """Plan an event whose next failure is its last one."""
    world.held()
    WebhookDelivery.objects.filter(pk=newest().pk).update(attempts=len(deliver.RETRIES))
    deliver.deliver(delivery_id=newest().pk)


def paused(world: World, hook_server: HookServer) -> WebhookDelivery:
    """Pause the endpoint by its own word, and return the delivery that met it."""
    hook_server.status = 410
    world.held()
    deliver.deliver(delivery_id=newest().pk)
    return newest()


def make_probe_due() -> None:
    Webhook.objects.update(probe_at=Now() - timedelta(seconds=1))


def test_endpoint_is_paused_after_ten_deliveries_that_failed_for_good(
    world: World, webhook: Webhook, hook_server: HookServer
):
    hook_server.status = 500
    for _ in range(endpoints.ENOUGH - 1):
        fail_for_good(world)
    webhook.refresh_from_db()
    assert (webhook.failures, webhook.paused_at) == (9, None)
    fail_for_good(world)
    shown = world.call("GET", "/v1/webhooks", key="admin").json()["webhooks"][0]
    assert (shown["is_active"], shown["last_error"]) == (False, "The answer was 500.")
    assert shown["paused_at"]
    assert "10 deliveries" in AuditLogEntry.objects.get(action="webhook.paused").metadata["reason"]


def test_attempt_that_is_tried_again_counts_as_no_failure(world: World, webhook: Webhook, hook_server: HookServer):
    hook_server.status = 500
    world.held()
    deliver.deliver(delivery_id=newest().pk)
    webhook.refresh_from_db()
    assert (webhook.failures, webhook.last_error) == (0, "The answer was 500.")


def test_one_success_forgets_the_failures(world: World, webhook: Webhook, hook_server: HookServer):
    hook_server.status = 500
    for _ in range(endpoints.ENOUGH - 1):
        fail_for_good(world)
    hook_server.status = 204
    world.held()
    deliver.deliver(delivery_id=newest().pk)
    webhook.refresh_from_db()
    assert (webhook.failures, webhook.last_error) == (0, "")


def test_endpoint_that_says_gone_is_paused_at_once_and_loses_nothing(
    world: World, webhook: Webhook, hook_server: HookServer, swept: Sweep
):
    first = paused(world, hook_server)
    world.held()
    assert [row.state for row in WebhookDelivery.objects.all()] == ["due", "due"]
    for delivery in WebhookDelivery.objects.all():
        deliver.deliver(delivery_id=delivery.pk)
    assert (len(hook_server.got), swept(), first.attempts) == (1, [], 1)
    rows = world.call("GET", "/v1/webhook-deliveries", key="admin").json()["deliveries"]
    assert [(row["status"], row["next_attempt_at"]) for row in rows] == [("pending", None)] * 2


def test_paused_endpoint_is_probed_with_the_oldest_event_and_wakes(
    world: World, webhook: Webhook, hook_server: HookServer, swept: Sweep
):
    first = paused(world, hook_server)
    world.held()
    make_probe_due()
    assert swept() == [webhook.pk]
    hook_server.status = 200
    assert deliver.probe(webhook_id=webhook.pk)
    first.refresh_from_db()
    webhook.refresh_from_db()
    assert (first.state, webhook.paused_at, webhook.probe_at, webhook.probes) == ("delivered", None, None, 0)
    assert AuditLogEntry.objects.filter(action="webhook.resumed").exists()
    assert swept() == [newest().pk]


def test_probe_that_fails_costs_the_event_nothing_and_comes_later_each_time(
    world: World, webhook: Webhook, hook_server: HookServer
):
    first = paused(world, hook_server)
    hook_server.status = 500
    webhook.refresh_from_db()
    waits = [_minutes(webhook)]
    for _ in range(6):
        make_probe_due()
        assert not deliver.probe(webhook_id=webhook.pk)
        webhook.refresh_from_db()
        waits.append(_minutes(webhook))
    assert waits == [5, 10, 20, 40, 60, 60, 60]
    before, first = first, newest()
    assert (first.state, first.attempts, first.next_attempt_at) == ("due", 1, before.next_attempt_at)
    assert len(first.history) == 7


def _minutes(webhook: Webhook) -> int:
    assert webhook.probe_at is not None
    return round((webhook.probe_at - timezone.now()).total_seconds() / 60)


def test_probe_that_is_not_due_or_taken_does_nothing(world: World, webhook: Webhook, hook_server: HookServer):
    paused(world, hook_server)
    assert not deliver.probe(webhook_id=webhook.pk)
    make_probe_due()
    assert endpoints.begin_probe(webhook_id=webhook.pk)
    assert not deliver.probe(webhook_id=webhook.pk)
    assert len(hook_server.got) == 1


def test_test_event_wakes_a_paused_endpoint(world: World, webhook: Webhook, hook_server: HookServer):
    paused(world, hook_server)
    hook_server.status = 200
    world.call("POST", f"/v1/webhooks/{webhook.pk}/test", key="admin")
    deliver.deliver(delivery_id=newest().pk)
    webhook.refresh_from_db()
    assert (newest().state, webhook.paused_at) == ("delivered", None)


def test_replay_probes_a_paused_endpoint_at_once(world: World, webhook: Webhook, hook_server: HookServer):
    world.held()
    done = newest()
    deliver.deliver(delivery_id=done.pk)
    paused(world, hook_server)
    hook_server.status = 200
    world.call("POST", f"/v1/webhook-deliveries/{done.pk}/replay", key="admin")
    assert deliver.probe(webhook_id=webhook.pk)
    done.refresh_from_db()
    assert done.state == "delivered"


def test_event_that_waited_three_days_is_given_up_with_a_sentence(
    world: World, webhook: Webhook, hook_server: HookServer, swept: Sweep
):
    old = paused(world, hook_server)
    WebhookDelivery.objects.update(next_attempt_at=Now() - timedelta(days=3, minutes=1))
    world.held()
    swept()
    old.refresh_from_db()
    assert (old.state, newest().state) == ("failed", "due")
    assert "three days" in old.last_error


def test_event_that_nobody_could_send_for_days_is_tried_all_the_same(world: World, webhook: Webhook, swept: Sweep):
    """The gateway itself was off: that is no fault of the endpoint."""
    world.held()
    WebhookDelivery.objects.update(next_attempt_at=Now() - timedelta(days=9))
    assert (swept(), newest().state) == ([newest().pk], "due")


def test_end_of_a_paused_subscription_ends_what_waits(world: World, webhook: Webhook, hook_server: HookServer):
    paused(world, hook_server)
    world.call("DELETE", f"/v1/webhooks/{webhook.pk}", key="admin")
    assert (newest().state, newest().last_error) == ("failed", "The subscription was deleted.")


def test_endpoint_without_an_answer_rests_and_others_go_on(
    world: World, webhook: Webhook, hook_server: HookServer, monkeypatch: pytest.MonkeyPatch, swept: Sweep
):
    monkeypatch.setattr(deliver, "TIMEOUT", 0.1)
    monkeypatch.setattr(endpoints, "SLOW_FAILURE", 0.05)
    hook_server.delay = 0.5
    other = world.listen("oversight.pending")
    for _ in range(3):
        world.held()
    slow = WebhookDelivery.objects.filter(webhook=webhook).order_by("pk")
    for delivery in slow:
        deliver.deliver(delivery_id=delivery.pk)
    assert len(hook_server.got) == 1
    webhook.refresh_from_db()
    assert webhook.rests_until is not None
    assert webhook.slow_attempts == 1
    assert timedelta(seconds=8) < webhook.rests_until - timezone.now() < timedelta(seconds=11)
    assert swept() == list(WebhookDelivery.objects.filter(webhook=other).order_by("pk").values_list("pk", flat=True))


def test_endpoint_that_never_answers_is_paused_after_ten_attempts(world: World, webhook: Webhook):
    outcome = endpoints.Outcome(seconds=10, error="No answer within 10 seconds.")
    rests = []
    for _ in range(endpoints.ENOUGH):
        assert webhook.paused_at is None
        endpoints.judge(webhook=webhook, outcome=outcome, lost=False, now=timezone.now())
        webhook.refresh_from_db()
        assert webhook.rests_until is not None
        rests.append(round((webhook.rests_until - timezone.now()).total_seconds()))
    assert rests == [10, 30, 60, 120, 300, 600, 600, 600, 600, 600]
    assert webhook.paused_at is not None


def test_slow_endpoint_that_answers_rests_only_while_others_wait(
    world: World, webhook: Webhook, hook_server: HookServer
):
    hook_server.delay = 0.2
    for _ in range(3):
        world.held()
    first, second, third = WebhookDelivery.objects.order_by("pk")
    deliver.deliver(delivery_id=first.pk)
    webhook.refresh_from_db()
    assert webhook.rests_until is None
    world.listen("oversight.pending")
    world.held()
    deliver.deliver(delivery_id=second.pk)
    webhook.refresh_from_db()
    assert webhook.rests_until is not None
    assert WebhookDelivery.objects.claim(third.pk) is None
    Webhook.objects.update(rests_until=Now() - timedelta(seconds=1))
    assert WebhookDelivery.objects.claim(third.pk)


def test_only_one_attempt_at_a_time_meets_an_endpoint_that_does_not_answer(world: World, webhook: Webhook):
    world.held()
    world.held()
    first, second = WebhookDelivery.objects.order_by("pk")
    Webhook.objects.update(slow_attempts=1)
    assert WebhookDelivery.objects.claim(first.pk)
    assert WebhookDelivery.objects.claim(second.pk) is None
    Webhook.objects.update(slow_attempts=0)
    assert WebhookDelivery.objects.claim(second.pk)


def test_sweep_serves_every_subscription_before_the_backlog_of_one(world: World, webhook: Webhook):
    for _ in range(3):
        world.held()
    other = world.listen("oversight.pending")
    world.held()
    backlog = list(WebhookDelivery.objects.filter(webhook=webhook).order_by("pk").values_list("pk", flat=True))
    fresh = WebhookDelivery.objects.get(webhook=other).pk
    assert WebhookDelivery.objects.in_turn(3) == [(backlog[0], False), (fresh, False), (backlog[1], True)]
    Webhook.objects.filter(pk=webhook.pk).update(slow_attempts=2)
    assert WebhookDelivery.objects.in_turn(2) == [(fresh, False), (backlog[0], True)]


def test_endpoint_that_moved_during_an_attempt_is_not_judged_by_it(
    world: World, webhook: Webhook, hook_server: HookServer
):
    world.held()
    delivery = WebhookDelivery.objects.claim(newest().pk)
    assert delivery is not None
    hook_server.status = 410
    moved = {"url": "https://elsewhere.example.org/"}
    world.call("PATCH", f"/v1/webhooks/{webhook.pk}", key="admin", json=moved)
    assert not deliver.attempt(delivery)
    webhook.refresh_from_db()
    assert (len(hook_server.got), webhook.paused_at, newest().state) == (1, None, "due")


def test_late_worker_cannot_overwrite_an_attempt_after_a_replay(world: World, webhook: Webhook):
    world.held()
    asleep = WebhookDelivery.objects.claim(newest().pk)
    assert asleep is not None
    WebhookDelivery.objects.update(state="due", attempts=0, lease_until=None)
    awake = WebhookDelivery.objects.claim(asleep.pk)
    assert awake is not None
    assert awake.attempts == asleep.attempts
    assert not asleep.failed(error="late")
    assert awake.delivered(status=200)
