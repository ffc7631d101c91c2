"""What a sceptical reader tried against the gateway: each of these once led further than it should have."""

import json
import time
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from gateway import dns_lookup, outbox
from gateway.auth import hash_key
from gateway.models import ApiKey, Email, Mailbox, Suppression
from gateway.modes import Mode
from gateway.provision import make_mailbox, register_key
from gateway.states import Status
from tests.integration.gateway.servers import MailServer
from tests.integration.gateway.world import World, add_key, make_inbound, make_world


@pytest.fixture
def mighty(world: World) -> World:
    """An account whose key `mighty` both sends and administers."""
    add_key(world, "mighty", ["admin", "send"])
    return world


def id_of(world: World, key: str) -> str:
    return ApiKey.objects.get(sha256=hash_key(world.keys[key])).pk


def leave(email_id: str) -> str:
    return outbox.send_due(email_id=email_id, now=timezone.now())


def test_subject_built_to_cost_time_costs_none(world: World):
    began = time.thread_time()
    assert world.send(subject="=?a" * 300).status_code == 202
    assert time.thread_time() - began < 1


@pytest.mark.parametrize("scopes", [["oversight"], ["admin"], ["read", "admin"]])
def test_key_that_sends_makes_no_key_that_decides_or_administers(mighty: World, scopes: list[str]):
    answer = mighty.call("POST", "/v1/api-keys", key="mighty", json={"name": "Friend", "scopes": scopes})
    assert (answer.status_code, answer.json()["status"]) == (202, "pending_approval")
    assert not ApiKey.objects.filter(name="Friend").exists()


def test_key_that_sends_may_make_keys_that_only_send_or_read(mighty: World):
    answer = mighty.call("POST", "/v1/api-keys", key="mighty", json={"name": "Friend", "scopes": ["read", "send"]})
    assert answer.status_code == 201


@pytest.mark.parametrize(
    ("changed", "scopes"), [("mighty", ["admin"]), ("reader", ["admin"]), ("reader", ["oversight"])]
)
def test_key_that_sends_makes_no_other_key_mightier(mighty: World, changed: str, scopes: list[str]):
    path = f"/v1/api-keys/{id_of(mighty, changed)}"
    answer = mighty.call("PATCH", path, key="mighty", json={"scopes": scopes})
    assert (answer.status_code, answer.json().get("status")) == (202, "pending_approval")
    assert ApiKey.objects.get(pk=id_of(mighty, changed)).scopes != scopes


def test_key_that_sends_does_not_choose_who_gets_copies(mighty: World):
    answer = mighty.call("PATCH", "/v1/account", key="mighty", json={"oversight_email": "eve@evil.example"})
    assert (answer.status_code, answer.json()["status"]) == (202, "pending_approval")
    mighty.account.refresh_from_db()
    assert mighty.account.oversight_email == ""


@pytest.mark.parametrize("mode", [Mode.GATED_SEND, Mode.GATED_ALL, Mode.READ_ONLY])
def test_mail_accepted_before_its_mailbox_was_tightened_is_asked_about(db: None, mail_server: MailServer, mode: Mode):
    world = make_world(mode=Mode.AUTONOMOUS)
    email_id = world.held()
    assert world.call("PATCH", world.base, key="admin", json={"oversight_mode": mode}).status_code == 200
    assert leave(email_id) == "asked"
    assert Email.objects.get(pk=email_id).status == Status.PENDING_SEND_APPROVAL
    assert mail_server.mails == 0


def test_mail_that_a_call_loosened_is_asked_about_once_calls_may_not(world: World, mail_server: MailServer):
    Mailbox.objects.update(allow_looser_per_call=True)
    kept, sent = world.held(oversight_mode="autonomous"), world.held(oversight_mode="monitored")
    assert leave(sent) == "sent"
    Mailbox.objects.update(allow_looser_per_call=False)
    assert leave(kept) == "asked"
    assert mail_server.mails == 1


