"""Messages that the desk first hears of after their review: shown with their status,
and read.
"""

from datetime import UTC, datetime, timedelta

import pytest
from django.db.models.functions import Now

from approvals.decisions.status import shown_status
from approvals.intake import ingest
from approvals.operations.attention import attention_for
from approvals.reconcile.reads import ask_about
from audit.models import Entry
from mirror.models import Connection, Message
from tests.factories import NOW, actor_of, event_body, make_connection, rolled_back

BARE = {
    "email_id": "01UNHEARD",
    "subject": "",
    "to": [],
    "from": "",
    "mailbox": "",
    "mailbox_id": "",
    "metadata": {},
}
READ = "/v1/emails/01UNHEARD"


@pytest.fixture
def connection(upstream):
    return make_connection(
        api_url=upstream.url, read_key="mm_live_read", complete_as_of=datetime.now(UTC)
    )


def hear(connection, name="oversight.approved", **fields):
    """Receive a webhook with hardly more than the id of its message."""
    body = event_body(name, **{**BARE, "status": "", **fields})
    return ingest.receive_webhook(
        connection=connection, body=body, secret_used="current"
    )


def letter(**fields):
    """The answer to a read of the message itself."""
    return {
        "id": "01UNHEARD", "subject": "Your refund", "from": "support@yourteam.example", "direction": "outbound",
        "to_addresses": ["dana@northwind.example"], "mailbox_id": "01MAILBOX", "mailbox": "support@yourteam.example",
        "status": "sent", "decision": "approved", "decided_by": "Ben elsewhere", **fields,
    }  # fmt: skip


def test_event_of_an_unheard_message_has_multimail_asked_what_it_is_unless_it_names_it(
    connection,
):
    for name in ("oversight.approved", "message.bounced"):
        stored = hear(connection, name, email_id=name)
        message = Message.objects.get(upstream_id=name)
        assert stored.result == "applied", name
        assert stored.ask == message, name
        assert stored.fetch is None, name
    assert hear(connection, email_id="01NAMED", subject="Your refund").ask is None


def test_test_mail_that_only_events_tell_of_is_marked(connection):
    for number, sandbox in enumerate((None, True, "yes")):
        hear(connection, "message.sent", email_id=f"01S{number}", sandbox=sandbox)
        message = Message.objects.get(upstream_id=f"01S{number}")
        assert message.sandbox is (sandbox is True), sandbox
    hear(connection, "message.delivered", email_id="01S0", sandbox=True)
    assert Message.objects.get(upstream_id="01S0").sandbox


def test_answer_names_a_message_that_was_not_known(
    connection, upstream, signed_in, reviewer
):
    message = hear(connection).ask
    page = signed_in(reviewer).get(f"/queue/{message.public_id}/").text
    assert "(subject not known)" in page
    assert "The content never reached this desk" in page

    upstream.answers[READ] = (200, letter(delivered_at="2026-11-20T10:00:00Z"))
    for is_our_gateway in (False, True):
        with rolled_back():
            Connection.objects.update(is_our_gateway=is_our_gateway)
            assert ask_about(message_id=message.pk, now=NOW) == "sent, delivered"
            named = Message.objects.get()
            assert named.sender == str(named.mailbox) == "support@yourteam.example"
            assert named.recipients == ["dana@northwind.example"]
            assert named.upstream_decided_by == "Ben elsewhere"
            entry = Entry.objects.get(action="message.named")
            assert named.subject == entry.detail.fields["subject"] == "Your refund"


def test_what_the_mail_server_answered_needs_attention(
    connection, upstream, reviewer, settings
):
    hear(connection, subject="Your refund")
    message = Message.objects.get()
    answer = "530 5.7.0 Authentication required"
    upstream.holds(status="scheduled", decision="approved", last_error=answer)
    ask_about(message_id=message.pk, now=NOW)
    for minutes, number in ((5, 0), (11, 1)):
        Message.objects.update(changed_at=Now() - timedelta(minutes=minutes))
        items = attention_for(actor_of(reviewer), NOW)
        assert len(items) == number
    assert items[0].kind == "not_taken"
    assert answer in items[0].why
    assert answer in shown_status(Message.objects.get()).detail
    upstream.holds(status="scheduled", decision="approved", last_error=None)
    ask_about(message_id=message.pk, now=NOW)
    assert attention_for(actor_of(reviewer), NOW) == []
    # Without a mail server the gateway asks none.
    settings.EMAIL_URL = ""
    status = shown_status(Message.objects.get())
    assert status.word == "Waits to be sent"
    assert status.detail.endswith("Not sent yet: no mail server is set")
    settings.EMAIL_URL = "smtp://mail.example"
    assert shown_status(Message.objects.get()).word == "Approved"


def test_received_mail_is_never_read_to_learn_its_subject(connection, upstream):
    Connection.objects.update(is_our_gateway=False)
    message = hear(connection, "message.received").ask
    upstream.holds(status="unread")
    ask_about(message_id=message.pk, now=NOW)
    assert READ not in upstream.paths
