"""Reports about sent mail over real SMTP: delivered, bounced, complained about, forged
(point 2).
"""

from datetime import timedelta
from email import message_from_bytes
from email.message import EmailMessage

import pytest
from django.utils import timezone

from common.references import via, with_reference
from gateway.inbound.headers import read_report
from gateway.messages.content import email_id_in, envelope_id, return_address
from gateway.models import Email, Mailbox, Suppression, WebhookDelivery
from gateway.states import Status
from gateway.webhooks.events import KNOWN, OPENED, SPELLINGS
from tests.integration.gateway.servers import deliver
from tests.integration.gateway.test_gateway_outbox import event_of
from tests.integration.gateway.world import (
    events_of,
    leave,
    move_on_everything,
    undone,
)
from tests.linear import is_linear

DANA = "dana@northwind.example"
EVE = "eve@northwind.example"


@pytest.fixture
def listening(world):
    world.listen(
        "message.sent", "message.delivered", "message.bounced", "message.complained"
    )
    return world


@pytest.fixture
def dsn_server(mail_server, settings):
    """A mail server with delivery status notifications, which the gateway requests."""
    mail_server.dsn = True
    settings.EMAIL_URL = f"{mail_server.url}?dsn=1"
    return mail_server


def sent(world, **fields):
    email = world.approved(**fields)
    assert leave(email) == "sent"
    email.refresh_from_db()
    return email


def report(email, *recipients, message_id="", envelope=True):
    """A delivery status notification (RFC 3464) for these recipients: address, action,
    status, diagnostic code.
    """
    named = f"Original-Envelope-Id: {envelope_id(email)}\r\n" if envelope else ""
    blocks = "\r\n".join(
        f"Original-Recipient: rfc822; {address}\r\nFinal-Recipient: rfc822; {address}\r\nAction: {action}\r\n"
        f"Status: {status}\r\nDiagnostic-Code: smtp; {text}\r\n"
        for address, action, status, text in recipients
    )
    return (
        "From: MAILER-DAEMON@mx.example\r\nTo: support@acme.example\r\nSubject: Delivery notice\r\n"
        "Date: Fri, 20 Nov 2026 08:00:00 +0000\r\nMIME-Version: 1.0\r\n"
        'Content-Type: multipart/report; report-type=delivery-status; boundary="b"\r\n\r\n'
        "--b\r\nContent-Type: text/plain\r\n\r\nIt is so.\r\n"
        f"--b\r\nContent-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; mx.example\r\n{named}\r\n{blocks}\r\n"
        f"--b\r\nContent-Type: text/rfc822-headers\r\n\r\nMessage-ID: {message_id or email.message_id_header}\r\n"
        "--b--\r\n"
    ).encode()


def complaint(email, recipient, sender):
    """A feedback report (RFC 5965) that includes the original headers."""
    return (
        "From: fbl@mx.example\r\nTo: support@acme.example\r\nSubject: Complaint\r\nMIME-Version: 1.0\r\n"
        'Content-Type: multipart/report; report-type=feedback-report; boundary="b"\r\n\r\n'
        "--b\r\nContent-Type: text/plain\r\n\r\nSomebody complained.\r\n"
        "--b\r\nContent-Type: message/feedback-report\r\n\r\nFeedback-Type: abuse\r\nVersion: 1\r\n"
        f"Original-Mail-From: {sender}\r\nOriginal-Rcpt-To: {recipient}\r\n\r\n"
        f"--b\r\nContent-Type: text/rfc822-headers\r\n\r\nMessage-ID: {email.message_id_header}\r\n--b--\r\n"
    ).encode()


def deliver_back(client, email, content):
    """Deliver a mail server's report to the return address of an email."""
    return deliver(client, content, return_address(email), sender="")


DELIVERED = ("delivered", "2.0.0", "250 OK")
GONE = ("failed", "5.1.1", "550 5.1.1 No such mailbox")


def test_mail_is_delivered_once_accepted_by_a_server_without_dsn(
    listening, mail_server
):
    email = sent(listening)
    assert email.delivered_at is not None
    assert events_of(email.pk) == ["message.sent", "message.delivered"]
    assert mail_server.taken[0].mail_from == email.from_address
    assert listening.get(f"{listening.base}/emails/{email.pk}")["delivered_at"]


