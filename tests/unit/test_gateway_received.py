"""Received mail as bytes: what is understood of it, and that reading it always ends
soon and raises nothing.
"""

import base64
import time
from binascii import b2a_qp, b2a_uu
from email.message import EmailMessage
from email.policy import SMTP
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from common.mail_addresses import clean_addresses, is_unclear
from gateway.inbound import mail as mail_module
from gateway.inbound.headers import MAX_HEADER
from gateway.inbound.mail import MAX_BODY, MAX_HOPS, MAX_PARTS, file_name, read_mail
from gateway.inbound.received_mail import NotAccepted
from rendering.texts import words_of
from simple_form.data import rows

FIXTURES = Path(__file__).parents[1] / "fixtures"
TOP = b"From: Dana <dana@northwind.example>\r\nTo: support@acme.example\r\nSubject: Hello\r\n"
# Seconds of processor time, however busy the machine: what is quadratic takes minutes
# at these sizes.
SOON = 30


def message(**headers):
    one = EmailMessage(policy=SMTP)
    for name, value in {
        "From": "dana@northwind.example",
        "To": "support@acme.example",
        **headers,
    }.items():
        one[name.replace("_", "-")] = value
    return one


def part(headers, body=b"x"):
    """Read a message of one part."""
    return read_mail(TOP + headers + b"\r\n\r\n" + body)


def test_ordinary_mail_is_understood_whole():
    sent = message(
        From="Dänä <dana@northwind.example>",
        To="Support <support@acme.example>, bob@BOB.example",
        Cc="eve@eve.example",
        Subject="Grüße aus Köln 🚀",
        Reply_To="answers@northwind.example",
        Message_ID="<m1@northwind.example>",
        In_Reply_To="<m0@acme.example>",
        References="<r1@acme.example> <m0@acme.example>",
    )
    sent.set_content("Wo ist es?\n")
    sent.add_alternative("<p>Wo ist <b>es</b>?</p>", subtype="html")
    got = read_mail(sent.as_bytes())
    assert (got.sender, got.sender_name) == ("dana@northwind.example", "Dänä")
    assert got.to == ["support@acme.example", "bob@bob.example"]
    assert got.cc == ["eve@eve.example"]
    assert got.subject == "Grüße aus Köln 🚀"
    assert got.text == "Wo ist es?"
    assert "<b>es</b>" in got.html
    assert got.message_id == "<m1@northwind.example>"
    assert got.reply_to == ["answers@northwind.example"]
    assert got.in_reply_to == ["<m0@acme.example>"]
    assert got.references == ["<r1@acme.example>", "<m0@acme.example>"]
    assert (got.automatic, got.cut) == ("", [])


def test_body_is_all_text_that_is_no_attachment_in_order():
    plain = "Content-Type: text/plain{}\r\n\r\n{}"
    html = "Content-Type: text/html\r\n\r\n<p>{}</p>"
    pdf = "Content-Type: application/pdf\r\n\r\n%PDF"
    both = "Content-Type: multipart/alternative; boundary=c\r\n\r\n--c\r\n{}\r\n--c\r\n{}\r\n--c--"
    mixed = "Content-Type: multipart/mixed; boundary=e\r\n\r\n--e\r\n{}\r\n--e\r\n{}\r\n--e\r\n{}\r\n--e--"
    leave = "To leave the list, write to us."
    for parts, text, html_text, files in (
        ([plain.format("; name=note.txt", "One")], "One", None, 0),
        ([plain.format("\r\nContent-Disposition: attachment", "One")], "", None, 1),
        ([html.format("One"), pdf, html.format("Two")], "One\n\nTwo", "One Two", 1),
        ([html.format("One"), plain.format("", leave)], f"One\n\n{leave}", f"One {leave}", 0),
        (
            [both.format(plain.format("", "One"), html.format("1")), pdf, html.format("Two")],
            "One\n\nTwo",
            "1 Two",
            1,
        ),
        *(
            ([both.format(plain.format("", "One Two"), mixed.format(html.format("1"), pdf, last))], "One Two", "1 2", 1)
            for last in (html.format("2"), plain.format("", "2"))
        ),
        ([both.format(both.format(plain.format("", "One"), html.format("1")).replace("c", "d"), "")], "One", "1", 0),
    ):  # fmt: skip
        content = "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n"
        content += "\r\n--b\r\n".join(parts) + "\r\n--b--\r\n"
        got = read_mail(content.encode())
        assert got.text == text, parts
        assert (got.html is None) == (html_text is None), parts
        assert " ".join(words_of(got.html or "").split()) == (html_text or "")
        assert len(got.files) == files, parts


