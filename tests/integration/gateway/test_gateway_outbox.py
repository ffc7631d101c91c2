"""The outbox against a real mail server with all its failures: nothing is lost, nothing
is sent twice, and `hold_all` holds back what was not approved after it.
"""

import base64
import itertools
import smtplib
import socket
import threading
import time
from contextlib import suppress
from datetime import timedelta
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default as modern
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiosmtpd.smtp import AuthResult
from django.db import IntegrityError
from django.db.models.functions import Now
from django.test import TestCase
from django.utils import timezone

from common.smtp import STEP_TIMEOUT, Server, connect, connection_error
from gateway import header_lines, smtp, tasks
from gateway.header_lines import POLICY
from gateway.messages import outbox
from gateway.messages.content import AI_DISCLOSURE, fingerprint_of
from gateway.messages.submission import reply_fields
from gateway.models import (
    AuditLogEntry,
    Email,
    Mailbox,
    Suppression,
    Webhook,
)
from gateway.models.emails import OUTBOX_LEASE
from gateway.states import Direction, Mode, Status
from tests.factories import change_row
from tests.integration.gateway.servers import mail_server, scripted
from tests.integration.gateway.world import (
    add_sandbox_keys,
    catch_tasks,
    end_lease,
    event_of,
    events_of,
    leave,
    make_world,
    noted,
    refusal_of,
    status_of,
    times_noted,
    undone,
)
from tests.stack import wait_for
from upstream.events import written_time

DANA = "dana@northwind.example"


def make_due(email, **fields):
    """Make an email due, and set these fields."""
    past = timezone.now() - timedelta(seconds=1)
    change_row(email, due_at=past, **fields)


def audited(email):
    """The newest entry of the audit log about an email."""
    entry = AuditLogEntry.objects.filter(resource_id=email.pk).latest("id")
    return entry.action, entry.metadata


def test_content_type_of_a_file_leaves_with_its_parameters(world, mail_server):
    types = {
        "text/calendar; method=REQUEST": "text/calendar; method=REQUEST",
        "Text/CSV;charset=utf-8;": "text/csv;charset=utf-8",
        'text/plain; note="a; b" ;name=b.exe': 'text/plain; note="a; b" ;name=b.exe',
    }
    email = world.approved(
        attachments=[
            {"name": str(number), "content_base64": "eA==", "content_type": one}
            for number, one in enumerate(types)
        ]
    )
    kept = email.attachments.order_by("name").values_list("content_type", flat=True)
    assert list(kept) == [*types.values()]
    assert leave(email) == "sent"
    files = [one["Content-Type"] for one in mail_server.message().iter_attachments()]
    assert [(one.content_type, dict(one.params)) for one in files] == [
        ("text/calendar", {"method": "REQUEST"}),
        ("text/csv", {"charset": "utf-8"}),
        ("text/plain", {"note": "a; b"}),
    ]


def test_picture_with_a_content_id_leaves_within_the_html(world, mail_server):
    logo = {"name": "logo.png", "content_type": "image/png", "content_base64": "eA=="}
    files = [
        {"name": "a.pdf", "content_base64": "eQ=="},
        {**logo, "content_id": "<logo@1>"},
    ]
    html = '<p>Hello<img src="cid:logo@1" width="600"></p>'
    email = world.approved(html=html, attachments=files)
    rows = world.get(f"{world.base}/emails/{email.pk}")["attachments"]
    assert [row["content_id"] for row in rows] == [None, "logo@1"]
    assert leave(email) == "sent"
    message = mail_server.message()
    related = message.get_body(("related",))
    body, picture = related.iter_parts()
    assert 'src="cid:logo@1"' in body.get_content()
    assert picture["Content-ID"] == "<logo@1>"
    assert picture.get_content_disposition() == "inline"
    assert picture.get_content() == b"x"
    assert [one.get_filename() for one in message.iter_attachments()] == ["a.pdf"]
    # It is part of what was approved.
    without = world.approved(html=html, subject="2", attachments=[files[0], logo])
    with_it = world.approved(html=html, subject="2", attachments=files)
    assert fingerprint_of(without) != fingerprint_of(with_it)
    for number, wrong in enumerate(
        (
            [{**logo, "content_id": "a b"}],
            [{**files[0], "content_id": "logo"}],
            [files[1], {**files[1], "name": "2.png"}],
        )
    ):
        refused = world.send(subject=f"{number}", attachments=wrong)
        assert refusal_of(refused) == (422, "invalid_field"), wrong
        assert ".content_id: " in refused.json()["error"]


