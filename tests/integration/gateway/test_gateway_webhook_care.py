"""Looking after subscriptions: moving, rotating, replaying, the delivery log and its filters, and limited keys."""

import hashlib
import hmac
import json
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from gateway import deliver, hooks
from gateway.models import ApiKey, AuditLogEntry, Webhook, WebhookDelivery
from gateway.provision import make_mailbox
from tests.integration.gateway.servers import HookServer
from tests.integration.gateway.world import World, add_key


def signed(secret: str, body: bytes) -> str:
    return "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def rotate(world: World, webhook: Webhook, **fields: Any) -> Any:
    return world.call("POST", f"/v1/webhooks/{webhook.pk}/rotate", key="admin", json=fields)


def deliver_newest(world: World, hook_server: HookServer) -> tuple[dict[str, str], bytes]:
    world.held()
    deliver.deliver(delivery_id=WebhookDelivery.objects.latest("pk").pk)
    return hook_server.got[-1]


def finished(world: World, hook_server: HookServer, status: int = 200) -> WebhookDelivery:
    """Make a delivery that is over."""
    hook_server.status = status
    world.listen("oversight.pending", url=hook_server.url)
    world.held()
    delivery = WebhookDelivery.objects.latest("pk")
    WebhookDelivery.objects.filter(pk=delivery.pk).update(attempts=len(deliver.RETRIES))
    deliver.deliver(delivery_id=delivery.pk)
    delivery.refresh_from_db()
    return delivery


def replay(world: World, delivery: WebhookDelivery, key: str = "admin") -> Any:
    return world.call("POST", f"/v1/webhook-deliveries/{delivery.pk}/replay", key=key)


def test_rotation_overlaps_with_both_signatures(world: World, hook_server: HookServer):
    webhook = world.listen("oversight.pending", url=hook_server.url)
    told = rotate(world, webhook).json()
    assert told["secret"] == told["signing_secret"] != "whsec_geheim"
    until = Webhook.objects.get().previous_until
    assert until is not None
    assert timedelta(hours=23) < until - timezone.now() <= timedelta(hours=24)
    headers, body = deliver_newest(world, hook_server)
    assert headers["X-MultiMail-Signature"] == signed("whsec_geheim", body)
    assert headers["X-MultiMail-Signature-Next"] == signed(told["secret"], body)
    entry = AuditLogEntry.objects.get(action="webhook.rotated")
    assert entry.metadata == {"overlap_s": 86400}


def test_rotation_ends_with_its_overlap(world: World, hook_server: HookServer):
    webhook = world.listen("oversight.pending", url=hook_server.url)
    rotate(world, webhook, overlap_s=60, secret="a secret of mine")
    Webhook.objects.update(previous_until=timezone.now() - timedelta(seconds=1))
    headers, body = deliver_newest(world, hook_server)
    assert headers["X-MultiMail-Signature"] == signed("a secret of mine", body)
    assert "X-MultiMail-Signature-Next" not in headers
    assert hooks.forget_previous_secrets() == 1
    assert Webhook.objects.get().previous_secret == ""


def test_rotation_without_overlap_is_at_once(world: World, hook_server: HookServer):
    webhook = world.listen("oversight.pending", url=hook_server.url)
    secret = rotate(world, webhook, overlap_s=0).json()["secret"]
    headers, body = deliver_newest(world, hook_server)
    assert headers["X-MultiMail-Signature"] == signed(secret, body)
    assert "X-MultiMail-Signature-Next" not in headers


def test_rotation_within_an_overlap_keeps_the_secret_that_receivers_know(world: World, hook_server: HookServer):
    webhook = world.listen("oversight.pending", url=hook_server.url)
    rotate(world, webhook)
    newest = rotate(world, webhook).json()["secret"]
    headers, body = deliver_newest(world, hook_server)
    assert headers["X-MultiMail-Signature"] == signed("whsec_geheim", body)
    assert headers["X-MultiMail-Signature-Next"] == signed(newest, body)


@pytest.mark.parametrize("fields", [{"overlap_s": -1}, {"overlap_s": 8 * 86400}, {"secret": "short"}])
def test_rotation_with_a_bad_field_is_422(world: World, fields: dict[str, Any]):
    webhook = world.listen("oversight.pending")
    assert rotate(world, webhook, **fields).status_code == 422
    assert Webhook.objects.get().secret == "whsec_geheim"


def test_replay_sends_the_same_bytes_and_keeps_how_it_ended(world: World, hook_server: HookServer):
    delivery = finished(world, hook_server, status=500)
    assert delivery.state == "failed"
    hook_server.status = 200
    told = replay(world, delivery).json()
    assert (told["status"], told["attempts"], told["event_id"]) == ("pending", 0, delivery.event_id)
    deliver.deliver(delivery_id=delivery.pk)
    assert hook_server.got[0][1] == hook_server.got[1][1]
    delivery.refresh_from_db()
    assert delivery.state == "delivered"
    assert [one["response_status"] for one in delivery.history] == [500, 200]
    entry = AuditLogEntry.objects.get(action="webhook.replayed")
    assert (entry.metadata["was"], entry.metadata["response_status"]) == ("failed", 500)


def test_replay_of_what_is_on_its_way_is_409(world: World, hook_server: HookServer):
    delivery = finished(world, hook_server)
    assert replay(world, delivery).status_code == 200
    assert replay(world, delivery).json()["code"] == "not_finished"


