"""The webhook endpoint: what it stores and mirrors, what it quarantines, and what late
events add.
"""

import json
from datetime import timedelta

import pytest
from django.db import OperationalError
from django.utils import timezone

from alerts.models import Delivery
from approvals.intake.ingest import receive_webhook
from audit.models import Entry
from common.fingerprint import Attachment, fingerprint
from mirror import store
from mirror.models import Message, WebhookEvent
from tests.factories import (
    confirm_reports,
    event_body,
    pending_row,
    post_event,
    show_row,
)


def only_message():
    return Message.objects.get()


def test_pending_event_stores_mirrors_records_and_plans_in_one_go(
    client, connection, route
):
    sent_at = timezone.now() - timedelta(minutes=10)
    answer = post_event(client, connection, event_body(timestamp=sent_at.isoformat()))
    assert answer.status_code == 200
    assert answer.json() == {"result": "applied"}
    message = only_message()
    assert message.held_at == sent_at
    assert message.state == "held"
    assert message.subject == "Your refund for order 4471"
    assert message.mailbox.address == "support@yourteam.example"
    entry = Entry.objects.get(action="message.held")
    assert entry.message == message.public_id
    assert entry.detail.fields["trigger.discord_guild"] == "Acme"
    assert Delivery.objects.get().state == "due"


def test_same_event_id_in_another_body_is_a_duplicate_and_overlong_names_are_cut(
    client, connection
):
    post_event(client, connection, event_body(event_id="E1"))
    again = event_body(event_id="E1", timestamp="2026-11-20T11:00:00Z")
    assert post_event(client, connection, again).json()["result"] == "duplicate"
    long = event_body("x" * 100, event_id="e" * 300, email_id="m" * 300)
    assert post_event(client, connection, long).json()["result"] == "unknown"
    assert Entry.objects.get(action="webhook.unknown").detail.fields["event"][0] == "x"
    event = WebhookEvent.objects.latest("pk")
    assert len(event.name) == 64
    assert len(event.event_id) == 200
    assert len(event.email_id) == 200


def test_known_event_without_its_message_is_poison_and_answered_200(client, connection):
    for name in ("oversight.pending", "oversight.approved"):
        body = event_body(name, email_id="")
        assert post_event(client, connection, body).status_code == 200
        assert Message.objects.count() == 0
        event = WebhookEvent.objects.to_look_at().latest("pk")
        assert (event.result, event.name) == ("poison", name)
        assert post_event(client, connection, body).json() == {"result": "duplicate"}


def test_received_mail_is_known_by_its_status_where_nothing_names_its_direction(
    client, connection
):
    waits = "pending_inbound_approval"
    post_event(client, connection, event_body(direction="", status=waits))
    assert only_message().direction == "inbound"
    # A row that does not name it either changes nothing, and one that does is used.
    for direction, status, expected in (
        (None, "pending", "inbound"),
        ("outbound", "pending", "outbound"),
        (None, waits, "inbound"),
    ):
        shown = show_row(only_message(), direction=direction, status=status)
        assert shown.direction == expected


def raising(error):
    def break_down(*_, **__):
        raise error

    return break_down


def test_event_that_cannot_be_applied_keeps_its_row_and_an_alert_mistake_costs_nothing(
    client, connection, monkeypatch
):
    with monkeypatch.context() as patched:
        patched.setattr(
            "alerts.deliveries.planning.plan", raising(RuntimeError("a bug of ours"))
        )
        assert (
            post_event(client, connection, event_body()).json()["result"] == "applied"
        )
    assert only_message().state == "held"
    monkeypatch.setattr(
        "mirror.store.begin_message", raising(RuntimeError("a bug of ours"))
    )
    answer = post_event(client, connection, event_body())
    assert answer.status_code == 200
    assert answer.json()["result"] == "poison"
    event = WebhookEvent.objects.latest("pk")
    assert event.error == "RuntimeError while applying; see the log."
    details = Entry.objects.get(action="webhook.poison").detail.fields
    assert details["explanation"] == event.error


def test_event_that_postgresql_could_not_take_now_is_sent_again(
    client, connection, monkeypatch
):
    body = event_body()
    with monkeypatch.context() as patched:
        patched.setattr(
            "mirror.store.begin_message", raising(OperationalError("deadlock detected"))
        )
        answer = post_event(client, connection, body)
    assert answer.status_code == 503
    assert answer["Retry-After"] == "10"
    assert WebhookEvent.objects.count() == 0
    assert post_event(client, connection, body).json()["result"] == "applied"


