"""The outbox against a real mail server in all its moods: nothing is lost, nothing is sent twice."""

from datetime import timedelta
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default as modern
from typing import Any, cast

import pytest
from django.utils import timezone

from gateway import outbox, smtp
from gateway.models import Email, Mailbox
from gateway.modes import Mode
from gateway.states import Status
from tests.integration.gateway.servers import MailServer
from tests.integration.gateway.world import World, add_key, events_of, make_world

EVENTS = ("message.sent", "message.delivered", "message.bounced", "message.failed")


@pytest.fixture
def listening(world: World) -> World:
    world.listen(*EVENTS)
    return world


def send(email: Email) -> str:
    return outbox.send_due(email_id=email.pk, now=timezone.now())


def read(envelope: Any) -> EmailMessage:
    return cast(EmailMessage, message_from_bytes(envelope.content, policy=modern))


def make_due(email: Email) -> None:
    Email.objects.filter(pk=email.pk).update(due_at=timezone.now() - timedelta(seconds=1))


def test_approved_mail_leaves_once(listening: World, mail_server: MailServer):
    email = listening.approved(cc="c@x.example", bcc="b@x.example")
    assert [send(email), send(email)] == ["sent", "not due"]
    email.refresh_from_db()
    assert (email.status, email.fate_unknown) == (Status.SENT, False)
    assert email.sent_at is not None
    assert len(mail_server.taken) == 1
    assert mail_server.taken[0].rcpt_tos == ["dana@northwind.example", "c@x.example", "b@x.example"]
    # Live mail: nobody has told that it was delivered.
    assert events_of(email.pk) == ["message.sent"]


def test_held_rejected_and_cancelled_mail_never_leaves(world: World, mail_server: MailServer):
    held, rejected = world.held(), world.held()
    world.decide(rejected, "reject")
    cancelled = world.approved()
    Email.objects.filter(pk=cancelled.pk).update(attempts=1)
    world.call("POST", f"{world.base}/emails/{cancelled.pk}/cancel")
    for email_id in (held, rejected, cancelled.pk):
        assert outbox.send_due(email_id=email_id, now=timezone.now()) == "not due"
    assert mail_server.seen == 0


def test_message_is_built_as_approved(db: None, mail_server: MailServer):
    world = make_world(auto_cc="boss@acme.example", auto_bcc="archive@acme.example", signature_block="Acme Ltd")
    files = [{"name": "Grüße a.pdf", "content_type": "application/pdf", "content_base64": "AAECAw=="}]
    email = world.approved(subject="Grüße", markdown="# Hi\n\n.dot\n", attachments=files, reply_to="r@x.example")
    Mailbox.objects.filter(pk=world.mailbox.pk).update(signature_block="Changed since", display_name="Changed")
    send(email)
    envelope = mail_server.taken[0]
    message = read(envelope)
    assert envelope.rcpt_tos == ["dana@northwind.example", "boss@acme.example", "archive@acme.example"]
    assert (message["From"], message["Cc"]) == ("Support <support@acme.example>", "boss@acme.example")
    assert (message["Subject"], message["Reply-To"], message["Bcc"]) == ("Grüße", "r@x.example", None)
    assert message["Message-ID"] == email.message_id_header
    text, html = message.get_body(("plain",)), message.get_body(("html",))
    assert text is not None
    assert html is not None
    assert text.get_content().splitlines() == ["# Hi", "", ".dot", "", "-- ", "Acme Ltd"]
    assert html.get_content().startswith("<h1>Hi</h1>")
    (file,) = message.iter_attachments()
    assert (file.get_filename(), file.get_content()) == ("Grüße a.pdf", b"\x00\x01\x02\x03")


def test_monitored_mail_is_copied_to_oversight(db: None, mail_server: MailServer):
    world = make_world(mode=Mode.MONITORED)
    world.account.oversight_email = "oversight@acme.example"
    world.account.save()
    email_id = world.held()
    outbox.send_due(email_id=email_id, now=timezone.now())
    assert mail_server.taken[0].rcpt_tos == ["dana@northwind.example", "oversight@acme.example"]


