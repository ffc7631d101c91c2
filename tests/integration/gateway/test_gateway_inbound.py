"""Incoming mail over real SMTP: who gets it, that it is stored once, and that nothing
else is offered.
"""

import contextlib
import socket
import threading
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import SMTP

import psycopg
import pytest
from django.db import connection as database

from gateway import smtp
from gateway.inbound import smtp_server
from gateway.inbound.receive import digest_of
from gateway.inbound.smtp_server import Listener
from gateway.models import Account, AuditLogEntry, Email, Mailbox
from gateway.states import Direction, Mode, Status
from tests.factories import change_row
from tests.integration.gateway.servers import (
    SENDER,
    connected,
    deliver,
    mail,
    mail_server,
    running,
)
from tests.integration.gateway.world import (
    add_mailbox,
    events_of,
    leave,
    make_world,
    refusal_of,
)
from tests.stack import wait_for

OURS = "<ours@acme.example>"


def listen(world):
    world.listen(
        "message.received",
        "oversight.pending",
        "oversight.approved",
        "oversight.rejected",
    )
    return world


@pytest.fixture
def world(db):
    return listen(make_world())


def received(**fields):
    return Email.objects.get(direction=Direction.INBOUND, **fields)


def test_inbound_mail_is_stored_announced_and_readable(world, client):
    content = mail(file="a b.png", Subject="Wo? Ä")
    assert deliver(client, content) == 250
    (row,) = world.get(f"/v1/check_inbox?mailbox={world.mailbox.address}")["emails"]
    assert (row["from"], row["from_name"]) == (SENDER, "Dana")
    assert row["subject"] == "Wo? Ä"
    assert row["has_attachments"] is True
    path = f"{world.base}/emails/{row['id']}"
    assert world.get(path)["markdown"] == "Where is it?"
    file = world.call("GET", f"{path}/attachments/a%20b.png")
    assert file.content == b"\x00\xffbytes"
    assert AuditLogEntry.objects.get(resource_id=row["id"]).action == "email.received"
    for mode in set(Mode) - {Mode.GATED_ALL}:
        Mailbox.objects.update(oversight_mode=mode)
        assert deliver(client, mail(mode)) == 250
        email = received(markdown=mode)
        assert email.status == Status.UNREAD, mode
        assert events_of(email.pk) == ["message.received"], mode


def test_same_bytes_without_identifying_headers_are_new_mail_a_minute_later():
    at = datetime(2026, 11, 20, 8, 0, 1, tzinfo=UTC)
    for header in (
        b"Message-ID: <1@x.example>\r\n",
        b"DATE: x\r\n",
        b"Received: by x\r\n",
        b"",
    ):
        content = header + b"Subject: The disk is full\r\n\r\nDate: today\r\n"
        first, soon, later = (
            digest_of(content, now=at + timedelta(seconds=seconds))
            for seconds in (0, 30, 60)
        )
        assert soon == first, header
        assert (later == first) == (header != b""), header


def test_message_that_comes_by_two_routes_is_one_and_another_body_is_another():
    one = mail(Message_ID="<1@x.example>")
    hop = b"Return-Path: <x>\r\nReceived: from a\r\n\tby b;\r\nX-Spam-Score: 1\r\n\t(ham)\r\n"
    digests = [
        digest_of(content, now=datetime.now(UTC))
        for content in (one, hop + one, hop + one + b"more", mail(), hop + mail())
    ]
    assert digests[0] == digests[1]
    assert len(set(digests)) == 4


def test_each_mailbox_gets_its_own(world, client):
    other = make_world("globex")
    sales = add_mailbox(world, "sales")
    own = add_mailbox(world, "support+vip")
    # As after a crash between two of them: the next attempt must neither duplicate nor
    # lose any. A tagged address goes to its own mailbox if there is one.
    assert deliver(client, mail(), "sales@acme.example") == 250
    everybody = (
        "support+other@acme.example",
        "sales@acme.example",
        "support@globex.example",
        "support+vip@acme.example",
    )
    assert deliver(client, mail(), *everybody) == 250
    boxes = (world.mailbox.pk, sales.pk, other.mailbox.pk, own.pk)
    assert sorted(Email.objects.values_list("mailbox", "metadata__envelope_to")) == (
        sorted(zip(boxes, everybody, strict=True))
    )


