"""Inputs of kinds that other products were reported to get wrong, and that came out right
here at once. docs/field-reports.md names the reports.
"""

from email.headerregistry import Address
from email.message import EmailMessage

import pytest

from alerts.channels import base
from alerts.channels.requests import RetryLater
from alerts.channels.slack import Slack
from alerts.channels.slack.format import MAX_SECTION, cut_entities
from alerts.models import Destination
from common.exchange import Answer
from common.smtp import Server
from gateway.header_lines import POLICY
from gateway.inbound.mail import read_mail
from gateway.messages.strict_reader import Approved, check, in_lines
from gateway.messages.submission import MAX_REFERENCES, reply_fields
from gateway.models import Email
from gateway.states import Direction
from people.sign_in.adapters import AccountAdapter
from tests.signing import PASSWORD

ANA = "ana@acme.example"
DANA = "dana@northwind.example"
REPORT = (
    "Content-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; mx.example\r\n\r\n"
    f"Final-Recipient: rfc822; {DANA}\r\nAction: failed\r\nStatus: 5.1.1\r\n"
)


def several(kind, *parts, end="--b--\r\n"):
    """A mail of several parts."""
    head = f"From: {DANA}\r\nContent-Type: multipart/{kind}; boundary=b\r\n\r\n"
    return head + "".join(f"--b\r\n{part}\r\n" for part in parts) + end


def file_of(disposition):
    return several(
        "mixed", f"Content-Disposition: attachment; {disposition}\r\n\r\n%PDF"
    )


def names(mail):
    return [file.name for file in mail.files]


def test_received_mail_of_reported_kinds_is_read():
    text = "Content-Type: text/plain\r\n\r\n{}"
    for kind, mail, what, right in (
        (
            "a letter in two sections of a name",
            file_of(
                "filename*0*=utf-8''Gr%C3; filename*1*=%BC%C3%9Fe; filename*2=.pdf"
            ),
            names,
            ["Grüße.pdf"],
        ),
        (
            "a fold after the equals sign",
            file_of('filename=\r\n\t"=?koi8-r?B?5MEucGRm?="'),
            names,
            ["Да.pdf"],
        ),
        (
            "an encoded comma",
            "From: =?utf-8?Q?M=C3=BCller=2C_Dana?= <dana@northwind.example>\r\n\r\nx",
            lambda mail: (mail.sender_name, mail.sender),
            ("Müller, Dana", DANA),
        ),
        (
            "a language in an encoded word",
            "Subject: =?utf-8*fr?Q?R=C3=A9ponse?=\r\n\r\nx",
            lambda mail: mail.subject,
            "Réponse",
        ),
        (
            "no closing boundary",
            several(
                "mixed",
                text.format("We pay."),
                "Content-Disposition: attachment; filename=a.csv\r\n\r\n1,2",
                end="",
            ),
            lambda mail: (mail.text, mail.files[0].content),
            ("We pay.", b"1,2"),
        ),
        (
            "an empty group",
            "To: undisclosed-recipients:;\r\nCc: Team: a@x.example, b@x.example;\r\n\r\nx",
            lambda mail: (mail.to, mail.cc),
            ([], ["a@x.example", "b@x.example"]),
        ),
        (
            "ids without blanks",
            "References: <a@x.example><b@x.example>,<c@x.example>\r\n\r\nx",
            lambda mail: mail.references,
            ["<a@x.example>", "<b@x.example>", "<c@x.example>"],
        ),
        (
            "a bounce that a person forwards",
            several("mixed", text.format("See below."), REPORT),
            lambda mail: (mail.report, mail.text),
            (None, "See below."),
        ),
        (
            "a third alternative",
            several(
                "alternative",
                text.format("We pay."),
                "Content-Type: text/x-amp-html\r\n\r\n<html amp4email>Other",
                "Content-Type: text/html\r\n\r\n<p>We pay.",
            ),
            lambda mail: (mail.text, "Other" in mail.html),
            ("We pay.", False),
        ),
        (
            "a body that begins with a blank",
            "Subject: Order\r\n\r\n Note: as agreed\r\n",
            lambda mail: (mail.subject, mail.text),
            ("Order", " Note: as agreed"),
        ),
    ):
        assert what(read_mail(mail.encode())) == right, kind


