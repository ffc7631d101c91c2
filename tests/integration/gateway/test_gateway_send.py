"""Sending over HTTP, in both dialects: what is taken, what is refused, and what a mode makes of it."""

import base64

import pytest

from gateway.auth import hash_key
from gateway.models import ApiKey, AuditLogEntry, Email, IdempotencyRecord
from gateway.modes import Mode
from gateway.states import Status
from tests.integration.gateway.world import World, add_key, events_of, make_world, move_on_everything

S0 = {
    "to": "jane@example.org",
    "subject": "Hello from Discord",
    "body": "Written with /sendemail",
    "oversight_mode": "gated_send",
    "metadata": {"discord_user": "ana#1", "discord_channel": "outreach", "discord_guild": "Acme"},
}


def test_send_gated_answers_pending_scan_and_holds(world: World):
    world.listen("oversight.pending")
    answer = world.send()
    told = answer.json()
    assert answer.status_code == 202
    assert told["status"] == "pending_scan"
    assert told["oversight_status"] == "pending_approval"
    assert "not send it again" in told["message"]
    assert told["thread_id"]
    email = Email.objects.get(pk=told["id"])
    assert email.status == Status.PENDING_SEND_APPROVAL
    assert events_of(email.pk) == ["oversight.pending"]


@pytest.mark.parametrize("path", ["/send_email", "/v1/send_email"])
@pytest.mark.parametrize("header", ["Authorization", "X-API-Key"])
def test_send_flat_answers_queued_and_keeps_metadata(world: World, path: str, header: str):
    key = world.keys["agent"]
    headers = {header: f"bearer {key}" if header == "Authorization" else key}
    answer = world.call("POST", path, key=None, json=S0 | {"from": world.mailbox.address}, **headers)
    told = answer.json()
    assert (answer.status_code, told["status"]) == (202, "queued")
    assert told["message_id"] == told["id"]
    assert world.pending()["messages"][0]["metadata"] == S0["metadata"]


def test_send_flat_takes_s2_words(world: World):
    body = {"from": world.mailbox.address, "to": ["jane@example.org"], "subject": "Digest", "text": "Good morning"}
    answer = world.call("POST", "/send_email", json=body)
    assert answer.json()["id"]
    assert Email.objects.get(pk=answer.json()["id"]).markdown == "Good morning"


def test_send_flat_without_from_uses_the_only_mailbox(world: World):
    assert world.call("POST", "/send_email", json=S0).status_code == 202


@pytest.mark.parametrize(
    "to", ["a@x.example", "a@x.example, b@x.example", ["a@x.example"], ["Jane Doe <a@x.example>"], ["a@X.EXAMPLE."]]
)
def test_send_takes_recipients_in_every_shape(world: World, to: object):
    answer = world.send(to=to)
    assert answer.status_code == 202
    assert Email.objects.get(pk=answer.json()["id"]).to[0] == "a@x.example"


