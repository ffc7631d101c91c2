"""Incoming mail over real SMTP: who gets it, that it is stored once, and that nothing
else is offered.
"""

import contextlib
import socket
from collections import Counter
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage

import psycopg
import pytest
from django.db import connection as database

from gateway.inbound import smtp_server
from gateway.inbound.receive import digest_of
from gateway.inbound.smtp_server import Listener
from gateway.models import Account, AuditLogEntry, Email, Mailbox
from gateway.states import Direction, Mode, Status
from tests.integration.gateway.servers import SENDER, connected, deliver, running
from tests.integration.gateway.world import add_mailbox, events_of, make_world
from tests.stack import wait_for

DATE = "Fri, 20 Nov 2026 08:00:00 +0000"
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


def mail(text="Where is it?", *, file="", **headers):
    """Return a message with unique content and a Date header."""
    message = EmailMessage()
    usual = {
        "From": SENDER,
        "To": "support@acme.example",
        "Subject": "Question",
        "Date": DATE,
    }
    for name, value in {**usual, **headers}.items():
        message[name.replace("_", "-")] = value
    message.set_content(text)
    if file:
        message.add_attachment(
            b"\x00\xffbytes", maintype="image", subtype="png", filename=file
        )
    return message.as_bytes()


def received(**fields):
    return Email.objects.get(direction=Direction.INBOUND, **fields)


def test_inbound_mail_is_stored_announced_and_readable(world, client):
    content = mail(file="a b.png", From=f"Dana <{SENDER}>", Subject="Wo? Ä")
    assert deliver(client, content) == 250
    (row,) = world.get(f"/v1/check_inbox?mailbox={world.mailbox.address}")["emails"]
    assert row["from"] == SENDER
    assert row["from_name"] == "Dana"
    assert row["subject"] == "Wo? Ä"
    assert row["status"] == "unread"
    assert row["direction"] == "inbound"
    assert row["sandbox"] is False
    assert row["has_attachments"] is True
    path = f"{world.base}/emails/{row['id']}"
    read = world.get(path)
    assert read["markdown"] == "Where is it?"
    assert read["status"] == "read"
    assert (
        world.call("GET", f"{path}/attachments/a%20b.png").content == b"\x00\xffbytes"
    )
    assert events_of(row["id"]) == ["message.received"]
    assert AuditLogEntry.objects.get(resource_id=row["id"]).action == "email.received"
    for mode in set(Mode) - {Mode.GATED_ALL}:
        Mailbox.objects.update(oversight_mode=mode)
        assert deliver(client, mail(mode)) == 250
        email = received(markdown=mode)
        assert email.status == Status.UNREAD, mode
        assert email.gated is False, mode
        assert events_of(email.pk) == ["message.received"], mode


def test_same_bytes_again_are_the_same_mail(world, client):
    content = mail()
    for _ in range(2):
        assert (
            deliver(
                client, content, "support@acme.example", "support+again@acme.example"
            )
            == 250
        )
    assert events_of(received().pk) == ["message.received"]
    assert deliver(client, content + b"\r\nmore") == 250
    assert Email.objects.count() == 2


def test_same_bytes_without_identifying_headers_are_new_mail_a_minute_later():
    at = datetime(2026, 11, 20, 8, 0, 1, tzinfo=UTC)
    for header in (
        b"Message-ID: <1@x.example>\r\n",
        b"DATE: " + DATE.encode() + b"\r\n",
        b"Received: by x\r\n",
        b"",
    ):
        content = header + b"Subject: The disk is full\r\n\r\nDate: today\r\n"
        same = [
            digest_of(content, now=at + timedelta(seconds=seconds))
            for seconds in (0, 30, 60)
        ]
        assert same[1] == same[0], header
        assert (same[2] == same[0]) == (header != b""), header


def test_each_mailbox_gets_its_own(world, client):
    other = make_world("globex")
    sales = add_mailbox(world, "sales")
    # As after a crash between two of them: the next attempt must neither duplicate nor
    # lose any.
    assert deliver(client, mail(), "sales@acme.example") == 250
    assert (
        deliver(
            client,
            mail(),
            "support@acme.example",
            "sales@acme.example",
            "support@globex.example",
        )
        == 250
    )
    mailbox_ids = {world.mailbox.pk, sales.pk, other.mailbox.pk}
    assert sorted(Email.objects.values_list("mailbox_id", flat=True)) == sorted(
        mailbox_ids
    )
    # A tagged address goes to its own mailbox if there is one.
    own = add_mailbox(world, "support+vip")
    assert (
        deliver(
            client,
            mail("tagged"),
            "support+vip@acme.example",
            "support+other@acme.example",
        )
        == 250
    )
    found = dict(
        Email.objects.filter(markdown="tagged").values_list(
            "mailbox_id", "metadata__envelope_to"
        )
    )
    assert found == {
        own.pk: "support+vip@acme.example",
        world.mailbox.pk: "support+other@acme.example",
    }


