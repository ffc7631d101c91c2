"""Allowlists over HTTP: how a list is read and replaced, whom it keeps out, and who skips the queue."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from gateway import outbox
from gateway.models import Account, AllowlistEntry, ApprovalRequest, AuditLogEntry, Contact, Email, Mailbox, Refusal
from gateway.modes import Mode
from gateway.states import Status
from gateway.timestamps import iso
from tests.integration.gateway.servers import MailServer
from tests.integration.gateway.world import World, add_key, events_of, make_inbound, make_world

DANA = "dana@northwind.example"
EVE = "eve@evil.example"


def put(world: World, *entries: Any, kind: str = "restriction", mode: str = "enforce", **fields: Any) -> Any:
    """Replace a list; without a version the one that it is at."""
    if "version" not in fields:
        fields["version"] = read(world, kind)["version"]
    body = {"kind": kind, "mode": mode, "entries": list(entries), **fields}
    return world.call("PUT", f"{world.base}/allowlist", key="admin", json=body)


def read(world: World, kind: str = "restriction", key: str = "admin") -> Any:
    return world.call("GET", f"{world.base}/allowlist?kind={kind}", key=key).json()


def status_of(answer: Any) -> str:
    return Email.objects.get(pk=answer.json()["id"]).status


def expire_everything() -> None:
    AllowlistEntry.objects.update(expires_at=timezone.now() - timedelta(seconds=1))


def actions() -> list[str]:
    return list(AuditLogEntry.objects.order_by("id").values_list("action", flat=True))


def test_list_never_written_is_off_at_version_0(world: World):
    told = read(world)
    assert (told["kind"], told["mode"], told["version"], told["entries"]) == ("restriction", "off", 0, [])
    assert world.send().status_code == 202


def test_put_replaces_the_whole_list_and_tells_it_normalised(world: World):
    assert put(world, "old.example").status_code == 200
    later = iso(timezone.now() + timedelta(days=1))
    answer = put(
        world,
        " Jane@X.Example. ",
        {"pattern": "*@bücher.example", "expires_at": later, "note": "until the fair"},
        {"pattern": "*.Sub.Example", "expires_at": "2020-01-01T00:00:00Z"},
        mode="Monitor",
    )
    told = answer.json()
    assert (answer.status_code, told["version"], told["mode"]) == (200, 2, "monitor")
    assert [(one["pattern"], one["expires_at"], one["note"], one["live"]) for one in told["entries"]] == [
        ("*.sub.example", "2020-01-01T00:00:00.000Z", None, False),
        ("jane@x.example", None, None, True),
        ("xn--bcher-kva.example", later, "until the fair", True),
    ]
    assert (told["live_count"], told["expired_count"]) == (2, 1)
    assert read(world) == told
    # The other kind is another list.
    assert read(world, "bypass")["version"] == 0


def test_put_is_audited_with_what_it_added_and_removed(world: World):
    put(world, "a.example", "b.example")
    put(world, "b.example", "c.example", mode="off")
    entry = AuditLogEntry.objects.filter(action="allowlist.replaced").latest("id")
    facts = entry.metadata
    assert (facts["added"], facts["removed"], facts["version"]) == (["c.example"], ["a.example"], 2)
    assert (facts["list"], facts["mode"], entry.resource_id) == ("restriction", "off", world.mailbox.pk)
    assert entry.actor_key is not None


def test_put_merges_duplicates_and_the_longest_lasting_stands(world: World):
    told = put(
        world,
        {"pattern": "x.example", "expires_at": "2099-01-01T00:00:00Z"},
        {"pattern": "*@X.example", "expires_at": "2030-01-01T00:00:00Z", "note": "second"},
        {"pattern": "y.example", "expires_at": "2030-01-01T00:00:00Z", "note": "first"},
        {"pattern": "Y.EXAMPLE.", "note": "never ends"},
    ).json()
    assert [(one["pattern"], one["expires_at"], one["note"]) for one in told["entries"]] == [
        ("x.example", "2099-01-01T00:00:00.000Z", "second"),
        ("y.example", None, "first"),
    ]


@pytest.mark.parametrize("version", [None, 0, 1, 3])
def test_put_on_another_version_is_409_with_the_current_one(world: World, version: int | None):
    put(world, "a.example")
    put(world, "b.example")
    answer = put(world, "c.example", version=version)
    assert (answer.status_code, answer.json()["code"], answer.json()["version"]) == (409, "version_conflict", 2)
    assert [entry["pattern"] for entry in read(world)["entries"]] == ["b.example"]


def test_put_without_a_version_makes_the_first_one_only(world: World):
    body = {"kind": "bypass", "mode": "off", "entries": []}
    answers = [world.call("PUT", f"{world.base}/allowlist", key="admin", json=body) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 409]


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"kind": "both"}, "kind"),
        ({"kind": None}, "kind"),
        ({"mode": "on"}, "mode"),
        ({"kind": "bypass", "mode": "contacts"}, "mode"),
        ({"version": -1}, "version"),
        ({"version": "x"}, "version"),
        ({"entries": None}, "entries"),
        ({"entries": "x.example"}, "entries"),
        ({"entries": ["x.example", "*.com"]}, "entries.1.pattern"),
        ({"entries": [{"pattern": "a@b@c.example"}]}, "entries.0.pattern"),
        ({"entries": [{"note": "nobody"}]}, "entries.0.pattern"),
        ({"entries": [5]}, "entries.0"),
        ({"entries": [{"pattern": "x.example", "expires_at": "tomorrow"}]}, "entries.0.expires_at"),
        ({"entries": [{"pattern": "x.example", "note": "x" * 301}]}, "entries.0.note"),
        ({"entries": [f"a{n}@x.example" for n in range(5001)]}, "entries"),
    ],
)
def test_put_bad_field_is_422_names_it_and_changes_nothing(world: World, fields: dict[str, Any], field: str):
    body = {"kind": "restriction", "mode": "enforce", "version": 0, "entries": [], **fields}
    answer = world.call("PUT", f"{world.base}/allowlist", key="admin", json=body)
    assert (answer.status_code, answer.json()["field"]) == (422, field)
    assert read(world)["version"] == 0


def test_put_hostile_pattern_is_named_in_the_error(world: World):
    error = put(world, "fine.example", "*").json()["error"]
    assert "'*'" in error


def test_put_missing_fields_do_not_empty_the_list(world: World):
    for body in ({}, {"kind": "restriction"}, {"kind": "restriction", "mode": "off"}):
        assert world.call("PUT", f"{world.base}/allowlist", key="admin", json=body).status_code == 422


def test_read_without_a_kind_is_422(world: World):
    answer = world.call("GET", f"{world.base}/allowlist", key="admin")
    assert (answer.status_code, answer.json()["field"]) == (422, "kind")


def test_lists_take_an_admin_key_of_the_account(world: World, other: World):
    body = {"kind": "bypass", "mode": "enforce", "entries": [DANA]}
    for key in ("agent", "desk", "reader"):
        assert world.call("PUT", f"{world.base}/allowlist", key=key, json=body).status_code == 403
        assert world.call("GET", f"{world.base}/allowlist?kind=bypass", key=key).status_code == 403
    foreign = f"/v1/mailboxes/{other.mailbox.pk}/allowlist"
    assert world.call("PUT", foreign, key="admin", json=body).status_code == 404
    assert world.call("GET", f"{foreign}?kind=bypass", key="admin").status_code == 404


def test_key_that_sends_needs_an_operators_code_for_exactly_its_list(world: World):
    add_key(world, "mighty", ["admin", "send"])
    body = {"kind": "bypass", "mode": "enforce", "entries": [DANA]}
    path = f"{world.base}/allowlist"
    asked = world.call("PUT", path, key="mighty", json=body)
    assert (asked.status_code, asked.json()["status"]) == (202, "pending_approval")
    assert read(world, "bypass")["version"] == 0
    code = {"approval_code": ApprovalRequest.objects.get().code}
    assert world.call("PUT", path, key="mighty", json=body | code | {"entries": [DANA, EVE]}).status_code == 404
    assert world.call("PUT", path, key="mighty", json=body | {"approval_code": "AAA-AAA"}).status_code == 403
    assert world.call("PUT", path, key="mighty", json=body | code).status_code == 200
    assert [entry["pattern"] for entry in read(world, "bypass")["entries"]] == [DANA]


@pytest.mark.parametrize("field", ["to", "cc", "bcc"])
def test_restriction_keeps_an_outsider_out_wherever_it_is_named(world: World, field: str):
    put(world, "northwind.example")
    answer = world.send(**{field: [DANA, EVE]})
    told = answer.json()
    assert (answer.status_code, told["code"], told["field"]) == (403, "recipient_not_allowed", field)
    assert EVE in told["error"]
    assert DANA not in told["error"]
    assert not Email.objects.exists()
    assert Refusal.objects.get().refused == [EVE]
    assert world.send(**{field: [DANA]}).status_code == 202


@pytest.mark.parametrize("field", ["auto_cc", "auto_bcc"])
def test_restriction_judges_what_the_mailbox_adds(db: None, field: str):
    world = make_world(**{field: f"archive@acme.example, {EVE}"})
    put(world, "northwind.example", "archive@acme.example")
    told = world.send().json()
    assert (told["code"], told["field"], told["recipients"]) == ("recipient_not_allowed", field, [EVE])
    assert "adds it by itself" in told["error"]
    put(world, "northwind.example", "archive@acme.example", EVE)
    assert world.send().status_code == 202


def test_restriction_does_not_judge_the_operators_own_copy(db: None):
    world = make_world(mode=Mode.MONITORED)
    Account.objects.update(oversight_email="boss@elsewhere.example")
    put(world, "northwind.example")
    assert status_of(world.send()) == Status.SCHEDULED


@pytest.mark.parametrize("entries", [[], [{"pattern": DANA, "expires_at": "2020-01-01T00:00:00Z"}]])
def test_restriction_without_a_live_entry_refuses_everybody(world: World, entries: list[Any]):
    told = put(world, *entries).json()
    assert "everybody is refused" in told["notice"]
    assert world.send(to=[DANA]).status_code == 403


def test_expiry_of_the_last_entry_does_not_open_the_gate(world: World):
    put(world, {"pattern": "northwind.example", "expires_at": iso(timezone.now() + timedelta(hours=1))})
    assert world.send().status_code == 202
    expire_everything()
    assert world.send().status_code == 403
    assert read(world)["expired_count"] == 1


def test_restriction_off_and_monitor_let_through_and_monitor_records(world: World):
    put(world, "northwind.example", mode="off")
    assert world.send(to=[EVE]).status_code == 202
    assert "email.would_be_refused" not in actions()
    put(world, "northwind.example", mode="monitor")
    email_id = world.held(to=[DANA], bcc=[EVE])
    entry = AuditLogEntry.objects.get(action="email.would_be_refused")
    assert (entry.resource_id, entry.metadata["recipients"]) == (email_id, [EVE])
    assert entry.metadata["rule"] == "restriction, mode monitor, version 2"
    assert not Refusal.objects.exists()


def test_mode_contacts_lets_contacts_and_listed_through_and_nobody_else(world: World, other: World):
    Contact.objects.create(account=world.account, name="Dana", email=DANA)
    Contact.objects.create(account=other.account, name="Eve", email=EVE)
    put(world, "partner.example", mode="contacts")
    assert world.send(to=["Dana@Northwind.example"], cc=["a@partner.example"]).status_code == 202
    refused = world.send(to=[DANA], cc=[EVE])
    assert (refused.status_code, refused.json()["recipients"]) == (403, [EVE])
    Contact.objects.filter(account=world.account).delete()
    assert world.send(to=[DANA]).status_code == 403


def test_restriction_comes_before_the_mode(db: None):
    world = make_world(mode=Mode.READ_ONLY)
    put(world, "northwind.example")
    assert world.send(to=[EVE]).json()["code"] == "recipient_not_allowed"
    assert world.send(to=[DANA]).json()["code"] == "read_only"


def test_restriction_of_one_mailbox_is_not_one_of_another(world: World, other: World):
    put(world, "northwind.example")
    assert other.send(to=[EVE]).status_code == 202


def test_bypass_lets_listed_skip_the_queue_and_one_unlisted_gates_all(world: World):
    put(world, "northwind.example", kind="bypass")
    answer = world.send(to=[DANA], cc=["ben@northwind.example"])
    assert answer.json()["oversight_status"] == "not_required"
    assert status_of(answer) == Status.SCHEDULED
    assert "email.bypassed" in actions()
    for field in ("to", "cc", "bcc"):
        assert status_of(world.send(**{field: [DANA, EVE]})) == Status.PENDING_SEND_APPROVAL


def test_bypass_judges_what_the_mailbox_adds(db: None):
    world = make_world(auto_bcc="archive@acme.example")
    put(world, "northwind.example", kind="bypass")
    assert status_of(world.send()) == Status.PENDING_SEND_APPROVAL
    put(world, "northwind.example", "archive@acme.example", kind="bypass")
    assert status_of(world.send()) == Status.SCHEDULED


@pytest.mark.parametrize("asked", [None, "gated_all", "gated_send", "autonomous"])
def test_bypass_has_no_effect_in_gated_all(db: None, asked: str | None):
    world = make_world(mode=Mode.GATED_ALL)
    put(world, "northwind.example", kind="bypass")
    assert status_of(world.send(oversight_mode=asked)) == Status.PENDING_SEND_APPROVAL


def test_bypass_has_no_effect_in_read_only_or_under_hold_all(world: World):
    put(world, "northwind.example", kind="bypass")
    Account.objects.update(hold_all_at=timezone.now())
    assert status_of(world.send()) == Status.PENDING_SEND_APPROVAL
    Mailbox.objects.update(oversight_mode=Mode.READ_ONLY)
    assert world.send().status_code == 403


@pytest.mark.parametrize("mode", [Mode.GATED_SEND, Mode.AUTONOMOUS])
def test_who_asks_for_the_gate_gets_it_in_spite_of_a_bypass(db: None, mode: Mode):
    world = make_world(mode=mode)
    put(world, "northwind.example", kind="bypass")
    assert status_of(world.send(oversight_mode="gated_send")) == Status.PENDING_SEND_APPROVAL
    assert status_of(world.send()) == Status.SCHEDULED


def test_bypass_without_a_live_entry_lets_nobody_skip(world: World):
    put(world, kind="bypass")
    assert status_of(world.send()) == Status.PENDING_SEND_APPROVAL
    put(world, DANA, kind="bypass")
    expire_everything()
    assert status_of(world.send()) == Status.PENDING_SEND_APPROVAL


def test_bypass_in_monitor_gates_and_records_what_would_have_skipped(world: World):
    put(world, "northwind.example", kind="bypass", mode="monitor")
    assert status_of(world.send(to=[DANA])) == Status.PENDING_SEND_APPROVAL
    assert actions().count("email.would_bypass") == 1
    world.send(to=[EVE])
    assert actions().count("email.would_bypass") == 1


def test_bypass_does_not_lift_a_restriction(world: World):
    put(world, "northwind.example", EVE, kind="bypass")
    put(world, "northwind.example")
    assert world.send(to=[EVE]).status_code == 403
    assert status_of(world.send(to=[DANA])) == Status.SCHEDULED


@pytest.mark.parametrize("change", ["list", "expiry", "addition"])
def test_approval_of_what_is_off_the_list_by_now_is_409_and_decides_nothing(world: World, change: str):
    put(world, "northwind.example")
    email_id = world.held()
    if change == "list":
        put(world, "elsewhere.example")
    elif change == "expiry":
        expire_everything()
    else:
        Mailbox.objects.update(auto_bcc=EVE)
    answer = world.decide(email_id)
    told = answer.json()
    assert (answer.status_code, told["code"]) == (409, "recipient_not_allowed")
    assert told["status"] == Email.objects.get(pk=email_id).status == Status.PENDING_SEND_APPROVAL
    assert (EVE if change == "addition" else DANA) in told["error"]
    assert world.decide(email_id, "reject").status_code == 200


@pytest.mark.parametrize("change", ["list", "expiry"])
def test_approved_mail_that_is_off_the_list_by_now_fails_and_never_leaves(
    world: World, mail_server: MailServer, change: str
):
    world.listen("message.failed", "message.bounced")
    put(world, "northwind.example")
    email = world.approved()
    expire_everything() if change == "expiry" else put(world, "elsewhere.example")
    assert outbox.send_due(email_id=email.pk, now=timezone.now()) == "failed"
    email.refresh_from_db()
    assert email.status == Status.SEND_FAILED
    assert DANA in world.call("GET", f"{world.base}/emails/{email.pk}").json()["last_error"]
    assert events_of(email.pk) == ["message.failed"]
    assert mail_server.mails == 0


def test_addition_made_after_acceptance_keeps_ungated_mail_in(db: None, mail_server: MailServer):
    world = make_world(mode=Mode.AUTONOMOUS)
    put(world, "northwind.example")
    email_id = world.held()
    Mailbox.objects.update(auto_bcc=EVE)
    assert outbox.send_due(email_id=email_id, now=timezone.now()) == "failed"
    assert mail_server.mails == 0


def test_addition_made_after_approval_is_not_part_of_it(world: World, mail_server: MailServer):
    put(world, "northwind.example")
    email = world.approved()
    Mailbox.objects.update(auto_bcc=EVE)
    assert outbox.send_due(email_id=email.pk, now=timezone.now()) == "sent"
    assert mail_server.taken[0].rcpt_tos == [DANA]


@pytest.mark.parametrize("change", ["expiry", "off", "addition", "tightened"])
def test_skipped_mail_whose_bypass_ended_is_asked_about(world: World, mail_server: MailServer, change: str):
    world.listen("oversight.pending")
    put(world, "northwind.example", kind="bypass")
    email_id = world.held()
    if change == "expiry":
        expire_everything()
    elif change == "off":
        put(world, "northwind.example", kind="bypass", mode="off")
    else:
        changes = {"auto_bcc": EVE} if change == "addition" else {"oversight_mode": Mode.GATED_ALL}
        Mailbox.objects.update(**changes)
    assert outbox.send_due(email_id=email_id, now=timezone.now()) == "asked"
    assert Email.objects.get(pk=email_id).status == Status.PENDING_SEND_APPROVAL
    assert events_of(email_id) == ["oversight.pending"]
    assert mail_server.mails == 0
    assert world.decide(email_id).status_code == 200
    assert outbox.send_due(email_id=email_id, now=timezone.now()) == "sent"


def test_skipped_mail_leaves_while_its_bypass_holds(world: World, mail_server: MailServer):
    put(world, "northwind.example", kind="bypass")
    email_id = world.held()
    assert outbox.send_due(email_id=email_id, now=timezone.now()) == "sent"
    assert len(mail_server.taken) == 1


def test_reply_is_judged_like_a_letter(world: World):
    put(world, "northwind.example")
    parents = [make_inbound(world, from_address=address) for address in (DANA, EVE)]
    answers = [world.call("POST", f"{world.base}/reply/{one.pk}", json={"markdown": "Hi"}) for one in parents]
    assert [answer.status_code for answer in answers] == [202, 403]
    assert EVE in answers[1].json()["error"]
    assert Refusal.objects.get().refused == [EVE]


def test_edit_of_a_scheduled_message_is_judged_by_its_new_recipients(db: None):
    world = make_world(mode=Mode.AUTONOMOUS)
    put(world, "northwind.example")
    email_id = world.held(send_at="2099-01-01T00:00:00Z")
    path = f"{world.base}/emails/{email_id}/schedule"
    answer = world.call("PATCH", path, json={"bcc": [EVE]})
    assert (answer.status_code, answer.json()["code"]) == (403, "recipient_not_allowed")
    assert Email.objects.get(pk=email_id).bcc == []
    assert Refusal.objects.count() == 1


def test_lists_cost_few_statements(world: World, django_assert_max_num_queries):
    put(world, *[f"a{n}@x.example" for n in range(500)], "northwind.example")
    put(world, "northwind.example", kind="bypass")
    world.send()
    with django_assert_max_num_queries(14):
        assert world.send().status_code == 202