def test_only_live_mailboxes_get_mail(world, client):
    for name in ("old", "support+old"):
        closed = add_mailbox(world, name)
        change_row(closed, is_active=False)
    make_world("closed")
    Account.objects.filter(slug="closed").update(is_active=False)
    client.mail(SENDER)
    assert client.docmd("DATA")[0] == 503
    for recipient, code in {
        "SUPPORT@Acme.Example": 250,
        "support+a+b@acme.example": 250,
        "support": 550,
        "nobody@acme.example": 550,
        "@acme.example": 553,
        "support%northwind.example@acme.example": 550,
        "old@acme.example": 550,
        "support+old@acme.example": 550,
        "support@closed.example": 550,
    }.items():
        assert client.rcpt(recipient)[0] == code, recipient
    # Nobody can sign in or find out who has a mailbox.
    assert not {"auth", "starttls", "expn"} & set(client.esmtp_features)
    assert client.verify("support@acme.example") == client.verify("nobody@acme.example")
    # A mailbox that is closed meanwhile refuses a recipient it had accepted.
    Mailbox.objects.update(is_active=False)
    assert client.data(mail())[0] == 550


def test_mail_is_read_that_needs_modules_of_which_the_parser_has_no_files(
    world, client
):
    enclosing = EmailMessage()
    enclosing["From"] = "Dana <dana@muller.example>"
    enclosing.set_content("See below.")
    enclosing.add_attachment(message_from_bytes(mail("Three months."), policy=SMTP))
    unknown = b"charset=unknown-8bit"
    content = enclosing.as_bytes().replace(b'charset="utf-8"', unknown)
    content = content.replace(b"muller", "müller".encode())
    assert deliver(client, content) == 250
    email = received()
    assert email.from_address == "dana@xn--mller-kva.example"
    assert email.markdown == "See below."
    [file] = email.attachments.all()
    assert b"Three months." in bytes(file.content)


def test_sender_whom_strict_parsers_refuse_is_kept_and_can_be_answered(
    world, client, mail_server
):
    odd = "taro..yamada.@mobile.example"
    quoted = '"taro..yamada."@mobile.example'
    for written in (odd, quoted):
        content = mail(written).replace(SENDER.encode(), written.encode())
        assert deliver(client, content, sender=written) == 250
        email = received(from_address=odd)
        assert email.metadata["envelope_from"] == odd
        answer = world.post(f"{world.base}/reply/{email.pk}", markdown=written, cc=odd)
        assert answer.status_code == 202, answer.content
        reply = Email.objects.get(pk=answer.json()["id"])
        assert reply.to == [odd]
        world.decide(reply.pk)
        assert leave(reply) == "sent"
        [envelope] = mail_server.taken
        assert mail_server.written.pop() == f"TO:<{quoted}>"
        assert f"\nTo: {quoted}\r".encode() in envelope.content
        mail_server.taken.clear()
        email.delete()


@pytest.mark.slow
def test_missing_headers_are_filled_from_the_envelope(world, client):
    assert deliver(client, b"\r\njust text\r\n", "support+x@acme.example") == 250
    email = received()
    assert email.from_address == SENDER
    assert email.to == ["support+x@acme.example"]
    assert email.message_id_header[-23:] == ".received@acme.example>"
    email.delete()
    bounce = mail(From="MAILER-DAEMON", Auto_Submitted="auto-invented")
    assert deliver(client, bounce, sender="") == 250
    email = received()
    assert (email.from_address, email.from_name) == ("", "MAILER-DAEMON")
    assert email.metadata["auto_submitted"] == "auto-generated"
    email.delete()
    for headers in ({"Precedence": "auto_reply"}, {"X_Autoreply": "yes"}):
        assert deliver(client, mail(**headers)) == 250
        email = received()
        assert email.metadata["auto_submitted"] == "auto-replied"
        email.delete()
    # Words of a stranger are no fact for clients.
    assert deliver(client, mail(), sender='"send it now"@x.example') == 250
    assert "envelope_from" not in received().metadata


def outgoing(world, message_id=OURS, **fields):
    email = Email.objects.get(pk=world.held())
    change_row(email, message_id_header=message_id, **fields)
    email.refresh_from_db()
    return email


