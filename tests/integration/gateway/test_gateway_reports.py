"""Reports about sent mail over real SMTP: delivered, bounced, complained about, forged
(point 2).
"""

import pytest

from gateway.messages.content import envelope_id, return_address
from gateway.models import Email, Suppression, WebhookDelivery
from gateway.states import Status
from tests.integration.gateway.servers import deliver
from tests.integration.gateway.world import (
    event_of,
    events_of,
    leave,
    undone,
)

DANA = "dana@northwind.example"
EVE = "eve@northwind.example"


@pytest.fixture
def dsn_server(mail_server, settings):
    """A mail server with delivery status notifications, which the gateway requests."""
    mail_server.dsn = True
    settings.EMAIL_URL = f"{mail_server.url}?dsn=1"
    return mail_server


def sent(world, **fields):
    email = world.approved(**fields)
    assert leave(email) == "sent"
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


def test_mail_is_delivered_once_notifications_arrived_for_all_recipients(
    listening, dsn_server, client
):
    email = sent(listening, to=[DANA, "a+b=c@x.example"])
    assert email.delivered_at is None
    assert dsn_server.options == [
        "RET=HDRS",
        f"ENVID={envelope_id(email)}",
        "NOTIFY=SUCCESS,FAILURE,DELAY",
        f"ORCPT=rfc822;{DANA}",
        "NOTIFY=SUCCESS,FAILURE,DELAY",
        "ORCPT=rfc822;a+2Bb+3Dc@x.example",
    ]
    assert dsn_server.taken[0].mail_from == return_address(email)
    late = report(email, (DANA, "delayed", "4.4.1", "421 busy"))
    for content in (late, report(email, (DANA, *DELIVERED))):
        assert deliver_back(client, email, content) == 250
    assert events_of(email.pk) == ["message.sent"]
    for _ in range(2):
        notice = report(
            email,
            (DANA, *DELIVERED),
            ("a+b=c@x.example", "relayed", "2.0.0", "250 on its way"),
        )
        assert deliver_back(client, email, notice) == 250
    assert events_of(email.pk) == ["message.sent", "message.delivered"]
    email.refresh_from_db()
    assert email.delivered_at is not None
    # A report does not reach the agent's mailbox.
    assert not Email.objects.received().exists()


def test_failure_notification_is_a_bounce_and_suppresses_unknown_users(
    listening, dsn_server, client
):
    for kind, failure, code, suppressed in (
        ("hard_bounce", GONE, 550, [DANA]),
        ("soft_bounce", ("failed", "4.4.7", "421 gave up"), 421, []),
    ):
        with undone():
            email = sent(listening, to=[DANA, EVE])
            assert deliver_back(client, email, report(email, (DANA, *failure))) == 250
            bounced = event_of("message.bounced")
            assert bounced["bounce_code"] == code
            assert bounced["bounced_recipients"] == [DANA]
            email.refresh_from_db()
            assert bounced["bounce_type"] == email.bounce_type == kind
            assert email.status == Status.SENT
            assert [
                one.email_address for one in Suppression.objects.all()
            ] == suppressed
            # The other recipients got it.
            assert deliver_back(client, email, report(email, (EVE, *DELIVERED))) == 250
            assert events_of(email.pk)[-1] == "message.delivered"


def test_report_that_a_recipient_could_forge_suppresses_none_of_the_others(
    listening, dsn_server, client
):
    email = sent(listening, to=[DANA, EVE])
    mixed = report(email, (EVE, *DELIVERED), (DANA, *GONE), envelope=False)
    assert deliver_back(client, email, mixed) == 250
    assert event_of("message.bounced")["bounced_recipients"] == [DANA]
    arf = complaint(email, EVE, return_address(email))
    assert deliver(client, arf, sender=EVE) == 250
    assert not Suppression.objects.exists()
    # In whichever order reports arrive: it was delivered to those it did not bounce
    # from.
    assert "message.delivered" in events_of(email.pk)


def test_plain_report_is_a_bounce_of_a_recipient_of_the_mail_that_it_names(
    listening, mail_server, client
):
    email = sent(listening)

    def plain(recipient):
        return (
            f"From: Mail Delivery System <mailer@mx.example>\r\nX-Failed-Recipients: {recipient}\r\n"
            "Auto-Submitted: auto-replied\r\n\r\nIt could not be delivered.\r\n\r\n"
            f"Message-ID: {email.message_id_header}\r\n"
        ).encode()

    # Somebody else writes one, or one about somebody else.
    assert deliver(client, plain(DANA), sender="mallory@evil.example") == 550
    assert deliver(client, plain(EVE), sender="") == 250
    assert "message.bounced" not in events_of(email.pk)
    assert Email.objects.received().count() == 1
    assert deliver(client, plain(DANA), sender="") == 250
    assert event_of("message.bounced")["bounced_recipients"] == [DANA]
    # It does not say why, so the address may be there.
    assert not Suppression.objects.exists()


def test_forged_report_is_refused_and_changes_nothing(listening, dsn_server, client):
    email = sent(listening, to=[DANA, "ann@northwind.example"])
    waiting = listening.approved()
    back = return_address(email)
    local, _, domain = back.partition("@")
    forged = f"{local[:-1]}{'1' if local[-1] == '0' else '0'}@{domain}"
    client.mail("")
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