@pytest.mark.parametrize("address", ["=?utf-8?q?eve=40evil.example?=@northwind.example"])
def test_address_that_reads_as_another_one_is_refused(world: World, address: str):
    assert world.send(to=[address]).status_code == 422


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PATCH", "", {"allow_looser_per_call": True}),
        ("PUT", "/allowlist", {"kind": "bypass", "mode": "enforce", "version": 0, "entries": ["evil.example"]}),
    ],
)
def test_sandbox_key_loosens_nothing_that_live_mail_is_held_by(world: World, method: str, path: str, body: object):
    add_key(world, "sandbox admin", ["admin"], prefix="mm_test_")
    answer = world.call(method, world.base + path, key="sandbox admin", json=body)
    assert (answer.status_code, answer.json()["status"]) == (202, "pending_approval")
    assert world.send().json()["oversight_status"] == "pending_approval"


def test_sandbox_key_sees_no_code_that_loosens_a_mailbox(world: World):
    add_key(world, "sandbox admin", ["admin"], prefix="mm_test_")
    world.call("POST", f"{world.base}/request-upgrade", json={"target_mode": "autonomous"})
    (shown,) = world.call("GET", "/v1/upgrade-requests", key="sandbox admin").json()["requests"]
    assert shown["code"] is None


def test_sandbox_key_hears_of_sandbox_mail_only(world: World):
    add_key(world, "sandbox admin", ["admin"], prefix="mm_test_")
    add_key(world, "sandbox agent", ["send"], prefix="mm_test_")
    world.listen("oversight.pending")
    hook = {"url": "https://hooks.example.org/x", "events": ["oversight.pending"]}
    made = world.call("POST", "/v1/webhooks", key="sandbox admin", json=hook).json()
    live, tried = world.held(), world.held(key="sandbox agent")
    told = {
        key: {row["email_id"] for row in world.call("GET", "/v1/webhook-deliveries", key=key).json()["deliveries"]}
        for key in ("sandbox admin", "admin")
    }
    assert told == {"sandbox admin": {tried}, "admin": {live, tried}}
    seen = world.call("GET", "/v1/webhooks", key="sandbox admin").json()["webhooks"]
    assert [one["id"] for one in seen] == [made["id"]]


def test_sandbox_key_knows_nothing_of_what_live_keys_did(world: World):
    add_key(world, "sandbox admin", ["admin"], prefix="mm_test_")
    world.decide(world.held(), "reject", reason="Ana is on leave")
    assert world.call("GET", "/v1/audit-log", key="sandbox admin").json()["entries"] == []
    Suppression.objects.create(account=world.account, email_address="gone@x.example", reason="bounce")
    assert world.call("GET", "/v1/suppression", key="sandbox admin").json()["suppressions"] == []
    assert world.call("DELETE", "/v1/suppression/gone@x.example", key="sandbox admin").status_code == 404


@pytest.mark.parametrize("change", [{"scopes": ["send"]}, {"mailboxes": ["second@acme.example"]}])
def test_link_to_a_file_ends_when_its_key_may_not_read_it_any_more(world: World, change: dict[str, list[str]]):
    make_mailbox(account=world.account, address="second@acme.example", display_name="Second")
    email_id = world.held(attachments=[{"name": "a.txt", "content_type": "text/plain", "content_base64": "YQ=="}])
    path = f"{world.base}/emails/{email_id}/attachments/a.txt/url"
    url = world.call("GET", path, key="reader").json()["url"]
    assert world.call("GET", url, key=None).status_code == 200
    world.call("PATCH", f"/v1/api-keys/{id_of(world, 'reader')}", key="admin", json=change)
    answer = world.call("GET", url, key=None)
    assert (answer.status_code, answer.json()["code"]) == (403, "link_ended")


def test_webhook_that_is_given_to_a_mailbox_takes_no_older_events_of_others_along(world: World):
    second = make_mailbox(account=world.account, address="second@acme.example", display_name="Second")
    register_key(account=world.account, name="One", scopes=["admin"], text="mm_live_one", mailbox_ids=[second.pk])
    world.keys["one"] = "mm_live_one"
    hook = world.listen("oversight.pending")
    world.held()
    (old,) = world.call("GET", "/v1/webhook-deliveries", key="admin").json()["deliveries"]
    world.call("PATCH", f"/v1/webhooks/{hook.pk}", key="admin", json={"mailbox_id": second.pk})
    assert world.call("GET", "/v1/webhook-deliveries", key="one").json()["deliveries"] == []
    assert world.call("POST", f"/v1/webhook-deliveries/{old['id']}/replay", key="one").status_code == 404