def test_long_ids_links_and_names_of_files_are_sent_whole():
    link = f"<https://desk.acme.example/{'unsubscribe/' * 20}>"
    for sign in ("x", "😀"):
        parent = Email(
            direction=Direction.OUTBOUND,
            to=[DANA],
            message_id_header=f"<{'a' * 260}@northwind.example>",
        )
        reply = reply_fields(parent, [])
        message = EmailMessage(policy=POLICY)
        message["In-Reply-To"] = reply["in_reply_to"]
        message["References"] = f"<b@x.example> {reply['references']}"
        message["List-Unsubscribe"] = link
        name = sign * 250 + ".pdf"
        message.set_content("Hello", charset="utf-8")
        message.add_attachment(
            b"", maintype="application", subtype="pdf", filename=name
        )
        written = message.as_bytes()
        assert max(map(len, written.splitlines())) <= 998
        for whole in (parent.message_id_header, link):
            assert whole.encode() in written
        read = message_from_bytes(written, policy=modern)
        (file,) = read.iter_attachments()
        assert (file.get_filename(), file.get_content()) == (name, b"")


def test_approved_mail_leaves_once_as_it_was_approved(db, mail_server):
    world = make_world(
        auto_cc="boss@acme.example",
        auto_bcc="archive@acme.example",
        signature_block="Acme Ltd",
    )
    world.listen("message.sent", "message.delivered")
    email = world.approved(
        subject="Grüße",
        markdown="# Hi\n\n.dot\n",
        attachments=[{"name": "Grüße a.pdf", "content_base64": "AAECAw=="}],
        reply_to="r@x.example",
        bcc="b@x.example",
    )
    other = world.approved()
    Mailbox.objects.update(signature_block="Changed since", display_name="Changed")
    assert [leave(email), leave(email)] == ["sent", "not due"]
    assert email.status == Status.SENT
    assert email.fate_unknown is False
    assert email.lease_until is None
    assert email.sent_at is not None
    assert status_of(other) == Status.SCHEDULED
    # The mail server accepted it and offered no delivery notifications.
    assert events_of(email.pk) == ["message.sent", "message.delivered"]
    assert audited(email)[0] == "email.sent"
    sent = noted("email.sent").metadata
    assert sent["answer"].startswith("250 ")
    assert sent["message_id"] == email.message_id_header

    (envelope,) = mail_server.taken
    message = mail_server.message()
    assert envelope.rcpt_tos == [
        DANA,
        "b@x.example",
        "boss@acme.example",
        "archive@acme.example",
    ]
    assert message["From"] == "Support <support@acme.example>"
    assert message["Cc"] == "boss@acme.example"
    assert message["Subject"] == "Grüße"
    assert message["Reply-To"] == "r@x.example"
    assert message["Bcc"] is None
    assert message["Message-ID"] == email.message_id_header
    assert message["X-AI-Generated"] == "true"
    text = message.get_body(("plain",)).get_content()
    html = message.get_body(("html",)).get_content()
    assert (
        text.splitlines()
        == f"# Hi\n\n.dot\n\n-- \nAcme Ltd\n\n{AI_DISCLOSURE}".splitlines()
    )
    assert html.startswith("<h1>Hi</h1>")
    assert html.splitlines()[-1] == f"<p>{AI_DISCLOSURE}</p>"
    (file,) = message.iter_attachments()
    assert file.get_filename() == "Grüße a.pdf"
    assert file.get_content() == b"\x00\x01\x02\x03"


def test_held_rejected_and_cancelled_mail_never_leaves(world, mail_server):
    held, rejected = world.held(), world.held()
    cancelled = world.approved().pk
    world.decide(rejected, "reject")
    Email.objects.filter(pk=cancelled).update(attempts=1)
    world.post(f"{world.base}/emails/{cancelled}/cancel")
    for email_id in (held, rejected, cancelled):
        assert leave(email_id) == "not due"
    assert mail_server.seen == 0
    with pytest.raises(IntegrityError, match="email_gated_leaves_approved"):
        Email.objects.filter(pk=held).update(status=Status.SENT)


