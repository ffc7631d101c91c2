"""The ledger entries of an event, and whether its message is fetched or queried, by
what was known before.
"""

from datetime import timedelta

from django.utils import timezone

from approvals.intake.ingest import receive_webhook
from audit.models import Entry
from mirror.models import Message
from tests.factories import MAILBOX, confirm_reports, event_body

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


FIELDS = {
    "subject": "Your refund for order 4471",
    "sender": MAILBOX["address"],
    "recipients": "dana@northwind.example",
    "trigger.discord_user": "ana#1",
    "trigger.discord_channel": "outreach",
    "trigger.discord_guild": "Acme",
}


def receive_event(connection, number, name, fields):
    body = event_body(name, email_id=f"01E{number}", **fields)
    return receive_webhook(
        connection=connection, body=body, secret_used="current", address="203.0.113.7"
    )


def fields_of(entry):
    """Its details, without its source."""
    fields = dict(entry.detail.fields)
    assert fields.pop("actor") == "MultiMail (main)"
    assert fields.pop("address", "203.0.113.7") == "203.0.113.7"
    return fields


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


def test_entry_records_the_effect_of_the_event(connection):
    more = {"reason": "Fine", "sent_by_key_name": "Bot"}
    explained = {"reason": "Fine", "key": "Bot"}
    found = {"key": "Bot", "found": "it is sent, which no event had reported"}
    for number, (steps, expected) in enumerate([
        ([(PENDING, {})], [FIELDS]),
        ([(PENDING, {}), (SENT, more), CONFIRM], [FIELDS | found, FIELDS | explained]),
        ([(REJECTED, BARE), (PENDING, {"sent_by_key": "mm_1"})], [FIELDS | {"event": PENDING, "key": "mm_1"}]),
        ([(PENDING, {}), (APPROVED, {"direction": "inbound"}), CONFIRM], [FIELDS | {"direction": "inbound"}]),
        ([(PENDING, {}), (APPROVED, more)], [{"event": APPROVED, "reason": "Fine"}]),
    ]):  # fmt: skip
        for step in steps:
            before = list(Entry.objects.values_list("pk", flat=True))
            if step is CONFIRM:
                confirm_reports()
            else:
                receive_event(connection, number, *step)
        entries = Entry.objects.exclude(pk__in=before).oldest_first()
        assert [fields_of(entry) for entry in entries] == expected, steps
