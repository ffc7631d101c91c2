"""Webhooks and their deliveries: changes, secret rotation, replay, the log, and limited
keys; endpoints that are dead or slow; and the sweep, a backlog and its turns.
"""

import hashlib
import hmac
import itertools
from collections import Counter
from datetime import timedelta

import pytest
from django.db import connection
from django.db.models.functions import Now
from django.utils import timezone

from gateway import sweeping
from gateway.models import Webhook, WebhookDelivery
from gateway.models import webhooks as queries
from gateway.sweeping import sweep
from gateway.webhooks import deliveries as webhook_deliveries
from tests.factories import change_row
from tests.integration.gateway.world import (
    add_key,
    add_mailbox,
    add_sandbox_keys,
    noted,
    sweep_and_catch_wake_ups,
    times_noted,
)
from tests.programs import Post

NO_TARGETS = (
    "http://hooks.example.org/", "https://user:pass@hooks.example.org/", "https://[::1]/", "https://[",
)  # fmt: skip


HOOK = {"url": "https://hooks.example.org/in", "events": ["oversight.pending"]}


@pytest.fixture
def webhook(world, hook_server):
    return world.listen("oversight.pending", url=hook_server.url)


def signed(secret, body):
    return "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def admin(world, method, path, key="admin", **fields):
    return world.call(method, f"/v1/{path}", key=key, json=fields)


def rotate(world, webhook, **fields):
    return admin(world, "POST", f"webhooks/{webhook.pk}/rotate", **fields)


def replay(world, delivery, key="admin"):
    return admin(world, "POST", f"webhook-deliveries/{delivery.pk}/replay", key)


def newest():
    return WebhookDelivery.objects.latest("pk")


def deliver_all():
    for pk in WebhookDelivery.objects.order_by("pk").values_list("pk", flat=True):
        webhook_deliveries.deliver(pk)


def finished(world, hook_server, status=200):
    """Make a finished delivery."""
    hook_server.status = status
    world.held()
    change_row(newest(), attempts=len(webhook_deliveries.RETRIES))
    webhook_deliveries.deliver(newest().pk)
    return newest()


def test_webhook_has_an_encrypted_secret_and_gets_nothing_after_its_deletion(world):
    made = admin(world, "POST", "webhooks", **HOOK, secret="a secret of mine").json()
    assert made["signing_secret"] == "a secret of mine"
    with connection.cursor() as cursor:
        cursor.execute("SELECT secret FROM gateway_webhook")
        assert "secret of mine" not in cursor.fetchone()[0]
    path = f"webhooks/{made['id']}"
    assert admin(world, "DELETE", path).json()["status"] == "deleted"
    world.held()
    assert not WebhookDelivery.objects.exists()
    assert times_noted("webhook.deleted") == 1


def test_delivery_to_a_private_address_is_refused_for_good(
    world, hook_server, settings
):
    settings.OUTGOING_ALLOW = []
    world.listen(
        "oversight.pending",
        url=hook_server.url.replace("http://127.0.0.1", "https://localhost"),
    )
    world.held()
    deliver_all()
    assert newest().state == "failed"
    assert newest().attempts == 1
    assert hook_server.posts == []
    assert "OUTGOING_ALLOW" in newest().last_error


def test_delivery_of_a_dead_worker_is_claimed_again_and_one_of_a_deleted_webhook_fails(
    world, webhook, hook_server
):
    world.held()
    assert WebhookDelivery.objects.claim(newest().pk)
    deliver_all()
    assert hook_server.posts == []
    WebhookDelivery.objects.update(lease_until=Now() - timedelta(seconds=1))
    deliver_all()
    assert len(hook_server.posts) == 1
    world.held()
    change_row(webhook, deleted_at=timezone.now())
    deliver_all()
    assert newest().state == "failed"
    assert len(hook_server.posts) == 1


def test_rotation_overlaps_with_both_signatures_until_it_ends(
    world, webhook, hook_server
):
    for fields in ({"overlap_s": "a day"}, {"secret": "short"}):
        assert rotate(world, webhook, **fields).status_code == 422, fields

    def check(*secrets):
        """Deliver an event: it is signed with these secrets."""
        world.held()
        webhook_deliveries.deliver(newest().pk)
        post = hook_server.posts[-1]
        names = ("X-MultiMail-Signature", "X-MultiMail-Signature-Next")
        assert [post.headers[name] for name in names if name in post.headers] == [
            signed(secret, post.body) for secret in secrets
        ]

    rotated = rotate(world, webhook).json()
    assert rotated["secret"] == rotated["signing_secret"] != "whsec_geheim"
    until = Webhook.objects.get().previous_until
    assert timedelta(hours=23) < until - timezone.now() <= timedelta(hours=24)
    check("whsec_geheim", rotated["secret"])
    assert noted("webhook.rotated").metadata == {"overlap_s": 86400}
    # Another rotation within the overlap preserves the secret that receivers know.
    mine = "a secret of mine"
    rotate(world, webhook, overlap_s=60, secret=mine)
    check("whsec_geheim", mine)
    Webhook.objects.update(previous_until=timezone.now() - timedelta(seconds=1))
    check(mine)
    sweep()
    assert Webhook.objects.get().previous_secret == ""
    # Without an overlap it ends at once.
    check(rotate(world, webhook, overlap_s=0).json()["secret"])