RECIPIENTS = {
    "support@acme.example": 250, "SUPPORT@Acme.Example": 250, "support+tag@acme.example": 250, "support": 550,
    "support+a+b@acme.example": 250, "nobody@acme.example": 550, "support@northwind.example": 550, "@acme.example": 553,
    "support%northwind.example@acme.example": 550, "old@acme.example": 550, "support+old@acme.example": 550,
    "support@closed.example": 550,
}  # fmt: skip


def test_only_live_mailboxes_get_mail(world, client):
    for name in ("old", "support+old"):
        closed = add_mailbox(world, name)
        Mailbox.objects.filter(pk=closed.pk).update(is_active=False)
    make_world("closed")
    Account.objects.filter(slug="closed").update(is_active=False)
    client.mail(SENDER)
    assert {
        recipient: client.rcpt(recipient)[0] for recipient in RECIPIENTS
    } == RECIPIENTS
    # A mailbox that is closed meanwhile refuses a recipient it had accepted.
    Mailbox.objects.update(is_active=False)
    assert client.data(mail())[0] == 550


def test_unsupported_smtp_commands_are_refused(world, client):
    assert not {"auth", "starttls", "smtputf8", "expn"} & set(client.esmtp_features)
    assert client.verify("support@acme.example") == client.verify("nobody@acme.example")
    assert client.docmd("AUTH", "PLAIN AGEAYg==")[0] in (500, 502, 538)
    assert client.docmd("EXPN", "support")[0] == 502
    assert client.docmd("DATA")[0] == 503


def test_too_many_recipients_are_deferred_and_guessing_addresses_ends_the_session(
    world, client, monkeypatch
):
    assert smtp_server.MAX_RECIPIENTS == 100
    assert smtp_server.MAX_UNKNOWN == 20
    monkeypatch.setattr(smtp_server, "MAX_RECIPIENTS", 4)
    monkeypatch.setattr(smtp_server, "MAX_UNKNOWN", 3)
    for name, codes in (
        ("support+", [250, 250, 250, 250, 452]),
        ("guess", [550, 550, 550, 421]),
    ):
        client.rset()
        client.mail(SENDER)
        assert [
            client.rcpt(f"{name}{number}@acme.example")[0]
            for number in range(len(codes))
        ] == codes


def test_missing_headers_are_filled_from_the_envelope(world, client):
    assert deliver(client, b"\r\njust text\r\n", "support+x@acme.example") == 250
    email = received()
    assert email.from_address == SENDER
    assert email.to == ["support+x@acme.example"]
    assert email.subject == ""
    assert email.markdown == "just text"
    assert email.message_id_header[-23:] == ".received@acme.example>"
    email.delete()
    assert (
        deliver(
            client,
            mail(From="MAILER-DAEMON", Auto_Submitted="auto-replied (x)"),
            sender="",
        )
        == 250
    )
    email = received()
    assert email.from_address == ""
    assert email.from_name == "MAILER-DAEMON"
    assert email.status == Status.UNREAD
    assert email.metadata["auto_submitted"] == "auto-generated"
    assert "envelope_from" not in email.metadata
    email.delete()
    # Words of a stranger are no fact for clients.
    assert deliver(client, mail(), sender='"send it now"@x.example') == 250
    assert "envelope_from" not in received().metadata


def outgoing(world, message_id=OURS, **fields):
    email = Email.objects.get(pk=world.held())
    Email.objects.filter(pk=email.pk).update(message_id_header=message_id, **fields)
    email.refresh_from_db()
    return email


