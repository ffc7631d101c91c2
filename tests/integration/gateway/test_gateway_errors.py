"""Error responses say in a sentence what to do; and what the log records about them."""

import logging
from pathlib import Path

import pytest
from django.db import IntegrityError, OperationalError
from django.test import Client

from common.logs import JsonFormatter
from tests.integration.gateway.world import (
    add_key,
    add_mailbox,
    bad_field_of,
    refusal_of,
)

LEFT_OUT = (
    "POST /v1/billing/portal",
    "POST /v1/billing/cancel",
    "GET /v1/export",
    "GET /v1/approve/token",
    "POST /v1/operator/start-session",
    "POST /v1/operator/verify-session",
    "POST /v1/operator/end-session",
    "GET /v1/operator/session",
    "POST /agent/auth",
    "POST /agent/auth/claim/complete",
    "POST /v1/support",
    "POST /v1/account/did-challenge",
    "POST /v1/account/challenge",
    "POST /v1/confirm",
    "POST /v1/account",
    "GET /.well-known/agent/dana@northwind.example",
)


def test_unsupported_route_says_so_and_names_an_alternative(world, caplog):
    answers = {
        call: world.call(*call.split())
        for call in (*LEFT_OUT, "GET /v1/approve/dana@northwind.example")
    }
    for call, answer in answers.items():
        assert refusal_of(answer) == (501, "not_implemented"), call
        assert answer.json()["error"].count(".") >= 2, call
    assert "dana@northwind.example" not in caplog.text


def test_wrong_host_is_400_and_health_answers_also_to_head(db):
    answer = Client().get("/health", headers={"Host": "evil.example"})
    assert refusal_of(answer) == (400, "unknown_host")
    assert Client().head("/health").status_code == 200
    assert Client().head("/health").content == b""
    assert Client().get("/health").json() == {
        "status": "ok",
        "software": "countersign-gateway",
    }


def test_body_that_is_not_json_gets_the_position_of_the_error(world):
    headers = {"Authorization": f"Bearer {world.keys['agent']}"}
    for body, where in {
        b'{"to": "a@x.example"': "line 1, column 21",
        b"{'to': 1}": "line 1, column 2",
        b"\xff{": "not UTF-8",
        b"[" + b"9" * 5000 + b"]": "too long",
        b"[" * 100_000: "deep",
        **dict.fromkeys((b"[]", b'"text"', b"null", b"7"), "must be a JSON object"),
        b'{"to": "a@x.example", "cc": [{"to": 1, "to": 2}]}': 'the name "to" twice',
    }.items():
        answer = Client().post(
            "/v1/send_email", body, content_type="application/json", headers=headers
        )
        assert refusal_of(answer) == (400, "invalid_json")
        assert where in answer.json()["error"]
    answer = Client().post("/v1/send_email", {"to": "a@x.example"}, headers=headers)
    assert refusal_of(answer) == (400, "invalid_json")
    assert "application/json" in answer.json()["hint"]


def test_refusals_say_what_would_be_valid(world):
    add_mailbox(world, "second")
    answer = world.post(f"{world.base}/send", key="reader", to=["a@x.example"])
    assert (
        answer.json()["error"]
        == "This key lacks the scope send: it has read. Use another key of the account."
    )
    answer = world.call("GET", "/v1/check_inbox")
    assert bad_field_of(answer) == (422, "mailbox")
    unsaid = world.post("/v1/send_email", to="a@x.example", subject="x", body="y")
    assert unsaid.json()["field"] == "from"
    wanted = {"url": "https://x.example/", "events": ["email.bogus"]}
    assert (
        "message.received"
        in world.post("/v1/webhooks", key="admin", **wanted).json()["error"]
    )
    for query in ("", "?id="):
        assert world.call("GET", f"/read_email{query}").status_code == 422


def test_database_refuses_a_key_that_sends_and_decides(world):
    with pytest.raises(IntegrityError, match="key_never_sends_and_decides"):
        add_key(world, "both", ["send", "oversight"])