def test_additions_to_undecided_mail_are_fixed_at_its_first_attempt(free, mail_server):
    Mailbox.objects.update(auto_bcc="archive@acme.example")
    email = Email.objects.get(pk=free.held())
    mail_server.mood = "busy"
    assert leave(email) == "put off"
    Mailbox.objects.update(auto_bcc="evil@x.example")
    make_due(email)
    mail_server.mood = "ok"
    assert leave(email) == "sent"
    assert mail_server.taken[0].rcpt_tos == [DANA, "archive@acme.example"]


def test_one_refused_recipient_bounces_and_the_others_get_it(listening, mail_server):
    unverified = "eve@northwind.example"
    mail_server.refuse = {
        "gone@x.example": "550 no such user",
        unverified: "252 2.1.5 Cannot verify, but will try",
    }
    email = listening.approved(to=[DANA, "gone@x.example", unverified])
    assert leave(email) == "sent"
    assert email.status == Status.SENT
    assert email.bounced_at == email.sent_at
    assert email.refused_recipients == {"gone@x.example": [550, "no such user"]}
    assert mail_server.taken[0].rcpt_tos == [DANA]
    assert events_of(email.pk) == [
        "message.sent",
        "message.delivered",
        "message.bounced",
    ]
    event = event_of("message.bounced")
    assert event["bounce_type"] == email.bounce_type == "recipient_refused"
    assert event["bounce_code"] == 550
    assert event["diagnostic"] == "no such user"
    assert event["bounced_recipients"] == ["gone@x.example"]
    assert noted("email.sent").metadata["refused"] == 1


@pytest.mark.slow
def test_refused_mail_fails_bounces_and_is_not_retried(listening, mail_server):
    both = [DANA, "b@x.example"]
    email = listening.approved(to=both)
    with undone():
        # The message itself is refused: it reaches nobody.
        mail_server.mood = "refuse message"
        assert leave(email) == "failed"
        data = event_of("message.bounced")
        assert data["bounce_type"] == "message_refused"
        assert data["bounce_code"] is None
        assert data["bounced_recipients"] == both
    mail_server.mood = "ok"
    for reply in ("550 5.1.1 relay says: no such user", "552 5.2.2 full"):
        with undone():
            mail_server.refuse = dict.fromkeys(both, reply)
            assert leave(email) == "failed", reply
    mail_server.refuse = dict.fromkeys(both, "550 no such user")
    assert [leave(email), leave(email)] == ["failed", "not due"]
    assert email.status == Status.SEND_FAILED
    assert email.bounce_type == "recipient_refused"
    assert email.due_at is None
    assert email.bounced_at is not None
    assert events_of(email.pk) == ["message.bounced", "message.failed"]
    assert noted("email.send_failed").metadata["permanent"] is True


def test_name_that_the_server_gives_to_a_message_is_kept(free, mail_server):
    for answer, name in {
        "250 Ok 010f0193-0001": "010f0193-0001",
        "250 2.0.0 Ok: queued as 4XyZ1234": "4XyZ1234",
        "250 OK id=1t2abc-000abc-1X": "1t2abc-000abc-1X",
        "250 2.0.0 OK ef6e1f86a16411ef8a5442010a7c0015": "ef6e1f86a16411ef8a5442010a7c0015",
        # Google names the time first.
        "250 2.0.0 OK  1731389794 ffacd0b85a97d-381ed97 - gsmtp": "",
        "250 OK": "",
        "250 2.0.0 OK, delivered quickly": "",
    }.items():
        mail_server.accepts = answer
        email = Email.objects.get(pk=free.held(markdown=answer))
        assert leave(email) == "sent"
        assert email.relay_id == name, answer


def test_message_that_would_leave_otherwise_than_approved_is_not_sent(
    listening, mail_server, monkeypatch
):
    email = listening.approved(subject="3 450 € für März")
    with monkeypatch.context() as patched:
        patched.setattr(header_lines, "_readable", lambda text: "3450 EUR")
        assert leave(email) == "failed"
    assert (email.status, email.bounced_at) == (Status.SEND_FAILED, None)
    assert "its subject would be '3450 EUR'" in email.last_error
    assert mail_server.mails == 0


