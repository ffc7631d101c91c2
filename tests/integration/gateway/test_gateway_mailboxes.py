"""Mailboxes: made under the account's own domains, tightened freely, never loosened by a change, gone for good."""

from functools import partial
from typing import Any

import pytest
from django.utils import timezone

from gateway import closing, outbox, tasks
from gateway.models import Account, ApprovalRequest, AuditLogEntry, Domain, Email, Mailbox
from gateway.modes import Mode
from gateway.states import Status
from tests.integration.gateway.servers import MailServer
from tests.integration.gateway.test_gateway_races import at_once
from tests.integration.gateway.world import World, add_key, events_of, make_inbound, make_world

MODES = [str(mode) for mode in Mode]


def create(world: World, **fields: Any) -> Any:
    return world.call("POST", "/v1/mailboxes", key="admin", json={"address": "new@acme.example", **fields})


def patch(world: World, key: str = "admin", **fields: Any) -> Any:
    return world.call("PATCH", world.base, key=key, json=fields)


@pytest.mark.parametrize("path", ["/v1/mailboxes", "/v1/create_mailbox", "/create_mailbox"])
def test_mailbox_is_made_and_sends(world: World, path: str):
    body = {"address": "New+Box@ACME.example", "display_name": "New", "oversight_mode": "gated_send", "color": "red"}
    answer = world.call("POST", path, key="admin", json=body)
    assert answer.status_code == 201
    made = answer.json()
    assert made.pop("ignored_fields") == ["color"]
    assert (made["address"], made["display_name"], made["is_active"]) == ("new+box@acme.example", "New", 1)
    assert isinstance(made["created_at"], int)
    assert world.call("GET", "/v1/mailboxes/new+box@acme.example").json() == made
    sent = world.call(
        "POST", f"/v1/mailboxes/{made['id']}/send", json={"to": "a@x.example", "subject": "", "body": "x"}
    )
    assert sent.status_code == 202
    assert AuditLogEntry.objects.filter(action="mailbox.created", resource_id=made["id"]).count() == 1


@pytest.mark.parametrize("field", ["address", "address_local"])
def test_local_part_goes_under_the_oldest_active_domain(world: World, field: str):
    Domain.objects.create(account=world.account, domain="later.example", status="active", token="t")
    body = {field: "outreach"}
    assert world.call("POST", "/v1/mailboxes", key="admin", json=body).json()["address"] == "outreach@acme.example"


@pytest.mark.parametrize("address", ["a@elsewhere.example", "a@pending.example", "a@globex.example"])
def test_mailbox_under_a_domain_that_is_not_active_here_is_refused(world: World, other: World, address: str):
    Domain.objects.create(account=world.account, domain="pending.example", token="t")
    answer = create(world, address=address)
    assert (answer.status_code, answer.json()["field"]) == (422, "address")
    assert address.partition("@")[2] in answer.json()["error"]


def test_local_part_without_any_active_domain_is_refused(world: World):
    Domain.objects.all().update(status="pending")
    answer = world.call("POST", "/v1/mailboxes", key="admin", json={"address_local": "x"})
    assert (answer.status_code, answer.json()["field"]) == (422, "address_local")


@pytest.mark.parametrize(
    "fields",
    [
        {"address": ""},
        {"address": "no spaces@acme.example"},
        {"address": '"q"@acme.example'},
        {"display_name": "a\r\nBcc: x@y.example"},
        {"display_name": "=?utf-8?q?boss?="},
        {"oversight_mode": "loose"},
        {"signature_block": "x" * 201},
        {"auto_cc": "nobody"},
        {"auto_bcc": ", ".join(f"{'x' * 40}{n}@{'y' * 60}.example" for n in range(30))},
        {"default_gate_timing": "never"},
        {"ai_disclosure": 2},
    ],
)
def test_mailbox_with_a_bad_field_is_refused(world: World, fields: dict[str, Any]):
    answer = create(world, **fields)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_field")
    assert Mailbox.objects.count() == 1


@pytest.mark.parametrize(
    ("asked", "got"),
    [
        ("read_only", "read_only"),
        ("gated_all", "gated_all"),
        ("gated_send", "gated_send"),
        ("monitored", "gated_send"),
        ("Autonomous", "gated_send"),
        (None, "gated_send"),
    ],
)
def test_mode_at_creation_is_taken_if_it_is_strict(world: World, asked: str | None, got: str):
    assert create(world, oversight_mode=asked).json()["oversight_mode"] == got
    assert Mailbox.objects.get(address="new@acme.example").oversight_mode == got


