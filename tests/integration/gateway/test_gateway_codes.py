"""Confirmation codes: for changes by an admin key, where the operator requires them,
and for looser modes.
"""

import logging
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.utils import timezone

from gateway import accounts
from gateway.models import (
    Account,
    ApiKey,
    ApprovalRequest,
    AuditLogEntry,
    Mailbox,
    UpgradeRequest,
    Webhook,
)
from gateway.models.codes import new_code
from tests.integration.gateway.world import (
    add_key,
    at_once,
    make_world,
    refusal_of,
    undone,
)

Act = tuple[str, str, dict[str, Any]]

MAILBOX = ("POST", "/v1/mailboxes", {"address_local": "new"})
KEY = ("POST", "/v1/api-keys", {"name": "Bot", "scopes": ["read", "send"]})


@pytest.fixture
def asking(world, settings):
    settings.GATEWAY_APPROVAL_CODES = "1"
    return world


def call(world, act, code=None, key="admin"):
    verb, path, body = act
    return world.call(
        verb, path, key=key, json=body | ({"approval_code": code} if code else {})
    )


def newest_code():
    return ApprovalRequest.objects.latest("id").code


def acts(world):
    return [
        MAILBOX,
        ("POST", "/create_mailbox", {"address": "new@acme.example"}),
        KEY,
        (
            "POST",
            "/v1/webhooks",
            {"url": "https://hooks.example.org/x", "events": ["message.sent"]},
        ),
        ("DELETE", f"/v1/api-keys/{world.key_id('agent')}", {}),
        (
            "PATCH",
            f"/v1/webhooks/{world.listen('message.sent').pk}",
            {"url": "https://elsewhere.example.org/x"},
        ),
        ("DELETE", world.base, {}),
        ("DELETE", "/v1/account", {}),
    ]


def state(world):
    """The rows that the actions change."""
    live = ApiKey.objects.filter(revoked_at=None).count()
    hooks = sorted(Webhook.objects.values_list("url", flat=True))
    boxes = Mailbox.objects.filter(is_active=True).count()
    return boxes, live, hooks, Account.objects.get(pk=world.account.pk).is_active


def test_each_action_waits_for_its_code_and_is_then_done_once(asking):
    every = acts(asking)
    before = state(asking)
    for act in every:
        with undone():
            waiting = call(asking, act)
            assert waiting.status_code == 202, act
            assert waiting.json()["status"] == "pending_approval", act
            assert "error" not in waiting.json()
            assert state(asking) == before, act
            code = newest_code()
            assert call(asking, act, code.lower().replace("-", "")).status_code in (
                200,
                201,
            ), act
            assert state(asking) != before, act
            # A deleted account accepts no key any more; everywhere else the code is
            # used up.
            assert call(asking, act, code).status_code == (
                403 if act[1] == "/v1/account" else 404
            ), act


def test_code_in_the_query_of_a_delete_is_accepted(asking):
    path = f"/v1/api-keys/{asking.key_id('agent')}"
    asking.delete(path)
    assert asking.delete(f"{path}?approval_code={newest_code()}").status_code == 200


def test_code_is_valid_only_for_the_requested_change(asking, other):
    assert call(asking, MAILBOX, "A7X-29K").status_code == 404
    call(asking, MAILBOX)
    code = newest_code()
    add_key(asking, "second", ["admin"])
    looser = MAILBOX[2] | {"allow_looser_per_call": True}
    for act in (
        ("POST", "/v1/mailboxes", {"address_local": "else"}),
        ("POST", "/v1/mailboxes", looser),
        KEY,
    ):
        assert call(asking, act, code).status_code == 404, act
    assert call(other, MAILBOX, code).status_code == 404
    assert call(asking, MAILBOX, code, key="second").status_code == 404
    assert call(asking, MAILBOX, code).status_code == 201


def test_failing_action_asks_for_no_code_and_uses_none(asking):
    assert (
        call(
            asking, ("POST", "/v1/mailboxes", {"address": "a@elsewhere.example"})
        ).status_code
        == 422
    )
    assert (
        call(
            asking, ("POST", "/v1/mailboxes", {"address_local": "support"})
        ).status_code
        == 409
    )
    assert not ApprovalRequest.objects.exists()
    call(asking, MAILBOX)
    code = newest_code()
    Account.objects.update(max_mailboxes=1)
    assert call(asking, MAILBOX, code).json()["code"] == "plan_limit"
    Account.objects.update(max_mailboxes=None)
    assert call(asking, MAILBOX, code).status_code == 201


def test_five_wrong_codes_end_the_request_and_a_day_ends_the_code(asking):
    call(asking, MAILBOX)
    row = ApprovalRequest.objects.get()
    call(asking, MAILBOX)
    assert ApprovalRequest.objects.get().code == row.code, "asking again keeps it"
    assert timedelta(hours=23) < row.expires_at - row.created_at < timedelta(hours=25)
    with undone():
        ApprovalRequest.objects.update(expires_at=timezone.now())
        assert call(asking, MAILBOX, row.code).status_code == 404
    assert [call(asking, MAILBOX, f"AAA-AA{n}").status_code for n in range(5)] == [
        403
    ] * 5
    assert call(asking, MAILBOX, row.code).status_code == 404
    call(asking, MAILBOX)
    assert newest_code() != row.code
    assert call(asking, MAILBOX, newest_code()).status_code == 201


