"""Webhooks and their deliveries: changes, secret rotation, replay, the log, and limited
keys.
"""

import hashlib
import hmac
from datetime import timedelta

import pytest
from django.db import connection
from django.db.models.functions import Now
from django.utils import timezone

from gateway.models import Email, Webhook, WebhookDelivery
from gateway.sweeping import sweep
from gateway.webhooks import deliveries, events
from tests.integration.gateway.world import (
    add_key,
    add_mailbox,
    noted,
    times_noted,
)

# Forbidden targets in different spellings.
NO_TARGETS = (
    "http://hooks.example.org/", "ftp://hooks.example.org/", "https://user:pass@hooks.example.org/", "no address",
    "https://127.0.0.1/", "https://[::1]/", "https://169.254.169.254/latest", "https://localhost/", "https://[",
    "https://x.example:port/", "https://2130706433/", "https://0x7f.1/", "https://127.1/", "https://localhost./",
    "https://desk.internal/", "https://exa mple.org/", "https://hooks.example.org\\.internal.example/",
    "https://exa%6dple.org/", "https://:pass@hooks.example.org/", "https://10.0.0.1/", "",
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
        deliveries.deliver(pk)


def finished(world, hook_server, status=200):
    """Make a finished delivery."""
    hook_server.status = status
    world.held()
    WebhookDelivery.objects.filter(pk=newest().pk).update(
        attempts=len(deliveries.RETRIES)
    )
    deliveries.deliver(newest().pk)
    return newest()


def test_webhook_with_an_invalid_field_is_neither_created_nor_changed(world):
    webhook = world.listen("oversight.pending")
    bad = [{"url": url} for url in NO_TARGETS]
    bad += [{"events": []}, {"events": ["message.exploded"]}]
    accepted = [
        fields
        for fields in bad
        if admin(world, "POST", "webhooks", **HOOK | fields).status_code != 422
    ]
    accepted += [
        one
        for one in bad
        if admin(world, "PATCH", f"webhooks/{webhook.pk}", **one).status_code != 422
    ]
    assert accepted == []
    assert admin(world, "POST", "webhooks", **HOOK, secret="short").status_code == 422
    assert admin(world, "PATCH", f"webhooks/{webhook.pk}", url=None).status_code == 422
    assert Webhook.objects.get().url == webhook.url
    assert Webhook.objects.get().events == webhook.events


def test_webhook_has_an_encrypted_secret_and_gets_nothing_after_its_deletion(
    world, other
):
    made = admin(world, "POST", "webhooks", **HOOK, secret="a secret of mine")
    assert made.status_code == 201
    assert made.json()["signing_secret"] == "a secret of mine"
    with connection.cursor() as cursor:
        cursor.execute("SELECT secret FROM gateway_webhook")
        assert "secret of mine" not in cursor.fetchone()[0]
    path = f"webhooks/{made.json()['id']}"
    assert admin(other, "DELETE", path).status_code == 404
    assert admin(world, "DELETE", path).json()["status"] == "deleted"
    assert admin(world, "GET", path).status_code == 404
    world.held()
    assert not WebhookDelivery.objects.exists()
    assert times_noted("webhook.created") == 1


def test_webhook_can_change_address_events_and_mailbox_and_resumes(world):
    webhook = world.listen("oversight.pending")
    Webhook.objects.update(paused_at=timezone.now(), failures=10)
    body = {
        "url": "https://new.example.org/",
        "events": ["email.decided"],
        "mailbox_id": world.mailbox.address,
    }
    path = f"webhooks/{webhook.pk}"
    updated = admin(world, "PATCH", path, **body).json()
    assert updated["url"] == body["url"]
    assert updated["events"] == body["events"]
    assert updated["mailbox_id"] == world.mailbox.pk
    assert updated["is_active"] is True
    assert updated["failures"] == 0
    assert "secret" not in updated
    assert admin(world, "PATCH", path, mailbox_id=None).json()["mailbox_id"] is None
    assert times_noted("webhook.updated") == 2


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
    Webhook.objects.filter(pk=webhook.pk).update(deleted_at=timezone.now())
    deliver_all()
    assert newest().state == "failed"
    assert len(hook_server.posts) == 1


def test_test_event_is_about_no_message(world, webhook, hook_server):
    assert (
        admin(world, "POST", f"webhooks/{webhook.pk}/test").json()["status"]
        == "pending"
    )
    deliver_all()
    body = hook_server.posts[0].said
    assert body["event"] == "webhook.test"
    assert "email_id" not in body


def signatures(world, hook_server):
    """Deliver an event; return both signatures and the body."""
    world.held()
    deliveries.deliver(newest().pk)
    post = hook_server.posts[-1]
    return (
        post.headers.get("X-MultiMail-Signature"),
        post.headers.get("X-MultiMail-Signature-Next"),
        post.body,
    )


def test_rotation_overlaps_with_both_signatures_until_it_ends(
    world, webhook, hook_server
):
    for fields in ({"overlap_s": -1}, {"overlap_s": 8 * 86400}, {"secret": "short"}):
        assert rotate(world, webhook, **fields).status_code == 422, fields
    assert Webhook.objects.get().secret == "whsec_geheim"

    rotated = rotate(world, webhook).json()
    assert rotated["secret"] == rotated["signing_secret"] != "whsec_geheim"
    until = Webhook.objects.get().previous_until
    assert until is not None
    assert timedelta(hours=23) < until - timezone.now() <= timedelta(hours=24)
    now, following, body = signatures(world, hook_server)
    assert now == signed("whsec_geheim", body)
    assert following == signed(rotated["secret"], body)
    assert noted("webhook.rotated").metadata == {"overlap_s": 86400}
    # Another rotation within the overlap preserves the secret that receivers know.
    newest_secret = rotate(
        world, webhook, overlap_s=60, secret="a secret of mine"
    ).json()["secret"]
    now, following, body = signatures(world, hook_server)
    assert now == signed("whsec_geheim", body)
    assert following == signed(newest_secret, body)

    Webhook.objects.update(previous_until=timezone.now() - timedelta(seconds=1))
    now, following, body = signatures(world, hook_server)
    assert now == signed("a secret of mine", body)
    assert following is None
    assert "old secrets" in sweep()
    assert Webhook.objects.get().previous_secret == ""
    # Without an overlap it ends at once.
    secret = rotate(world, webhook, overlap_s=0).json()["secret"]
    now, following, body = signatures(world, hook_server)
    assert now == signed(secret, body)
    assert following is None


def test_replay_sends_the_same_bytes_and_preserves_the_first_outcome(
    world, other, webhook, hook_server
):
    delivery = finished(world, hook_server, status=500)
    assert delivery.state == "failed"
    hook_server.status = 200
    assert replay(other, delivery).status_code == 404
    assert (
        admin(world, "POST", "webhook-deliveries/no-number/replay").status_code == 404
    )
    replayed = replay(world, delivery).json()
    assert replayed["status"] == "pending"
    assert replayed["attempts"] == 0
    assert replayed["event_id"] == delivery.event_id
    assert replay(world, delivery).json()["code"] == "not_finished"
    deliveries.deliver(delivery.pk)
    assert hook_server.posts[0].body == hook_server.posts[1].body
    assert newest().state == "delivered"
    assert [one["response_status"] for one in newest().history] == [500, 200]
    entry = noted("webhook.replayed")
    assert entry.metadata["was"] == "failed"
    assert entry.metadata["response_status"] == 500
    Webhook.objects.update(deleted_at=timezone.now())
    assert replay(world, delivery).json()["code"] == "webhook_deleted"


def test_replay_does_not_overlap_a_later_event_of_its_message(world, hook_server):
    world.listen("oversight.pending", "oversight.approved", url=hook_server.url)
    world.decide(world.held())
    first, second = WebhookDelivery.objects.order_by("pk")
    deliveries.deliver(first.pk)
    assert WebhookDelivery.objects.claim(second.pk)
    replay(world, first)
    assert WebhookDelivery.objects.claim(first.pk) is None
    WebhookDelivery.objects.filter(pk=second.pk).update(state="due", lease_until=None)
    assert WebhookDelivery.objects.claim(second.pk) is None
    assert WebhookDelivery.objects.claim(first.pk)


def test_events_of_one_moment_wake_the_first_delivery_which_leads_to_the_next(
    world, hook_server, sent_tasks
):
    world.listen("message.sent", "message.delivered", url=hook_server.url)
    email = world.approved()
    sent_tasks.clear()
    events.announce(email, events.SENT, events.DELIVERED)
    first, second = WebhookDelivery.objects.order_by("pk")
    assert first.event == "message.sent"
    assert second.event == "message.delivered"
    assert sent_tasks == [("gateway.tasks.deliver_webhook", first.pk)]
    assert deliveries.deliver(second.pk) is None
    assert deliveries.deliver(first.pk) == second.pk
    assert [post.headers["X-MultiMail-Event"] for post in hook_server.posts] == [
        "message.sent"
    ]


def test_deliveries_are_listed_by_filters_with_every_attempt(world, hook_server):
    for url in (hook_server.url + "/unasked", hook_server.url):
        world.listen("oversight.pending", url=url)
    delivery = finished(world, hook_server, status=503)

    def rows(query=""):
        return admin(world, "GET", f"webhook-deliveries?{query}").json()["deliveries"]

    assert len(rows()) == 2
    assert len(rows(f"email_id={delivery.email_id}")) == 2
    assert rows("email_id=nobody") == []
    assert rows("status=failed") == rows(f"webhook_id={delivery.webhook_id}")
    assert admin(world, "GET", "webhook-deliveries?status=lost").status_code == 422
    (row,) = rows("status=failed")
    (attempt,) = row["attempt_log"]
    assert row["id"] == str(delivery.pk)
    assert attempt["response_status"] == 503
    assert attempt["error"] == "The answer was 503."
    assert attempt["milliseconds"] >= 0


def test_limited_key_sees_and_creates_only_webhooks_of_its_mailboxes(
    world, webhook, hook_server
):
    second = add_mailbox(world, "second")
    add_key(world, "limited", ["admin"], mailbox_ids=[second.pk])
    delivery = finished(world, hook_server)
    for path, rows in (("webhooks", "webhooks"), ("webhook-deliveries", "deliveries")):
        assert world.get(f"/v1/{path}", key="limited")[rows] == []
    assert replay(world, delivery, key="limited").status_code == 404
    assert admin(world, "POST", "webhooks", "limited", **HOOK).status_code == 403
    elsewhere = HOOK | {"mailbox_id": world.mailbox.pk}
    assert admin(world, "POST", "webhooks", "limited", **elsewhere).status_code == 404
    made = admin(world, "POST", "webhooks", "limited", **HOOK, mailbox_id=second.pk)
    assert made.status_code == 201
    assert len(world.get("/v1/webhooks", key="limited")["webhooks"]) == 1
    assert (
        admin(
            world, "PATCH", f"webhooks/{made.json()['id']}", "limited", mailbox_id=None
        ).status_code
        == 403
    )
    entries = world.get("/v1/audit-log", key="limited")["entries"]
    assert world.mailbox.pk not in str(entries)
    assert len(world.get("/v1/audit-log", key="admin")["entries"]) > len(entries)


def test_event_is_for_who_listens_to_its_mailbox_and_its_kind_of_mail(world):
    second = add_mailbox(world, "second")
    everything = world.listen("oversight.pending")
    elsewhere = world.listen("oversight.pending")
    live = world.listen("oversight.pending")
    sandbox = world.listen("oversight.pending")
    Webhook.objects.filter(pk=elsewhere.pk).update(mailbox=second)
    Webhook.objects.filter(pk=live.pk).update(include_sandbox=False)
    Webhook.objects.filter(pk=sandbox.pk).update(sandbox=True, include_sandbox=False)
    email = Email.objects.get(pk=world.held())
    for is_sandbox, wanted in (
        (False, [everything, live]),
        (True, [everything, sandbox]),
    ):
        email.sandbox = is_sandbox
        listening = [pk for pk, _ in Webhook.objects.listening(email)]
        assert listening == [one.pk for one in wanted]