def test_send_html_only_keeps_html_and_makes_text(world: World):
    email = Email.objects.get(pk=world.held(markdown=None, html="<h1>Hi</h1><p>there <b>you</b></p>"))
    assert email.html == "<h1>Hi</h1><p>there <b>you</b></p>"
    assert email.markdown == "Hi\n\nthere you"


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"to": []}, "to"),
        ({"to": None}, "to"),
        ({"to": ["not an address"]}, "to"),
        ({"to": ["a@b@c.example"]}, "to"),
        ({"to": ["a@x.example\r\nBcc: evil@x.example"]}, "to"),
        ({"cc": ["a@x.example\nBcc: evil@x.example"]}, "cc"),
        ({"to": [f"a{n}@x.example" for n in range(51)]}, "to"),
        ({"reply_to": "a@x.example\r\nX: y"}, "reply_to"),
        ({"subject": "Hi\r\nBcc: evil@x.example"}, "subject"),
        ({"subject": "x" * 999}, "subject"),
        ({"subject": "Hi =?utf-8?q?Bcc?="}, "subject"),
        ({"subject": None}, "subject"),
        ({"subject": "null \x00"}, "subject"),
        ({"markdown": ""}, "markdown"),
        ({"markdown": "x" * 262_145}, "markdown"),
        ({"metadata": ["no object"]}, "metadata"),
        ({"metadata": {"deep": {"x": "\x00"}}}, "metadata.deep.x"),
        ({"metadata": {"x": "y" * 20_000}}, "metadata"),
        ({"oversight_mode": "loose"}, "oversight_mode"),
        ({"send_at": "tomorrow"}, "send_at"),
        ({"send_at": "2099-01-01T00:00:00+02:00"}, "send_at"),
        ({"send_at": "2001-01-01T00:00:00Z"}, "send_at"),
        ({"idempotency_key": "x" * 201}, "idempotency_key"),
        ({"attachments": [{"name": "a", "content_base64": "%%%"}]}, "attachments.0.content_base64"),
        ({"attachments": [{"name": "a", "content_type": "text/plain\r\nX: y"}]}, "attachments.0.content_type"),
        ({"attachments": [{"name": "a\n", "content_base64": "eA=="}]}, "attachments.0.name"),
        ({"attachments": [{"name": "=?utf-8?q?a.exe?=", "content_base64": "eA=="}]}, "attachments.0.name"),
        ({"attachments": [{"name": "", "content_base64": "eA=="}]}, "attachments.0.name"),
        ({"attachments": [{"name": "a", "content_base64": "eA=="}] * 2}, "attachments"),
    ],
)
def test_send_bad_field_is_422_and_names_it(world: World, fields: dict[str, object], field: str):
    answer = world.send(**fields)
    assert answer.status_code == 422
    assert answer.json()["field"].startswith(field)
    assert isinstance(answer.json()["error"], str)
    assert not Email.objects.exists()


@pytest.mark.proves("case 9")
@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"subject": "Hi\r\nBcc: evil@x.example"}, "subject"),
        ({"subject": "Hi\nBcc: evil@x.example"}, "subject"),
        ({"to": ["a@x.example\r\nBcc: evil@x.example"]}, "to"),
        ({"reply_to": "a@x.example\r\nBcc: evil@x.example"}, "reply_to"),
        ({"subject": "tab\x0bonly"}, ""),
        ({"to": ["not an address"]}, ""),
    ],
)
def test_header_injection_is_422_and_the_audit_log_says_whose_key_tried(
    world: World, fields: dict[str, object], field: str
):
    assert world.send(**fields).status_code == 422
    assert not Email.objects.exists()
    noted = AuditLogEntry.objects.filter(action="header_injection.refused").select_related("actor_key")
    told = [(one.actor_key.scopes, one.resource_id == one.actor_key_id, one.metadata) for one in noted]
    sender = ApiKey.objects.by_hash(hash_key(world.keys["agent"]))
    assert told == ([(sender.scopes, True, {"field": field})] if field else [])


def test_send_list_of_recipients_may_be_broken_at_its_commas(world: World):
    told = world.send(to="a@x.example,\n b@x.example").json()
    assert Email.objects.get(pk=told["id"]).to == ["a@x.example", "b@x.example"]


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"{", 400),
        (b"[]", 400),
        (b"\xff", 400),
        (b"[" * 100_000, 400),
        (b'{"metadata": {"n": 1e999}}', 422),
        (b'{"subject": "\\ud800"}', 422),
        (b"", 422),
    ],
)
def test_send_unreadable_body_is_refused(world: World, raw: bytes, status: int):
    from django.test import Client

    headers = {"Authorization": f"Bearer {world.keys['agent']}"}
    answer = Client().post("/send_email", data=raw, content_type="application/json", headers=headers)
    assert answer.status_code == status
    assert answer.json()["error"]