# Refusals of a recipient that say nothing about it, as relays of other products got them.
ABOUT_US = (
    "554 5.7.1 <dana@northwind.example>: Relay access denied",
    "550 relay not permitted",
    "504 5.5.2 <build7>: Helo command rejected: need fully-qualified hostname",
    "553 5.7.1 <ana@acme.example>: Sender address rejected: not owned by user",
    "550 5.1.8 sender domain not found",
    "554 5.7.1 blocked",
    "550 5.4.5 Daily sending quota exceeded",
    "450 5.1.1 try again",
    "550 5.2.1 The user you write to is receiving mail at a rate that prevents more",
)
# Refusals of a message that say nothing about it.
ABOUT_US_AT_THE_END = (
    "554 5.2.252 SendAsDenied; ana@acme.example not allowed to send as bo@acme.example",
    "550 5.7.60 SMTP; Client does not have permissions to send as this sender",
    "554 5.2.0 STOREDRV.Submission.Exception:SubmissionQuotaExceededException",
    "554 5.7.0 The limit on outgoing messages was exceeded. Try again later.",
    "550 mail rejected: exceeded hour limit",
    "550 5.7.515 Access denied, acme.example lacks the required authentication level",
)


def test_mail_is_retried_if_the_server_accepted_nothing(listening, mail_server, caplog):
    email = listening.approved()
    for mood, refuse in (
        ("busy", ""),
        ("sign in", ""),
        ("hang up", ""),
        ("defer message", ""),
        *(("ok", reply) for reply in ABOUT_US),
    ):
        with undone():
            mail_server.mood = mood
            mail_server.refuse = {DANA: refuse} if refuse else {}
            assert [leave(email), leave(email)] == ["put off", "not due"], mood
            assert email.status == Status.SCHEDULED
            assert email.bounced_at is None
            assert email.data_attempted_at is None
            assert refuse in email.last_error
            assert 9 < (cast(Any, email.due_at) - timezone.now()).total_seconds() < 13
            make_due(email)
            assert Email.objects.in_outbox().filter(pk=email.pk).exists()
            assert mail_server.taken == []
    mail_server.mood = "ok"
    mail_server.refuse = {}
    for reply in ABOUT_US_AT_THE_END:
        with undone():
            mail_server.accepts = reply
            assert leave(email) == "put off", reply
            assert email.bounced_at is None
            assert reply in email.last_error
    mail_server.accepts = "250 OK"
    assert leave(email) == "sent"
    # The log names no recipient.
    assert DANA not in str([vars(one) for one in caplog.records])


# What servers answer to a recipient whom they would take in another transaction.
TOO_MANY = (
    "452 4.5.3 Too many recipients",
    "552 5.5.3 Maximum limit of 2 recipients reached",
    "451 4.3.0 Multiple destination domains per transaction is unsupported.",
)


@pytest.mark.parametrize("reply", TOO_MANY)
def test_recipients_beyond_a_servers_limit_get_the_message_at_once(
    listening, mail_server, reply
):
    mail_server.most = 2
    mail_server.too_many = reply
    mail_server.refuse = {"p3@x.example": "550 5.1.1 no such user"}
    people = [f"p{number}@x.example" for number in range(7)]
    email = listening.approved(to=people[:4], cc=people[4:])
    assert [leave(email), leave(email)] == ["sent", "not due"]
    assert list(email.refused_recipients) == ["p3@x.example"]
    taken = [one.rcpt_tos for one in mail_server.taken]
    assert taken == [people[:2], [people[2], people[4]], people[5:]]
    assert len({one.content for one in mail_server.taken}) == 1
    event = event_of("message.bounced")
    assert event["bounced_recipients"] == ["p3@x.example"]


def test_nobody_gets_a_message_before_all_recipients_are_asked(
    listening, mail_server, monkeypatch
):
    mail_server.most = 1
    mail_server.too_many = TOO_MANY[0]
    people = [f"p{number}@x.example" for number in range(3)]
    email = listening.approved(to=people)
    connect = smtp.connect

    def refuse(server):
        if mail_server.mails == 1:
            raise smtplib.SMTPConnectError(421, "one at a time")
        return connect(server)

    for refused, most, sessions in (
        ({people[2]: "451 greylisted"}, 10, connect),
        ({}, 0, connect),
        ({}, 10, refuse),
    ):
        mail_server.mails = 0
        mail_server.refuse = refused
        monkeypatch.setattr(smtp, "MOST_SESSIONS", most)
        monkeypatch.setattr(smtp, "connect", sessions)
        with undone():
            assert leave(email) == "put off"
        with undone():
            # As for others who are refused for now, for a limited time.
            mail_server.mails = 0
            make_due(email, attempts=outbox.ATTEMPTS_FOR_ALL)
            assert leave(email) == "sent"
            assert people[2] in email.refused_recipients
            assert people[0] not in email.refused_recipients
        assert mail_server.taken.pop(0).rcpt_tos == people[:1]
        mail_server.taken.clear()