def test_address_is_given_once(world: World, other: World):
    first = create(world).json()
    assert (create(world).status_code, create(world).json()["code"]) == (409, "address_taken")
    world.call("DELETE", f"/v1/mailboxes/{first['id']}", key="admin")
    assert create(world).status_code == 409
    # Not even when the domain has moved on.
    Domain.objects.filter(domain="acme.example").update(account=other.account)
    answer = other.call("POST", "/v1/mailboxes", key="admin", json={"address": "new@acme.example"})
    assert answer.status_code == 409


def test_limit_of_mailboxes_counts_those_that_live(world: World):
    Account.objects.update(max_mailboxes=2)
    first = create(world).json()
    refused = create(world, address="third@acme.example")
    assert (refused.status_code, refused.json()["code"]) == (403, "plan_limit")
    world.call("DELETE", f"/v1/mailboxes/{first['id']}", key="admin")
    assert create(world, address="third@acme.example").status_code == 201
    assert world.call("GET", "/v1/account").json()["max_mailboxes"] == 2


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("addresses", [("a", "b"), ("a", "a")])
def test_two_mailboxes_at_once_have_one_last_place_and_one_address(transactional_db: None, addresses: tuple[str, str]):
    world = make_world()
    Account.objects.update(max_mailboxes=2 if addresses[0] != addresses[1] else None)
    calls = [partial(create, world, address=f"{local}@acme.example") for local in addresses]
    answers = at_once(*calls)
    assert sorted(answer.status_code for answer in answers) == [201, 403 if addresses[0] != addresses[1] else 409]
    assert Mailbox.objects.count() == 2


@pytest.mark.parametrize("key", ["agent", "desk", "reader", "watcher"])
def test_only_admins_make_change_and_delete_mailboxes(world: World, key: str):
    answers = [
        world.call("POST", "/v1/mailboxes", key=key, json={"address_local": "x"}),
        world.call("POST", "/create_mailbox", key=key, json={"address_local": "x"}),
        patch(world, key=key, allow_looser_per_call=True),
        world.call("PATCH", f"{world.base}/configure", key=key, json={"mcp_configured": 1}),
        world.call("DELETE", world.base, key=key),
    ]
    assert {(answer.status_code, answer.json()["code"]) for answer in answers} == {(403, "missing_scope")}


@pytest.mark.parametrize("start", MODES)
@pytest.mark.parametrize("wanted", MODES)
def test_patch_tightens_and_never_loosens(db: None, start: str, wanted: str):
    world = make_world(mode=Mode(start))
    answer = patch(world, oversight_mode=wanted, display_name="Changed")
    world.mailbox.refresh_from_db()
    if MODES.index(wanted) <= MODES.index(start):
        assert (answer.status_code, answer.json()["status"]) == (200, "updated")
        assert (world.mailbox.oversight_mode, world.mailbox.display_name) == (wanted, "Changed")
    else:
        assert (answer.status_code, answer.json()["code"]) == (403, "upgrade_needed")
        assert (world.mailbox.oversight_mode, world.mailbox.display_name) == (start, "Support")


def test_patch_sets_and_null_clears(world: World):
    told = patch(
        world,
        auto_cc="A@x.example, b@X.example",
        auto_bcc=["c@x.example"],
        signature_block="The team",
        display_name="Team",
        forward_inbound=True,
        ai_disclosure=1,
        scheduling_enabled=0,
        allow_looser_per_call=True,
        default_gate_timing="schedule_first",
    ).json()
    assert (told["auto_cc"], told["auto_bcc"], told["signature_block"]) == (
        "A@x.example, b@x.example",
        "c@x.example",
        "The team",
    )
    assert [told[name] for name in ("forward_inbound", "ai_disclosure", "scheduling_enabled")] == [1, 1, 0]
    assert (told["allow_looser_per_call"], told["default_gate_timing"]) == (True, "schedule_first")
    told = patch(world, auto_cc=None, auto_bcc=None, signature_block=None, display_name=None, ai_disclosure=None).json()
    assert (told["auto_cc"], told["auto_bcc"], told["signature_block"], told["display_name"]) == (None, None, None, "")
    assert told["ai_disclosure"] == 1


def test_key_that_sends_frees_its_calls_with_an_operators_code_only(world: World):
    add_key(world, "both", ["send", "admin"])
    assert patch(world, key="both", allow_looser_per_call=True).status_code == 202
    assert create(world, address_local="x").status_code == 201
    body = {"address": "y@acme.example", "allow_looser_per_call": 1}
    assert world.call("POST", "/v1/mailboxes", key="both", json=body).status_code == 202
    assert not Mailbox.objects.filter(allow_looser_per_call=True).exists()
    code = ApprovalRequest.objects.get(action="update_mailbox").code
    told = patch(world, key="both", allow_looser_per_call=True, approval_code=code).json()
    assert told["allow_looser_per_call"] is True
    assert patch(world, key="both", allow_looser_per_call=False).status_code == 200


