"""What a stranger reads who gets something wrong: each sentence says what to do about it, and the log says why."""

import logging

import pytest
from django.test import Client

from gateway.provision import make_mailbox
from tests.integration.gateway.world import World


def test_missing_scope_names_what_the_key_has(world: World):
    answer = world.call("POST", f"{world.base}/send", json={"to": ["a@x.example"]}, key="reader")
    assert answer.status_code == 403
    assert answer.json()["error"] == "This key lacks the scope send: it has read. Use another key of the account."


@pytest.mark.parametrize(
    ("body", "where"),
    [
        (b'{"to": "a@x.example"', "line 1, column 21"),
        (b"{'to': 1}", "line 1, column 2"),
        (b"\xff{", "not UTF-8"),
        (b"[" + b"9" * 5000 + b"]", "too long"),
    ],
)
def test_body_that_is_not_json_is_told_where_it_breaks(world: World, body: bytes, where: str):
    headers = {"Authorization": f"Bearer {world.keys['agent']}"}
    answer = Client().post("/v1/send_email", body, content_type="application/json", headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_json")
    assert where in answer.json()["error"]


def test_form_is_told_to_be_json(world: World):
    answer = Client().post("/v1/send_email", {"to": "a@x.example"}, headers={"X-API-Key": world.keys["agent"]})
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_json")
    assert "application/json" in answer.json()["hint"]


def test_inbox_without_a_mailbox_asks_for_the_mailbox(world: World):
    make_mailbox(account=world.account, address="second@acme.example", display_name="Second")
    answer = world.call("GET", "/v1/check_inbox")
    assert (answer.status_code, answer.json()["field"]) == (422, "mailbox")
    assert (
        world.call("POST", "/v1/send_email", json={"to": "a@x.example", "subject": "x", "body": "y"}).json()["field"]
        == "from"
    )


def test_key_used_for_another_letter_says_that_this_one_was_not_taken(world: World):
    world.send(idempotency_key="k", subject="One")
    same, other = world.send(idempotency_key="k", subject="One"), world.send(idempotency_key="k", subject="Two")
    assert "was not taken" not in same.json()["message"]
    assert other.json()["idempotency_mismatch"] is True
    assert "the letter of this request was not taken" in other.json()["message"]


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("/v1/send_email/", "it ends with a slash."),
        ("/v1/v1/account", "/v1 stands in it twice."),
        ("/v1/sendemail", "There is nothing at this path. What there is"),
    ],
)
def test_path_that_is_nearly_right_is_mended(db: None, path: str, says: str):
    answer = Client().post(path)
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert says in answer.json()["error"]
    assert answer.json()["error"].endswith("What there is stands at /docs and /openapi.json.")


def test_wrong_method_is_told_the_right_one(db: None):
    answer = Client().get("/v1/send_email")
    assert (answer.status_code, answer["Allow"]) == (405, "POST")
    assert answer.json() == {"error": "This path takes POST, not GET.", "code": "method_not_allowed"}
    assert Client().put("/v1/mailboxes/x").json()["error"] == "This path takes DELETE, GET, PATCH, not PUT."


def test_unknown_event_is_told_the_names(world: World):
    wanted = {"url": "https://x.example/", "events": ["email.bogus"]}
    answer = world.call("POST", "/v1/webhooks", json=wanted, key="admin")
    assert answer.status_code == 422
    assert "message.received" in answer.json()["error"]


def test_log_tells_why_a_request_was_refused(world: World, caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.INFO, "gateway.middleware"):
        world.call("POST", f"{world.base}/send", json={"to": ["a@x.example"]}, key="reader")
        world.call("GET", "/v1/account")
    assert [record.__dict__["code"] for record in caplog.records] == ["missing_scope", None]


def test_docs_name_each_call_once_with_its_scope_and_a_known_group(db: None):
    document = Client().get("/openapi.json").json()
    calls = {(path, method): call for path, methods in document["paths"].items() for method, call in methods.items()}
    ids = [call["operationId"] for call in calls.values()]
    assert len(ids) == len(set(ids))
    assert {tag for call in calls.values() for tag in call["tags"]} == {tag["name"] for tag in document["tags"]}
    silent = [name for name, call in calls.items() if not call["summary"] or "key" not in call["description"]]
    assert silent == []
    assert "`oversight` or `oversight_read`" in calls["/v1/oversight/pending", "get"]["description"]
    assert calls["/health", "get"]["description"] == "Needs no key."
    assert all("`" not in call["summary"] for call in calls.values())
    assert "Retry-After" in calls["/v1/send_email", "post"]["responses"]["429"]["description"]


def test_unknown_fields_are_ignored_and_named(world: World):
    answer = world.send(shedule_at="2027-01-01T00:00:00Z", attachments=[{"name": "a", "content": "YQ==", "enc": "b"}])
    assert (answer.status_code, answer.json()["ignored_fields"]) == (202, ["enc", "shedule_at"])
    assert "ignored_fields" not in world.send(**{"from": world.mailbox.address, "idempotency_key": "k"}).json()
    held = world.call("PATCH", "/v1/account", key="admin", json={"hold_al": True})
    assert (held.json()["hold_all"], held.json()["ignored_fields"]) == (False, ["hold_al"])
    assert int(held["Content-Length"]) == len(held.content)


def test_unknown_fields_of_a_refused_request_are_not_named(world: World):
    assert "ignored_fields" not in world.send(to=["nobody"], shedule_at="x").json()


def test_names_of_unknown_fields_are_bounded(world: World):
    names = world.send(**{f"{number}{'x' * 200}": 1 for number in range(50)}).json()["ignored_fields"]
    assert (len(names), max(map(len, names))) == (10, 80)


def test_health_answers_what_watches_it_by_head(world: World):
    answer = world.call("HEAD", "/health", key=None)
    assert (answer.status_code, answer.content) == (200, b"")


def test_call_that_asks_for_read_only_is_told_so_and_not_of_the_mailbox(world: World):
    answer = world.send(oversight_mode="read_only")
    assert (answer.status_code, answer.json()["code"]) == (403, "read_only")
    assert "This call asks" in answer.json()["error"]
