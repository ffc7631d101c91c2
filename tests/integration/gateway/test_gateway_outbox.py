"""The outbox against a real mail server with all its failures: nothing is lost, nothing
is sent twice.
"""

import json
from datetime import timedelta
from typing import Any, cast

import pytest
from django.db import IntegrityError
from django.utils import timezone

from gateway import smtp
from gateway import smtp as memory
from gateway.messages import outbox
from gateway.messages.content import AI_DISCLOSURE
from gateway.models import AuditLogEntry, Email, Mailbox, Webhook, WebhookDelivery
from gateway.states import Mode, Status
from gateway.timestamps import iso
from tests.integration.gateway.world import (
    add_sandbox_keys,
    events_of,
    leave,
    make_world,
    noted,
    status_of,
    undone,
)
from tests.stack import wait_for

DANA = "dana@northwind.example"
PAST = timedelta(seconds=-1)


@pytest.fixture
def listening(world):
    world.listen(
        "message.sent", "message.delivered", "message.bounced", "message.failed"
    )
    return world


def make_due(email):
    Email.objects.filter(pk=email.pk).update(due_at=timezone.now() + PAST)


def end_lease(email):
    Email.objects.filter(pk=email.pk).update(lease_until=timezone.now() + PAST)


def tried(email, attempts):
    """Set the number of earlier attempts, and make the next one due."""
    Email.objects.filter(pk=email.pk).update(
        attempts=attempts, due_at=timezone.now() + PAST
    )


def claimed(email):
    claimed_email = Email.objects.claim(email.pk)
    assert claimed_email is not None
    return claimed_email


def event_of(name):
    """The data of the only event with this name."""
    return cast(
        dict[str, Any], json.loads(bytes(WebhookDelivery.objects.get(event=name).body))
    )


def audited(email):
    """The newest entry of the audit log about an email."""
    entry = AuditLogEntry.objects.filter(resource_id=email.pk).latest("id")
    return entry.action, entry.metadata


def logged(caplog, message):
    """The last log record with this message."""
    return vars(
        [record for record in caplog.records if record.getMessage() == message][-1]
    )


def test_approved_mail_leaves_once_as_it_was_approved(db, mail_server):
    world = make_world(
        auto_cc="boss@acme.example",
        auto_bcc="archive@acme.example",
        signature_block="Acme Ltd",
    )
    world.listen("message.sent", "message.delivered")
    files = [
        {
            "name": "Grüße a.pdf",
            "content_type": "application/pdf",
            "content_base64": "AAECAw==",
        }
    ]
    email = world.approved(
        subject="Grüße",
        markdown="# Hi\n\n.dot\n",
        attachments=files,
        reply_to="r@x.example",
        bcc="b@x.example",
    )
    other = world.approved()
    Email.objects.filter(pk=other.pk).update(attempts=1)
    Mailbox.objects.filter(pk=world.mailbox.pk).update(
        signature_block="Changed since", display_name="Changed"
    )
    assert [leave(email), leave(email)] == ["sent", "not due"]
    email.refresh_from_db()
    assert email.status == Status.SENT
    assert email.fate_unknown is False
    assert email.last_error == ""
    assert email.lease_until is None
    assert email.bounced_at is None
    assert email.sent_at is not None
    assert status_of(other) == Status.SCHEDULED
    # The mail server accepted it and offered no delivery notifications.
    assert events_of(email.pk) == ["message.sent", "message.delivered"]
    assert audited(email)[0] == "email.sent"
    assert audited(email)[1]["refused"] == 0

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
    text = message.get_body(("plain",))
    html = message.get_body(("html",))
    assert text.get_content().splitlines() == [
        "# Hi",
        "",
        ".dot",
        "",
        "-- ",
        "Acme Ltd",
        "",
        AI_DISCLOSURE,
    ]
    assert html.get_content().startswith("<h1>Hi</h1>")
    assert html.get_content().splitlines()[-3:] == [
        "Acme Ltd</p>",
        "",
        f"<p>{AI_DISCLOSURE}</p>",
    ]
    assert message["X-AI-Generated"] == "true"
    (file,) = message.iter_attachments()
    assert file.get_filename() == "Grüße a.pdf"
    assert file.get_content() == b"\x00\x01\x02\x03"