def test_character_sets_are_those_that_browsers_read():
    for label, codec, text in (
        ("gb2312", "gb18030", "镕"),
        ("shift_jis", "cp932", "①"),
        ("iso-8859-1", "cp1252", "5 €"),
        ("ks_c_5601-1987", "cp949", "똠"),
        ("windows-31j", "cp932", "髙"),
    ):
        body = text.encode(codec)
        subject = f"=?{label}?B?{base64.b64encode(body).decode()}?="
        head = f"Subject: {subject}\r\nContent-Type: text/plain; charset={label}\r\n"
        got = read_mail(head.encode() + b"\r\n" + body)
        assert (got.subject, got.text) == (text, text), label
    for charset in (
        "='windows-1251'",
        "==windows-1251",
        '="windows-1251;"',
        ": cp1251",
        "=win-1251",
        "=windows1251",
        "=cp-1251",
    ):
        kind = f"Content-Type: text/plain; charset{charset}"
        assert part(kind.encode(), "Да".encode("cp1251")).text == "Да", charset
    utf8 = b"Content-Type: text/plain; charset=utf-8"
    assert part(utf8, "Größe".encode("cp1252")).text == "Größe"
    for kind, body, text in (
        ("text/plain", "こんにちは".encode("iso2022_jp"), "こんにちは"),
        ("text/plain", "grün".encode("utf-16"), "grün"),
        ("text/html", "<meta charset=windows-1251>Да".encode("cp1251"), "Да"),
        ("text/html; charset=us-ascii", "<meta charset=koi8-r>Да".encode("koi8-r"), "Да"),
        ("text/html; charset=unknown", "<?xml version='1' encoding='euc-jp'?>請".encode("euc-jp"), "請"),
        ("text/html", b"<style>p{{}}</style>" * 400 + "<meta charset=big5>發".encode("big5"), "發"),
        ("text/html", "<meta charset=utf-16le>Größe".encode(), "Größe"),
        ("text/html; charset=utf-8", "<meta charset=koi8-r>Да".encode(), "Да"),
    ):  # fmt: skip
        head = f"Content-Type: {kind}\r\n\r\n"
        assert read_mail(head.encode() + body).text == text, kind


# A header with an address, its name, and the address.
SENDERS = list(
    rows("""
dana@northwind.example <mallory@evil.example>       dana@northwind.example    mallory@evil.example
<dana@northwind.example> <mallory@evil.example>     <dana@northwind.example>  mallory@evil.example
Dana [Sales] <dana@northwind.example>               Dana [Sales]              dana@northwind.example
Dana: =?utf-8?q?S=C3=A4les?= <dana@northwind.example>  Dana: Säles            dana@northwind.example
Dana Q. Public <dana@northwind.example>             Dana Q. Public            dana@northwind.example
Dana Reyes (=?utf-8?q?K=C3=B6ln?=) <dana@northwind.example>  Dana Reyes (Köln)  dana@northwind.example
"Dana (Sales)" <dana@northwind.example>             Dana (Sales)              dana@northwind.example
""")
)


def test_sender_is_the_address_that_mail_servers_answer_to():
    for header, name, address in SENDERS:
        got = read_mail(f"From: {header}\r\nReply-To: {header}\r\n\r\nx".encode())
        assert (got.sender_name, got.sender, got.reply_to) == (name, address, [address])


def test_spellings_of_from_are_read_as_mail_programs_show_them_or_called_unclear():
    spellings = (FIXTURES / "from_spellings.txt").read_text().splitlines()
    for line in spellings:
        if not line.startswith("#"):
            header, address, name, unclear = map(str.strip, line.split("¦"))
            header = header.replace(r"\n", "\r\n ").replace(r"\0", "\0")
            got = read_mail(f"From: {header}\r\n\r\nx".encode())
            assert (got.sender, got.sender_name) == (address, name), header
            assert is_unclear(got.sender, got.sender_name) == bool(unclear), header


