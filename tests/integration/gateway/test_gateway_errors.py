"""Error responses say in a sentence what to do; and what the log records about them."""

from pathlib import Path

import pytest
from django.db import IntegrityError, OperationalError
from django.test import Client

from gateway import request_rules
from gateway.api.bodies import Body
from tests.integration.gateway.world import (
    add_key,
    refusal_of,
)


def test_wrong_host_is_400_and_health_answers_also_to_head(db):
    answer = Client().get("/health", headers={"Host": "evil.example"})
    assert refusal_of(answer) == (400, "unknown_host")
    assert Client().head("/health").status_code == 200


def test_body_that_is_not_json_gets_the_position_of_the_error(world):
    headers = {"Authorization": f"Bearer {world.keys['agent']}"}
    for body, where in {
        b'{"to": "a@x.example"': "line 1, column 21",
        b"\xff{": "not UTF-8",
        b"[" + b"9" * 5000 + b"]": "too long",
        b"[" * 100_000: "deep",
        b"[]": "must be a JSON object",
        b'{"to": "a@x.example", "cc": [{"to": 1, "to": 2}]}': 'the name "to" twice',
    }.items():
        answer = Client().post(
            "/v1/send_email", body, content_type="application/json", headers=headers
        )
        assert refusal_of(answer) == (400, "invalid_json")
        assert where in answer.json()["error"]
    answer = Client().post("/v1/send_email", {"to": "a@x.example"}, headers=headers)
    assert refusal_of(answer) == (400, "invalid_json")


def test_database_refuses_a_key_that_sends_and_decides(world):
    with pytest.raises(IntegrityError, match="key_never_sends_and_decides"):
        add_key(world, "both", ["send", "oversight"])


def test_internal_errors_are_503_or_500_without_details(world, monkeypatch):
    for error, status in ((OperationalError, 503), (RuntimeError, 500)):

        def fail(*_, error=error):
            raise error("secret detail")

        monkeypatch.setattr("gateway.api.mailboxes.mailbox_named", fail)
        answer = world.call("GET", world.base)
        assert answer.status_code == status
        assert answer.get("Retry-After") == ("1" if status == 503 else None)
        assert "secret detail" not in answer.text
        assert answer.json()["error"]


def test_openapi_document_lists_each_call_once_with_its_scope_and_a_known_group(db):
    document = Client().get("/openapi.json").json()
    calls = {
        (method.upper(), path): call
        for path, methods in document["paths"].items()
        for method, call in methods.items()
    }
    # Clients have generated code from their names, which are unique.
    names = [
        f"{method} {path} {call['operationId']}"
        for (method, path), call in calls.items()
    ]
    known = Path(__file__).with_name("operation_ids.txt").read_text().splitlines()
    assert sorted(names) == sorted(known)
    assert {tag for call in calls.values() for tag in call["tags"]} == {
        tag["name"] for tag in document["tags"]
    }
    for name, call in calls.items():
        assert call["summary"], name
        assert "key" in call["description"], name
    scopes = calls["GET", "/v1/oversight/pending"]["description"]
    assert "`oversight` or `oversight_read`" in scopes
    # Where a body is read without a key.
    assert {
        path
        for (method, path), call in calls.items()
        if method != "GET" and not call.get("security")
    } == {"/v1/account"} & set(request_rules.OPEN)


def test_unknown_fields_are_ignored_and_named_unless_the_request_is_refused(world):
    answer = world.send(
        shedule_at="2027-01-01T00:00:00Z",
        attachments=[{"name": "a", "content": "YQ==", "enc": "b"}],
    )
    assert answer.json()["ignored_fields"] == ["enc", "shedule_at"]
    assert int(answer["Content-Length"]) == len(answer.content)
    known = {"from": world.mailbox.address, "idempotency_key": "k"}
    assert "ignored_fields" not in world.send(**known).json()
    many = {f"{number}{'x' * 200}": 1 for number in range(50)}
    names = world.send(**many).json()["ignored_fields"]
    assert (len(names), max(map(len, names))) == (10, 80)


def test_every_example_of_a_body_is_valid_and_names_known_fields():
    kinds = [Body]
    for kind in kinds:
        kinds += kind.__subclasses__()
    examples = {
        kind: kind.model_config["json_schema_extra"]["example"]
        for kind in kinds
        if "json_schema_extra" in kind.model_config
    }
    assert len(examples) > 20
    for kind, example in examples.items():
        kind.model_validate(example)
        known = kind.model_json_schema()["properties"]
        assert example.keys() <= known.keys(), kind
