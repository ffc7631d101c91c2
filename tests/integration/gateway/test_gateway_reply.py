"""Replies: their recipients, their thread, and that they are accepted and refused like
new messages.
"""

import pytest

from gateway.models import Email, Mailbox
from gateway.states import Status
from tests.integration.gateway.world import (
    add_sandbox_keys,
    bad_field_of,
    leave,
    make_inbound,
    refusal_of,
)


def reply(world, email, key="agent", **fields):
    """Reply by the path that the SDK uses."""
    body = {"markdown": "It left.", **fields}
    return world.post(f"{world.base}/reply/{email.pk}", key, **body)


def reply_flat(world, **body):
    return world.post("/reply_email", **body)


def made(answer):
    assert answer.status_code == 202, answer.content
    return Email.objects.get(pk=answer.json()["id"])


def test_reply_subject_has_one_re_and_is_safe(world):
    subjects = {
        "re[2]: Hello": "re[2]: Hello", "Regarding it": "Re: Regarding it", "x" * 998: "Re: " + "x" * 994,
        "a\r\nBcc: evil@x.example": "Re: a Bcc: evil@x.example", "=?utf-8?q?other?=": "Re: = ?utf-8?q?other?=",
    }  # fmt: skip
    parents = {one: make_inbound(world, subject=one) for one in subjects}
    answers = {
        one: reply(world, parent, markdown=f"To {parent.pk}")
        for one, parent in parents.items()
    }
    assert {one: made(answer).subject for one, answer in answers.items()} == subjects


def test_reply_goes_to_reply_to_or_sender_and_for_own_mail_to_its_recipients(world):
    parent = make_inbound(world, reply_to="desk@northwind.example")
    email = made(reply(world, parent, cc=["c@x.example"], bcc="b@x.example"))
    assert email.to == ["desk@northwind.example"]
    assert email.cc == ["c@x.example"]
    assert email.bcc == ["b@x.example"]
    own = Email.objects.get(
        pk=world.held(to=["a@x.example", "b@x.example"], cc=["c@x.example"])
    )
    email = made(reply(world, own))
    assert email.to == ["a@x.example", "b@x.example"]
    assert email.cc == []
    assert email.in_reply_to == own.message_id_header
    email = made(reply_flat(world, thread_id=own.thread_id, body="One more thing."))
    assert email.to == own.to
    assert email.thread_id == own.thread_id
    for address in ("", "not an address", "MAILER-DAEMON"):
        answer = reply(world, make_inbound(world, from_address=address))
        assert refusal_of(answer) == (422, "no_reply_address"), address


@pytest.mark.slow
def test_reply_references_stay_bounded_and_leave_out_an_unusable_id(world):
    for header in ("no id", f"<{'x' * 280}@x.example>", "<=?utf-8?q?a?=@x.example>"):
        parent = make_inbound(world, message_id_header=header)
        email = made(reply(world, parent, markdown=header[:9]))
        assert email.in_reply_to == "", header
        assert email.references == "", header
        assert email.thread_id == parent.thread_id, header
    line = " ".join(f"<{number}@x.example>" for number in range(200))
    email = made(
        reply(
            world,
            make_inbound(world, references=line, message_id_header="<last@x.example>"),
        )
    )
    ids = email.references.split()
    assert len(ids) == 20
    assert ids[0] == "<0@x.example>"
    assert ids[-2:] == ["<199@x.example>", "<last@x.example>"]


def test_reply_is_sent_with_its_headers_and_files(world, mail_server):
    parent = make_inbound(
        world,
        references="<root@x.example>",
        message_id_header=f"<{'q' * 150}@x.example>",
    )
    email = made(
        reply(
            world, parent, attachments=[{"name": "a b.txt", "content_base64": "eA=="}]
        )
    )
    world.decide(email.pk)
    assert leave(email) == "sent"
    message = mail_server.message()
    assert message["In-Reply-To"] == parent.message_id_header
    assert message["References"].split() == [
        "<root@x.example>",
        parent.message_id_header,
    ]
    assert message["Subject"] == f"Re: {parent.subject}"
    assert [part.get_filename() for part in message.iter_attachments()] == ["a b.txt"]


def test_flat_reply_without_a_known_parent_is_refused(world):
    parent = make_inbound(world)
    for body, status in (
        ({}, 422),
        ({"thread_id": "none"}, 404),
        ({"email_id": "none"}, 404),
        ({"thread_id": "t", "body": ""}, 422),
        ({"thread_id": "t", "mailbox": "else@acme.example"}, 404),
        ({"thread_id": "t", "cc": ["a@x.example\nBcc: b@x.example"]}, 422),
        ({"thread_id": "t", "send_at": "2001-01-01T00:00:00Z"}, 422),
    ):
        assert reply_flat(world, **{"body": "x", **body}).status_code == status, body
    answer = reply_flat(world, email_id=parent.pk, thread_id="another", body="x")
    assert bad_field_of(answer) == (422, "thread_id")
    assert Email.objects.count() == 1


def test_reply_to_unapproved_inbound_mail_or_the_other_kind_is_refused(world):
    add_sandbox_keys(world)
    assert (
        reply(world, make_inbound(world, thread_id="live"), key="tester").status_code
        == 404
    )
    for status in (Status.PENDING_INBOUND_APPROVAL, Status.REJECTED):
        parent = make_inbound(world, status=status)
        assert reply(world, parent).status_code == 403, status
        assert reply_flat(world, email_id=parent.pk, body="x").status_code == 403, (
            status
        )
        assert reply_flat(world, thread_id="t", body="x").status_code == 404, status
    Mailbox.objects.update(is_active=False)
    assert reply_flat(world, thread_id="live", body="x").status_code == 404
    assert not Email.objects.filter(direction="outbound").exists()
