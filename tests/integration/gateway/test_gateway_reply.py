"""Answering: whom it goes to, where it stands in its thread, and that it is taken and refused as a new message is."""

from collections.abc import Callable
from email import message_from_bytes
from email.policy import default as modern
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from gateway import outbox
from gateway.models import Email, IdempotencyRecord, Mailbox
from gateway.modes import Mode
from gateway.states import Status
from tests.integration.gateway.servers import MailServer
from tests.integration.gateway.world import World, add_key, events_of, make_inbound, make_world


def reply(world: World, email: Email, key: str = "agent", **fields: Any) -> Any:
    """Answer by the path, as the SDK does."""
    return world.call("POST", f"{world.base}/reply/{email.pk}", key=key, json={"markdown": "It left.", **fields})


def made(answer: Any) -> Email:
    assert answer.status_code == 202, answer.content
    return Email.objects.get(pk=answer.json()["id"])


def test_reply_stands_in_the_thread_of_its_parent_and_is_held(world: World):
    world.listen("oversight.pending")
    parent = make_inbound(world, references="<root@x.example> <q0@x.example>", message_id_header="<q1@x.example>")
    answer = reply(world, parent)
    email = made(answer)
    assert (answer.json()["status"], answer.json()["oversight_status"]) == ("pending_scan", "pending_approval")
    assert answer.json()["thread_id"] == email.thread_id == parent.thread_id
    assert (email.in_reply_to, email.to) == ("<q1@x.example>", ["dana@northwind.example"])
    assert email.references == "<root@x.example> <q0@x.example> <q1@x.example>"
    assert email.subject == f"Re: {parent.subject}"
    assert events_of(email.pk) == ["oversight.pending"]


@pytest.mark.parametrize(
    ("subject", "answered"),
    [
        ("Hello", "Re: Hello"),
        ("Re: Hello", "Re: Hello"),
        ("RE : Hello", "RE : Hello"),
        ("re[2]: Hello", "re[2]: Hello"),
        ("Regarding it", "Re: Regarding it"),
        ("", "Re:"),
        ("a\r\nBcc: evil@x.example", "Re: a Bcc: evil@x.example"),
        ("=?utf-8?q?other?=", "Re: = ?utf-8?q?other?="),
        pytest.param("x" * 998, "Re: " + "x" * 994, id="as long as can be"),
    ],
)
def test_reply_subject_has_one_re_and_is_safe(world: World, subject: str, answered: str):
    assert made(reply(world, make_inbound(world, subject=subject))).subject == answered


def test_reply_goes_to_reply_to_before_the_sender(world: World):
    parent = make_inbound(world, reply_to="desk@northwind.example")
    email = made(reply(world, parent, cc=["c@x.example"], bcc="b@x.example"))
    assert (email.to, email.cc, email.bcc) == (["desk@northwind.example"], ["c@x.example"], ["b@x.example"])


def test_reply_to_own_message_goes_to_its_recipients(world: World):
    parent = Email.objects.get(pk=world.held(to=["a@x.example", "b@x.example"], cc=["c@x.example"]))
    email = made(reply(world, parent))
    assert (email.to, email.cc) == (["a@x.example", "b@x.example"], [])
    assert email.in_reply_to == parent.message_id_header


@pytest.mark.parametrize("address", ["", "not an address", "MAILER-DAEMON"])
def test_reply_without_an_address_to_answer_is_422(world: World, address: str):
    answer = reply(world, make_inbound(world, from_address=address))
    assert (answer.status_code, answer.json()["code"]) == (422, "no_reply_address")


def test_reply_references_stay_bounded_and_keep_the_first(world: World):
    line = " ".join(f"<{number}@x.example>" for number in range(200))
    email = made(reply(world, make_inbound(world, references=line, message_id_header="<last@x.example>")))
    ids = email.references.split()
    assert (len(ids), ids[0], ids[-2:]) == (20, "<0@x.example>", ["<199@x.example>", "<last@x.example>"])