def test_held_rejected_and_cancelled_mail_never_leaves(world, mail_server):
    held = world.held()
    rejected = world.held()
    cancelled = world.approved()
    world.decide(rejected, "reject")
    Email.objects.filter(pk=cancelled.pk).update(attempts=1)
    world.post(f"{world.base}/emails/{cancelled.pk}/cancel")
    assert [leave(email_id) for email_id in (held, rejected, cancelled)] == [
        "not due"
    ] * 3
    assert mail_server.seen == 0
    with pytest.raises(IntegrityError, match="email_gated_leaves_approved"):
        Email.objects.filter(pk=held).update(status=Status.SENT)


def test_additions_to_undecided_mail_are_fixed_at_its_first_attempt(db, mail_server):
    world = make_world(mode=Mode.AUTONOMOUS, auto_bcc="archive@acme.example")
    email = Email.objects.get(pk=world.held())
    mail_server.mood = "busy"
    assert leave(email) == "put off"
    Mailbox.objects.update(auto_bcc="evil@x.example")
    make_due(email)
    mail_server.mood = "ok"
    assert leave(email) == "sent"
    assert mail_server.taken[0].rcpt_tos == [DANA, "archive@acme.example"]


def test_one_refused_recipient_bounces_and_the_others_get_it(listening, mail_server):
    mail_server.refuse = {"gone@x.example": "550 no such user"}
    email = listening.approved(to=[DANA, "gone@x.example"])
    assert leave(email) == "sent"
    email.refresh_from_db()
    assert email.status == Status.SENT
    assert email.bounce_type == "recipient_refused"
    assert email.bounced_at == email.sent_at
    assert email.sent_at is not None
    assert email.refused_recipients == {"gone@x.example": [550, "no such user"]}
    assert mail_server.taken[0].rcpt_tos == [DANA]
    assert events_of(email.pk) == [
        "message.sent",
        "message.delivered",
        "message.bounced",
    ]
    event = event_of("message.bounced")
    assert event["bounce_type"] == "recipient_refused"
    assert event["bounce_code"] == 550
    assert event["diagnostic"] == "no such user"
    assert event["bounced_recipients"] == ["gone@x.example"]
    assert event["timestamp"] == iso(email.bounced_at)
    assert noted("email.sent").metadata["refused"] == 1


def test_refused_mail_fails_bounces_and_is_not_retried(
    listening, mail_server, caplog, sent_tasks, django_capture_on_commit_callbacks
):
    email = listening.approved(to=[DANA, "b@x.example"])
    with undone():
        # The message itself is refused: it reaches nobody.
        mail_server.mood = "refuse message"
        assert leave(email) == "failed"
        email.refresh_from_db()
        assert email.status == Status.SEND_FAILED
        assert email.bounce_type == "message_refused"
        data = event_of("message.bounced")
        assert data["bounce_type"] == "message_refused"
        assert data["bounce_code"] is None
        assert email.refused_recipients == {}
        assert data["diagnostic"] == "554 not with this content"
        assert data["bounced_recipients"] == [DANA, "b@x.example"]
    mail_server.mood = "ok"
    for reply in ("550 5.1.1 relay says: no such user", "554 5.7.1 blocked", "550 no"):
        with undone():
            mail_server.refuse = {DANA: reply, "b@x.example": reply}
            assert leave(email) == "failed", reply
    mail_server.refuse = dict.fromkeys(
        (DANA, "b@x.example"), f"550 no such user {DANA}"
    )
    with django_capture_on_commit_callbacks(execute=True):
        assert [leave(email), leave(email)] == ["failed", "not due"]
    email.refresh_from_db()
    assert email.status == Status.SEND_FAILED
    assert email.bounce_type == "recipient_refused"
    assert email.due_at is None
    assert email.lease_until is None
    assert email.bounced_at is not None
    assert events_of(email.pk) == ["message.bounced", "message.failed"]
    assert (
        event_of("message.failed")["diagnostic"]
        == email.last_error
        == f"550 no such user {DANA}"
    )
    assert noted("email.send_failed").metadata["permanent"] is True
    data = logged(caplog, "email.send_failed")
    assert data["email"] == email.pk
    assert data["attempt"] == 1
    assert data["reason"] == "550 no such user (address)"
    data = listening.get(f"{listening.base}/emails/{email.pk}")
    assert data["bounced_at"] == iso(email.bounced_at)
    assert data["bounce_type"] == "recipient_refused"