def test_replay_of_a_deleted_subscription_or_another_account_is_refused(
    world: World, other: World, hook_server: HookServer
):
    delivery = finished(world, hook_server)
    assert replay(other, delivery).status_code == 404
    Webhook.objects.update(deleted_at=timezone.now())
    assert replay(world, delivery).json()["code"] == "webhook_deleted"
    answer = world.call("POST", "/v1/webhook-deliveries/no-number/replay", key="admin")
    assert answer.status_code == 404


def test_replay_does_not_run_beside_a_later_event_of_its_message(world: World, hook_server: HookServer):
    world.listen("oversight.pending", "oversight.approved", url=hook_server.url)
    world.decide(world.held())
    first, second = WebhookDelivery.objects.order_by("pk")
    deliver.deliver(delivery_id=first.pk)
    assert WebhookDelivery.objects.claim(second.pk)
    first.refresh_from_db()
    replay(world, first)
    assert WebhookDelivery.objects.claim(first.pk) is None
    WebhookDelivery.objects.filter(pk=second.pk).update(state="due", lease_until=None)
    assert WebhookDelivery.objects.claim(second.pk) is None
    assert WebhookDelivery.objects.claim(first.pk)


def test_webhook_changes_its_address_events_and_mailbox(world: World):
    webhook = world.listen("oversight.pending")
    Webhook.objects.update(paused_at=timezone.now(), failures=10)
    body = {"url": "https://new.example.org/", "events": ["email.decided"], "mailbox_id": world.mailbox.address}
    path = f"/v1/webhooks/{webhook.pk}"
    told = world.call("PATCH", path, key="admin", json=body).json()
    assert (told["url"], told["events"], told["mailbox_id"]) == (body["url"], body["events"], world.mailbox.pk)
    assert (told["is_active"], told["failures"], "secret" in told) == (True, 0, False)
    assert world.call("PATCH", path, key="admin", json={"mailbox_id": None}).json()["mailbox_id"] is None
    assert AuditLogEntry.objects.filter(action="webhook.updated").count() == 2


@pytest.mark.parametrize(
    "fields", [{"url": "https://10.0.0.1/"}, {"url": ""}, {"events": []}, {"events": ["no.such"]}, {"url": None}]
)
def test_webhook_change_with_a_bad_field_is_422(world: World, fields: dict[str, Any]):
    webhook = world.listen("oversight.pending")
    assert world.call("PATCH", f"/v1/webhooks/{webhook.pk}", key="admin", json=fields).status_code == 422
    assert Webhook.objects.get().url == webhook.url


@pytest.mark.parametrize(
    "url",
    [
        "https://2130706433/",
        "https://0x7f.1/",
        "https://127.1/",
        "https://localhost./",
        "https://desk.internal/",
        "https://exa mple.org/",
        "https://hooks.example.org\\.internal.example/",
        "https://exa%6dple.org/",
        "https://:pass@hooks.example.org/",
    ],
)
def test_private_target_in_odd_spelling_is_refused_at_registration(world: World, url: str):
    body = {"url": url, "events": ["oversight.pending"]}
    answer = world.call("POST", "/v1/webhooks", key="admin", json=body)
    assert (answer.status_code, answer.json()["field"]) == (422, "url")


def test_deliveries_are_listed_by_filters_with_every_attempt(world: World, hook_server: HookServer):
    world.listen("oversight.pending")
    delivery = finished(world, hook_server, status=503)
    path = "/v1/webhook-deliveries"

    def ids(**filters: str) -> list[str]:
        query = "&".join(f"{name}={value}" for name, value in filters.items())
        return [row["id"] for row in world.call("GET", f"{path}?{query}", key="admin").json()["deliveries"]]

    assert len(ids()) == 2
    assert ids(status="failed") == [str(delivery.pk)] == ids(webhook_id=delivery.webhook_id)
    assert len(ids(email_id=str(delivery.email_id))) == 2
    assert ids(email_id="nobody") == []
    assert world.call("GET", f"{path}?status=lost", key="admin").status_code == 422
    (row,) = world.call("GET", f"{path}?status=failed", key="admin").json()["deliveries"]
    (attempt,) = row["attempt_log"]
    assert (attempt["response_status"], attempt["error"]) == (503, "The answer was 503.")
    assert attempt["milliseconds"] >= 0


def test_limited_key_sees_and_makes_only_what_is_about_its_mailboxes(world: World, hook_server: HookServer):
    add_key(world, "limited", ["admin"])
    second = make_mailbox(account=world.account, address="second@acme.example", display_name="Second")
    ApiKey.objects.filter(name="Key limited").update(mailbox_ids=[second.pk])
    delivery = finished(world, hook_server)
    whole = world.call("GET", "/v1/webhooks", key="limited").json()["webhooks"]
    assert whole == world.call("GET", "/v1/webhook-deliveries", key="limited").json()["deliveries"] == []
    assert replay(world, delivery, key="limited").status_code == 404
    body = {"url": "https://hooks.example.org/", "events": ["oversight.pending"]}
    assert world.call("POST", "/v1/webhooks", key="limited", json=body).status_code == 403
    made = world.call("POST", "/v1/webhooks", key="limited", json={**body, "mailbox_id": second.pk})
    assert made.status_code == 201
    assert len(world.call("GET", "/v1/webhooks", key="limited").json()["webhooks"]) == 1
    path = f"/v1/webhooks/{made.json()['id']}"
    assert world.call("PATCH", path, key="limited", json={"mailbox_id": None}).status_code == 403
    entries = world.call("GET", "/v1/audit-log", key="limited").json()["entries"]
    assert world.mailbox.pk not in json.dumps(entries)
    assert len(world.call("GET", "/v1/audit-log", key="admin").json()["entries"]) > len(entries)