def test_mail_is_delivered_once_notifications_arrived_for_all_recipients(
    listening, dsn_server, client
):
    email = sent(listening, to=[DANA, "a+b=c@x.example"])
    assert email.delivered_at is None
    assert events_of(email.pk) == ["message.sent"]
    assert dsn_server.options == [
        "RET=HDRS",
        f"ENVID={envelope_id(email)}",
        "NOTIFY=SUCCESS,FAILURE,DELAY",
        f"ORCPT=rfc822;{DANA}",
        "NOTIFY=SUCCESS,FAILURE,DELAY",
        "ORCPT=rfc822;a+2Bb+3Dc@x.example",
    ]
    back = dsn_server.taken[0].mail_from
    assert back == return_address(email)
    assert email_id_in(back) == email.pk
    assert deliver(client, report(email, (DANA, *DELIVERED)), back, sender="") == 250
    assert events_of(email.pk) == ["message.sent"]
    for _ in range(2):
        notice = report(
            email,
            (DANA, *DELIVERED),
            ("a+b=c@x.example", "relayed", "2.0.0", "250 on its way"),
        )
        assert deliver(client, notice, back, sender="") == 250
    assert events_of(email.pk) == ["message.sent", "message.delivered"]
    email.refresh_from_db()
    assert email.delivered_at is not None
    # A report does not reach the agent's mailbox.
    assert not Email.objects.received().exists()


def test_failure_notification_is_a_bounce_and_suppresses_unknown_users(
    listening, dsn_server, client
):
    kinds = {
        "hard_bounce": (*GONE, 550, [DANA]),
        "soft_bounce": ("failed", "4.4.7", "421 gave up after five days", 421, []),
    }
    for kind, (action, status, text, code, suppressed) in kinds.items():
        with undone():
            email = sent(listening, to=[DANA, EVE])
            assert (
                deliver_back(client, email, report(email, (DANA, action, status, text)))
                == 250
            )
            bounced = event_of("message.bounced")
            assert bounced["bounce_type"] == kind
            assert bounced["bounce_code"] == code
            assert bounced["bounced_recipients"] == [DANA]
            email.refresh_from_db()
            assert email.bounce_type == kind
            assert email.bounced_at is not None
            assert email.status == Status.SENT
            assert [
                one.email_address for one in Suppression.objects.all()
            ] == suppressed
            # The other recipients got it.
            assert deliver_back(client, email, report(email, (EVE, *DELIVERED))) == 250
            assert events_of(email.pk)[-1] == "message.delivered"
    email = sent(listening)
    late = report(email, (DANA, "delayed", "4.4.1", "421 busy"))
    assert deliver_back(client, email, late) == 250
    assert events_of(email.pk) == ["message.sent"]


def test_report_that_a_recipient_could_forge_suppresses_none_of_the_others(
    listening, dsn_server, client
):
    email = sent(listening, to=[DANA, EVE])
    back = return_address(email)
    assert (
        deliver(
            client,
            report(email, (EVE, *DELIVERED), (DANA, *GONE), envelope=False),
            back,
            sender="",
        )
        == 250
    )
    assert event_of("message.bounced")["bounced_recipients"] == [DANA]
    assert (
        deliver(client, complaint(email, EVE, back), sender="eve@northwind.example")
        == 250
    )
    assert not Suppression.objects.exists()
    # In whichever order reports arrive: it was delivered to those it did not bounce
    # from.
    assert "message.delivered" in events_of(email.pk)


def test_report_of_forwarded_mail_and_anonymous_complaint_count_for_the_only_recipient(
    listening, dsn_server, client
):
    for content, event in (
        (
            lambda email: report(email, ("dana@elsewhere.example", *GONE)),
            "message.bounced",
        ),
        (
            lambda email: complaint(email, "", return_address(email)),
            "message.complained",
        ),
    ):
        with undone():
            email = sent(listening)
            assert deliver_back(client, email, content(email)) == 250
            assert event in events_of(email.pk)
            assert Suppression.objects.get().email_address == DANA


def test_other_feedback_changes_nothing_and_an_automatic_reply_reaches_the_mailbox(
    listening, dsn_server, client
):
    email = sent(listening)
    back = return_address(email)
    wanted = complaint(email, DANA, back).replace(
        b"Feedback-Type: abuse", b"Feedback-Type: not-spam"
    )
    assert deliver(client, wanted, back, sender="fbl@mx.example") == 250
    assert events_of(email.pk) == ["message.sent"]
    away = EmailMessage()
    away["From"] = DANA
    away["Subject"] = "Away"
    away["Auto-Submitted"] = "auto-replied"
    away.set_content("I am away until Monday.")
    assert deliver(client, away.as_bytes(), back, sender="") == 250
    assert Email.objects.received().get().mailbox == email.mailbox


def test_report_of_many_recipients_is_read_in_little_time(
    listening, dsn_server, client
):
    email = sent(listening)

    def naming(count):
        many = b"".join(
            b"Original-Rcpt-To: %d@x.example\r\n" % number for number in range(count)
        )
        return message_from_bytes(
            complaint(email, DANA, "").replace(b"Version: 1\r\n", many)
        )

    assert is_linear(read_report, naming(2_500), naming(20_000))


