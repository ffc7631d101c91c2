"""Confirmation codes: for changes by an admin key, where the operator requires them,
and for looser modes.
"""

import logging
from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone

from gateway import accounts
from gateway.errors import Conflict
from gateway.mailboxes import change_mailbox
from gateway.models import (
    Account,
    ApiKey,
    ApprovalRequest,
    AuditLogEntry,
    Mailbox,
    UpgradeRequest,
)
from tests.factories import change_row
from tests.integration.deciding import at_once
from tests.integration.gateway.world import (
    add_key,
    make_world,
    noted,
    refusal_of,
    undone,
)

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
    hook = {"url": "https://hooks.example.org/x", "events": ["message.sent"]}
    return [
        MAILBOX,
        ("POST", "/create_mailbox", {"address": "new@acme.example"}),
        KEY,
        ("POST", "/v1/webhooks", hook),
        ("DELETE", f"/v1/api-keys/{world.key_id('agent')}", {}),
        ("DELETE", world.base, {}),
        ("DELETE", "/v1/account", {}),
    ]


def times_done():
    """How many changes the audit log has, without requests for codes."""
    return AuditLogEntry.objects.exclude(action="approval.requested").count()


def test_each_action_waits_for_its_code_and_is_then_done_once(asking):
    for act in acts(asking):
        with undone():
            before = times_done()
            waiting = call(asking, act)
            assert refusal_of(waiting) == (202, "pending_approval"), act
            assert times_done() == before, act
            code = newest_code()
            done = call(asking, act, code.lower().replace("-", ""))
            assert done.status_code in (200, 201), act
            assert times_done() > before, act
            # A deleted account accepts no key any more; everywhere else the code is
            # used up.
            assert call(asking, act, code).status_code == (
                403 if act[1] == "/v1/account" else 404
            ), act


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


@pytest.mark.slow
def test_five_wrong_codes_end_the_request_and_a_day_ends_the_code(asking, monkeypatch):
    call(asking, MAILBOX)
    row = ApprovalRequest.objects.get()
    call(asking, MAILBOX)
    assert ApprovalRequest.objects.get().code == row.code, "asking again keeps it"
    assert timedelta(hours=23) < row.expires_at - row.created_at < timedelta(hours=25)
    with undone():
        ApprovalRequest.objects.update(expires_at=timezone.now())
        assert call(asking, MAILBOX, row.code).status_code == 404
    for number in range(5):
        assert call(asking, MAILBOX, f"AAA-AA{number}").status_code == 403
    assert call(asking, MAILBOX, row.code).status_code == 404
    call(asking, MAILBOX)
    assert newest_code() != row.code
    # How many can be asked for in an hour.
    monkeypatch.setattr(accounts, "MAX_AN_HOUR", 2)
    assert call(asking, KEY).status_code == 429
    assert call(asking, MAILBOX, newest_code()).status_code == 201


@pytest.mark.django_db(transaction=True)
def test_code_used_twice_at_once_works_once(settings):
    settings.GATEWAY_APPROVAL_CODES = "1"
    world = make_world()
    call(world, KEY)
    code = newest_code()
    answers = at_once(lambda: call(world, KEY, code), lambda: call(world, KEY, code))
    assert sorted(answer.status_code for answer in answers) == [201, 404]


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


def test_wrong_codes_are_refused_and_after_five_the_right_one_too(world, other):
    ask(world)
    code = code_of(world)
    assert use(other, code).status_code == 404
    for wrong, status in (
        ("", 422),
        ("AAA-AAA", 403),
        ("ä", 403),
        (code + "2", 403),
        ("-", 403),
        ("BBB-BBB", 403),
        (code, 404),
    ):
        assert use(world, wrong).status_code == status, wrong
    assert mode_of(world) == "gated_send"
    assert upgrade_requests(world) == []


def test_key_that_sends_does_not_see_codes_although_it_administers(world):
    add_key(world, "both", ["send", "admin"])
    ask(world, key="both")
    (row,) = upgrade_requests(world, "both")
    assert row["code"] is None
    code = code_of(world)
    upgraded = use(world, code.replace("-", "").lower(), key="both")
    assert upgraded.json()["oversight_mode"] == mode_of(world) == "monitored"
    assert use(world, code, key="both").status_code == 404, "it is good for once"
    assert noted("mailbox.upgrade_requested").pk < noted("mailbox.upgraded").pk