# By resulting state: the spellings of docs/multimail.md, Event names.
SPELLINGS = {
    "held": "oversight.pending message.pending_approval email.pending message.pending_send_approval",
    "approved": "oversight.approved message.approved email.approved email.decided",
    "rejected": "oversight.rejected message.rejected email.rejected email.decided",
    "sent": "message.sent email.sent",
    "delivered": "message.delivered email.delivered delivery",
    "bounced": "message.bounced email.bounced bounce",
    "complained": "message.complained email.complained complaint",
    "received": "message.received email.received inbound",
}


def spelled(name, upstream_id, state):
    """The same event in each envelope of docs/multimail.md, with the field names of
    each.
    """
    box = "support@yourteam.example"
    to = "dana@northwind.example"
    at = timezone.now()
    common = {"subject": "Hi", "mailbox_id": "01MAILBOX", "metadata": {"run_id": "7"}}
    verbs = {"approved": "approve", "rejected": "reject"}
    yield {
        "event": name, "timestamp": at.isoformat(),
        "data": {"email_id": upstream_id, "from": box, "to": [to], "decision": state, **common},
    }  # fmt: skip
    yield {
        "type": name,
        "data": {
            "message_id": upstream_id,
            "sender": box,
            "to": to,
            "decision": state,
            **common,
        },
    }
    yield {
        "type": f"multimail/{name}",
        "id": upstream_id,
        "from": box,
        "to_addresses": [to],
        "decision": state,
        **common,
    }
    yield {
        "event_type": name, "timestamp": at.timestamp(), "message_id": upstream_id, "from_address": box, "to": [to],
        "action": verbs.get(state), **common,
    }  # fmt: skip


@pytest.mark.slow
def test_every_spelling_of_an_event_and_its_fields_gives_the_same_stored_state(
    client, connection
):
    """The envelopes take turns, from one name to the next."""
    turn = 0
    wrong = {}
    for state, names in SPELLINGS.items():
        direction = "inbound" if state == "received" else "outbound"
        expected = (
            "support@yourteam.example",
            ["dana@northwind.example"],
            "Hi",
            {"run_id": "7"},
            "01MAILBOX",
        )
        for name in names.split():
            turn += 1
            upstream_id = f"01{name}{state}"
            payload = list(spelled(name, upstream_id, state))[turn % 4]
            post_event(client, connection, json.dumps(payload).encode())
            one = Message.objects.get(upstream_id=upstream_id)
            found = (
                one.state, one.sender, one.recipients, one.subject, one.trigger, one.mailbox.upstream_id, one.direction,
            )  # fmt: skip
            if found != (state, *expected, direction):
                wrong[f"{name} in envelope {turn % 4}"] = found
    assert wrong == {}


def test_every_spelling_of_a_pending_rows_fields_has_the_same_fingerprint():
    row = pending_row("01A")
    bare = dict(row)
    markdown, to, sender = map(bare.pop, ("markdown", "to_addresses", "from"))
    expected = fingerprint(store.content_of(row))
    for name in ("body_markdown", "text_body", "body", "text"):
        other = bare | {name: markdown, "to": to, "from_address": sender}
        assert fingerprint(store.content_of(other)) == expected, name


def test_row_of_any_form_is_read_and_nothing_of_it_is_left_out():
    """A value of an unexpected type is shown as it is written, so that nobody misses
    it.
    """
    content = store.content_of(
        {
            "from": None, "from_address": 5, "to": "a@x.example, ,b@x.example ", "cc": "", "bcc": 7, "subject": 8,
            "markdown": ["x"], "reply_to": "", "send_at": 9, "additions": {"footer": "Bye", "empty": ""},
            "attachments": [{"filename": "b.txt", "size": "many", "sha256": "f" * 64}, None],
        }
    )  # fmt: skip
    assert content.sender == "5"
    assert content.to == ("a@x.example", "b@x.example")
    assert (content.cc, content.bcc) == ((), ("7",))
    assert (content.subject, content.markdown, content.send_at) == ("8", "['x']", "9")
    assert content.reply_to is None
    assert content.additions == {"footer": "Bye"}
    files = Attachment("b.txt", "", 0, "f" * 64), Attachment("None", "", 0)
    assert content.attachments == files
    assert not {"from_name", "in_reply_to"} & set(content.coverage)
    other = store.content_of({"attachments": "one.pdf", "additions": "x"})
    assert other.attachments[0].name == "one.pdf"


