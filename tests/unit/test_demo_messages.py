"""The demo's messages, its inbox and environment: nobody real is written to, and the
risky ones are as they claim.
"""

import mailbox
from datetime import UTC, datetime
from email.message import EmailMessage

import pytest

from demo.__main__ import BadEnvironment, make_parts
from demo.agent import Account, compose
from demo.inbox import InboxPages, mail_html, visible
from demo.messages import MESSAGES, OPENING
from demo.messages.files import INVOICE_PDF
from demo.messages.message import blanks, fill_in

NOW = datetime(2026, 11, 20, 8, 0, tzinfo=UTC)
ACCOUNT = Account(
    "http://gateway.test",
    "key",
    "mb/1",
    "support@yourteam.example",
    "mb2",
    "outreach@yourteam.example",
)
RESERVED = (".example", ".test", "@example.com")
VARIABLES = {"DATA_DIR": "var", "DISCORD_PORT": "0", "SMTP_PORT": "8025"}


def by_name(name):
    return next(message for message in MESSAGES if message.name == name)


def test_every_message_fills_its_blanks_and_goes_to_reserved_domains_only():
    values = blanks(3, NOW)
    for message in MESSAGES:
        assert all(
            fill_in(text, values).strip()
            for text in (message.subject, message.body, message.why)
        ), message.name
        recipients = ", ".join(
            filter(None, (message.to, message.cc, message.bcc))
        ).split(", ")
        assert all(address.endswith(RESERVED) for address in recipients), message.name
    names = [message.name for message in MESSAGES]
    assert len(set(names)) == len(names) >= 24
    assert len([message for message in OPENING if not message.unasked]) == 11
    # The true customer is written to before the look-alike.
    recipients = [message.to.split(", ")[0] for message in OPENING]
    assert recipients.index("billing@acme-corp.example") < recipients.index(
        "billing@acrne-corp.example"
    )


def test_current_dialect_carries_files_and_one_key_a_message_and_the_flat_one_who_asked_in_discord():
    path, payload = compose(ACCOUNT, by_name("invoice"), 0, "ab12", NOW)
    assert path == "/v1/mailboxes/mb%2F1/send"
    assert payload["attachments"][0]["name"] == "invoice.pdf"
    assert payload["idempotency_key"] == "demo-ab12-0"
    assert INVOICE_PDF.startswith(b"%PDF-")
    path, payload = compose(ACCOUNT, by_name("look-alike"), 3, "ab12", NOW)
    assert path == "/v1/send_email"
    assert payload["from"] == "support@yourteam.example"
    assert payload["bcc"] == ["archive@yourteam.example"]
    names = ("user", "user_id", "channel", "guild", "interaction_id")
    assert set(payload["metadata"]) == {f"discord_{name}" for name in names}


def test_environment_that_lacks_a_variable_or_names_no_port_is_named():
    for name in VARIABLES:
        with pytest.raises(BadEnvironment, match=name):
            make_parts({key: value for key, value in VARIABLES.items() if key != name})
    for port in ("-1", "70000", "x", "²"):
        with pytest.raises(BadEnvironment, match="SMTP_PORT"):
            make_parts({**VARIABLES, "SMTP_PORT": port})


def test_inbox_finds_a_message_by_its_key_and_nothing_else(tmp_path):
    maildir = mailbox.Maildir(tmp_path / "outbox")
    (tmp_path / "secret").write_text("no")
    keys = [
        maildir.add(b"Subject: %d\r\n\r\nhello\r\n" % number) for number in range(3)
    ]
    inbox = InboxPages(tmp_path / "outbox", "")
    assert inbox.keys() == keys[::-1]
    assert "<h1>1</h1>" in inbox.detail(keys[1])
    assert inbox.detail("../../secret") is None


def test_mail_is_read_with_its_files_and_blind_copies_and_a_malformed_one_is_no_error():
    message = EmailMessage()
    message["X-Envelope-To"] = "To@a.example, hidden@b.example"
    message["To"] = "to@A.example"
    message["Subject"] = "Grüße"
    message.set_content("text")
    message.add_attachment(
        b"1234", maintype="application", subtype="pdf", filename="a.pdf"
    )
    html = mail_html("1763625600.x", message.as_bytes())
    assert "<h1>Grüße</h1>" in html
    assert "<strong>a.pdf</strong>" in html
    assert "4 bytes" in html
    assert "<dt>Reached</dt><dd>To@a.example</dd>" in html
    blind = html.partition("<dt>Bcc</dt>")[2].partition("</dd>")[0]
    assert "hidden@b.example" in blind
    assert "To@a.example" not in blind
    malformed = (
        b"Subject: =?nonsense?b?!!!?=\r\nFrom: \xff\xfe\r\nContent-Type: text/plain; "
        b"charset=nobody-knows\r\n\r\n\xffx"
    )
    assert "<pre>\ufffdx</pre>" in mail_html("not-a-time", malformed)
    ghosts = (
        'a<span class="ghost">U+202E</span>&lt;b&gt;<span class="ghost">U+200B</span>'
    )
    assert visible("a\u202e<b>\u200b") == ghosts
