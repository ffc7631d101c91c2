"""The requests of MultiMail's clients, in their own shapes."""

import itertools
import json

import pytest

from tests.conformance.tenant import ok, unique

JSON = {"Content-Type": "application/json"}


def test_zapier_app_works_by_its_own_paths(tenant):
    """Point 10."""
    received = tenant.receive(subject=unique("Order"))

    def call(method, path, body=None, key="agent"):
        headers = {"X-API-Key": tenant.keys[key], "Content-Type": "application/json"}
        return tenant.call(
            method,
            f"/v1/emails/{path}",
            key=None,
            headers=headers,
            data=json.dumps(body) if body else None,
        )

    rows = ok(call("GET", f"inbox?mailbox={tenant.address}&limit=25"))["emails"]
    assert [(row["id"], row["to"]) for row in rows] == [
        (received["id"], tenant.address)
    ], "its trigger: newest first"
    whole = ok(call("GET", received["id"]))
    assert "Where is my order?" in whole["body"]
    assert ok(call("GET", "inbox"))["emails"][0]["status"] == "read"
    assert ok(call("GET", f"thread/{received['thread_id']}"))["message_count"] == 1
    message = {
        "mailbox": tenant.address,
        "to": "dana@northwind.example",
        "subject": unique("Zap"),
        "body": "Hello",
    }
    sent = ok(call("POST", "send", message), 202)
    reply = ok(
        call(
            "POST",
            f"{received['id']}/reply",
            {"mailbox": tenant.address, "body": "Soon"},
        ),
        202,
    )
    assert [(one["status"], bool(one["message"])) for one in (sent, reply)] == [
        ("queued", True)
    ] * 2
    assert ok(call("POST", f"{received['id']}/tag", {"tags": ["seen"]}))["tags"] == [
        "seen"
    ]
    waiting = ok(call("GET", f"pending?mailbox={tenant.address}", key="oversight"))[
        "emails"
    ]
    assert {row["id"] for row in waiting} == {sent["id"], reply["id"]}
    verdicts = [
        ("POST", sent, "approve", "approved"),
        ("PATCH", reply, "reject", "rejected"),
    ]
    for method, one, decision, status in verdicts:
        body = {"decision": decision, "reason": "As agreed."}
        assert (
            ok(call(method, f"{one['id']}/decide", body, key="oversight"))["status"]
            == status
        )
    for path, status in (("inbox", 401), ("send", 422), (f"{sent['id']}/reply", 422)):
        key = None if status == 401 else "agent"
        answer = tenant.call(
            "GET" if path == "inbox" else "POST", f"/v1/emails/{path}", key=key, json={}
        )
        assert answer.status_code == status, path
        assert bool(answer.json()["error"]), path


METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS")
UNKNOWN = (
    "/",
    "/v1",
    "/v1/",
    "/v2/account",
    "/nothing",
    "/v1/nothing",
    "/admin/",
    "/accounts/login/",
    "/%00",
    "/v1/%ff",
    "/v1/mailboxes/",
    "/v1/account/",
    "/send_email/",
    "/v1//account",
    "/health/",
    "/v1/x/../account",
    "/v1/emails",
    "/v1/emails/send",
    "/v1/emails/inbox",
    "/v1/emails/x/report-spam",
    "/v1/billing/portal",
    "/v1/account/challenge",
    "/v1/confirm",
    "/v1/slug-check/x",
    "/v1/export",
    "/.well-known/agent/x@y.example",
)


@pytest.mark.parametrize(
    "some", [METHODS[:2], pytest.param(METHODS[2:], marks=pytest.mark.slow)]
)
def test_every_path_answers_json_to_every_method(tenant, some):
    # `call` fails on 204, a redirect, HTML, an empty body and an error without a text.
    document = tenant.gateway.call("GET", "/openapi.json").json()
    paths = [path.replace("{", "").replace("}", "") for path in document["paths"]]
    for path, method in itertools.product((*paths, *UNKNOWN), some):
        for key in ("agent", None) if method == "GET" else ("agent",):
            tenant.call(method, path, key=key, headers=JSON)
    assert tenant.call("PUT", "/v1/account").status_code == 405
    assert tenant.call("GET", "/v1/send_email").status_code == 405
    assert tenant.call("GET", "/v1/nothing").status_code == 404
    assert tenant.call("GET", "/v1/account/").status_code == 404
    assert tenant.call("GET", "/v1/billing/portal").status_code in (404, 501)
