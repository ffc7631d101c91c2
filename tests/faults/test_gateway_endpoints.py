"""Webhook endpoints that are down, slow, gone or treacherous, with the gateway as processes."""

import json
import time

import pytest

from tests.conformance.tenant import ok
from tests.integration.gateway.servers import hook_server

pytestmark = pytest.mark.xdist_group("gateway-faults")


def subscribe(tenant, url, *events):
    body = {"url": url, "events": list(events)}
    return ok(tenant.call("POST", "/v1/webhooks", key="admin", json=body), 201)["id"]


def deliveries(tenant, webhook_id):
    """The deliveries of a subscription, oldest first."""
    rows = tenant.get("/v1/webhook-deliveries", key="admin", webhook_id=webhook_id)["deliveries"]
    return list(reversed(rows))


def let_time_pass(rig, webhook_id):
    rig.gateway.sql(
        "UPDATE gateway_webhookdelivery SET next_attempt_at = now() WHERE webhook_id = %s AND state = 'due'", webhook_id
    )
    rig.gateway.sql("UPDATE gateway_webhook SET rests_until = NULL WHERE id = %s", webhook_id)
    rig.gateway.sql("UPDATE gateway_webhook SET probe_at = now() WHERE id = %s AND paused_at IS NOT NULL", webhook_id)
    rig.gateway.sweep()


def told(server):
    """The messages that an endpoint was told about, each once, in order."""
    return list(dict.fromkeys(json.loads(body)["email_id"] for _, body in server.got))


def test_endpoint_that_is_down_gets_its_events_when_it_is_up(rig, tenant):
    webhook_id = subscribe(
        tenant, f"http://127.0.0.1:{rig.closed_port}/hook", "oversight.pending", "oversight.rejected"
    )
    sent = tenant.held()
    ok(tenant.decide(sent["id"], "reject"))
    tenant.wait(lambda: deliveries(tenant, webhook_id)[0]["attempts"] == 1, "the first attempt")
    tenant.wait(lambda: deliveries(tenant, webhook_id)[0]["last_error"], "its outcome")
    # The decision waits behind what it decided.
    assert [row["attempts"] for row in deliveries(tenant, webhook_id)] == [1, 0]
    with hook_server(rig.closed_port) as server:
        let_time_pass(rig, webhook_id)
        tenant.wait(lambda: len(server.got) == 2, "both events")
    assert [json.loads(body)["event"] for _, body in server.got] == ["oversight.pending", "oversight.rejected"]
    # That an event was taken is written down after its answer.
    both = ["delivered", "delivered"]
    tenant.wait(lambda: [row["status"] for row in deliveries(tenant, webhook_id)] == both, "both to be noted")


def test_slow_endpoint_does_not_hold_up_others(rig, tenant):
    rig.awkward.delay, rig.awkward.status = 3.2, 500
    slow = subscribe(tenant, rig.awkward.url, "oversight.pending")
    hook = tenant.subscribe("oversight.pending")
    began = time.monotonic()
    for _ in range(3):
        tenant.send()
    tenant.wait_for_events(hook, 3)
    # One attempt may be under way, and no more than one.
    assert time.monotonic() - began < 2 * rig.awkward.delay
    assert len(rig.awkward.got) == 1
    assert [row["status"] for row in deliveries(tenant, slow)] == ["pending"] * 3


def test_redirect_to_this_machine_is_not_followed(rig, tenant):
    inside = f"/{tenant.account}/inside"
    rig.awkward.status, rig.awkward.location = 307, rig.gateway.hooks.origin + inside
    webhook_id = subscribe(tenant, rig.awkward.url, "oversight.pending")
    tenant.send()
    tenant.wait(lambda: deliveries(tenant, webhook_id)[0]["response_status"] == 307, "the redirect to be recorded")
    let_time_pass(rig, webhook_id)
    # The row counts an attempt when it begins; what arrived counts it when it was made.
    tenant.wait(lambda: len(rig.awkward.got) == 2, "another attempt at the same address")
    assert deliveries(tenant, webhook_id)[0]["attempts"] == 2
    assert rig.gateway.hooks.events.get(inside, []) == []


@pytest.mark.slow
def test_endpoint_that_was_gone_for_a_while_gets_everything_in_order(rig, tenant):
    rig.awkward.status = 410
    webhook_id = subscribe(tenant, rig.awkward.url, "oversight.pending")
    sent = [tenant.held()["id"]]

    def paused():
        return not tenant.get(f"/v1/webhooks/{webhook_id}", key="admin")["is_active"]

    tenant.wait(paused, "the subscription to be paused")
    sent += [tenant.held()["id"] for _ in range(3)]
    rig.gateway.sweep()
    assert [row["attempts"] for row in deliveries(tenant, webhook_id)] == [1, 0, 0, 0]
    rig.awkward.status = 200
    let_time_pass(rig, webhook_id)
    tenant.wait(lambda: len(rig.awkward.got) == 5, "all events, one of them for the second time")
    assert told(rig.awkward) == sent
    assert not paused()


def test_endpoint_that_answers_no_http_is_tried_again(rig, tenant):
    webhook_id = subscribe(tenant, rig.awkward.url, "oversight.pending")
    rig.awkward.status = 0
    tenant.send()
    tenant.wait(lambda: deliveries(tenant, webhook_id)[0]["last_error"], "the first attempt")
    rig.awkward.status = 200
    let_time_pass(rig, webhook_id)
    tenant.wait(lambda: deliveries(tenant, webhook_id)[0]["status"] == "delivered", "the second")
