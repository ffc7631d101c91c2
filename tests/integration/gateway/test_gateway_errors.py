"""Whatever is asked, the answer is a JSON object with a sentence: no HTML, no redirect, nothing empty."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import OperationalError
from django.test import Client
from django.utils import timezone

from gateway.models import Account, ApiKey
from gateway.urls import urlpatterns
from tests.integration.gateway.world import World, add_key

METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]


def paths(patterns: Any = urlpatterns, prefix: str = "/") -> Iterator[str]:
    for pattern in patterns:
        path = prefix + str(pattern.pattern)
        if hasattr(pattern, "url_patterns"):
            yield from paths(pattern.url_patterns, path)
        elif path != "/docs":
            yield re.sub(r"<[^>]+>", "x", path)


@pytest.mark.parametrize("path", sorted(set(paths())))
def test_every_path_answers_json_to_every_method(world: World, path: str):
    world.keys["all"] = add_key(world, "all", ["admin", "read", "send"])
    for method in METHODS:
        for key in (None, "all", "desk"):
            answer = world.call(method, path, key=key)
            assert answer["Content-Type"].startswith("application/json"), (method, path)
            assert isinstance(answer.json(), dict), (method, path)
            assert not 300 <= answer.status_code < 400
            assert answer.status_code not in (204, 500)
            assert answer.status_code < 400 or answer.json()["error"]
            assert answer["X-Countersign-Gateway"] == "1"


@pytest.mark.parametrize("path", ["/", "/nope", "/v1", "/v1/mailboxes/", "/v1/send_email/", "/v1/emailz/inbox", "/%00"])
def test_unknown_path_is_404_json_and_never_a_redirect(world: World, path: str):
    answer = world.call("GET", path)
    assert answer.status_code == 404
    assert answer.json()["error"]


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer mm_live_wrong"},
        {"Authorization": "Basic eDp5"},
        {"X-API-Key": "wrong"},
        {"X-API-Key": ""},
    ],
)
def test_no_or_unknown_key_is_401(world: World, headers: dict[str, str]):
    answer = world.call("GET", "/v1/mailboxes", key=None, **headers)
    assert answer.status_code == 401
    assert answer.json()["error"]


def test_bearer_wins_over_the_other_header(world: World):
    both = {"Authorization": "Bearer wrong", "X-API-Key": world.keys["agent"]}
    assert world.call("GET", "/v1/mailboxes", key=None, **both).status_code == 401


def test_revoked_key_is_401_and_inactive_account_403(world: World):
    ApiKey.objects.filter(name="Key reader").update(revoked_at=timezone.now())
    assert world.call("GET", "/v1/mailboxes", key="reader").status_code == 401
    Account.objects.update(is_active=False)
    assert world.call("GET", "/v1/mailboxes").status_code == 403


@pytest.mark.parametrize(
    ("key", "method", "path"),
    [
        ("reader", "POST", "/v1/send_email"),
        ("desk", "GET", "/v1/mailboxes"),
        ("desk", "POST", "/send_email"),
        ("agent", "GET", "/v1/oversight/pending"),
        ("watcher", "POST", "/v1/oversight/decide"),
        ("admin", "POST", "/v1/send_email"),
        ("admin", "POST", "/v1/decide_email"),
        ("agent", "GET", "/v1/audit-log"),
    ],
)
def test_missing_scope_is_403(world: World, key: str, method: str, path: str):
    answer = world.call(method, path, key=key, json={} if method == "POST" else None)
    assert (answer.status_code, answer.json()["code"]) == (403, "missing_scope")


def test_admin_may_read(world: World):
    assert world.call("GET", "/v1/mailboxes", key="admin").status_code == 200


def test_database_refuses_a_key_that_sends_and_decides(world: World):
    from django.db import IntegrityError

    with pytest.raises(IntegrityError, match="key_never_sends_and_decides"):
        add_key(world, "both", ["send", "oversight"])


def test_body_over_the_limit_is_413(world: World, settings):
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 1000
    assert world.send(markdown="x" * 1000).status_code == 413


def test_wrong_host_is_400(world: World):
    answer = Client().get("/health", headers={"Host": "evil.example"})
    assert (answer.status_code, answer.json()["code"]) == (400, "unknown_host")


def test_empty_body_with_json_type_is_accepted_where_none_is_needed(world: World):
    email_id = world.held()
    path = f"{world.base}/emails/{email_id}/cancel"
    assert world.call("POST", path, **{"Content-Type": "application/json"}).status_code == 200


def test_database_away_is_503_with_a_number_to_wait(world: World, monkeypatch: pytest.MonkeyPatch):
    def fail(*args: object) -> None:
        raise OperationalError("the server is gone")

    monkeypatch.setattr("gateway.api.mailboxes.mailbox_named", fail)
    answer = world.call("GET", f"/v1/mailboxes/{world.mailbox.pk}")
    assert (answer.status_code, answer["Retry-After"]) == (503, "1")


def test_bug_is_500_json_without_details(world: World, monkeypatch: pytest.MonkeyPatch):
    def fail(*args: object) -> None:
        raise RuntimeError("secret detail")

    monkeypatch.setattr("gateway.api.mailboxes.mailbox_named", fail)
    answer = world.call("GET", f"/v1/mailboxes/{world.mailbox.pk}")
    assert answer.status_code == 500
    assert "secret detail" not in answer.content.decode()


def test_log_names_routes_and_never_keys_or_bodies(world: World, caplog: pytest.LogCaptureFixture):
    world.held(markdown="very private words", subject="private subject")
    world.call("GET", f"/v1/mailboxes/{world.mailbox.address}", key="desk")
    from common.logs import JsonFormatter

    text = "\n".join(JsonFormatter().format(record) for record in caplog.records if record.name.startswith("gateway"))
    assert "v1/mailboxes/<mailbox>/send" in text
    for secret in ("private", world.keys["agent"], world.mailbox.address):
        assert secret not in text


def test_health_says_which_software_it_is(db: None):
    assert Client().get("/health").json() == {"status": "ok", "software": "countersign-gateway"}


@pytest.mark.parametrize("path", ["/openapi.json", "/v1/openapi.json"])
def test_openapi_names_the_routes(db: None, path: str):
    document = Client().get(path).json()
    assert {"/v1/mailboxes/{mailbox}/send", "/v1/oversight/decide", "/v1/send_email"} <= set(document["paths"])
    assert set(document["components"]["securitySchemes"]) == {"BearerKey", "HeaderKey"}