def test_send_attachments_too_large_is_413(world: World, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("gateway.letters.MAX_FILE_BYTES", 3)
    content = base64.b64encode(b"1234").decode()
    assert world.send(attachments=[{"name": "a", "content_base64": content}]).status_code == 413


def test_send_from_unknown_or_foreign_mailbox_is_404(world: World, other: World):
    foreign = world.call("POST", f"/v1/mailboxes/{other.mailbox.pk}/send", json=S0)
    assert foreign.status_code == 404
    unknown = world.call("POST", "/v1/send_email", json=S0 | {"from": other.mailbox.address})
    assert unknown.status_code == 404
    assert unknown.json()["code"] == "unknown_mailbox"


def test_send_read_only_is_403_and_stores_nothing(db: None):
    world = make_world(mode=Mode.READ_ONLY)
    answer = world.send()
    assert answer.status_code == 403
    assert "upgrade" in answer.json()["error"]
    assert not Email.objects.exists()


@pytest.mark.parametrize(
    ("mailbox", "looser", "asked", "held"),
    [
        ("gated_send", False, None, True),
        ("gated_send", False, "autonomous", True),
        ("gated_send", True, "autonomous", False),
        ("gated_send", True, "gated_all", True),
        ("autonomous", False, None, False),
        ("autonomous", False, "Gated_Send", True),
        ("monitored", False, "autonomous", False),
    ],
)
def test_send_mode_of_a_call_tightens_and_loosens_only_where_allowed(
    db: None, mailbox: str, looser: bool, asked: str | None, held: bool
):
    world = make_world(mode=Mode(mailbox), allow_looser_per_call=looser)
    told = world.send(oversight_mode=asked).json()
    status = Email.objects.get(pk=told["id"]).status
    assert status == (Status.PENDING_SEND_APPROVAL if held else Status.SCHEDULED)
    assert told["oversight_status"] == ("pending_approval" if held else "not_required")


def test_send_same_key_twice_makes_one_message(world: World):
    body = {"to": ["jane@example.org"], "subject": "Once", "markdown": "x"}
    first = world.call("POST", f"{world.base}/send", json=body | {"idempotency_key": "k1"})
    again = world.call("POST", f"{world.base}/send", json=body, **{"Idempotency-Key": "k1"})
    flat = world.call("POST", "/send_email", json=body | {"subject": "Other"}, **{"Idempotency-Key": "k1"})
    assert (again.status_code, again.json()["status"], again.json()["idempotent"]) == (200, "already_sent", True)
    assert again.json()["id"] == flat.json()["id"] == first.json()["id"]
    assert (flat.json()["status"], flat.json()["idempotency_mismatch"]) == ("queued", True)
    assert Email.objects.count() == 1


def test_send_same_key_in_sandbox_is_another_message(world: World):
    add_key(world, "tester", ["read", "send"], prefix="mm_test_")
    live, test = world.send(idempotency_key="k"), world.send(key="tester", idempotency_key="k")
    assert live.json()["id"] != test.json()["id"]


def test_send_same_content_within_a_minute_is_409_and_later_is_taken(world: World):
    body = {"to": ["jane@example.org"], "subject": "Same", "markdown": "x"}
    first = world.call("POST", f"{world.base}/send", json=body)
    second = world.call("POST", f"{world.base}/send", json=body)
    assert second.status_code == 409
    assert (second.json()["code"], second.json()["email_id"]) == ("duplicate_content", first.json()["id"])
    IdempotencyRecord.objects.update(expires_at="2020-01-01T00:00Z")
    assert world.call("POST", f"{world.base}/send", json=body).status_code == 202


def test_send_refused_stores_nothing_under_its_key(world: World):
    assert world.send(idempotency_key="k", subject="x\ny").status_code == 422
    assert world.send(idempotency_key="k").status_code == 202


def test_sweep_moves_on_what_a_crash_left_unscanned(world: World):
    world.listen("oversight.pending")
    email_id = world.held()
    Email.objects.filter(pk=email_id).update(status=Status.PENDING_SCAN)
    move_on_everything()
    assert Email.objects.get(pk=email_id).status == Status.PENDING_SEND_APPROVAL


def test_send_scheduled_needs_the_mailbox_to_allow_it(db: None):
    world = make_world(scheduling_enabled=False)
    assert world.send(send_at="2099-01-01T00:00:00Z").status_code == 403


def test_send_statements_are_few(world: World, django_assert_max_num_queries):
    world.send()
    # Key, mailbox, lists, suppressed; record, email, log entry; change, subscribers; and two transactions.
    with django_assert_max_num_queries(13):
        assert world.send().status_code == 202