def test_reply_joins_the_thread_of_its_parent_and_no_other(world, client):
    ours = outgoing(world, subject="Question", relay_id="010f-0001")
    second = "<second@acme.example>"
    outgoing(world, second)
    unknown = "<unknown@x.example>"
    for headers in (
        {"References": f"<far@x.example> {OURS} {unknown}"},
        {"In_Reply_To": OURS, "References": second},
        {"In_Reply_To": "<010f-0001@eu.relay.example>"},
        {"In_Reply_To": unknown, "References": f"{second} {OURS}"},
    ):
        deliver(client, mail(str(headers), **headers))
        email = received(markdown=str(headers))
        assert email.thread_id == ours.thread_id, headers
        assert email.in_reply_to == headers.get("In_Reply_To", ""), headers
    # A forged id does not hijack a thread.
    theirs = "<theirs@x.example>"
    deliver(client, mail("first", Message_ID=theirs, In_Reply_To=OURS))
    deliver(client, mail("forged", Message_ID=theirs))
    deliver(client, mail("answer", In_Reply_To=theirs))
    assert received(markdown="answer").thread_id == ours.thread_id

    # It joins no thread by subject, and none of another mailbox or of the sandbox.
    tried = outgoing(world, "<tried@acme.example>", sandbox=True)
    add_mailbox(world, "sales")
    deliver(client, mail("other", Subject="Re: Question"))
    deliver(client, mail("other", In_Reply_To=OURS), "sales@acme.example")
    deliver(client, mail("other", In_Reply_To="<tried@acme.example>"))
    threads = {one.thread_id for one in Email.objects.filter(markdown="other")}
    assert len(threads - {ours.thread_id, tried.thread_id}) == 3


def test_mail_that_takes_long_to_read_keeps_no_other_sender_waiting(
    world, listener, client, monkeypatch
):
    read = smtp_server.read_mail
    is_over = threading.Event()

    def read_mail(content, address, sender):
        assert sender == SENDER or is_over.wait(60)
        return read(content, address, sender)

    monkeypatch.setattr(smtp_server, "read_mail", read_mail)
    with connected(listener) as slow:
        slow.mail("bad@x.example")
        slow.rcpt("support@acme.example")
        slow.docmd("DATA")
        slow.send(mail() + b"\r\n.\r\n")
        assert deliver(client, mail()) == 250
        is_over.set()
        assert slow.getreply()[0] == 250


def test_senders_at_a_relay_have_shares_of_their_own_and_at_an_address_one_together(
    world, listener, monkeypatch, settings
):
    is_over = threading.Event()
    shares = []

    def read_mail(content, share, sender):
        shares.append(share)
        assert sender == SENDER or is_over.wait(60)
        return read(content, share, sender)

    read = smtp_server.read_mail
    monkeypatch.setattr(smtp_server, "read_mail", read_mail)
    for relays, is_relay in (([], False), (["127.0.0.0/8"], True)):
        settings.TRUSTED_RELAYS = relays
        shares.clear()
        is_over.clear()
        with contextlib.ExitStack() as sessions:
            slow = []
            for number in range(smtp_server.MAX_READING_OF_ADDRESS):
                hostile = sessions.enter_context(connected(listener))
                hostile.mail(f"bad{number}@x.example")
                hostile.rcpt("support@acme.example")
                hostile.docmd("DATA")
                hostile.send(mail(f"{number}") + b"\r\n.\r\n")
                slow.append(hostile)
            wait_for(lambda: len(shares) == len(slow), 30, "all are read")  # noqa: B023
            if not is_relay:
                is_over.set()
            ordinary = sessions.enter_context(connected(listener))
            assert deliver(ordinary, mail(str(relays))) == 250
            assert len(set(shares)) == (len(slow) + 1 if is_relay else 1)
            is_over.set()
            assert {one.getreply()[0] for one in slow} == {250}