def test_internal_errors_are_503_or_500_without_details(world, monkeypatch):
    trouble = [
        OperationalError("secret detail"),
        RuntimeError("secret detail"),
    ]

    def fail(*_):
        raise trouble.pop(0)

    monkeypatch.setattr("gateway.api.mailboxes.mailbox_named", fail)
    away = world.call("GET", world.base)
    bug = world.call("GET", world.base)
    assert away.status_code == 503
    assert away["Retry-After"] == "1"
    assert bug.status_code == 500
    assert "secret detail" not in (away.content + bug.content).decode()
    assert bug.json()["error"]


def test_log_says_why_a_request_was_refused_and_holds_routes_but_no_keys_or_bodies(
    world, caplog
):
    with caplog.at_level(logging.INFO, "gateway"):
        world.post(f"{world.base}/send", key="reader", to=["a@x.example"])
        world.call("GET", "/v1/account")
        world.held(markdown="very private words", subject="private subject")
        world.call("GET", f"/v1/mailboxes/{world.mailbox.address}", key="desk")
    requests = [
        record for record in caplog.records if record.name == "gateway.middleware"
    ]
    assert [record.__dict__["code"] for record in requests][:3] == [
        "missing_scope",
        None,
        None,
    ]
    text = "\n".join(
        JsonFormatter().format(record)
        for record in caplog.records
        if record.name.startswith("gateway")
    )
    assert "v1/mailboxes/<mailbox>/send" in text
    for secret in ("private", world.keys["agent"], world.mailbox.address):
        assert secret not in text


def test_operation_ids_stay_as_clients_generated_code_from_them():
    paths = Client().get("/openapi.json").json()["paths"]
    ids = {
        f"{m.upper()} {path} {call['operationId']}"
        for path, calls in paths.items()
        for m, call in calls.items()
    }
    assert ids == set(
        Path(__file__).with_name("operation_ids.txt").read_text().splitlines()
    )


def test_openapi_document_lists_each_call_once_with_its_scope_and_a_known_group(db):
    document = Client().get("/openapi.json").json()
    calls = {
        (path, method): call
        for path, methods in document["paths"].items()
        for method, call in methods.items()
    }
    assert not [path for path, _ in calls if path.startswith("/v1/billing")]
    ids = [call["operationId"] for call in calls.values()]
    assert len(ids) == len(set(ids))
    assert {tag for call in calls.values() for tag in call["tags"]} == {
        tag["name"] for tag in document["tags"]
    }
    silent = [
        name
        for name, call in calls.items()
        if not call["summary"] or "key" not in call["description"]
    ]
    assert silent == []
    assert (
        "`oversight` or `oversight_read`"
        in calls["/v1/oversight/pending", "get"]["description"]
    )
    assert calls["/health", "get"]["description"] == "Needs no key."
    assert all("`" not in call["summary"] for call in calls.values())
    assert (
        "Retry-After"
        in calls["/v1/send_email", "post"]["responses"]["429"]["description"]
    )
    assert set(document["components"]["securitySchemes"]) == {"BearerKey", "HeaderKey"}


def test_unknown_fields_are_ignored_and_named_unless_the_request_is_refused(world):
    answer = world.send(
        shedule_at="2027-01-01T00:00:00Z",
        attachments=[{"name": "a", "content": "YQ==", "enc": "b"}],
    )
    assert answer.status_code == 202
    assert answer.json()["ignored_fields"] == ["enc", "shedule_at"]
    known = {"from": world.mailbox.address, "idempotency_key": "k"}
    assert "ignored_fields" not in world.send(**known).json()
    held = world.patch("/v1/account", hold_al=True)
    assert held.json()["hold_all"] is False
    assert held.json()["ignored_fields"] == ["hold_al"]
    assert int(held["Content-Length"]) == len(held.content)
    assert "ignored_fields" not in world.send(to=["nobody"], shedule_at="x").json()
    names = world.send(**{f"{number}{'x' * 200}": 1 for number in range(50)}).json()[
        "ignored_fields"
    ]
    assert len(names) == 10
    assert max(map(len, names)) == 80