@pytest.mark.parametrize(
    "header",
    ["no id", pytest.param(f"<{'x' * 280}@x.example>", id="long"), "<=?utf-8?q?a?=@x.example>", "<ü@x>"],
)
def test_reply_to_an_unusable_message_id_still_joins_the_thread(world: World, header: str):
    parent = make_inbound(world, message_id_header=header)
    email = made(reply(world, parent))
    assert (email.in_reply_to, email.references, email.thread_id) == ("", "", parent.thread_id)


def test_reply_leaves_with_its_headers_and_files(world: World, mail_server: MailServer):
    parent = make_inbound(world, references="<root@x.example>", message_id_header=f"<{'q' * 150}@x.example>")
    email = made(reply(world, parent, attachments=[{"name": "a b.txt", "content_base64": "eA=="}]))
    world.decide(email.pk)
    assert outbox.send_due(email_id=email.pk, now=timezone.now()) == "sent"
    message = message_from_bytes(mail_server.taken[0].content, policy=modern)
    assert message["In-Reply-To"] == parent.message_id_header
    assert message["References"].split() == ["<root@x.example>", parent.message_id_header]
    assert message["Subject"] == f"Re: {parent.subject}"
    assert [part.get_filename() for part in message.iter_attachments()] == ["a b.txt"]


@pytest.mark.parametrize("path", ["/reply_email", "/v1/reply_email"])
def test_reply_flat_by_thread_answers_the_newest_received(world: World, path: str):
    make_inbound(world, thread_id="t1", from_address="old@x.example")
    newest = make_inbound(world, thread_id="t1", from_address="new@x.example")
    reply(world, newest)
    body = {"thread_id": "t1", "body": "Yes.", "oversight_mode": "gated_send", "metadata": {"discord_user": "ana"}}
    answer = world.call("POST", path, json=body)
    email = made(answer)
    assert (answer.json()["status"], answer.json()["message_id"]) == ("queued", email.pk)
    assert (email.to, email.markdown, email.metadata) == (["new@x.example"], "Yes.", {"discord_user": "ana"})


def test_reply_flat_by_thread_of_own_mail_answers_the_newest(world: World):
    parent = Email.objects.get(pk=world.held())
    email = made(world.call("POST", "/reply_email", json={"thread_id": parent.thread_id, "body": "One more thing."}))
    assert (email.to, email.thread_id) == (parent.to, parent.thread_id)


@pytest.mark.parametrize("name", ["email_id", "message_id", "id"])
def test_reply_flat_by_any_name_of_the_id(world: World, name: str):
    parent = make_inbound(world)
    make_inbound(world, from_address="other@x.example")
    answer = world.call("POST", "/v1/reply_email", json={name: parent.pk, "thread_id": "t", "text": "Yes."})
    assert made(answer).to == [parent.from_address]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"body": "x"}, 422),
        ({"thread_id": "none", "body": "x"}, 404),
        ({"email_id": "none", "body": "x"}, 404),
        ({"thread_id": "t", "body": ""}, 422),
        ({"thread_id": "t", "body": "x", "mailbox": "else@acme.example"}, 404),
        ({"thread_id": "t", "body": "x", "cc": ["a@x.example\nBcc: b@x.example"]}, 422),
        ({"thread_id": "t", "body": "x", "send_at": "2001-01-01T00:00:00Z"}, 422),
    ],
)
def test_reply_flat_refuses_what_it_cannot_place(world: World, body: dict[str, str], status: int):
    make_inbound(world)
    assert world.call("POST", "/reply_email", json=body).status_code == status
    assert Email.objects.count() == 1


def test_reply_flat_refuses_a_thread_that_is_not_the_message_s(world: World):
    body = {"email_id": make_inbound(world).pk, "thread_id": "another", "body": "x"}
    answer = world.call("POST", "/reply_email", json=body)
    assert (answer.status_code, answer.json()["field"]) == (422, "thread_id")