def test_loops_are_refused(world, client):
    add_mailbox(world, "sales")
    outgoing(world)
    assert deliver(client, mail(Message_ID=OURS)) == 554
    assert deliver(client, b"Received: from a\r\n" * 30 + mail()) == 554
    assert not Email.objects.filter(direction=Direction.INBOUND).exists()
    # For a colleague it is ordinary mail.
    assert (
        deliver(
            client, mail(Message_ID=OURS), "support@acme.example", "sales@acme.example"
        )
        == 250
    )
    assert received().mailbox.address == "sales@acme.example"


@pytest.mark.slow
def test_message_that_is_too_large_is_refused_and_the_session_goes_on(
    world, listener, monkeypatch
):
    with connected(listener) as client:
        assert client.mail(SENDER, [f"SIZE={smtp_server.MAX_MESSAGE + 1}"])[0] == 552
    monkeypatch.setattr(smtp_server, "MAX_MESSAGE", 10_000)
    with connected(listener) as client:
        assert deliver(client, mail("many words\n" * 1000)) == 552
        assert deliver(client, b"X: " + b"x" * 20_000 + b"\r\n\r\n.") == 500
        assert deliver(client, mail("few words")) == 250
    assert received().markdown == "few words"


def test_dots_and_bare_line_ends_are_text(world, listener):
    with socket.create_connection(("127.0.0.1", listener.port), timeout=60) as raw:
        lines = raw.makefile("rb")
        lines.readline()
        for line in (
            b"HELO x",
            b"MAIL FROM:<a@b.example>",
            b"RCPT TO:<support@acme.example>",
            b"DATA",
        ):
            raw.sendall(line + b"\r\n")
            lines.readline()
        raw.sendall(
            b"Subject: x\r\n\r\n..dot\r\nsmuggled\n.\nMAIL FROM:<c@d.example>\r.\r\n.\r\n"
        )
        assert lines.readline().startswith(b"250")
    assert received().markdown.splitlines() == [
        ".dot",
        "smuggled",
        ".",
        "MAIL FROM:<c@d.example>",
        ".",
    ]


@contextlib.contextmanager
def database_away():
    """End every other connection to the database, and refuse new ones."""
    options = database.settings_dict
    name = database.ops.quote_name(options["NAME"])
    database.ensure_connection()
    with psycopg.connect(
        dbname="postgres", host=options["HOST"], user=options["USER"], autocommit=True
    ) as server:
        server.execute(f"ALTER DATABASE {name} WITH ALLOW_CONNECTIONS false")
        server.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = %s AND pid <> %s",
            [options["NAME"], database.connection.info.backend_pid],
        )
        try:
            yield
        finally:
            server.execute(f"ALTER DATABASE {name} WITH ALLOW_CONNECTIONS true")


@pytest.mark.django_db(transaction=True)
def test_mail_is_deferred_while_the_database_is_down_and_two_listeners_store_it_once():
    listen(make_world())
    with (
        running() as first,
        running() as second,
        connected(first) as one,
        connected(second) as two,
    ):
        one.mail(SENDER)
        one.rcpt("support@acme.example")
        with database_away():
            assert one.data(mail())[0] == 451
            one.mail(SENDER)
            assert one.rcpt("support@acme.example")[0] == 451
        assert not Email.objects.exists()
        for client in (one, two):
            client.rset()
            client.mail(SENDER)
            client.rcpt("support@acme.example")
            client.docmd("DATA")
        for client in (one, two):
            client.send(mail().replace(b"\n", b"\r\n") + b".\r\n")
        assert [client.getreply()[0] for client in (one, two)] == [250, 250]
    assert events_of(Email.objects.get().pk) == ["message.received"]


def test_died_is_called_for_a_crash_but_not_a_stop_and_a_used_port_fails_at_once():
    deaths = []

    def listener(name):
        return Listener(host="127.0.0.1", port=0, died=lambda: deaths.append(name))

    orderly, broken = listener("orderly"), listener("broken")
    with pytest.raises(OSError, match="in use"):
        Listener(host="127.0.0.1", port=orderly.port)
    orderly.start()
    orderly.stop()
    broken.start()
    broken._loop.call_soon_threadsafe(broken._loop.stop)
    wait_for(lambda: deaths, 60, "the death is told")
    assert deaths == ["broken"]


