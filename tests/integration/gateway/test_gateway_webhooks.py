"""Subscriptions, the one envelope for all subscribers, signatures over exact bytes, retries and order."""

import hashlib
import hmac
import json
from datetime import timedelta
from typing import Any

import pytest
from django.db.models.functions import Now
from django.utils import timezone

from gateway import deliver
from gateway.models import AuditLogEntry, Webhook, WebhookDelivery
from tests.integration.gateway.servers import HookServer
from tests.integration.gateway.world import World, sweep_and_catch_nudges

URL = "https://hooks.example.org/in"


def subscribe(world: World, **fields: Any) -> Any:
    body = {"url": URL, "events": ["oversight.pending"], **fields}
    return world.call("POST", "/v1/webhooks", key="admin", json=body)


def deliver_all(world: World) -> None:
    for pk in WebhookDelivery.objects.order_by("pk").values_list("pk", flat=True):
        deliver.deliver(delivery_id=pk)


def make_due() -> None:
    WebhookDelivery.objects.filter(state="due").update(next_attempt_at=Now() - timedelta(seconds=1))


def test_webhook_create_shows_the_secret_and_the_list_never_does(world: World):
    made = subscribe(world)
    told = made.json()
    assert made.status_code == 201
    assert told["secret"] == told["signing_secret"]
    assert told["secret"].startswith("whsec_")
    listed = world.call("GET", "/v1/webhooks", key="admin").json()
    assert listed["webhooks"] == listed["subscriptions"]
    assert "secret" not in listed["webhooks"][0]
    assert world.call("GET", f"/v1/webhooks/{told['id']}", key="admin").json()["secret"] == told["secret"]
    assert AuditLogEntry.objects.filter(action="webhook.created").exists()


def test_webhook_secret_of_the_caller_is_used_and_kept_encrypted(world: World):
    told = subscribe(world, secret="a secret of mine").json()
    assert told["signing_secret"] == "a secret of mine"
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("SELECT secret FROM gateway_webhook")
        assert "secret of mine" not in cursor.fetchone()[0]


@pytest.mark.parametrize(
    "fields",
    [
        {"url": "http://hooks.example.org/"},
        {"url": "ftp://hooks.example.org/"},
        {"url": "https://user:pass@hooks.example.org/"},
        {"url": "https://127.0.0.1/"},
        {"url": "https://[::1]/"},
        {"url": "https://169.254.169.254/latest"},
        {"url": "https://localhost/"},
        {"url": "https://["},
        {"url": "https://x.example:port/"},
        {"url": "no address"},
        {"events": []},
        {"events": ["message.exploded"]},
        {"secret": "short"},
    ],
)
def test_webhook_bad_field_is_422(world: World, fields: dict[str, Any]):
    assert subscribe(world, **fields).status_code == 422
    assert not Webhook.objects.exists()


def test_webhook_delete_answers_json_and_it_is_gone(world: World, other: World):
    path = f"/v1/webhooks/{subscribe(world).json()['id']}"
    assert other.call("DELETE", path, key="admin").status_code == 404
    assert world.call("DELETE", path, key="admin").json()["status"] == "deleted"
    assert world.call("GET", path, key="admin").status_code == 404
    world.held()
    assert not WebhookDelivery.objects.exists()


@pytest.mark.parametrize("key", ["agent", "desk", "reader"])
def test_webhooks_need_the_admin_scope(world: World, key: str):
    assert world.call("GET", "/v1/webhooks", key=key).status_code == 403


def test_event_satisfies_every_published_variant(world: World):
    world.listen("message.pending_approval")
    email_id = world.held(metadata={"discord_user": "ana"}, to=["a@x.example", "b@x.example"])
    body = json.loads(bytes(WebhookDelivery.objects.get().body))
    name = "message.pending_approval"
    assert body["event"] == body["type"] == body["event_type"] == name
    assert body["id"] == body["email_id"] == body["message_id"] == body["data"]["message_id"] == email_id
    assert body["event_id"] != email_id
    assert body["to"] == body["data"]["to"] == "a@x.example, b@x.example"
    assert body["to_addresses"] == ["a@x.example", "b@x.example"]
    assert body["data"]["metadata"] == {"discord_user": "ana"}
    assert body["timestamp"].endswith("Z")
    assert "Hello" not in json.dumps(body)


def test_event_goes_once_to_each_subscription_under_its_first_spelling(world: World):
    world.listen("email.decided", "oversight.approved")
    world.listen("oversight.approved")
    world.listen("oversight.rejected")
    world.decide(world.held())
    rows = WebhookDelivery.objects.order_by("pk")
    assert [row.event for row in rows] == ["email.decided", "oversight.approved"]
    bodies = [json.loads(bytes(row.body)) for row in rows]
    assert bodies[0]["decision"] == bodies[0]["data"]["decision"] == "approved"
    assert isinstance(bodies[0]["to"], str)
    assert isinstance(bodies[1]["to"], list)