def test_configure_takes_numbers_and_is_remembered(world: World):
    Mailbox.objects.update(mcp_configured=False)
    body = {"mcp_configured": 1, "forward_inbound": 0, "ai_disclosure": 1, "oversight_mode": "gated_send"}
    told = world.call("PATCH", f"{world.base}/configure", key="admin", json=body).json()
    assert (told["mcp_configured"], told["ai_disclosure"], told["id"]) == (1, 1, world.mailbox.pk)
    assert world.call("GET", world.base).json()["mcp_configured"] == 1


def test_change_of_additions_reaches_held_mail_until_it_is_approved(world: World):
    email_id = world.held()
    before = world.pending()["pending"][0]["fingerprint"]
    patch(world, auto_bcc="archive@acme.example", signature_block="The team")
    row = world.pending()["pending"][0]
    assert row["additions"] == {"auto_bcc": "archive@acme.example", "signature": "The team"}
    assert world.decide(email_id, expected_fingerprint=before).json()["code"] == "content_changed"
    assert world.decide(email_id, expected_fingerprint=row["fingerprint"]).status_code == 200
    patch(world, auto_bcc=None)
    assert Email.objects.get(pk=email_id).additions == row["additions"]


def test_deleted_mailbox_cancels_what_waits_and_keeps_the_rest(world: World):
    world.listen("message.cancelled")
    held, scheduled = world.held(), world.approved(send_at="2099-01-01T00:00:00Z").pk
    inbound = make_inbound(world, status=Status.PENDING_INBOUND_APPROVAL).pk
    read, rejected = make_inbound(world).pk, world.held()
    world.decide(rejected, "reject")
    answer = world.call("DELETE", world.base, key="admin")
    assert (answer.status_code, answer.json()["status"]) == (200, "deleted")
    statuses = dict(Email.objects.values_list("pk", "status"))
    assert {statuses[one] for one in (held, scheduled, inbound)} == {Status.CANCELLED}
    assert (statuses[read], statuses[rejected]) == (Status.UNREAD, Status.REJECTED)
    assert events_of(held) == ["message.cancelled"]
    assert AuditLogEntry.objects.filter(action="email.cancelled").count() == 3
    assert [world.call(verb, world.base, key="admin").status_code for verb in ("GET", "DELETE")] == [404, 404]
    assert world.call("GET", "/v1/mailboxes", key="admin").json() == {"mailboxes": []}
    assert Mailbox.objects.get().is_active is False


def test_what_a_worker_holds_while_the_mailbox_goes_does_not_leave(world: World, mail_server: MailServer):
    email = world.approved()
    claimed = Email.objects.claim(email.pk)
    assert claimed is not None
    world.call("DELETE", world.base, key="admin")
    email.refresh_from_db()
    assert email.status == Status.SCHEDULED
    assert outbox._attempt(claimed) == "lease lost"
    tasks.sweep()
    email.refresh_from_db()
    assert (email.status, mail_server.seen) == (Status.CANCELLED, 0)


def test_mail_not_yet_cancelled_cannot_be_decided(world: World, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(closing, "BATCH", 0)
    email_id = world.held()
    world.call("DELETE", world.base, key="admin")
    answer = world.decide(email_id)
    assert (answer.status_code, answer.json()["code"]) == (409, "mailbox_deleted")
    monkeypatch.undo()
    assert closing.cancel_left_behind(now=timezone.now()) == 1
    assert Email.objects.get(pk=email_id).status == Status.CANCELLED


def test_mailbox_of_another_account_is_not_there(world: World, other: World):
    for call in (("PATCH", other.base), ("PATCH", f"{other.base}/configure"), ("DELETE", other.base)):
        assert world.call(*call, key="admin", json={}).status_code == 404


def test_disclosure_is_a_header_that_the_approver_saw(world: World, mail_server: MailServer):
    patch(world, ai_disclosure=True)
    email_id = world.held()
    said = "This message was written by an AI agent."
    assert world.pending()["pending"][0]["additions"] == {"ai_disclosure": said}
    world.decide(email_id)
    patch(world, ai_disclosure=False)
    assert outbox.send_due(email_id=email_id, now=timezone.now()) == "sent"
    assert f"X-AI-Disclosure: {said}" in mail_server.taken[0].content.decode()
