"""The sweep runs each duty separately and deletes old rows; a backlog is delivered in
turns with others.
"""

import itertools
import json
from collections import Counter, deque
from copy import copy
from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone

from common.identifiers import ulid
from gateway import sweeping, tasks
from gateway.models import Email, WebhookDelivery
from gateway.models import webhooks as queries
from gateway.states import Status
from gateway.webhooks import deliveries
from outgoing.models import Delivery
from tests.integration.gateway.world import (
    add_sandbox_keys,
    catch_tasks,
    status_of,
    sweep_and_catch_wake_ups,
)
from tests.programs import Post

DELIVER = "gateway.tasks.deliver_webhook"
DRAIN = "gateway.tasks.drain_webhook"
TURNS = 2
_numbers = itertools.count(1)


@pytest.fixture
def webhook(world, hook_server, monkeypatch):
    """A subscription; a sweep sends tasks for few rows of a backlog, and a drain has no
    time limit.
    """
    monkeypatch.setattr(queries, "_TURNS", TURNS)
    monkeypatch.setattr(deliveries, "_AT_ONCE", 3)
    monkeypatch.setattr(deliveries, "MOMENT", 600)
    return world.listen("oversight.pending", url=hook_server.url)


class FailsAfterTwo(list[Post]):
    """The events received by an endpoint that answers 500 from the third event on."""

    def __init__(self, server):
        self.server = server

    def append(self, post):
        super().append(post)
        self.server.status = 200 if len(self) <= 2 else 500


def make_backlog(webhook, count):
    """Plan events without a wake-up."""
    rows = [
        WebhookDelivery(
            webhook=webhook,
            event_id=f"{next(_numbers):026}",
            event="oversight.pending",
            body=b"{}",
        )
        for _ in range(count)
    ]
    return [row.pk for row in WebhookDelivery.objects.bulk_create(rows)]


def states():
    return dict(Counter(WebhookDelivery.objects.values_list("state", flat=True)))


def sweep_and_run_queue(monkeypatch):
    """Sweep once, then run the queue in order, as a worker would, until it is empty."""
    queue = deque(sweep_and_catch_wake_ups(monkeypatch))
    catch_tasks(monkeypatch, queue.append)
    monkeypatch.setattr(
        "common.tasks.transaction.on_commit", lambda then, robust: then()
    )
    run = {DELIVER: tasks.deliver_webhook, DRAIN: tasks.drain_webhook}
    while queue:
        task, row_id = queue.popleft()
        run[task].run(row_id)


@pytest.mark.slow
def test_draining_delivers_all_that_waits_for_the_subscription_and_for_no_other(
    world, webhook, monkeypatch
):
    make_backlog(world.listen("oversight.pending", url=webhook.url), 2)
    first, second, *_ = make_backlog(webhook, 4)
    with monkeypatch.context() as patched:
        # A drain that runs out of time sends its continuation.
        patched.setattr(deliveries, "MOMENT", 0)
        assert deliveries.drain(first) == second
        assert states() == {"delivered": 1, "due": 5}
    assert deliveries.drain(second) is None
    assert states() == {"delivered": 4, "due": 2}


def test_draining_stops_at_an_endpoint_that_fails_at_once_or_later(
    webhook, hook_server
):
    hook_server.status = 500
    assert [deliveries.drain(one) for one in make_backlog(webhook, 3)[:2]] == [
        None,
        None,
    ]
    assert len(hook_server.posts) == 2
    WebhookDelivery.objects.all().delete()
    hook_server.status = 200
    hook_server.posts = FailsAfterTwo(hook_server)
    assert deliveries.drain(make_backlog(webhook, 4)[0]) is None
    assert states() == {"delivered": 2, "due": 2}
    assert len(hook_server.posts) == 3


def test_draining_stops_if_another_worker_has_the_first_delivery(webhook, hook_server):
    first, *_ = make_backlog(webhook, 3)
    assert WebhookDelivery.objects.claim(first)
    assert deliveries.drain(first) is None
    assert hook_server.posts == []