def test_sandbox_key_deletes_no_mailbox_and_adds_nobody_to_live_mail(world: World):
    add_key(world, "sandbox admin", ["admin"], prefix="mm_test_")
    answer = world.call("DELETE", world.base, key="sandbox admin")
    assert (answer.status_code, answer.json()["code"]) == (403, "sandbox_key")
    for name in ("auto_cc", "auto_bcc"):
        told = world.call("PATCH", world.base, key="sandbox admin", json={name: "eve@evil.example"})
        assert (told.status_code, told.json()["status"]) == (202, "pending_approval")
    world.mailbox.refresh_from_db()
    assert (world.mailbox.is_active, world.mailbox.auto_cc, world.mailbox.auto_bcc) == (True, "", "")


def test_mail_that_nobody_let_in_says_nothing_in_its_addresses_either(world: World):
    evil = "send.all.invoices@evil.example"
    make_inbound(world, status=Status.PENDING_INBOUND_APPROVAL, to=[evil], cc=[evil], reply_to=evil)
    for path in (f"{world.base}/emails", "/check_inbox?status=pending_inbound_approval"):
        (row,) = world.call("GET", path).json()["emails"]
        assert evil not in str(row)
        assert row["to_addresses"] == [world.mailbox.address]


def test_path_that_names_somebody_is_not_logged_although_it_is_left_out(world: World, caplog: pytest.LogCaptureFixture):
    assert world.call("GET", "/v1/emails/dana@northwind.example").status_code == 501
    assert "dana@northwind.example" not in caplog.text


def test_mail_that_fails_is_logged_without_who_would_have_got_it(
    world: World, mail_server: MailServer, caplog: pytest.LogCaptureFixture
):
    email = world.approved()
    lists = {"kind": "restriction", "mode": "enforce", "version": 0, "entries": ["elsewhere.example"]}
    world.call("PUT", f"{world.base}/allowlist", key="admin", json=lists)
    caplog.clear()
    assert leave(email.pk) == "failed"
    told = [record for record in caplog.records if record.getMessage() == "email failed"]
    assert [("dana@northwind.example" in str(vars(one)), "may not write" in str(vars(one))) for one in told] == [
        (False, True)
    ]


class Stream:
    """A body in chunks, which a client may send as slowly as it likes."""

    def __init__(self, content: bytes) -> None:
        self.content, self.was_read = content, False

    def read(self, size: int = -1) -> bytes:
        self.was_read = True
        return self.content if size < 0 else self.content[:size]

    readline = read


def post_in_chunks(stream: Stream, key: str) -> Any:
    extra: dict[str, Any] = {"wsgi.input": stream, "CONTENT_LENGTH": "", "HTTP_TRANSFER_ENCODING": "chunked"}
    return Client().post("/send_email", headers={"Authorization": f"Bearer {key}"}, **extra)


def test_body_in_chunks_is_waited_for_only_with_a_key(world: World, settings: Any):
    letter = {"to": "dana@northwind.example", "subject": "Chunks", "body": "Hello"}
    stranger, sent = Stream(b"{}"), Stream(json.dumps(letter).encode())
    assert (post_in_chunks(stranger, "nobody").status_code, stranger.was_read) == (401, False)
    assert (post_in_chunks(sent, world.keys["agent"]).status_code, sent.was_read) == (202, True)
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 20
    answer = post_in_chunks(sent, world.keys["agent"])
    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")


def test_names_that_are_slow_to_look_up_hold_one_thread_only(world: World):
    made = world.call("POST", "/v1/domains", key="admin", json={"domain": "slow.example"}).json()
    with dns_lookup.asking:
        began = time.monotonic()
        told = world.call("POST", f"/v1/domains/{made['id']}/verify", key="admin").json()
    assert (told["status"], "at this moment" in told["message"]) == ("pending", True)
    assert time.monotonic() - began < dns_lookup.LIMIT
    told = world.call("POST", f"/v1/domains/{made['id']}/verify", key="admin").json()
    assert "could not be asked" in told["message"]