def test_message_that_some_have_is_not_offered_again(
    listening, mail_server, monkeypatch
):
    mail_server.most = 1
    mail_server.too_many = TOO_MANY[0]
    people = [f"p{number}@x.example" for number in range(3)]
    email = listening.approved(to=people)
    offer = smtp._offer
    outcomes = []
    monkeypatch.setattr(smtp, "_offer", lambda *given: outcomes.pop(0)(*given))

    def refuse(*given):
        raise smtp.HandoverFailed("550 5.1.1 no such user", permanent=True)

    def lose(*given):
        raise smtp.FateUnknown("no answer")

    with undone():
        outcomes += [offer, refuse, offer]
        assert [leave(email), leave(email)] == ["sent", "not due"]
        reply = [450, "only others have it: 550 5.1.1 no such user"]
        assert email.refused_recipients == {people[1]: reply}
        assert not Suppression.objects.exists()
        assert [one.rcpt_tos for one in mail_server.taken] == [people[:1], people[2:]]
    with undone():
        outcomes += [refuse]
        assert leave(email) == "failed"
    with undone():
        outcomes += [offer, lose]
        assert [leave(email), leave(email)] == ["unknown", "not due"]

    def fragile(server):
        session = connect(server)

        def close():
            smtplib.SMTP.close(session)
            raise OSError("broken")

        session.close = close
        return session

    # Closing the sessions fails, and nobody gets it again.
    monkeypatch.setattr(smtp, "connect", fragile)
    outcomes += [offer, offer, offer]
    assert [leave(email), leave(email)] == ["sent", "not due"]


def test_connection_that_ends_within_the_message_leaves_the_server_with_nothing():
    answers = (b"250 mx.example", b"250 OK", b"250 OK", b"354 go ahead")
    with scripted(*answers) as (port, _), pytest.raises(smtp.HandoverFailed) as failed:
        smtp.hand_over(
            Server("127.0.0.1", port, "", "", False, "off"),
            "ana@acme.example",
            [DANA],
            b"x" * 70 + b"\r\n" * 10_000_000,
            accept_partial=False,
            before_message=lambda: True,
        )
    assert not failed.value.permanent


def test_size_is_told_before_the_message(db, settings):
    with mail_server(data_size_limit=2_000) as server:
        settings.EMAIL_URL = server.url
        email = make_world().approved(markdown="x" * 2_000)
        assert leave(email) == "failed"
        assert server.mails == 0


def test_answers_with_characters_that_cannot_be_stored(listening, mail_server):
    email = listening.approved(to=[DANA, "eve@x.example"])
    mail_server.refuse = {DANA: "550 5.1.1 no\0such user"}
    with undone():
        mail_server.accepts = "450 later\0"
        assert leave(email) == "put off"
    mail_server.accepts = "250 OK"
    assert leave(email) == "sent"
    assert email.refused_recipients == {DANA: [550, "5.1.1 no\ufffdsuch user"]}


def test_servers_have_time_to_answer(monkeypatch):
    # They scan for up to a minute, and some wait before each answer.
    assert smtp.ANSWER_TIMEOUT >= 60
    assert STEP_TIMEOUT > 11
    both = timedelta(seconds=smtp.MESSAGE_TIMEOUT + smtp.ANSWER_TIMEOUT)
    assert both < OUTBOX_LEASE
    clock = itertools.count(0, 0.3)
    people = [f"p{number}@x.example" for number in range(150)]
    with mail_server() as server:
        to = Server.from_url(server.url)
        # Each recipient takes a third of a second.
        monkeypatch.setattr(
            smtp, "time", SimpleNamespace(monotonic=lambda: next(clock))
        )
        smtp.hand_over(
            to, DANA, people, b"x", accept_partial=False, before_message=lambda: True
        )
    assert server.taken[0].rcpt_tos == people