def test_delivered_copy_does_not_count_as_delivery_to_the_recipients(
    listening, mail_server
):
    Mailbox.objects.filter(pk=listening.mailbox.pk).update(
        auto_bcc="archive@acme.example", oversight_mode="monitored"
    )
    mail_server.refuse = {DANA: "550 5.1.1 No such mailbox"}
    email = Email.objects.get(pk=listening.send().json()["id"])
    move_on_everything()
    assert leave(email) == "sent"
    assert events_of(email.pk) == ["message.sent", "message.bounced"]


def test_complaint_is_announced_and_suppresses_the_complainant(
    listening, dsn_server, client
):
    email = sent(listening)
    arf = complaint(email, DANA, return_address(email))
    assert deliver(client, arf, sender="fbl@mx.example") == 250
    assert event_of("message.complained")["complained_recipients"] == [DANA]
    assert Suppression.objects.get().reason == "complaint"
    assert listening.send().status_code == 422


def test_report_without_return_address_is_matched_by_message_id_only_from_the_mail_server(
    listening, mail_server, client
):
    email = sent(listening)
    assert (
        deliver(client, report(email, (DANA, *GONE)), sender="mallory@evil.example")
        == 550
    )
    assert deliver(client, report(email, (DANA, *GONE)), sender="") == 250
    assert events_of(email.pk)[-1] == "message.bounced"
    # A report about other mail is ordinary mail.
    foreign = report(email, (DANA, *GONE), message_id="<other@elsewhere.example>")
    assert deliver(client, foreign, sender="") == 250
    assert Email.objects.received().count() == 1


def test_forged_report_is_refused_and_changes_nothing(listening, dsn_server, client):
    email = sent(listening, to=[DANA, "ann@northwind.example"])
    waiting = listening.approved()
    back = return_address(email)
    local, _, domain = back.partition("@")
    forged = f"{local[:-1]}{'1' if local[-1] == '0' else '0'}@{domain}"
    assert client.mail("")[0] == 250
    assert client.rcpt(forged)[0] == 550
    for content, recipient in (
        (report(email, (EVE, *GONE)), back),
        (report(email, (DANA, *GONE)), "support@acme.example"),
        (report(waiting, (DANA, *GONE)), return_address(waiting)),
        (complaint(email, DANA, forged), "support@acme.example"),
    ):
        assert deliver(client, content, recipient, sender="") == 550, content
    assert not Suppression.objects.exists()
    assert [one.event for one in WebhookDelivery.objects.all()] == ["message.sent"]


def test_report_about_mail_being_sent_is_deferred(listening, dsn_server, client):
    email = listening.approved()
    Email.objects.filter(pk=email.pk).update(
        data_attempted_at=timezone.now(),
        lease_until=timezone.now() + timedelta(minutes=2),
    )
    assert deliver_back(client, email, report(email, (DANA, *DELIVERED))) == 451
    Email.objects.filter(pk=email.pk).update(
        status=Status.SENT, fate_unknown=True, lease_until=None
    )
    assert deliver_back(client, email, report(email, (DANA, *DELIVERED))) == 250
    email.refresh_from_db()
    # It was delivered, so it was sent.
    assert email.fate_unknown is False
    assert events_of(email.pk) == ["message.sent", "message.delivered"]


def test_every_name_that_a_webhook_can_choose_is_sent_but_that_of_opened_mail(
    world, mail_server, client
):
    for name in KNOWN:
        world.listen(name)
    reason = with_reference("Checked.", "KVB8AF7JS5", "Ana Ferreira")
    fields = {"reason": reason, "decided_by": via("Ana Ferreira")}
    left = world.held(to=[DANA, EVE])
    failing = world.held()
    rejected = world.held()
    assert [world.decide(one, **fields).status_code for one in (left, failing)] == [
        200,
        200,
    ]
    assert world.decide(rejected, "reject", **fields).status_code == 200
    assert world.post(f"{world.base}/emails/{world.held()}/cancel").status_code == 200
    mail_server.refuse = {EVE: "550 5.1.1 No such mailbox"}
    assert leave(left) == "sent"
    sent_email = Email.objects.get(pk=left)
    assert (
        deliver(client, complaint(sent_email, DANA, ""), sender="fbl@mx.example") == 250
    )
    mail_server.mood = "refuse message"
    leave(failing)
    question = EmailMessage()
    question["From"] = DANA
    question["To"] = world.mailbox.address
    question["Subject"] = "Where is it?"
    question.set_content("Where?")
    assert deliver(client, question.as_bytes()) == 250
    world.allow("*@northwind.example")
    assert world.send(to=["mallory@evil.example"]).status_code == 403

    sent = set(WebhookDelivery.objects.values_list("event", flat=True))
    assert sent == KNOWN - SPELLINGS[OPENED]
