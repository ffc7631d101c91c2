"""Where the operator asks for codes, what an admin key changes waits for a person; a code is good for one act, once."""

import logging
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.utils import timezone

from gateway.models import Account, ApiKey, ApprovalRequest, AuditLogEntry, Mailbox, Webhook
from tests.integration.gateway.world import World, add_key, at_once, make_world, undone

Act = tuple[str, str, dict[str, Any]]

MAILBOX: Act = ("POST", "/v1/mailboxes", {"address_local": "new"})
KEY: Act = ("POST", "/v1/api-keys", {"name": "Bot", "scopes": ["read", "send"]})


@pytest.fixture
def asking(world: World, settings: Any) -> World:
    settings.GATEWAY_APPROVAL_CODES = True
    return world


def call(world: World, act: Act, code: str | None = None, key: str = "admin") -> Any:
    verb, path, body = act
    return world.call(verb, path, key=key, json=body | ({"approval_code": code} if code else {}))


def the_code() -> str:
    return ApprovalRequest.objects.latest("id").code


def acts(world: World) -> list[Act]:
    return [
        MAILBOX,
        ("POST", "/create_mailbox", {"address": "new@acme.example"}),
        KEY,
        ("POST", "/v1/webhooks", {"url": "https://hooks.example.org/x", "events": ["message.sent"]}),
        ("DELETE", f"/v1/api-keys/{world.key_id('agent')}", {}),
        ("DELETE", "/v1/account", {}),
    ]


def count(world: World) -> tuple[int, int, int, bool]:
    live = ApiKey.objects.filter(revoked_at=None).count()
    return Mailbox.objects.count(), live, Webhook.objects.count(), Account.objects.get(pk=world.account.pk).is_active


def test_each_act_waits_for_its_code_and_is_then_done_once(asking: World):
    before = count(asking)
    for act in acts(asking):
        with undone():
            waiting = call(asking, act)
            assert (waiting.status_code, waiting.json()["status"]) == (202, "pending_approval"), act
            assert "error" not in waiting.json()
            assert call(asking, act, "AAA-AAA").status_code == 403, act
            assert count(asking) == before, act
            code = the_code()
            assert call(asking, act, code.lower().replace("-", "")).status_code in (200, 201), act
            assert count(asking) != before, act
            # A deleted account takes no key any more; everywhere else the code is used up.
            assert call(asking, act, code).status_code == (403 if act[1] == "/v1/account" else 404), act


def test_each_act_is_done_at_once_where_nobody_asks_for_codes(world: World):
    for act in acts(world):
        with undone():
            assert call(world, act).status_code in (200, 201), act
            assert not ApprovalRequest.objects.exists()


def test_moving_a_webhook_waits_as_making_one_does(asking: World):
    webhook = asking.listen("message.sent")
    act = ("PATCH", f"/v1/webhooks/{webhook.pk}", {"url": "https://elsewhere.example.org/x"})
    assert call(asking, act).status_code == 202
    assert Webhook.objects.get().url == webhook.url
    assert call(asking, act, the_code()).json()["url"] == "https://elsewhere.example.org/x"


def test_code_in_the_query_of_a_delete_is_taken(asking: World):
    path = f"/v1/api-keys/{asking.key_id('agent')}"
    asking.call("DELETE", path, key="admin")
    assert asking.call("DELETE", f"{path}?approval_code={the_code()}", key="admin").status_code == 200


def test_code_is_good_for_exactly_what_was_asked(asking: World, other: World):
    assert call(asking, MAILBOX, "A7X-29K").status_code == 404
    call(asking, MAILBOX)
    code = the_code()
    add_key(asking, "second", ["admin"])
    looser = MAILBOX[2] | {"allow_looser_per_call": True}
    for act in (("POST", "/v1/mailboxes", {"address_local": "else"}), ("POST", "/v1/mailboxes", looser), KEY):
        assert call(asking, act, code).status_code == 404, act
    assert call(other, MAILBOX, code).status_code == 404
    assert call(asking, MAILBOX, code, key="second").status_code == 404
    assert call(asking, MAILBOX, code).status_code == 201


def test_five_wrong_codes_end_the_request(asking: World):
    call(asking, MAILBOX)
    code = the_code()
    assert [call(asking, MAILBOX, f"AAA-AA{n}").status_code for n in range(5)] == [403] * 5
    assert call(asking, MAILBOX, code).status_code == 404
    call(asking, MAILBOX)
    assert the_code() != code
    assert call(asking, MAILBOX, the_code()).status_code == 201


def test_code_ends_after_a_day_and_asking_again_keeps_it(asking: World):
    call(asking, MAILBOX)
    row = ApprovalRequest.objects.get()
    call(asking, MAILBOX)
    assert ApprovalRequest.objects.get().code == row.code
    assert timedelta(hours=23) < row.expires_at - row.created_at < timedelta(hours=25)
    ApprovalRequest.objects.update(expires_at=timezone.now())
    assert call(asking, MAILBOX, row.code).status_code == 404


def test_act_that_is_refused_anyway_is_refused_at_once(asking: World):
    assert call(asking, ("POST", "/v1/mailboxes", {"address": "a@elsewhere.example"})).status_code == 422
    assert call(asking, ("POST", "/v1/mailboxes", {"address_local": "support"})).status_code == 409
    assert not ApprovalRequest.objects.exists()


def test_code_is_not_used_up_by_an_act_that_fails(asking: World):
    call(asking, MAILBOX)
    code = the_code()
    Account.objects.update(max_mailboxes=1)
    assert call(asking, MAILBOX, code).json()["code"] == "plan_limit"
    Account.objects.update(max_mailboxes=None)
    assert call(asking, MAILBOX, code).status_code == 201


@pytest.mark.django_db(transaction=True)
def test_code_used_twice_at_once_does_the_act_once(settings: Any):
    settings.GATEWAY_APPROVAL_CODES = True
    world = make_world()
    call(world, KEY)
    code = the_code()
    answers = at_once(lambda: call(world, KEY, code), lambda: call(world, KEY, code))
    assert sorted(answer.status_code for answer in answers) == [201, 404]


def test_asking_for_very_much_is_too_many(asking: World):
    answers = [call(asking, ("POST", "/v1/mailboxes", {"address_local": f"n{n}"})) for n in range(21)]
    assert [answer.status_code for answer in answers] == [202] * 20 + [429]
    assert answers[-1]["Retry-After"].isdecimal()
    assert "quota" not in answers[-1].content.decode()


def test_code_is_neither_told_nor_logged_nor_audited(asking: World, caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.DEBUG):
        first = call(asking, MAILBOX)
        code = the_code()
        done = call(asking, MAILBOX, code)
    said = "".join(str(vars(record)) for record in caplog.records) + str(list(AuditLogEntry.objects.values()))
    for text in (said, first.content.decode(), done.content.decode()):
        assert code not in text
    assert asking.call("GET", "/v1/upgrade-requests", key="admin").json() == {"requests": []}


def test_operator_sees_what_is_asked_for(asking: World):
    out = StringIO()
    call(asking, ("POST", "/v1/api-keys", {"name": "\u202eBot", "scopes": ["send"]}))
    call_command("gateway_codes", stdout=out)
    assert the_code() in out.getvalue()
    assert "Make the API key \\u202eBot with send for all mailboxes" in out.getvalue()
    assert "Key admin" in out.getvalue()