def test_sign_in_with_login_alone_waits_for_each_question():
    def is_asked(*answers, user):
        greeting = b"250-mx.example\r\n250 AUTH LOGIN"
        with (
            scripted(greeting, *answers) as (port, lines),
            suppress(smtplib.SMTPException),
        ):
            connect(Server("127.0.0.1", port, user, "pw", False, "off")).close()
        return [base64.b64decode(one).decode() for one in lines[-3:-1]]

    user, password = b"334 VXNlcm5hbWU6", b"334 UGFzc3dvcmQ6"
    # A server that does not read what follows AUTH LOGIN.
    assert is_asked(
        user, password, b"535 no", user, password, b"235 OK", user="ana"
    ) == ["ana", "pw"]
    assert is_asked(user, password, b"235 OK", user="anä") == ["anä", "pw"]


def test_sign_in_takes_any_letters_and_the_greeting_a_name():
    seen = []

    def accept(server, session, envelope, mechanism, data):
        seen.append((session.host_name, data.login.decode(), data.password.decode()))
        return AuthResult(success=True)

    with mail_server(authenticator=accept, auth_require_tls=False) as server:
        address = server.url.removeprefix("smtp://")
        for user in ("ana", "an%C3%A4"):
            url = f"smtp://{user}:p%C3%A4ssw%C3%B6rt@{address}?name=desk.example.com"
            assert connection_error(url) == ""
    assert seen == [("desk.example.com", user, "pässwört") for user in ("ana", "anä")]


@pytest.mark.slow
def test_server_may_greet_late():
    """As postscreen of Postfix does, after six seconds."""
    said = []

    def greet():
        client, _ = listening.accept()
        time.sleep(6)
        with client, client.makefile("rwb") as lines:
            lines.write(b"220 mx.example\r\n")
            lines.flush()
            said.append(lines.readline()[:4])
            lines.write(b"250 mx.example\r\n")
            lines.flush()
            lines.readline()

    with socket.create_server(("127.0.0.1", 0)) as listening:
        threading.Thread(target=greet, daemon=True).start()
        connect(
            Server("127.0.0.1", listening.getsockname()[1], "", "", False, "off")
        ).close()
    assert said == [b"ehlo"]


@pytest.mark.parametrize(
    "mood", ["drop", "garble", pytest.param("stall", marks=pytest.mark.slow)]
)
def test_lost_response_after_the_data_is_fate_unknown_and_never_retried(
    listening, mail_server, monkeypatch, mood
):
    monkeypatch.setattr(smtp, "ANSWER_TIMEOUT", 0.5)
    mail_server.mood = mood
    email = listening.approved()
    assert leave(email) == "unknown"
    assert email.status == Status.SENT
    assert email.fate_unknown is True
    assert email.sent_at is None
    assert email.due_at is None
    assert audited(email)[0] == "email.fate_unknown"
    assert audited(email)[1]["reason"] == email.last_error != ""
    assert events_of(email.pk) == []
    make_due(email)
    assert leave(email) == "not due"
    wait_for(lambda: mail_server.seen == 1, 60, "the message at the mail server")


def test_worker_dead_after_the_checkpoint_is_fate_unknown(listening, mail_server):
    email = listening.approved()
    free = listening.approved()
    worker = Email.objects.claim(email.pk)
    # No message is sent twice, and a worker that lost its claim sends none.
    assert [outbox._checkpoint(worker, has_return_address=False) for _ in range(2)] == [
        True,
        False,
    ]
    assert outbox.settle_lost() == 0
    Email.objects.claim(free.pk)
    for one in (email, free):
        end_lease(one)
    assert leave(email) == "not due"
    assert outbox.settle_lost() == 1
    email.refresh_from_db()
    assert email.status == Status.SENT
    assert email.fate_unknown is True
    assert events_of(email.pk) == []
    assert status_of(free) == Status.SCHEDULED
    # The response arrives late.
    outbox._record_sent(worker, smtp.HandoverResult({}, reports_delivery=False))
    email.refresh_from_db()
    assert email.fate_unknown is False
    assert email.last_error == ""
    assert events_of(email.pk) == ["message.sent", "message.delivered"]