def test_two_backlogs_are_delivered_in_turns_after_one_sweep(
    world, webhook, monkeypatch
):
    monkeypatch.setattr(deliveries, "MOMENT", 0)
    other = world.listen("oversight.pending", url=f"{webhook.url}/other")
    for one in (webhook, other):
        make_backlog(one, TURNS + 2)
    sweep_and_run_queue(monkeypatch)
    served = list(
        WebhookDelivery.objects.order_by("last_attempt_at").values_list(
            "webhook", flat=True
        )
    )
    assert states() == {"delivered": 2 * TURNS + 4}
    assert served[2 * TURNS :] in (
        [webhook.pk, other.pk] * 2,
        [other.pk, webhook.pk] * 2,
    )


def another_of(email):
    """Another message with the same content."""
    another = copy(email)
    another.pk = ulid()
    return another


def rows_met(plan):
    """How many rows a query plan and its children read."""
    mine = plan["Actual Loops"] * (
        plan["Actual Rows"] + plan.get("Rows Removed by Filter", 0)
    )
    mine += plan["Actual Loops"] * plan.get("Rows Removed by Join Filter", 0)
    return float(mine + sum(rows_met(one) for one in plan.get("Plans", [])))


@pytest.mark.slow
def test_query_for_due_rows_reads_each_row_of_a_backlog_few_times(world, webhook):
    email = Email.objects.get(pk=world.held())
    WebhookDelivery.objects.filter(pk__in=make_backlog(webhook, 5000)).update(
        state="delivered"
    )
    with connection.cursor() as cursor:
        # PostgreSQL's statistics are from before the backlog.
        cursor.execute("ANALYZE gateway_webhookdelivery")
    emails = Email.objects.bulk_create([another_of(email) for _ in range(300)])
    rows = [
        WebhookDelivery(
            webhook=webhook,
            email=one,
            event_id=one.pk,
            event="oversight.approved",
            body=b"{}",
        )
        for one in emails
    ]
    WebhookDelivery.objects.bulk_create(rows)
    due = (
        WebhookDelivery.objects.due()
        .filter(webhook=webhook)
        .order_by("next_attempt_at")
    )
    [explained] = json.loads(due.explain(analyze=True, format="json"))
    assert rows_met(explained["Plan"]) < 20 * len(rows)


def stuck_before_scan(world):
    """An email whose request ended right after it was stored."""
    email_id = world.held()
    long_ago = timezone.now() - timedelta(minutes=1)
    Email.objects.filter(pk=email_id).update(
        status=Status.PENDING_SCAN, created_at=long_ago
    )
    return email_id


def test_email_that_cannot_be_processed_does_not_block_others(world, other):
    stuck = stuck_before_scan(world)
    fine = stuck_before_scan(other)
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no'; END $$;"
            "CREATE TRIGGER stuck BEFORE UPDATE ON gateway_email FOR EACH ROW"
            f" WHEN (OLD.id = '{stuck}') EXECUTE FUNCTION refuse()"
        )
    sweeping.sweep()
    assert status_of(stuck) == Status.PENDING_SCAN
    assert status_of(fine) == Status.PENDING_SEND_APPROVAL


def test_mail_without_a_mail_server_blocks_nothing(world, settings, monkeypatch):
    monkeypatch.setattr(sweeping, "BATCH", 1)
    add_sandbox_keys(world)
    world.approved()
    tried = world.held(key="tester")
    world.decide(tried, key="test desk")
    settings.EMAIL_URL = ""
    assert ("gateway.tasks.send_email", tried) in sweep_and_catch_wake_ups(monkeypatch)


def test_finished_deliveries_are_deleted_after_thirty_days(world):
    remains = {
        ("delivered", 31): False,
        ("failed", 31): False,
        ("due", 31): True,
        ("delivered", 29): True,
    }
    rows = dict(
        zip(
            remains,
            make_backlog(world.listen("oversight.pending"), len(remains)),
            strict=True,
        )
    )
    for (state, days), pk in rows.items():
        ended = timezone.now() - timedelta(days=days)
        WebhookDelivery.objects.filter(pk=pk).update(
            state=Delivery.State(state), created_at=ended
        )
    sweeping.sweep()
    assert {
        one: WebhookDelivery.objects.filter(pk=pk).exists() for one, pk in rows.items()
    } == remains
