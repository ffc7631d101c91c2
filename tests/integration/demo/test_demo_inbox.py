"""The SMTP inbox keeps what was delivered, once, with its envelope."""

import mailbox
import smtplib
from email.message import Message
from pathlib import Path

import pytest

from tests.integration.demo.running import Demo


def delivered(data_dir: Path, subject: str) -> list[Message]:
    return [message for message in mailbox.Maildir(data_dir / "outbox") if message["Subject"] == subject]


def test_a_mail_is_kept_exactly_once_and_shows_its_blind_copy(demo: Demo) -> None:
    assert demo.mail(["to@a.example", "hidden@b.example"], "Once") == {}
    (message,) = delivered(demo.data_dir, "Once")
    assert message["X-Envelope-To"] == "to@a.example, hidden@b.example"
    assert message["X-Envelope-From"] == "desk@a.example"
    assert message["To"] == "to@a.example"


def test_a_recipient_that_begins_with_bounce_is_refused_and_the_others_are_served(demo: Demo) -> None:
    refused = demo.mail(["Bounce.kim@a.example", "to@a.example"], "Half")
    assert refused["Bounce.kim@a.example"][0] == 550
    (message,) = delivered(demo.data_dir, "Half")
    assert message["X-Envelope-To"] == "to@a.example"


def test_a_mail_to_nobody_but_bounces_is_not_kept(demo: Demo) -> None:
    with pytest.raises(smtplib.SMTPRecipientsRefused):
        demo.mail(["bounce@a.example"], "None")
    assert delivered(demo.data_dir, "None") == []


def test_a_header_that_the_mail_brought_along_does_not_pass_for_the_envelope(demo: Demo) -> None:
    with smtplib.SMTP("127.0.0.1", demo.smtp_port) as client:
        client.sendmail("a@a.example", ["b@b.example"], b"Subject: Forged\r\nX-Envelope-To: c@c.example\r\n\r\nx")
    (message,) = delivered(demo.data_dir, "Forged")
    assert message["X-Envelope-To"] == "b@b.example"


def test_logs_hold_no_address_and_no_subject(demo: Demo) -> None:
    demo.mail(["private.person@a.example"], "Private matter")
    demo.get("/")
    assert not [line for line in demo.lines if "private" in str(line).lower()]