def test_reply_same_key_twice_makes_one_message(world: World):
    parent = make_inbound(world)
    first = reply(world, parent, idempotency_key="k")
    again = world.call("POST", f"{world.base}/reply/{parent.pk}", json={"text": "It left."}, **{"Idempotency-Key": "k"})
    other = world.call("POST", "/reply_email", json={"email_id": parent.pk, "text": "Else", "idempotency_key": "k"})
    assert (again.status_code, again.json()["status"], again.json()["idempotent"]) == (200, "already_sent", True)
    assert first.json()["id"] == again.json()["id"] == other.json()["id"]
    assert (other.json()["status"], other.json()["idempotency_mismatch"]) == ("queued", True)


def test_reply_and_send_do_not_share_keys(world: World):
    sent = world.send(idempotency_key="k")
    answered = reply(world, make_inbound(world), idempotency_key="k")
    assert answered.status_code == 202
    assert answered.json()["id"] != sent.json()["id"]


def test_reply_same_content_within_a_minute_is_409_and_later_is_taken(world: World):
    parent = make_inbound(world)
    first = reply(world, parent)
    second = reply(world, parent)
    assert (second.status_code, second.json()["code"]) == (409, "duplicate_content")
    assert second.json()["email_id"] == first.json()["id"]
    IdempotencyRecord.objects.update(expires_at="2020-01-01T00:00Z")
    assert reply(world, parent).status_code == 202


def test_reply_from_read_only_is_403(db: None):
    world = make_world(mode=Mode.READ_ONLY)
    answer = reply(world, make_inbound(world))
    assert (answer.status_code, answer.json()["code"]) == (403, "read_only")


def test_reply_from_autonomous_is_not_held(db: None):
    world = make_world(mode=Mode.AUTONOMOUS)
    answer = reply(world, make_inbound(world))
    assert answer.json()["oversight_status"] == "not_required"
    assert made(answer).status == Status.SCHEDULED


@pytest.mark.parametrize("status", [Status.PENDING_INBOUND_APPROVAL, Status.REJECTED])
def test_reply_to_mail_that_nobody_let_in_is_refused(world: World, status: Status):
    parent = make_inbound(world, status=status)
    assert reply(world, parent).status_code == 403
    assert world.call("POST", "/reply_email", json={"email_id": parent.pk, "body": "x"}).status_code == 403
    assert world.call("POST", "/reply_email", json={"thread_id": "t", "body": "x"}).status_code == 404
    assert Email.objects.count() == 1


def test_reply_by_foreign_sandbox_or_closed_mailbox_is_404(world: World, other: World):
    parent = make_inbound(world)
    add_key(world, "tester", ["read", "send"], prefix="mm_test_")
    assert reply(world, parent, key="tester").status_code == 404
    for path in (f"{world.base}/reply/{parent.pk}", f"{other.base}/reply/{parent.pk}"):
        assert other.call("POST", path, json={"markdown": "x"}).status_code == 404
    assert other.call("POST", "/reply_email", json={"email_id": parent.pk, "body": "x"}).status_code == 404
    Mailbox.objects.filter(pk=world.mailbox.pk).update(is_active=False)
    assert world.call("POST", "/reply_email", json={"email_id": parent.pk, "body": "x"}).status_code == 404


def test_reply_without_send_scope_is_403(world: World):
    assert reply(world, make_inbound(world), key="reader").status_code == 403


def test_reply_takes_two_statements_more_than_a_new_message(world: World):
    def statements(call: Callable[[], Any]) -> int:
        call()
        with CaptureQueriesContext(connection) as made:
            assert call().status_code == 202
        return len(made)

    # The parent, and what its files are called.
    numbers = iter(range(9))
    parent = make_inbound(world)
    assert statements(lambda: reply(world, parent, cc=f"c{next(numbers)}@x.example")) <= 2 + statements(world.send)