def test_reply_to_is_all_of_its_headers_or_said_to_be_not_understood():
    two = (
        b"Reply-To: Dana <a@x.example>\r\nreply-to: b@x.example; <c@x.example>\r\n\r\nx"
    )
    assert read_mail(two).reply_to == ["a@x.example", "b@x.example", "c@x.example"]
    for unknown in ("j😀@x.example", "=?utf-8?q?a=40x=2Eexample?= (x)", "<>, a@b"):
        [said] = read_mail(
            f"Reply-To: a@x.example, {unknown}\r\n\r\nx".encode()
        ).reply_to
        assert said.startswith("Not understood: "), unknown
        with pytest.raises(ValueError, match="Not understood"):
            clean_addresses(said)
    for nobody in ("<>", "none", ""):
        assert read_mail(f"Reply-To: {nobody}\r\n\r\nx".encode()).reply_to == []


def encoded(text, codec="utf-8"):
    return base64.b64encode(text.encode(codec))


# Headers, what of the mail is meant, and its values; ¶ stands for the end of a line.
HEADERS = list(
    rows(r"""
Subject: =?gb2312?B?GBK1?= =?gb2312?B?GBK2?=            subject        发票
Subject: =?ISO-2022-JP?B?JIS1?=¶ =?ISO-2022-JP?B?JIS2?=    subject     ご請求書
X-Spam : no¶Subject	: Order                               subject        Order
>From dana Mon Mar 2¶Subject: Order                     subject        Order
Message-ID: 7@northwind.example                         message_id     <7@northwind.example>
In-Reply-To: a@x.example                                in_reply_to    <a@x.example>
In-Reply-To:¶In-Reply-To: <a@x.example>                 in_reply_to    <a@x.example>
References: <a-long@¶ x.example> < b@x.example >        references     <a-long@x.example> <b@x.example>
In-Reply-To: =?utf-8?q?=3Ca=40x=2Eexample=3E?=          in_reply_to    <a@x.example>
In-Reply-To: Your mail of Monday                        in_reply_to
Auto-Submitted: no (a person)                           automatic
Auto-Submitted: (by x) auto-replied (vacation)          automatic      auto-replied
X-Autoresponder: no other answer for a day              automatic      auto-replied
Precedence: bulk                                        automatic      auto-generated
Precedence: bulk¶List-Id: <friends.lists.example>      automatic
Precedence: bulk¶List-Id: <x>¶X-Mail-Autoreply: away    automatic      auto-replied
Auto-Submitted: auto-generated¶List-Id: <x>             automatic      auto-generated
Precedence: list                                        automatic
""")
)


def test_headers_are_read_as_mail_programs_read_them():
    jis, gbk = encoded("ご請求書", "iso2022_jp"), encoded("发票", "gbk")
    parts = {"GBK1": gbk[:4], "GBK2": gbk[4:], "JIS1": jis[:8], "JIS2": jis[8:]}
    for written, field, *values in HEADERS:
        head = written.replace("¶", "\r\n")
        for name, part_of_it in parts.items():
            head = head.replace(name, part_of_it.decode())
        found = getattr(read_mail(head.encode() + b"\r\n\r\nx"), field)
        wanted = " ".join(values)
        assert found == (wanted.split() if isinstance(found, list) else wanted), written
    for head in (b"\xef\xbb\xbf", b" \r\n\r\n"):
        assert read_mail(head + b"Subject: Order\r\n\r\nx").subject == "Order"
    assert read_mail(b"Subject: " + b"A" * 1_500 + b"\r\n\r\nx").cut == ["headers"]


def test_bodies_are_decoded_as_mail_programs_decode_them():
    plain = b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: "
    for headers, body, text in (
        (plain + b"base64;", encoded("5 €"), "5 €"),
        (plain + b'"quoted-printable" (x)', b"5 =E2=82=AC", "5 €"),
        (plain + b"base64", encoded("We pay.") + b"\r\n" + encoded(" In May."), "We pay. In May."),
        (plain + b"base64", encoded("We pay!") + b"\r\n____\r\nBye: x@y.example", "We pay!\n____\nBye: x@y.example"),
        (plain + b"base64", b"We will not pay 500 EUR.", "We will not pay 500 EUR."),
        (plain + b"base64", b"SGFsb", "Hal"),
        (plain + b"quoted-printable", b"One=0D\r\nTwo=0D\r\n=0D\r\nThree", "One\nTwo\n\nThree"),
        (plain + b"quoted-printable", b"We pay = \t\r\n500=\t\r\n EUR = ", "We pay 500 EUR = "),
        (b"Content-Type: plain/text", b"Hello", "Hello"),
        (b"Content-Type: text/markdown", b"**Hello**", "**Hello**"),
        (b"Content-Type: text/enriched", b"<bold>Hello</bold>", "<bold>Hello</bold>"),
        (b"Content-Type: text/plain charset=utf-8", b"Hello", "Hello"),
    ):  # fmt: skip
        got = part(headers, body)
        assert (got.text.strip("\n"), got.files) == (text, []), (headers, body)