def test_late_worker_loses_its_claim_and_sends_no_events(listening, mail_server):
    email = listening.approved()
    asleep = Email.objects.claim(email.pk)
    assert leave(email) == "not due"
    end_lease(email)
    asleep.additions = {}
    assert outbox._attempt(asleep) == "lease lost"
    assert leave(email) == "sent"
    assert outbox._attempt(asleep) == "lease lost"
    outbox._record_sent(asleep, smtp.HandoverResult({}, reports_delivery=False))
    outbox._fail(asleep, "too late")
    assert not outbox._write_off(asleep, "too late")
    assert status_of(email) == Status.SENT
    assert events_of(email.pk) == ["message.sent", "message.delivered"]
    assert len(mail_server.taken) == 1


def test_sandbox_mail_is_announced_and_never_leaves(listening, mail_server, settings):
    add_sandbox_keys(listening)
    Webhook.objects.update(include_sandbox=True)
    email = Email.objects.get(pk=listening.held(key="tester"))
    live = listening.approved()
    assert listening.decide(email.pk, key="test desk").status_code == 200
    # Neither a missing server nor one that is backing off delays it.
    settings.EMAIL_URL = ""
    smtp.State.asked_again_at = 1e9
    assert leave(live) == "no mail server"
    live.refresh_from_db()
    assert (live.status, live.attempts) == (Status.SCHEDULED, 0)
    # The desk is told why.
    assert "EMAIL_URL" in live.last_error
    asleep = Email.objects.claim(email.pk)
    asleep.attempts += 1
    assert outbox._simulate(asleep) == "lease lost"
    end_lease(email)
    assert leave(email) == "pretended"
    assert email.status == Status.SENT
    assert email.delivered_at == email.sent_at
    assert audited(email)[1]["simulated"] is True
    assert events_of(email.pk) == ["message.sent", "message.delivered"]
    assert mail_server.seen == 0


def hold(world, on=True):
    answer = world.patch("/v1/account", hold_all=on)
    assert answer.status_code == 200, answer.content
    return answer.json()


def hold_before_the_next_attempt(world, monkeypatch):
    """Set the switch after the worker has claimed an email and before it has contacted
    the mail server.
    """
    connect = smtp.hand_over

    def hold_first(*arguments, **options):
        monkeypatch.setattr(smtp, "hand_over", connect)
        hold(world)
        return connect(*arguments, **options)

    monkeypatch.setattr(smtp, "hand_over", hold_first)


def test_hold_all_holds_back_earlier_approvals_until_it_is_lifted(
    world, other, mail_server, monkeypatch
):
    add_sandbox_keys(world)
    tried = world.held(key="tester")
    email = world.approved()
    world.decide(tried, key="test desk")
    assert hold(world)["hold_all"] is True
    assert [leave(email), leave(tried)] == ["not due", "not due"]
    tasks.sweep()
    assert status_of(email) == Status.SCHEDULED
    assert mail_server.seen == 0
    assert leave(other.approved()) == "sent"

    sent = []
    catch_tasks(monkeypatch, sent.append)
    with TestCase.captureOnCommitCallbacks(execute=True):
        assert hold(world, False)["hold_all"] is False
    assert sorted(sent) == sorted(
        ("gateway.tasks.send_email", one) for one in (tried, email.pk)
    )
    assert [leave(email), leave(tried)] == ["sent", "pretended"]
    assert noted("account.hold_all_on").pk < noted("account.hold_all_off").pk


def test_approved_mail_of_a_mailbox_that_became_read_only_waits(world, mail_server):
    email = world.approved()
    claimed = Email.objects.leased_by(Email.objects.claim(email.pk))
    for mode, may_leave in ((Mode.READ_ONLY, False), (Mode.GATED_SEND, True)):
        # The mode changed between the claim and the contact with the mail server.
        Mailbox.objects.update(oversight_mode=mode)
        assert claimed.may_be_sent().exists() is may_leave
    waiting = world.approved()
    Mailbox.objects.update(oversight_mode=Mode.READ_ONLY)
    assert leave(waiting) == "not due"
    assert not Email.objects.in_outbox().exists()


