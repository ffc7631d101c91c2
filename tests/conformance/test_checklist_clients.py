"""The requests of MultiMail's clients, in their own shapes."""

import itertools
import json

import pytest

from tests.conformance.tenant import ids_of, ok, unique

JSON = {"Content-Type": "application/json"}


def test_zapier_app_works_by_its_own_paths(tenant):
    """Point 10."""
    received = tenant.receive(subject=unique("Order"))

    def call(method, path, body=None, key="agent", status=200):
        headers = {"X-API-Key": tenant.keys[key], **JSON}
        data = json.dumps(body) if body else None
        path = f"/v1/emails/{path}"
        answer = tenant.call(method, path, key=None, headers=headers, data=data)
        return ok(answer, status)

    rows = call("GET", f"inbox?mailbox={tenant.address}&limit=25")["emails"]
    assert [(row["id"], row["to"]) for row in rows] == [
        (received["id"], tenant.address)
    ], "its trigger: newest first"
    assert "Where is my order?" in call("GET", received["id"])["body"]
    assert call("GET", "inbox")["emails"][0]["status"] == "read"
    assert call("GET", f"thread/{received['thread_id']}")["message_count"] == 1
    body = {"mailbox": tenant.address, "body": "Hello"}
    message = body | {"to": "dana@northwind.example", "subject": unique("Zap")}
    sent = call("POST", "send", message, status=202)
    reply = call("POST", f"{received['id']}/reply", body, status=202)
    assert (sent["status"], reply["status"]) == ("queued", "queued")
    tagged = call("POST", f"{received['id']}/tag", {"tags": ["seen"]})
    assert tagged["tags"] == ["seen"]
    waiting = call("GET", f"pending?mailbox={tenant.address}", key="oversight")
    assert set(ids_of(waiting["emails"])) == {sent["id"], reply["id"]}
    for method, one, decision, status in (
        ("POST", sent, "approve", "approved"),
        ("PATCH", reply, "reject", "rejected"),
    ):
        body = {"decision": decision, "reason": "As agreed."}
        decided = call(method, f"{one['id']}/decide", body, key="oversight")
        assert decided["status"] == status
    call("POST", "send", {"to": "x"}, status=422)


METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS")
UNKNOWN = (
    "/",
    "/v1/nothing",
    "/accounts/login/",
    "/%00",
    "/v1//account",
    "/v1/x/../account",
    "/v1/billing/portal",
    "/v1/account/challenge",
    "/.well-known/agent/x@y.example",
)


@pytest.mark.slow
@pytest.mark.parametrize("some", [METHODS[:2], METHODS[2:]])
def test_every_path_answers_json_to_every_method(tenant, some):
    # `call` fails on 204, a redirect, HTML, an empty body and an error without a text.
    document = tenant.gateway.call("GET", "/openapi.json").json()
    paths = [path.replace("{", "").replace("}", "") for path in document["paths"]]
    for path, method in itertools.product((*paths, *UNKNOWN), some):
        for key in ("agent", None) if method == "GET" else ("agent",):
            tenant.call(method, path, key=key, headers=JSON)
    assert tenant.call("PUT", "/v1/account").status_code == 405
    assert tenant.call("GET", "/v1/nothing").status_code == 404