def test_mail_is_retried_if_the_server_accepted_nothing(listening, mail_server, caplog):
    email = listening.approved()
    relay = "554 5.7.1 <dana@northwind.example>: Relay access denied"
    for mood, refuse in (
        ("busy", ""),
        ("sign in", ""),
        ("hang up", ""),
        ("defer message", ""),
        ("ok", relay),
        ("ok", "550 relay not permitted"),
    ):
        with undone():
            mail_server.mood = mood
            mail_server.refuse = {DANA: refuse} if refuse else {}
            before = len(mail_server.taken)
            assert [leave(email), leave(email)] == ["put off", "not due"], (
                mood,
                refuse,
            )
            email.refresh_from_db()
            assert email.status == Status.SCHEDULED
            assert email.bounced_at is None
            assert email.lease_until is None
            assert email.data_attempted_at is None
            assert refuse in email.last_error
            assert email.last_error != ""
            assert 9 < (cast(Any, email.due_at) - timezone.now()).total_seconds() < 13
            make_due(email)
            assert Email.objects.in_outbox().filter(pk=email.pk).exists(), (
                "it is tried again"
            )
            assert len(mail_server.taken) == before
    mail_server.mood = "ok"
    mail_server.refuse = {}
    assert leave(email) == "sent"
    assert len(mail_server.taken) == 1
    assert "554 5.7.1 <(address)>: Relay access denied" in [
        vars(one).get("reason") for one in caplog.records
    ]


def test_mail_fails_after_two_days_of_an_unreachable_server(listening, settings):
    settings.EMAIL_URL = "smtp://127.0.0.1:1"
    assert (
        timedelta(days=1.8) < timedelta(seconds=sum(smtp.RETRIES)) < timedelta(days=2.2)
    )
    email = listening.approved()
    tried(email, len(smtp.RETRIES) - 1)
    assert leave(email) == "put off"
    make_due(email)
    assert leave(email) == "failed"
    email.refresh_from_db()
    assert email.status == Status.SEND_FAILED
    assert email.bounced_at is None
    assert events_of(email.pk) == ["message.failed"]
    assert audited(email)[1]["attempts"] == 20
    assert audited(email)[1]["permanent"] is False


def test_temporarily_refused_recipient_delays_the_others_for_a_limited_time(
    listening, mail_server
):
    mail_server.refuse = {"grey@x.example": "451 greylisted"}
    email = listening.approved(to=[DANA, "grey@x.example"])
    for attempts, outcome, seen in (
        (0, "put off", 0),
        (outbox.ATTEMPTS_FOR_ALL - 1, "put off", 0),
        (8, "sent", 1),
    ):
        tried(email, attempts)
        assert leave(email) == outcome, attempts
        assert mail_server.seen == seen, attempts
    assert [envelope.rcpt_tos for envelope in mail_server.taken] == [[DANA]]


@pytest.mark.parametrize(
    "mood", ["drop", pytest.param("stall", marks=pytest.mark.slow)]
)
def test_lost_response_after_the_data_is_fate_unknown_and_never_retried(
    listening,
    mail_server,
    monkeypatch,
    caplog,
    sent_tasks,
    django_capture_on_commit_callbacks,
    mood,
):
    monkeypatch.setattr(smtp, "ANSWER_TIMEOUT", 0.5)
    mail_server.mood = mood
    email = listening.approved()
    with django_capture_on_commit_callbacks(execute=True):
        assert leave(email) == "unknown"
    email.refresh_from_db()
    assert email.status == Status.SENT
    assert email.fate_unknown is True
    assert email.sent_at is None
    assert email.due_at is None
    assert email.lease_until is None
    assert "after the message was offered" in email.last_error
    assert audited(email)[0] == "email.fate_unknown"
    assert audited(email)[1]["reason"] == email.last_error
    assert logged(caplog, "email.fate_unknown")["reason"] == email.last_error
    assert events_of(email.pk) == []
    make_due(email)
    assert leave(email) == "not due"
    wait_for(lambda: mail_server.seen == 1, 60, "the message at the mail server")