def test_codes_are_neither_returned_nor_logged_nor_audited(asking, caplog):
    with caplog.at_level(logging.DEBUG):
        answers = [call(asking, MAILBOX), ask(asking), use(asking, "AAA-AAA")]
        codes = newest_code(), UpgradeRequest.objects.get().code
        answers += [call(asking, MAILBOX, codes[0]), use(asking, codes[1])]
    assert [one.status_code for one in answers] == [202, 200, 403, 201, 200]
    with connection.cursor() as cursor:
        cursor.execute("SELECT code FROM gateway_upgraderequest")
        stored = cursor.fetchall()
    told = [one.text for one in answers]
    told += [vars(record) for record in caplog.records]
    told += [*AuditLogEntry.objects.values(), stored]
    for code in codes:
        assert code not in str(told)
        assert code.replace("-", "") not in str(told)


def test_change_judged_before_the_row_was_tightened_is_refused(world):
    add_key(world, "both", ["send", "admin"])
    keys = ApiKey.objects.select_related("account")
    key = keys.get(name="Key both")
    mailbox = Mailbox.objects.get(pk=world.mailbox.pk)
    Account.objects.update(hold_all_at=timezone.now())
    Mailbox.objects.update(require_fingerprint=True)
    with pytest.raises(Conflict):
        accounts.change_account(key, changes={}, hold_all=False)
    with pytest.raises(Conflict):
        change_mailbox(key, mailbox, None, {"require_fingerprint": False})
    add_key(world, "overseer", ["oversight"])
    overseer = keys.get(name="Key overseer")
    change_row(overseer, scopes=["read"])
    with pytest.raises(Conflict):
        accounts.change_key(key, changed=overseer, changes={"scopes": ["oversight"]})


def test_change_that_loosens_takes_a_code_of_a_key_that_sends(world):
    add_key(world, "both", ["send", "admin"])
    box, account = world.base, "/v1/account"
    for path, name, loose in (
        (account, "hold_all", False),
        (account, "require_fingerprint", False),
        (box, "require_fingerprint", False),
        (box, "allow_looser_per_call", True),
        (box, "send_as_designed", True),
    ):

        def change(value, path=path, name=name, **more):
            return world.patch(path, key="both", **{name: value}, **more)

        assert change(not loose).status_code == 200, name
        assert refusal_of(change(loose)) == (202, "pending_approval"), name
        assert change(loose, approval_code="AAA-AAA").status_code == 403
        done = change(loose, approval_code=newest_code()).json()
        assert done[name] == loose, name
    made = {"address": "new@acme.example", "allow_looser_per_call": True}
    assert world.post("/v1/mailboxes", key="both", **made).status_code == 202
    # Whoever confirms it reads what it loosens.
    summary = ApprovalRequest.objects.latest("id").summary
    assert "allow_looser_per_call=True" in summary
    widened = {"kind": "restriction", "mode": "off", "version": 0, "entries": []}
    assert world.put(f"{box}/allowlist", key="both", **widened).status_code == 202
    # Decisions without a fingerprint take the code of any key.
    world.patch(box, require_fingerprint=True)
    assert world.patch(box, require_fingerprint=False).status_code == 202


@pytest.mark.slow
def test_failing_action_asks_for_no_code_and_uses_none(asking):
    for fields, status in (
        ({"address": "a@elsewhere.example"}, 422),
        ({"address_local": "support"}, 409),
    ):
        assert call(asking, ("POST", "/v1/mailboxes", fields)).status_code == status
    assert not ApprovalRequest.objects.exists()
    call(asking, MAILBOX)
    code = newest_code()
    Account.objects.update(max_mailboxes=1)
    assert call(asking, MAILBOX, code).json()["code"] == "plan_limit"
    Account.objects.update(max_mailboxes=None)
    assert call(asking, MAILBOX, code).status_code == 201