def test_letters_beyond_ascii_before_the_at_are_received_and_answered(
    world, client, settings
):
    jorg = "jörg@x.example"
    content = mail().replace(f"Dana <{SENDER}>".encode(), f"Jörg <{jorg}>".encode())
    client.mail("bounce-123@mailer.example")
    client.rcpt(world.mailbox.address)
    assert client.data(content)[0] == 250
    (row,) = world.get(f"{world.base}/emails?sender=J%C3%96RG@x")["emails"]
    assert (row["from"], row["from_name"]) == (jorg, "Jörg")
    path = f"{world.base}/reply/{row['id']}"
    # A server that does not take it is named before anybody approves.
    with mail_server(enable_SMTPUTF8=False) as ascii_only:
        settings.EMAIL_URL = ascii_only.url
        refused = world.post(path, markdown="Yes.")
        assert refusal_of(refused) == (422, "address_not_deliverable")
        assert jorg in refused.json()["error"]
        email = world.approved(to=["ann@x.example"])
        change_row(email, to=[jorg])
        assert leave(email) == "put off"
        assert email.last_error == smtp.NO_UTF8
        assert not ascii_only.mails
    with mail_server() as takes_utf8:
        settings.EMAIL_URL = f"{takes_utf8.url}?dsn=1"
        takes_utf8.dsn = True
        reply = world.post(path, markdown="Yes.", reply_to="köln@x.example").json()
        world.decide(reply["id"])
        email = Email.objects.get(pk=reply["id"])
        assert leave(email) == "sent"
        [envelope] = takes_utf8.taken
        assert envelope.smtp_utf8
        assert envelope.rcpt_tos == [jorg]
        assert f"ORCPT=utf-8;{jorg}" in takes_utf8.options
        headers = envelope.content.decode().splitlines()
        assert {f"To: {jorg}", "Reply-To: köln@x.example"} <= {*headers}


def test_from_that_is_not_understood_is_unknown_and_a_reply_asks_for_the_address(
    world, client
):
    for written in ("J😀rg <j😀rg@x.example>", "dana at northwind.example", "<>"):
        content = mail().replace(f"Dana <{SENDER}>".encode(), written.encode())
        assert deliver(client, content, sender="bounce-123@mailer.example") == 250
        email = received()
        assert (email.from_address, bool(email.from_name)) == ("", True), written
        path = f"{world.base}/reply/{email.pk}"
        assert refusal_of(world.post(path, markdown="x")) == (422, "no_reply_address")
        reply = world.post(path, markdown=written, to="dana@northwind.example").json()
        assert Email.objects.get(pk=reply["id"]).to == ["dana@northwind.example"]
        email.delete()
    # Who is known is answered, whatever the request says.
    assert deliver(client, mail()) == 250
    path = f"{world.base}/reply/{received().pk}"
    reply = world.post(path, markdown="x", to="mallory@evil.example").json()
    assert Email.objects.get(pk=reply["id"]).to == [SENDER]


def test_reply_goes_to_all_addresses_that_the_message_names_for_that(world, client):
    second = b"Reply-To: b@x.example\r\nReply-To: support@acme.example, c@x.example\r\n"
    assert deliver(client, second + mail()) == 250
    email = received()
    row = world.get(f"{world.base}/emails/{email.pk}")
    assert row["reply_to"] == "b@x.example, c@x.example"
    path = f"{world.base}/reply/{email.pk}"
    reply = world.post(path, markdown="x").json()
    assert Email.objects.get(pk=reply["id"]).to == ["b@x.example", "c@x.example"]
    many = ", ".join(f"{number}@x.example" for number in range(51))
    change_row(email, reply_to=many)
    assert world.post(path, markdown="x").status_code == 422


def test_bytes_that_are_no_text_in_an_address_are_refused_or_unknown(world, client):
    for command in (b"RCPT TO:<\xff@acme.example>", b"VRFY \xff", b"EHLO \xff"):
        client.rset()
        client.mail(SENDER)
        client.sock.sendall(command + b"\r\n")
        code, _ = client.getreply()
        assert code < 600
    client.ehlo("mx.example")
    client.sock.sendall(b"MAIL FROM:<\xff@x.example>\r\n")
    assert client.getreply()[0] == 250
    client.rcpt(world.mailbox.address)
    assert client.data(mail())[0] == 250
    assert "envelope_from" not in received().metadata