def test_worker_dead_after_the_checkpoint_is_fate_unknown(listening, mail_server):
    email = listening.approved()
    free = listening.approved()
    worker = claimed(email)
    assert outbox._checkpoint(worker)
    # No message is sent twice, and a worker that lost its claim sends none.
    assert not outbox._checkpoint(worker)
    assert outbox.settle_lost() == 0
    end_lease(email)
    claimed(free)
    end_lease(free)
    assert leave(email) == "not due"
    assert outbox.settle_lost() == 1
    email.refresh_from_db()
    assert email.status == Status.SENT
    assert email.fate_unknown is True
    assert email.last_error == "the worker died"
    assert events_of(email.pk) == []
    assert status_of(free) == Status.SCHEDULED
    # The response arrives late.
    outbox._record_sent(worker, smtp.HandoverResult({}, reports_delivery=False))
    email.refresh_from_db()
    assert email.status == Status.SENT
    assert email.fate_unknown is False
    assert email.last_error == ""
    assert events_of(email.pk) == ["message.sent", "message.delivered"]


def test_late_worker_loses_its_claim_and_sends_no_events(listening, mail_server):
    email = listening.approved()
    asleep = claimed(email)
    assert leave(email) == "not due"
    end_lease(email)
    asleep.additions = {}
    assert outbox._attempt(asleep) == "lease lost"
    assert leave(email) == "sent"
    assert outbox._attempt(asleep) == "lease lost"
    outbox._record_sent(asleep, smtp.HandoverResult({}, reports_delivery=False))
    outbox._fail(asleep, smtp.HandoverFailed("too late"))
    assert not outbox._write_off(asleep, "too late")
    expected = ["message.sent", "message.delivered"]
    assert status_of(email) == Status.SENT
    assert events_of(email.pk) == expected
    assert len(mail_server.taken) == 1


def test_email_that_kills_its_workers_fails(listening, mail_server):
    email = listening.approved()
    with undone():
        tried(email, smtp.MAX_ATTEMPTS - 1)
        assert leave(email) == "sent"
    tried(email, smtp.MAX_ATTEMPTS)
    assert leave(email) == "failed"
    assert mail_server.seen == 1
    email.refresh_from_db()
    assert email.last_error == "given up: every attempt ended without an outcome"


def test_sandbox_mail_is_announced_and_never_leaves(listening, mail_server, settings):
    add_sandbox_keys(listening)
    Webhook.objects.update(include_sandbox=True)
    email = Email.objects.get(pk=listening.held(key="tester"))
    assert listening.decide(email.pk, key="test desk").status_code == 200
    # Neither a missing server nor one that is backing off delays it.
    settings.EMAIL_URL = ""
    memory.State.asked_again_at = 1e9
    asleep = claimed(email)
    asleep.attempts += 1
    assert outbox._simulate(asleep) == "lease lost"
    end_lease(email)
    Email.objects.update(last_error="of an earlier attempt")
    assert leave(email) == "pretended"
    email.refresh_from_db()
    assert email.status == Status.SENT
    assert email.delivered_at == email.sent_at
    assert email.lease_until is None
    assert email.last_error == ""
    for name in ("message.sent", "message.delivered"):
        assert event_of(name)["timestamp"] == iso(email.sent_at)
    assert audited(email)[0] == "email.sent"
    assert audited(email)[1]["simulated"] is True
    assert events_of(email.pk) == ["message.sent", "message.delivered"]
    assert mail_server.seen == 0


def test_without_a_mail_server_live_mail_waits(world, settings):
    settings.EMAIL_URL = ""
    email = world.approved()
    assert leave(email) == "no mail server"
    email.refresh_from_db()
    assert email.status == Status.SCHEDULED
    assert email.attempts == 0


def test_second_mail_to_a_slow_server_is_deferred_without_an_attempt(
    world, mail_server, monkeypatch
):
    first = world.approved()
    second = world.approved()
    mail_server.mood = "busy"
    with undone():
        # A server that fails at once is tried for each mail.
        assert [leave(first), leave(second)] == ["put off", "put off"]
        assert mail_server.mails == 2
    # From here on even short attempts count as slow.
    monkeypatch.setattr(memory, "SLOW", -1)
    assert [leave(first), leave(second)] == ["put off", "mail server rests"]
    assert mail_server.mails == 3
    second.refresh_from_db()
    assert second.status == Status.SCHEDULED
    assert second.attempts == 0
    assert second.due_at is not None
    assert 0 < (second.due_at - timezone.now()).total_seconds() <= memory.REST
    assert not Email.objects.in_outbox().filter(pk=second.pk).exists()
    # It is tried again, and answers.
    mail_server.mood = "ok"
    memory.State.asked_again_at = 0.0
    make_due(second)
    assert leave(second) == "sent"
    assert len(mail_server.taken) == 1