@pytest.mark.django_db(transaction=True)
def test_code_used_twice_at_once_works_once(settings):
    settings.GATEWAY_APPROVAL_CODES = "1"
    world = make_world()
    call(world, KEY)
    code = newest_code()
    answers = at_once(lambda: call(world, KEY, code), lambda: call(world, KEY, code))
    assert sorted(answer.status_code for answer in answers) == [201, 404]


@pytest.mark.slow
def test_too_many_code_requests_are_refused(asking, monkeypatch):
    assert accounts.MAX_AN_HOUR == 20
    monkeypatch.setattr(accounts, "MAX_AN_HOUR", 3)
    answers = [
        call(asking, ("POST", "/v1/mailboxes", {"address_local": f"n{n}"}))
        for n in range(4)
    ]
    assert [answer.status_code for answer in answers] == [202] * 3 + [429]
    assert answers[-1]["Retry-After"].isdecimal()
    assert "quota" not in answers[-1].text


def ask(world, target="monitored", key="agent"):
    return world.post(f"{world.base}/request-upgrade", key=key, target_mode=target)


def use(world, code, key="agent"):
    return world.post(f"{world.base}/upgrade", key=key, code=code)


def upgrade_requests(world, key="admin"):
    return world.get("/v1/upgrade-requests", key=key)["requests"]


def code_of(world):
    return str(upgrade_requests(world)[0]["code"])


def mode_of(world):
    return Mailbox.objects.get(pk=world.mailbox.pk).oversight_mode


def test_codes_have_the_form_that_people_expect():
    codes = {new_code() for _ in range(50)}
    assert len(codes) == 50
    for code in codes:
        left, right = code.split("-")
        assert len(left) == len(right) == 3
        assert code.upper() == code
        assert not set(code) & set("01OIL")


def test_wrong_codes_are_refused_and_after_five_the_right_one_too(world):
    ask(world)
    code = code_of(world)
    answers = [use(world, wrong) for wrong in ("AAA-AAA", "", "ä", code + "2", "-")]
    assert [answer.status_code for answer in answers] == [403, 422, 403, 403, 403]
    assert use(world, "BBB-BBB").json()["code"] == "wrong_code"
    assert use(world, code).status_code == 404
    assert mode_of(world) == "gated_send"
    assert upgrade_requests(world) == []


def test_code_belongs_to_one_mailbox_and_a_stricter_mode_needs_none(world, other):
    ask(world)
    assert use(other, code_of(world)).status_code == 404
    assert upgrade_requests(other) == []
    for target, code in (("gated_send", "same_mode"), ("gated_all", "stricter_mode")):
        answer = ask(world, target)
        assert refusal_of(answer) == (400, code)


def test_newer_request_or_a_tightening_ends_the_older_code(world):
    ask(world)
    old = code_of(world)
    ask(world, "autonomous")
    assert use(world, old).status_code == 403
    assert use(world, code_of(world)).json()["oversight_mode"] == "autonomous"
    Mailbox.objects.update(oversight_mode="gated_send")
    ask(world)
    code = code_of(world)
    with undone():
        UpgradeRequest.objects.update(expires_at=timezone.now())
        assert use(world, code).status_code == 404
    world.patch(world.base, oversight_mode="read_only")
    assert use(world, code).status_code == 404
    assert mode_of(world) == "read_only"


def test_key_that_sends_does_not_see_codes_although_it_administers(world):
    add_key(world, "both", ["send", "admin"])
    ask(world, key="both")
    (row,) = upgrade_requests(world, "both")
    assert row["target_mode"] == "monitored"
    assert row["code"] is None
    code = code_of(world)
    upgraded = use(world, code.replace("-", "").lower(), key="both")
    assert use(world, code, key="both").status_code == 404, "it is good for once"
    assert (
        upgraded.status_code,
        upgraded.json()["oversight_mode"],
        mode_of(world),
    ) == (200, *["monitored"] * 2)
    noted = AuditLogEntry.objects.filter(resource_type="mailbox").order_by("id")
    assert [entry.action for entry in noted] == [
        "mailbox.upgrade_requested",
        "mailbox.upgraded",
    ]
    assert noted[1].metadata["was"] == "gated_send"


def test_codes_are_neither_returned_nor_logged_nor_audited(asking, caplog):
    with caplog.at_level(logging.DEBUG):
        waiting = call(asking, MAILBOX)
        wish = ask(asking)
        codes = newest_code(), UpgradeRequest.objects.get().code
        wrong = use(asking, "AAA-AAA")
        done = call(asking, MAILBOX, codes[0])
        upgraded = use(asking, codes[1])
    assert done.status_code == 201
    assert upgraded.status_code == 200
    answers = "".join(answer.text for answer in (waiting, wish, wrong, done, upgraded))
    logged = "".join(str(vars(record)) for record in caplog.records)
    stored = str(
        list(UpgradeRequest.objects.extra(select={"raw": "code::text"}).values("raw"))
    )
    for text in (answers, logged, str(list(AuditLogEntry.objects.values())), stored):
        assert not [
            code for code in codes if code in text or code.replace("-", "") in text
        ]
    assert upgrade_requests(asking) == []


def test_operator_sees_open_codes(asking):
    out = StringIO()
    call_command("gateway_codes", stdout=out)
    assert out.getvalue().strip() == "Nothing is waiting for a code."
    ask(asking)
    call(asking, ("POST", "/v1/api-keys", {"name": "\u202eBot", "scopes": ["send"]}))
    call_command("gateway_codes", stdout=out)
    for shown in (
        code_of(asking),
        newest_code(),
        "Key admin",
        "support@acme.example: from gated_send to monitored",
        "Create the API key \\u202eBot with send for all mailboxes",
    ):
        assert shown in out.getvalue()