def test_sent_mail_of_reported_kinds_arrives_as_written():
    for name, subject, text in (
        ("Care Team, Billing", "Order", "Hello"),
        ('Dana "DJ" O\'Neil (Sales)', "Order", "Hello"),
        ("Ana", "😀😃😄😁😆😅😂🤣☺️😊😇" * 9, "Hello"),
        ("Ana", "Order", ".\n..\n.hidden\nFrom here on\n"),
        ("Ana", "Order", "x" * 3_000),
    ):
        message = EmailMessage(policy=POLICY)
        message["From"] = Address(name, addr_spec=ANA)
        message["To"] = [Address(addr_spec=DANA)]
        message["Subject"] = subject
        message.set_content(text, charset="utf-8")
        message.add_alternative("<p>x", subtype="html", charset="utf-8")
        written = message.as_bytes()
        assert max(map(len, written.splitlines())) <= 998
        approved = Approved(
            subject=subject,
            sender=[(name, ANA)],
            to=[DANA],
            cc=[],
            text=in_lines(text),
            html=in_lines("<p>x"),
            files=[],
        )
        check(written, approved)


def test_reply_in_a_long_thread_names_few_messages_and_one_re():
    ids = [f"<message-{number}@northwind.example>" for number in range(80)]
    for subject, answer in (
        ("RE: Re[2]: Order", "RE: Order"),
        ("AW: SV: Re: Order", "AW: Order"),
        ("Antw : Order", "Antw : Order"),
        ("Vá: RE (3) : Order", "Vá: Order"),
        ("[list] Odp: Order", "[list] Odp: Order"),
        ("回复：答复: Order", "回复：Order"),
        ("ynt:Re2:Order", "ynt:Order"),
        ("Order: Re: us", "Re: Order: Re: us"),
        ("Fwd: AW: Order", "Re: Fwd: AW: Order"),
        ("Reorder: now", "Re: Reorder: now"),
    ):
        fields = reply_fields(
            Email(
                direction=Direction.OUTBOUND,
                to=[DANA],
                subject=subject,
                message_id_header="<last@acme.example>",
                references=" ".join(ids),
            ),
            [],
        )
        assert fields["subject"] == answer
        references = fields["references"].split()
        assert (references[0], references[-1]) == (ids[0], "<last@acme.example>")
        assert len(references) == MAX_REFERENCES


def test_password_of_a_mail_server_may_have_any_sign():
    for written, password in {
        "p%2Fa%2Bs%40s": "p/a+s@s",
        "a+b%25": "a+b%",
        "pass%20word": "pass word",
    }.items():
        server = Server.from_url(f"smtp://me@x.example:{written}@relay.example:587")
        found = (server.user, server.password, server.host, server.port)
        assert found == ("me@x.example", password, "relay.example", 587)


def test_what_proxies_write_of_a_client_is_read(rf, settings):
    settings.TRUSTED_PROXIES = ["192.0.2.1"]
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    for name in ("unknown", "_hidden", "localhost", "203.0.113.9, unknown"):
        request = rf.get(
            "/", REMOTE_ADDR="192.0.2.1", headers={"X-Forwarded-For": name}
        )
        assert AccountAdapter().get_client_ip(request) == "0.0.0.0", name
    request = rf.get("/", headers={"X-Forwarded-Proto": "https, http"})
    assert request.is_secure()


def test_what_people_type_at_the_sign_in_is_read(client, reviewer):
    for typed in (reviewer.email.upper(), f" {reviewer.email}\u00a0"):
        answer = client.post("/accounts/login/", {"login": typed, "password": PASSWORD})
        assert answer.status_code == 302, typed
        client.post("/accounts/logout/")


def test_slack_took_a_card_only_if_it_says_so(monkeypatch):
    hook = "https://hooks.slack.com/services/T1/B1/x"
    page = Answer(200, {}, b"<html>Please sign in to this network")
    monkeypatch.setattr(base, "send", lambda *args, **options: page)
    with pytest.raises(RetryLater):
        Slack().post(Destination(kind="slack", url=hook), {"text": "x"})


def test_text_for_slack_ends_with_whole_entities():
    for length in range(2_995, 3_005):
        cut = cut_entities("x" * length + "&amp;" * 9, MAX_SECTION)
        assert len(cut) <= MAX_SECTION
        assert cut.replace("&amp;", "").strip("x") in ("…", "")