def test_replay_sends_the_same_bytes_and_preserves_the_first_outcome(
    world, other, webhook, hook_server
):
    delivery = finished(world, hook_server, status=500)
    hook_server.status = 200
    assert replay(other, delivery).status_code == 404
    replayed = replay(world, delivery).json()
    assert replayed["status"] == "pending"
    assert replayed["attempts"] == 0
    assert replayed["event_id"] == delivery.event_id
    assert replay(world, delivery).json()["code"] == "not_finished"
    webhook_deliveries.deliver(delivery.pk)
    assert hook_server.posts[0].body == hook_server.posts[1].body
    assert newest().state == "delivered"
    assert [one["response_status"] for one in newest().history] == [500, 200]
    assert noted("webhook.replayed").metadata["was"] == "failed"
    Webhook.objects.update(deleted_at=timezone.now())
    assert replay(world, delivery).json()["code"] == "webhook_deleted"


def test_limited_key_sees_and_creates_only_webhooks_of_its_mailboxes(
    world, webhook, hook_server
):
    second = add_mailbox(world, "second")
    add_key(world, "limited", ["admin"], mailbox_ids=[second.pk])

    def create(**fields):
        return admin(world, "POST", "webhooks", "limited", **HOOK, **fields)

    delivery = finished(world, hook_server)
    for path, rows in (("webhooks", "webhooks"), ("webhook-deliveries", "deliveries")):
        assert world.get(f"/v1/{path}", key="limited")[rows] == []
    assert replay(world, delivery, key="limited").status_code == 404
    assert create().status_code == 403
    assert create(mailbox_id=world.mailbox.pk).status_code == 404
    assert create(mailbox_id=second.pk).status_code == 201
    entries = world.get("/v1/audit-log", key="limited")["entries"]
    assert world.mailbox.pk not in str(entries)
    assert len(world.get("/v1/audit-log", key="admin")["entries"]) > len(entries)


@pytest.fixture
def sweep_rows(monkeypatch):
    """Sweep, and return the rows that it sends tasks for."""
    return lambda: [row for _, row in sweep_and_catch_wake_ups(monkeypatch)]


def deliveries(webhook):
    return list(WebhookDelivery.objects.filter(webhook=webhook).order_by("pk"))


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


def test_endpoint_that_answers_410_is_paused_loses_nothing_and_resumes_after_a_probe(
    world, webhook, paused, hook_server, sweep_rows
):
    world.held()
    for delivery in WebhookDelivery.objects.all():
        webhook_deliveries.deliver(delivery.pk)
    assert len(hook_server.posts) == 1
    assert sweep_rows() == []
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
    assert webhook.probes == 0
    assert noted("webhook.resumed")
    assert sweep_rows() == [newest().pk]


TURNS = 2


_numbers = itertools.count(1)


@pytest.fixture
def backlogged(world, hook_server, monkeypatch):
    """A subscription; a sweep sends tasks for few rows of a backlog."""
    monkeypatch.setattr(queries, "_TURNS", TURNS)
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


def test_backlog_stops_at_an_endpoint_that_fails(backlogged, hook_server):
    hook_server.posts = FailsAfterTwo(hook_server)
    make_backlog(backlogged, 4)
    delivery_id = WebhookDelivery.objects.earliest("pk").pk
    while delivery_id:
        delivery_id = webhook_deliveries.deliver(delivery_id)
    assert states() == {"delivered": 2, "due": 2}
    assert len(hook_server.posts) == 3


def test_mail_without_a_mail_server_blocks_nothing(world, settings, monkeypatch):
    monkeypatch.setattr(sweeping, "BATCH", 1)
    add_sandbox_keys(world)
    world.approved()
    tried = world.held(key="tester")
    world.decide(tried, key="test desk")
    settings.EMAIL_URL = ""
    assert ("gateway.tasks.send_email", tried) in sweep_and_catch_wake_ups(monkeypatch)


def test_finished_deliveries_are_deleted_after_thirty_days(world):
    rows = make_backlog(world.listen("oversight.pending"), 4)
    for pk, state, days in zip(
        rows,
        ("delivered", "failed", "due", "delivered"),
        (31, 31, 31, 29),
        strict=True,
    ):
        ended = timezone.now() - timedelta(days=days)
        WebhookDelivery.objects.filter(pk=pk).update(state=state, created_at=ended)
    sweeping.sweep()
    assert [one.pk for one in WebhookDelivery.objects.order_by("pk")] == rows[2:]


def test_webhook_with_an_invalid_field_is_not_created(world):
    for fields in (
        *({"url": url} for url in NO_TARGETS),
        {"events": []},
        {"events": ["message.exploded"]},
    ):
        answer = admin(world, "POST", "webhooks", **HOOK | fields)
        assert answer.status_code == 422, fields
    assert not Webhook.objects.exists()