# The name of a file, and how it is written.
FILE_NAMES = list(
    rows("""
Invoice May.pdf.exe    filename=Invoice May.pdf.exe
Grüße.pdf              filename==?utf-8?B?R3LDvMOfZS5wZGY=?=
a.pdf                  filename='a.pdf'
a b.pdf                filename="a b.pdf"
Grüße.pdf              filename*0="=?utf-8?B?R3LDvMOf"; filename*1="ZS5wZGY=?="
Grüße.pdf              filename*=utf-8''%3D%3Futf-8%3FB%3FR3LDvMOfZS5wZGY%3D%3F%3D
Offer 'final'.pdf.exe  filename="Offer "final".pdf.exe" ; size=3
a; b.pdf               filename="a; b.pdf"
Invoice(s) May.pdf     filename*=utf-8''Invoice(s) May.pdf
Grüße (2).exe          filename*0*=utf-8''Gr%C3%BC; filename*1*=ße%20(2; filename*2=).exe; size=3
Offer [1], 2.pdf       filename*0*=utf-8''Offer%20[1],; filename*1=" 2.pdf"
""")
)
FILE_NAMES.append(["offer for you.pdf", "filename=offer for\r\n you.pdf; size=3"])


def test_names_of_files_need_no_quotation_marks():
    for name, written in FILE_NAMES:
        header = f"Content-Disposition: attachment; {written}"
        [file] = part(header.encode(), b"%PDF").files
        assert file.name == name, header


def test_parts_are_found_without_a_boundary_in_the_header_and_in_base64():
    parts = b"--b-1 \r\nContent-Type: text/plain\r\n\r\nOne\r\n"
    parts += b"--b-1\r\nContent-Type: application/pdf\r\n\r\n%PDF\r\n--b-1--"
    encoding = b"\r\nContent-Transfer-Encoding: base64"
    for headers, body in (
        (b"Content-Type: multipart/mixed", parts),
        (b"Content-Type: multipart/mixed" + encoding, base64.b64encode(parts)),
        (
            b"Content-Type: multipart/mixed; boundary=b-1" + encoding,
            base64.b64encode(parts),
        ),
    ):
        got = part(headers, body)
        assert (got.text, [file.content for file in got.files]) == ("One", [b"%PDF"])
    for headers, body in (
        (b"Content-Type: multipart/mixed; boundary=z\r\nContent-Type: multipart/mixed; boundary=b-1", parts),
        (b"Content-Type: multipart/mixed; boundary=b-1\r\nContent-Type: multipart/mixed; boundary=z", parts),
        (b'Content-Type: multipart/mixed; boundary="b\r\n -1"', parts),
    ):  # fmt: skip
        assert part(headers, body).text == "One", headers
    # A line in a text is no boundary.
    text = "One\n-----\nTwo"
    assert part(b"Content-Type: multipart/mixed", text.encode()).text == text


def test_reports_are_read_as_mail_servers_write_them():
    head = "Content-Type: multipart/report; boundary=b\r\n\r\n--b\r\nContent-Type: message/delivery-status\r\n\r\n"
    mta = "Reporting-MTA: dns; mx.example\r\n\r\n"
    for fields, recipient in (
        (f"{mta}Final-Recipient: rfc822; ann@x.example\r\nAction: Failed (no such user)", "ann@x.example"),
        (f"{mta}Final-Recipient: rfc822; ann@x.example (list)\r\nAction: failed", "ann@x.example"),
        (f"{mta}Original-Recipient: rfc822;a+2Bb+3Dc@x.example\r\nAction: failed", "a+b=c@x.example"),
        ("Reporting-MTA: dns; mx.example\r\nFinal-Recipient: rfc822; ann@x.example\r\nAction: failed", "ann@x.example"),
    ):  # fmt: skip
        got = read_mail(f"{head}{fields}\r\n\r\n--b--\r\n".encode())
        [entry] = got.report.result
        assert (entry.recipient, entry.action) == (recipient, "failed"), fields