def test_hold_all_set_after_the_claim_still_holds_undecided_mail(
    world, free, mail_server, monkeypatch
):
    email = world.approved()
    undecided = free.held()
    hold_before_the_next_attempt(world, monkeypatch)
    assert leave(email) == "lease lost"
    assert status_of(email) == Status.SCHEDULED
    hold_before_the_next_attempt(free, monkeypatch)
    assert [leave(undecided), leave(undecided)] == ["lease lost", "asked"]
    assert mail_server.seen == 0
    hold(world, False)
    # It does not wait for the lease of the stopped attempt.
    assert leave(email) == "sent"


def test_approved_mail_is_not_sent_after_its_approval_has_ended(world, mail_server):
    end = "2099-01-01T00:00:00Z"
    in_time, late, claimed = (world.held() for _ in range(3))
    for email_id in (in_time, late, claimed):
        assert world.decide(email_id, leave_by=end).status_code == 200
    assert leave(in_time) == "sent"
    attempt = Email.objects.claim(claimed)
    Email.objects.filter(pk__in=(late, claimed)).update(leave_by=Now())
    assert leave(late) == "failed"
    assert "its approval ended" in Email.objects.get(pk=late).last_error
    # It ended between the claim and the contact with the mail server.
    assert outbox._attempt(attempt) == "lease lost"
    assert leave(claimed) == "failed"
    assert mail_server.seen == 1


def test_approval_ends_with_the_expiry_and_is_none_for_a_time_after_it(world):
    end = "2098-01-01T00:00:00Z"
    now, later = world.held(), world.held(send_at="2099-01-01T00:00:00Z")
    for email_id in (now, later):
        expiry = {"email_id": email_id, "expires_at": end}
        assert (
            world.post("/v1/oversight/expiry", key="desk", **expiry).status_code == 200
        )
    refused = world.decide(later)
    assert (refused.status_code, refused.json()["code"]) == (409, "approval_expired")
    assert world.decide(now).status_code == 200
    assert Email.objects.get(pk=now).leave_by.year == 2098


def test_hold_all_beats_what_was_pressed_before_it(world, mail_server):
    email_id = world.held()
    pressed = timezone.now() - timedelta(seconds=5)
    hold(world)
    refused = world.decide(email_id, pressed_at=written_time(pressed))
    assert (refused.status_code, refused.json()["code"]) == (409, "held_since")
    assert refused.json()["status"] == status_of(email_id) == "pending_send_approval"
    # A time in the future counts as now.
    assert world.decide(email_id, pressed_at="2099-01-01T00:00:00Z").status_code == 200
    hold(world)
    assert leave(email_id) == "not due"
    assert mail_server.seen == 0


def stop(world, *mailboxes, key="desk"):
    path = "/v1/oversight/stopped"
    return world.put(path, key=key, mailboxes=[one.pk for one in mailboxes])


def test_approved_mail_of_a_stopped_mailbox_waits_until_it_is_released(
    world, free, mail_server
):
    add_sandbox_keys(world)
    assert stop(world, world.mailbox, key="agent").status_code == 403
    assert stop(world, world.mailbox, key="test desk").status_code == 403
    before = world.approved()
    claimed = Email.objects.leased_by(Email.objects.claim(world.approved().pk))
    for _ in range(2):
        assert stop(world, world.mailbox).status_code == 200
    meanwhile = world.approved()
    assert [leave(before), leave(meanwhile)] == ["not due", "not due"]
    assert not claimed.may_be_sent().exists()
    assert times_noted("mailboxes.stopped") == 1
    # Nobody stopped what needs no approval, nor another account.
    assert stop(free, world.mailbox).status_code == 200
    assert leave(free.held()) == "sent"
    assert mail_server.seen == 1
    assert stop(world).status_code == 200
    assert [leave(before), leave(meanwhile)] == ["sent", "sent"]
    assert claimed.may_be_sent().exists()


@pytest.mark.slow
def test_hold_all_holds_due_mail_that_nobody_decided(free, mail_server):
    free.listen("oversight.pending")
    email_id = free.held(send_at="2099-01-01T00:00:00Z")
    hold(free)
    Email.objects.update(due_at=Now())
    assert leave(email_id) == "asked"
    assert status_of(email_id) == Status.PENDING_SEND_APPROVAL
    assert events_of(email_id) == ["oversight.pending"]
    # It stays held when `hold_all` ends, and is sent once somebody has approved it.
    hold(free, False)
    assert leave(email_id) == "not due"
    free.decide(email_id)
    Email.objects.update(due_at=Now())
    assert leave(email_id) == "sent"