def test_one_refused_recipient_is_a_bounce_and_the_others_get_it(listening: World, mail_server: MailServer):
    mail_server.refuse = {"gone@x.example": "550 no such user"}
    email = listening.approved(to=["dana@northwind.example", "gone@x.example"])
    assert send(email) == "sent"
    email.refresh_from_db()
    assert (email.status, email.bounce_type) == (Status.SENT, "recipient_refused")
    assert email.refused_recipients == {"gone@x.example": [550, "no such user"]}
    assert mail_server.taken[0].rcpt_tos == ["dana@northwind.example"]
    assert events_of(email.pk) == ["message.sent", "message.bounced"]


def test_all_recipients_refused_fails_and_bounces(listening: World, mail_server: MailServer):
    mail_server.refuse = {"dana@northwind.example": "550 no such user"}
    email = listening.approved()
    assert send(email) == "failed"
    email.refresh_from_db()
    assert email.status == Status.SEND_FAILED
    assert email.bounced_at is not None
    assert events_of(email.pk) == ["message.bounced", "message.failed"]
    assert send(email) == "not due"


def test_message_refused_fails_and_bounces(listening: World, mail_server: MailServer):
    mail_server.mood = "refuse message"
    email = listening.approved()
    assert send(email) == "failed"
    email.refresh_from_db()
    assert (email.status, email.bounce_type) == (Status.SEND_FAILED, "message_refused")


@pytest.mark.parametrize("mood", ["busy", "sign in", "hang up", "defer message"])
def test_server_that_has_nothing_is_asked_again(listening: World, mail_server: MailServer, mood: str):
    mail_server.mood = mood
    email = listening.approved()
    assert [send(email), send(email)] == ["put off", "not due"]
    email.refresh_from_db()
    assert email.status == Status.SCHEDULED
    assert email.last_error
    mail_server.mood = "ok"
    make_due(email)
    assert send(email) == "sent"
    assert len(mail_server.taken) == 1


@pytest.mark.parametrize(
    "reply", ["554 5.7.1 <dana@northwind.example>: Relay access denied", "550 relay not permitted"]
)
def test_server_that_does_not_relay_for_us_is_asked_again(listening: World, mail_server: MailServer, reply: str):
    mail_server.refuse = {"dana@northwind.example": reply}
    email = listening.approved()
    assert send(email) == "put off"
    email.refresh_from_db()
    assert (email.status, email.bounced_at, email.last_error) == (Status.SCHEDULED, None, reply)
    mail_server.refuse = {}
    make_due(email)
    assert send(email) == "sent"


@pytest.mark.parametrize("reply", ["550 5.1.1 relay says: no such user", "554 5.7.1 blocked", "550 no"])
def test_server_that_refuses_the_mail_is_not_asked_again(listening: World, mail_server: MailServer, reply: str):
    mail_server.refuse = {"dana@northwind.example": reply}
    assert send(listening.approved()) == "failed"


def test_server_away_is_tried_later_and_in_the_end_given_up(listening: World, settings):
    settings.EMAIL_URL = "smtp://127.0.0.1:1"
    email = listening.approved()
    for _ in outbox.RETRIES:
        assert send(email) == "put off"
        make_due(email)
    assert send(email) == "failed"
    assert events_of(email.pk) == ["message.failed"]


def test_recipient_refused_for_now_holds_the_others_up_only_so_long(listening: World, mail_server: MailServer):
    mail_server.refuse = {"grey@x.example": "451 greylisted"}
    email = listening.approved(to=["dana@northwind.example", "grey@x.example"])
    for _ in range(outbox.ATTEMPTS_FOR_ALL):
        assert send(email) == "put off"
        make_due(email)
    assert send(email) == "sent"
    assert [envelope.rcpt_tos for envelope in mail_server.taken] == [["dana@northwind.example"]]


def test_one_recipient_refused_for_now_puts_all_off(listening: World, mail_server: MailServer):
    mail_server.refuse = {"grey@x.example": "451 greylisted"}
    email = listening.approved(to=["dana@northwind.example", "grey@x.example"])
    assert send(email) == "put off"
    assert mail_server.seen == 0