def test_reports_are_read_in_utf8_in_base64_and_as_plain_text():
    fields = (
        "Reporting-MTA: dns; mx.example\r\n\r\nFinal-Recipient: utf-8; ann@x.example\r\n"
        "Action: failed\r\nStatus: 5.0.0\r\nDiagnostic-Code: smtp; 550 5.1.0 Error (192.0.2.5): 5.1.1 gone\r\n"
    )
    original = "Subject: Größe\r\nMessage-ID: <m1@acme.example>\r\n"
    in_base64 = "\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    for kinds, end, write in (
        (("delivery-status", "rfc822"), "\r\n\r\n", str),
        (("global-delivery-status", "global-headers"), "\r\n\r\n", str),
        (("global-delivery-status", "global"), "\r\n\r\n", str),
        (("delivery-status", "rfc822"), in_base64, lambda text: encoded(text).decode()),
    ):
        content = "Content-Type: multipart/report; boundary=b\r\n\r\n"
        for kind, text in zip(kinds, (fields, original), strict=True):
            content += f"--b\r\nContent-Type: message/{kind}{end}{write(text)}\r\n"
        report = read_mail(f"{content}--b--\r\n".encode()).report
        assert report.message_ids == ["<m1@acme.example>"], kinds
        [entry] = report.result
        # Of the codes the one that says most counts, and no address is one.
        assert (entry.recipient, entry.status) == ("ann@x.example", "5.1.1"), kinds
    failed = "X-Failed-Recipients: Ann@x.example,\r\n bob@x.example\r\n"
    automatic = "Auto-Submitted: auto-replied\r\n"
    report = read_mail(f"{failed}{automatic}\r\nGone.\r\n{original}".encode()).report
    assert [entry.recipient for entry in report.result] == [
        "ann@x.example",
        "bob@x.example",
    ]
    assert report.message_ids == ["<m1@acme.example>"]
    for headers, text in (
        (failed, original),
        (automatic, original),
        (failed + automatic, ""),
    ):
        assert read_mail(f"{headers}\r\n{text}".encode()).report is None


def test_enclosed_message_is_the_message_however_it_is_encoded():
    plain = (
        "Subject: Inner\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nDrei = Größen"
    )
    inner = plain.encode()
    quoted = b2a_qp(inner)
    itself = b"Content-Transfer-Encoding: quoted-printable\r\n\r\n2 =3D =C3=A4"
    headers = b"Content-Type: message/%b\r\nContent-Transfer-Encoding: %b"
    for encoding, body, whole in (
        (b"8bit", inner, inner),
        (b"base64", base64.b64encode(inner), inner),
        (b"quoted-printable", quoted, inner),
        (b"Quoted-Printable", inner, inner),
        # Not encoded, although it says so; in the second only the text is.
        (b"base64", inner, inner),
        (b"quoted-printable", itself, itself),
    ):
        for kind in (b"rfc822", b"global"):
            [file] = part(headers % (kind, encoding), body).files
            assert file.content == whole, (kind, encoding, body)
            assert file.name == "attachment.eml"


def test_footer_of_a_list_is_not_in_the_bytes_of_a_file():
    footer = b"\r\n_____\r\nTo leave the list: leave@lists.example\r\nGoodbye\r\n"
    for length in range(57, 60):
        content = b"\x00%PDF" * 100 + b"x" * length
        headers = b"Content-Type: application/pdf\r\nContent-Transfer-Encoding: base64"
        [file] = part(headers, base64.encodebytes(content) + footer).files
        assert file.content == content


