"""Error responses say in a sentence what to do; and what the log records about them."""

import io

import pytest
from django.core.management import CommandError, call_command
from django.db import IntegrityError, OperationalError
from django.test import Client

from gateway.models import ApiKey
from tests.integration.gateway.world import (
    add_key,
    noted,
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


# --- commands that make accounts: the demo's, and an operator's ---


def printed(command, *options, **named):
    out = io.StringIO()
    call_command(command, *options, stdout=out, **named)
    return out.getvalue()


def key_from(*options):
    """Ask the command for a key of the account acme, and return its text."""
    lines = printed(
        "gateway_key", "--account=acme", "--name=Spare", *options
    ).splitlines()
    return next(line for line in lines if line.startswith("mm_"))


@pytest.mark.slow
def test_gateway_key_makes_a_key_when_the_last_is_lost(world):
    world.keys["spare"] = key_from("--scopes=admin, read")
    listed = world.get("/v1/api-keys", key="spare")["api_keys"]
    (made,) = [one for one in listed if one["name"] == "Spare"]
    assert made["scopes"] == ["admin", "read"]
    assert made["mailboxes"] is None
    assert noted("api_key.created").metadata["by"] == "operator"


def test_gateway_key_refuses_what_the_api_refuses(world):
    for options in (
        ("--scopes=send,oversight",),
        ("--scopes=sned",),
        ("--scopes=send", "--account=globe"),
    ):
        with pytest.raises(CommandError):
            key_from(*options)
    assert not ApiKey.objects.filter(name="Spare").exists()
