"""The inbox's Maildir and how it reads what it holds."""

import mailbox
from email.message import EmailMessage
from pathlib import Path

from demo.inbox.maildir import Maildir
from demo.inbox.page import visible
from demo.inbox.reading import read_mail


def make_maildir(path: Path) -> Maildir:
    maildir = Maildir(path / "outbox")
    maildir.create()
    return maildir


def test_a_message_is_found_by_the_key_it_was_given_and_by_any_mail_reader(tmp_path: Path) -> None:
    maildir = make_maildir(tmp_path)
    key = maildir.add(b"Subject: one\r\n\r\nhello\r\n")
    assert maildir.read(key) == b"Subject: one\r\n\r\nhello\r\n"
    assert [message["Subject"] for message in mailbox.Maildir(tmp_path / "outbox")] == ["one"]


def test_the_newest_comes_first(tmp_path: Path) -> None:
    maildir = make_maildir(tmp_path)
    keys = [maildir.add(b"\r\n") for _ in range(3)]
    assert maildir.keys() == keys[::-1]


def test_a_key_never_becomes_a_path(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("no")
    assert make_maildir(tmp_path).read("../../secret") is None


def test_attachments_are_listed_and_recipients_beside_the_headers_are_told_apart() -> None:
    message = EmailMessage()
    message["X-Envelope-To"] = "To@a.example, hidden@b.example"
    message["To"] = "to@A.example"
    message["Subject"] = "Grüße"
    message.set_content("text")
    message.add_attachment(b"1234", maintype="application", subtype="pdf", filename="a.pdf")
    mail = read_mail("1763625600.x", message.as_bytes())
    assert mail.summary.subject == "Grüße"
    assert [(file.name, file.size) for file in mail.files] == [("a.pdf", 4)]
    assert mail.summary.envelope_to == ("To@a.example", "hidden@b.example")
    assert mail.named == {"to@a.example"}


def test_a_malformed_message_is_shown_and_not_an_error() -> None:
    content = (
        b"Subject: =?nonsense?b?!!!?=\r\nFrom: \xff\xfe\r\nContent-Type: text/plain; charset=nobody-knows\r\n\r\n\xffx"
    )
    mail = read_mail("not-a-time", content)
    assert "x" in mail.text


def test_characters_that_turn_or_hide_text_are_named() -> None:
    assert visible("a\u202e<b>\u200b") == (
        'a<span class="ghost">U+202E</span>&lt;b&gt;<span class="ghost">U+200B</span>'
    )