def test_flowed_text_is_joined_as_its_writer_saw_it():
    for format, body, text in (
        ("flowed; delsp=yes", "Write to dana@nor \nthwind.example today.", "Write to dana@northwind.example today."),
        ("flowed", "One \ntwo\nthree", "One two\nthree"),
        ("Flowed; DelSp=no", "> One \n> two \n>> three\n>\nfour", "> One two \n>> three\n> \nfour"),
        ("flowed", " > not quoted\n  indented\n From \n us", "> not quoted\n indented\nFrom us"),
        ("flowed; DELSP*=utf-8''yes", "One \ntwo", "Onetwo"),
        ("flowed", "Yours \n-- \nDana \nSales", "Yours \n-- \nDana Sales"),
        ("fixed; delsp=yes", "One \ntwo", "One \ntwo"),
        ("fixed; format*=utf-8''x", "One \ntwo", "One \ntwo"),
        ("flowed", "One \n\ntwo \n", "One \n\ntwo "),
    ):  # fmt: skip
        header = f"Content-Type: text/plain; format={format}"
        assert part(header.encode(), body.encode()).text == text, (format, body)


def test_file_names_lead_nowhere_are_decoded_and_made_distinct():
    for name, safe in {
        "../../etc/passwd": "passwd",
        "C:\\Users\\x\\a.doc": "a.doc",
        "..": "attachment.pdf",
        ".bashrc": "bashrc",
        "a\r\nb\x00.txt": "ab.txt",
        "invoice\u202efdp.exe": "invoicefdp.exe",
        "x" * 400 + ".pdf": "x" * 147 + ".pdf",
        "a/": "attachment.pdf",
    }.items():
        assert file_name(name, "application/pdf") == safe
    for headers in (
        b"Content-Type: image/png\r\nContent-Disposition: attachment; filename*=utf-8''%e2%82%ac%20rates.png",
        b'Content-Type: image/png; name="=?utf-8?b?4oKsIHJhdGVzLnBuZw==?="',
    ):
        assert [file.name for file in part(headers).files] == ["€ rates.png"], headers
    same = message()
    same.set_content("x")
    for _ in range(2):
        same.add_attachment(b"1", maintype="text", subtype="csv", filename="a.csv")
    assert [file.name for file in read_mail(same.as_bytes()).files] == [
        "a.csv",
        "a (2).csv",
    ]