def test_reply_joins_the_thread_of_its_parent_and_no_other(world, client):
    ours = outgoing(world, subject="Question")
    second = "<second@acme.example>"
    outgoing(world, second)
    for headers in (
        {"In_Reply_To": OURS},
        {"References": f"<far@x.example> {OURS} <unknown@x.example>"},
        {"In_Reply_To": OURS, "References": second},
        {"In_Reply_To": "<unknown@x.example>", "References": f"{second} {OURS}"},
    ):
        assert deliver(client, mail(str(headers), **headers)) == 250
        email = received(markdown=str(headers))
        assert email.thread_id == ours.thread_id, headers
        assert email.in_reply_to == headers.get("In_Reply_To", ""), headers
    # A forged id does not hijack a thread.
    deliver(client, mail("first", Message_ID="<theirs@x.example>", In_Reply_To=OURS))
    deliver(client, mail("forged", Message_ID="<theirs@x.example>"))
    deliver(client, mail("answer", In_Reply_To="<theirs@x.example>"))
    assert received(markdown="answer").thread_id == ours.thread_id

    # It joins no thread by subject, and none of another mailbox or of the sandbox.
    tried = outgoing(world, "<tried@acme.example>", sandbox=True)
    add_mailbox(world, "sales")
    deliver(client, mail("other", Subject="Re: Question"))
    deliver(client, mail("other", In_Reply_To=OURS), "sales@acme.example")
    deliver(client, mail("other", In_Reply_To="<tried@acme.example>"))
    threads = set(
        Email.objects.filter(markdown="other").values_list("thread_id", flat=True)
    )
    assert len(threads) == 3
    assert threads & {ours.thread_id, tried.thread_id} == set()


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


def test_message_without_free_memory_is_deferred(world, listener, client, monkeypatch):
    reception = listener._reception
    free = reception.bytes
    # An address gets half of it, so that it leaves others some.
    assert free == 64 * 1024**2
    assert smtp_server.MAX_BYTES_OF_ADDRESS == 32 * 1024**2
    with monkeypatch.context() as patched:
        patched.setattr(reception, "bytes", 100)
        assert deliver(client, mail("x" * 200)) == 452
    with monkeypatch.context() as patched:
        patched.setattr(smtp_server, "MAX_BYTES_OF_ADDRESS", 100)
        assert deliver(client, mail("x" * 200)) == 452
    assert deliver(client, mail("x" * 200)) == 250
    wait_for(
        lambda: (reception.bytes, reception.bytes_of) == (free, {}),
        60,
        "the reserved memory is released",
    )


def test_address_that_takes_all_the_sessions_it_can_keeps_no_other_mail_out(
    world, listener
):
    with contextlib.ExitStack() as opened:

        def greetings(source, number):
            """Open so many connections from this address, keep them, and count the
            statuses of their greetings.
            """
            connections = [
                opened.enter_context(
                    socket.create_connection(
                        ("127.0.0.1", listener.port),
                        timeout=60,
                        source_address=(source, 0),
                    )
                )
                for _ in range(number)
            ]
            return Counter(one.recv(100)[:3] for one in connections)

        assert greetings("127.0.0.2", 300) == {b"220": 50, b"421": 250}
        # Nor do several addresses: the last places are only for those that have few.
        assert (
            sum(greetings(f"127.0.0.{number}", 60)[b"220"] for number in range(3, 9))
            == 190 + 2 * smtp_server.FEW
        )
        with connected(listener) as client:
            assert deliver(client, mail()) == 250
    wait_for(
        lambda: not listener._reception.sessions_of, 60, "the sessions are forgotten"
    )


def test_session_without_a_message_is_ended_soon_and_told_why(
    world, listener, monkeypatch
):
    assert smtp_server.COMMAND_SECONDS == 30
    assert smtp_server.SECONDS_BEFORE_DATA == 60
    for name in ("COMMAND_SECONDS", "SECONDS_BEFORE_DATA"):
        with monkeypatch.context() as patched:
            patched.setattr(smtp_server, name, 0.2)
            raw = socket.create_connection(("127.0.0.1", listener.port), timeout=60)
            with raw, raw.makefile("rb") as lines:
                assert lines.readline().startswith(b"220")
                assert lines.readline().startswith(b"421 4.4.2"), name
                assert lines.readline() == b""


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


def test_connection_lost_in_the_middle_stores_nothing(world, listener):
    reception = listener._reception
    free = reception.bytes
    with connected(listener) as client:
        client.mail(SENDER)
        client.rcpt("support@acme.example")
        client.docmd("DATA")
        client.send(mail().replace(b"\n", b"\r\n"))
        wait_for(lambda: reception.bytes < free, 60, "the beginning is there")
    wait_for(
        lambda: not reception.connections and reception.bytes == free,
        60,
        "it is forgotten",
    )
    assert not Email.objects.exists()


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
        assert one.rcpt("support@acme.example")[0] == 250
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
    orderly = Listener(host="127.0.0.1", port=0, died=lambda: deaths.append("orderly"))
    with pytest.raises(OSError, match="in use"):
        Listener(host="127.0.0.1", port=orderly.port)
    orderly.start()
    orderly.stop()
    broken = Listener(host="127.0.0.1", port=0, died=lambda: deaths.append("broken"))
    broken.start()
    broken._loop.call_soon_threadsafe(broken._loop.stop)
    wait_for(lambda: deaths, 60, "the death is told")
    assert deaths == ["broken"]