@pytest.mark.parametrize("mood", ["drop", "stall"])
def test_no_answer_after_the_message_is_fate_unknown_and_never_repeated(
    listening: World, mail_server: MailServer, mood: str
):
    mail_server.mood = mood
    email = listening.approved()
    assert send(email) == "unknown"
    email.refresh_from_db()
    assert (email.status, email.fate_unknown, email.sent_at) == (Status.SENT, True, None)
    assert events_of(email.pk) == []
    make_due(email)
    assert send(email) == "not due"
    assert mail_server.seen == 1


def test_worker_dead_before_the_message_is_taken_over(listening: World, mail_server: MailServer):
    email = listening.approved()
    assert Email.objects.claim(email.pk)
    assert send(email) == "not due"
    Email.objects.filter(pk=email.pk).update(lease_until=timezone.now() - timedelta(seconds=1))
    assert send(email) == "sent"
    assert mail_server.seen == 1


def test_worker_dead_after_the_checkpoint_is_fate_unknown(listening: World, mail_server: MailServer):
    email = listening.approved()
    claimed = Email.objects.claim(email.pk)
    assert claimed is not None
    assert outbox._checkpoint(claimed)
    assert outbox.settle_lost(now=timezone.now()) == 0
    Email.objects.filter(pk=email.pk).update(lease_until=timezone.now() - timedelta(seconds=1))
    assert send(email) == "not due"
    assert outbox.settle_lost(now=timezone.now()) == 1
    email.refresh_from_db()
    assert (email.status, email.fate_unknown) == (Status.SENT, True)
    assert events_of(email.pk) == []


def test_worker_that_wakes_up_late_offers_nothing(listening: World, mail_server: MailServer):
    email = listening.approved()
    asleep = Email.objects.claim(email.pk)
    assert asleep is not None
    Email.objects.filter(pk=email.pk).update(lease_until=timezone.now() - timedelta(seconds=1))
    asleep.additions = {}
    assert outbox._attempt(asleep) == "lease lost"
    assert send(email) == "sent"
    assert outbox._attempt(asleep) == "lease lost"
    assert len(mail_server.taken) == 1


def test_late_answer_of_a_written_off_attempt_settles_it(listening: World):
    email = listening.approved()
    claimed = Email.objects.claim(email.pk)
    assert claimed is not None
    assert outbox._checkpoint(claimed)
    Email.objects.filter(pk=email.pk).update(lease_until=timezone.now() - timedelta(seconds=1))
    outbox.settle_lost(now=timezone.now())
    outbox._taken(claimed, smtp.Taken("250 OK"), timezone.now())
    email.refresh_from_db()
    assert (email.status, email.fate_unknown) == (Status.SENT, False)
    assert events_of(email.pk) == ["message.sent"]


def test_email_that_kills_its_workers_is_given_up(listening: World, mail_server: MailServer):
    email = listening.approved()
    Email.objects.filter(pk=email.pk).update(attempts=outbox.MAX_ATTEMPTS)
    assert send(email) == "failed"
    assert mail_server.seen == 0


def test_sandbox_mail_is_announced_and_never_leaves(listening: World, mail_server: MailServer):
    add_key(listening, "tester", ["read", "send"], prefix="mm_test_")
    add_key(listening, "test desk", ["oversight"], prefix="mm_test_")
    email_id = listening.send(key="tester").json()["id"]
    listening.decide(email_id, key="test desk")
    assert outbox.send_due(email_id=email_id, now=timezone.now()) == "pretended"
    assert Email.objects.get(pk=email_id).delivered_at is not None
    assert events_of(email_id) == ["message.sent", "message.delivered"]
    assert mail_server.seen == 0


def test_without_a_mail_server_mail_waits(world: World, settings):
    settings.EMAIL_URL = ""
    email = world.approved()
    assert send(email) == "no mail server"
    email.refresh_from_db()
    assert (email.status, email.attempts) == (Status.SCHEDULED, 0)


def test_database_refuses_gated_mail_to_be_sent_undecided(world: World):
    from django.db import IntegrityError

    email_id = world.held()
    with pytest.raises(IntegrityError, match="email_gated_leaves_approved"):
        Email.objects.filter(pk=email_id).update(status=Status.SENT)