def test_long_content_is_truncated_with_a_notice_and_attached_in_full():
    body = b"<p>word</p>" * (MAX_BODY // 10)
    for kind, cut, name in (
        (b"plain", "text", "message.txt"),
        (b"html", "html", "message.html"),
    ):
        got = part(b"Content-Type: text/" + kind, body)
        assert (got.cut, got.html) == ([cut], None)
        assert len(got.text) <= MAX_BODY + 100
        assert got.files[-1].content == body
        assert got.files[-1].name == name
    assert part(b"X-Long: " + b"x" * (MAX_HEADER + 1)).cut == ["headers"]
    # Hops are counted in the headers only.
    assert part(b"X: y", b"Received: x\r\n" * 40).subject == "Hello"


def nested(depth):
    levels = (
        b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (one, one)
        for one in range(depth)
    )
    return TOP + b"".join(levels) + b"Content-Type: text/plain\r\n\r\nx"


def as_part(headers, body):
    return b"--q\nContent-Type: text/plain\n%b\n%b\n" % (headers, body)


def in_base64(kind, content, *, top=TOP):
    return (
        top
        + b"Content-Type: %b; boundary=q\r\n" % kind
        + b"Content-Transfer-Encoding: base64\r\n\r\n"
        + base64.encodebytes(content)
    )


COSTLY = {
    "loop": (TOP + b"Received: from a by b\r\n" * MAX_HOPS + b"\r\nx", "554 5.4.6"),
    "headers": (TOP + b"X: y\r\n" * 100_000 + b"\r\nx", "552 5.3.4"),
    "nested": (nested(MAX_PARTS + 1), "554 5.6.0"),
    "deep": (nested(5000), "554 5.6.0"),
    "messages": (
        (TOP + b"Content-Type: message/rfc822\r\n\r\n") * (MAX_PARTS + 2) + b"\r\nx",
        "554 5.6.0",
    ),
    "parts": (
        TOP
        + b"Content-Type: multipart/mixed; boundary=b\r\n\r\n"
        + b"--b\r\n\r\n" * 2000,
        "554 5.6.0",
    ),
    "lines": (TOP + b"\r\n" + b"\n" * 600_000, "554 5.6.0"),
    "decoded lines": (
        in_base64(b"multipart/mixed", as_part(b"", b"\n" * 600_000)),
        "554 5.6.0",
    ),
    "decoded text": (in_base64(b"text/plain", b"\n" * 600_000), "554 5.6.0"),
    "decoded several times": (
        in_base64(
            b"multipart/mixed",
            as_part(b"", b"\n" * 300_000)
            + in_base64(
                b"multipart/mixed", as_part(b"", b"\n" * 300_000), top=b"\n--q\n"
            ),
        ),
        "554 5.6.0",
    ),
    "decoded headers": (
        in_base64(b"multipart/mixed", as_part(b"X: y\n" * 100_000, b"x")),
        "552 5.3.4",
    ),
    "decoded report": (
        TOP
        + b"Content-Type: multipart/report; boundary=r\r\n\r\n"
        + in_base64(b"message/delivery-status", b"A: b\n" * 600_000, top=b"--r\r\n"),
        "554 5.6.0",
    ),
    "uuencoded lines": (
        TOP
        + b"Content-Type: multipart/mixed; boundary=q\r\n"
        + b"Content-Transfer-Encoding: x-uuencode\r\n\r\nbegin 644 a\n"
        + b"".join(
            b2a_uu(b"--q\nContent-Type: text/plain\n\n" * (not one) + b"\n" * 14)
            for one in range(40_000)
        )
        + b"`\nend\n",
        "554 5.6.0",
    ),
}


def test_a_part_in_base64_has_the_limits_of_one_that_is_not_encoded():
    body = as_part(b"", b"line\n" * 480_000)
    plain = TOP + b"Content-Type: multipart/mixed; boundary=q\r\n\r\n" + body
    encoded = in_base64(b"multipart/mixed", body)
    assert read_mail(encoded).text == read_mail(plain).text
    # A file is not read, only stored.
    table = in_base64(b"text/csv", b"1\n" * 600_000)
    assert len(read_mail(table).files[0].content) == 1_200_000


def test_what_is_built_to_cost_is_refused_at_once():
    for name, (content, code) in COSTLY.items():
        began = time.thread_time()
        with pytest.raises(NotAccepted, match=code):
            read_mail(content)
        assert time.thread_time() - began < SOON, name


_WORDS = st.sampled_from([
    b"From: ", b"To: ", b"Subject: ", b"Content-Type: ", b"Content-Disposition: ", b"Content-Transfer-Encoding: ",
    b"multipart/mixed; boundary=b", b"multipart/alternative; boundary=b", b"message/rfc822",
    b"message/delivery-status", b"text/html", b"text/plain; charset=", b"utf-16", b"idna", b"base64",
    b"quoted-printable", b"uuencode", b"begin 644 a\r\n", b"attachment; filename=", b"--b\r\n",
    b"--b--\r\n", b"\r\n", b"\r\n\r\n", b"\n", b"\r", b" ", b"<", b">", b"@", b'"',
    b",", b";", b"=?utf-8?b?", b"=", b"?=", b"\x00", b"\xff\xfe", b"a@b.example", b"<a@b>", b"Message-ID: ",

])  # fmt: skip


@given(st.lists(st.one_of(_WORDS, st.binary(max_size=12)), max_size=60).map(b"".join))
@example(b"Content-Type: text/plain; charset=\x00\r\n\r\nx")
@example(
    b"Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    + base64.b64encode(b"From: x\r\n\r\ny")
)
@example(b"Content-Disposition: attachment; filename*=idna''%ff\r\n\r\n")
def test_no_bytes_raise_and_every_result_can_be_stored(content):
    got = read_mail(content)
    names = [file.name for file in got.files]
    texts = [got.subject, got.text, got.html or "", got.sender, got.sender_name]
    for text in (*texts, *got.to, *got.cc, *names, got.message_id):
        assert "\x00" not in text
        assert text.encode("utf-8", "replace").decode() == text
    assert len(set(names)) == len(names)
    assert all(1 <= len(name) <= 255 and "/" not in name for name in names)
    assert len(got.subject) <= 998
    assert len(got.sender_name) <= 200
    assert all(len(file.content_type) <= 127 for file in got.files)


def test_mistake_of_ours_refuses_the_mail_and_not_more(monkeypatch):
    def fail(*_):
        raise ZeroDivisionError

    monkeypatch.setattr(mail_module, "split_parts", fail)
    with pytest.raises(NotAccepted, match="554"):
        read_mail(TOP + b"\r\nx")