def test_delivery_is_signed_over_its_exact_bytes(world: World, hook_server: HookServer):
    world.listen("oversight.pending", url=hook_server.url)
    world.held(subject="Grüße 你好")
    deliver_all(world)
    ((headers, body),) = hook_server.got
    expected = hmac.new(b"whsec_geheim", body, hashlib.sha256).hexdigest()
    assert headers["X-MultiMail-Signature"] == f"sha256={expected}"
    assert "Grüße 你好".encode() in body
    event = json.loads(body)
    assert headers["X-MultiMail-Event-Id"] == headers["X-Request-Id"] == event["event_id"]
    assert WebhookDelivery.objects.get().state == "delivered"


def test_delivery_is_retried_three_times_with_the_same_bytes(world: World, hook_server: HookServer):
    hook_server.status = 500
    world.listen("oversight.pending", url=hook_server.url)
    world.held()
    for _ in range(6):
        deliver_all(world)
        make_due()
    assert len(hook_server.got) == 4
    assert len({body for _, body in hook_server.got}) == 1
    row = world.call("GET", "/v1/webhook-deliveries", key="admin").json()["deliveries"][0]
    assert (row["status"], row["attempts"], row["response_status"]) == ("failed", 4, 500)
    assert row["event_type"] == "oversight.pending"


def test_delivery_waits_between_attempts(world: World, hook_server: HookServer):
    hook_server.status = 503
    world.listen("oversight.pending", url=hook_server.url)
    world.held()
    deliver_all(world)
    deliver_all(world)
    assert len(hook_server.got) == 1
    delivery = WebhookDelivery.objects.get()
    assert timedelta(seconds=9) < delivery.next_attempt_at - timezone.now() < timedelta(seconds=11)


def test_later_event_of_a_message_waits_for_the_earlier(world: World, hook_server: HookServer):
    hook_server.status = 500
    world.listen("oversight.pending", "oversight.approved", url=hook_server.url)
    email_id, unrelated = world.held(), world.held()
    world.decide(email_id)
    deliver_all(world)
    events = [json.loads(body)["email_id"] for _, body in hook_server.got]
    assert events == [email_id, unrelated]
    hook_server.status = 200
    make_due()
    first, _, second = WebhookDelivery.objects.order_by("pk")
    assert deliver.deliver(delivery_id=first.pk) == second.pk
    assert deliver.deliver(delivery_id=second.pk) is None
    assert [json.loads(body)["event"] for _, body in hook_server.got[2:]] == ["oversight.pending", "oversight.approved"]


def test_delivery_to_a_private_address_is_refused_for_good(world: World, hook_server: HookServer, settings):
    settings.OUTGOING_ALLOW = []
    world.listen("oversight.pending", url=hook_server.url.replace("http://127.0.0.1", "https://localhost"))
    world.held()
    deliver_all(world)
    delivery = WebhookDelivery.objects.get()
    assert (delivery.state, delivery.attempts) == ("failed", 1)
    assert "OUTGOING_ALLOW" in delivery.last_error
    assert hook_server.got == []


def test_delivery_does_not_follow_redirects(world: World, hook_server: HookServer):
    hook_server.status, hook_server.location = 307, f"{hook_server.url}/elsewhere"
    world.listen("oversight.pending", url=hook_server.url)
    world.held()
    deliver_all(world)
    assert len(hook_server.got) == 1
    assert WebhookDelivery.objects.get().state == "due"


def test_delivery_of_a_deleted_subscription_is_given_up(world: World, hook_server: HookServer):
    webhook = world.listen("oversight.pending", url=hook_server.url)
    world.held()
    Webhook.objects.filter(pk=webhook.pk).update(deleted_at=timezone.now())
    deliver_all(world)
    assert (WebhookDelivery.objects.get().state, hook_server.got) == ("failed", [])


def test_delivery_of_a_dead_worker_is_taken_over(world: World, hook_server: HookServer):
    world.listen("oversight.pending", url=hook_server.url)
    world.held()
    pk = WebhookDelivery.objects.get().pk
    assert WebhookDelivery.objects.claim(pk)
    deliver_all(world)
    assert hook_server.got == []
    WebhookDelivery.objects.update(lease_until=Now() - timedelta(seconds=1))
    deliver_all(world)
    assert len(hook_server.got) == 1


def test_test_event_is_about_no_message(world: World, hook_server: HookServer):
    webhook = world.listen("oversight.pending", url=hook_server.url)
    answer = world.call("POST", f"/v1/webhooks/{webhook.pk}/test", key="admin")
    assert answer.json()["status"] == "pending"
    deliver_all(world)
    body = json.loads(hook_server.got[0][1])
    assert (body["event"], "email_id" in body) == ("webhook.test", False)


def test_sweep_nudges_what_nobody_nudged(world: World, monkeypatch: pytest.MonkeyPatch):
    world.listen("oversight.pending", "oversight.approved")
    email = world.approved()
    first = WebhookDelivery.objects.order_by("pk")[0]
    assert sweep_and_catch_nudges(monkeypatch) == [
        ("gateway.tasks.send_email", email.pk),
        ("gateway.tasks.deliver_webhook", first.pk),
    ]