def test_late_pending_fills_fields_that_a_later_event_lacked(client, connection):
    sent_at = timezone.now() - timedelta(minutes=10)
    bare = {"type": "oversight.approved", "data": {"message_id": "01A"}}
    post_event(client, connection, json.dumps(bare).encode())
    assert only_message().mailbox is None
    full = event_body(
        email_id="01A", thread_id="01THREAD", timestamp=sent_at.isoformat()
    )
    assert post_event(client, connection, full).json() == {"result": "late"}
    filled = only_message()
    assert (filled.state, filled.held_at) == ("approved", sent_at)
    assert filled.thread_id == "01THREAD"
    assert filled.subject == "Your refund for order 4471"
    assert filled.sender == filled.mailbox.address == "support@yourteam.example"
    assert filled.recipients == ["dana@northwind.example"]
    assert filled.trigger["discord_guild"] == "Acme"
    assert not Entry.objects.filter(action="message.held").exists()


PENDING = "oversight.pending"
APPROVED = "oversight.approved"
REJECTED = "oversight.rejected"
SENT = "message.sent"
LONG_AGO = {"timestamp": (timezone.now() - timedelta(hours=3)).isoformat()}
BARE = {"subject": "", "from": "", "to": [], "metadata": {}}
INBOUND = {"direction": "inbound"}
GONE = {"state": "gone"}
# A read finds that MultiMail no longer holds the message.
CONFIRM = {}

# Events of one message, one after the other, and of the last: its result, the state
# then, what is wanted of MultiMail, and the entries that it leaves. In place of an
# event may stand what becomes of the message meanwhile.
EVENTS = [
    ([(PENDING, {})], "applied", "held", "fetch", ["message.held"]),
    ([(PENDING, LONG_AGO)], "late", "gone", "ask", ["webhook.late"]),
    ([(SENT, LONG_AGO)], "late", "sent", "", ["webhook.late"]),
    ([(SENT, BARE)], "applied", "sent", "ask", ["message.sent"]),
    ([(PENDING, {}), (PENDING, {})], "applied", "held", "", []),
    ([(PENDING, {}), (PENDING, LONG_AGO)], "late", "held", "", []),
    (
        [(PENDING, {}), (APPROVED, LONG_AGO), CONFIRM],
        "checking",
        "approved",
        "",
        ["message.approved"],
    ),
    (
        [(PENDING, {}), (SENT, {}), CONFIRM],
        "checking",
        "sent",
        "",
        ["message.approved", "message.sent"],
    ),
    ([(REJECTED, {}), (PENDING, {})], "late", "rejected", "ask", ["webhook.late"]),
    ([(REJECTED, {}), (SENT, {})], "checking", "rejected", "", ["webhook.unconfirmed"]),
    ([(REJECTED, BARE), (PENDING, {})], "late", "rejected", "ask", ["message.named"]),
    ([(PENDING, {}), GONE, (PENDING, {})], "late", "gone", "ask", ["webhook.late"]),
    (
        [(PENDING, {}), GONE, (SENT, {}), CONFIRM],
        "checking",
        "sent",
        "",
        ["message.approved", "message.sent"],
    ),
    (
        [(PENDING, INBOUND), (APPROVED, {"direction": ""}), CONFIRM],
        "checking",
        "released",
        "",
        ["message.released"],
    ),
    (
        [(APPROVED, {"direction": ""}), (PENDING, INBOUND)],
        "applied",
        "released",
        "",
        ["message.released"],
    ),
]


def receive_event(connection, number, name, fields):
    body = event_body(name, email_id=f"01E{number}", **fields)
    return receive_webhook(
        connection=connection, body=body, secret_used="current", address="203.0.113.7"
    )


def test_event_moves_its_message_or_asks_and_leaves_its_entry(connection):
    for number, (steps, *expected) in enumerate(EVENTS):
        for step in steps:
            before = list(Entry.objects.values_list("pk", flat=True))
            if step is CONFIRM:
                confirm_reports()
            elif isinstance(step, dict):
                Message.objects.filter(upstream_id=f"01E{number}").update(**step)
            else:
                stored = receive_event(connection, number, *step)
        message = Message.objects.get(upstream_id=f"01E{number}")
        entries = list(
            Entry.objects.filter(message=message.public_id)
            # Who decided elsewhere has a test of its own.
            .exclude(action="decision.elsewhere")
            .exclude(pk__in=before)
            .oldest_first()
        )
        wanted = "".join(
            name for name in ("fetch", "ask") if getattr(stored, name) == message
        )
        assert [
            stored.result,
            message.state,
            wanted,
            [entry.action for entry in entries],
        ] == expected, steps
        for entry in entries:
            assert entry.connection == connection.pk, steps
            assert "4471" in entry.detail.words or not message.subject, steps
