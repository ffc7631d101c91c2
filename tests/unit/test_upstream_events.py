"""Every spelling of MultiMail's webhooks ends in the same event (contract sections 6.2, 6.3 and 6.6)."""

import json
from datetime import UTC, datetime

import pytest

from upstream.events import MisshapenEvent, UnreadableEvent, parse, read_time


def event(**payload):
    return parse(json.dumps(payload).encode())


ENVELOPES = {
    "A": {"event": "oversight.pending", "timestamp": "2026-11-20T10:00:00Z", "data": {
        "email_id": "01E", "from": "a@x.example", "to": ["b@y.example"], "subject": "Hi", "direction": "outbound"}},
    "B": {"type": "message.pending_approval", "data": {
        "message_id": "01E", "from": "a@x.example", "to": "b@y.example", "subject": "Hi",
        "metadata": {"discord_user": "u"}}},
    "C": {"type": "email.pending", "id": "01E", "from": "a@x.example", "to": "b@y.example", "subject": "Hi"},
    "D": {"event_type": "message.pending_send_approval", "message_id": "01E", "mailbox": "a@x.example",
          "from": "a@x.example", "to": ["b@y.example"], "subject": "Hi"},
    "bus name": {"type": "multimail/email.pending", "email_id": "01E", "from": "a@x.example", "to": "b@y.example",
                 "subject": "Hi"},
}  # fmt: skip


@pytest.mark.parametrize("payload", ENVELOPES.values(), ids=ENVELOPES.keys())
def test_every_envelope_reads_alike(payload):
    found = event(**payload)
    assert (found.kind, found.email_id, found.sender, found.to, found.subject) == (
        "pending", "01E", "a@x.example", ("b@y.example",), "Hi",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("payload", "kind"),
    [
        ({"type": "email.decided", "message_id": "01E", "decision": "approved"}, "approved"),
        ({"type": "email.decided", "message_id": "01E", "action": "reject"}, "rejected"),
        ({"type": "email.decided", "message_id": "01E"}, ""),
        ({"type": "email.decided", "message_id": "01E", "decision": "maybe"}, ""),
        ({"event": "something.new", "email_id": "01E"}, ""),
        ({"event": "bounce", "email_id": "01E"}, "bounced"),
        ({"event": "message.received", "email_id": "01E"}, "received"),
    ],
)
def test_kind_is_read_and_never_guessed(payload, kind):
    assert event(**payload).kind == kind


def test_top_level_id_counts_only_without_inner_object():
    with pytest.raises(MisshapenEvent, match="does not say which message"):
        event(event="oversight.pending", id="evt_1", data={"subject": "Hi"})


@pytest.mark.parametrize("name", ["oversight.pending", "message.sent", "email.rejected", "bounce"])
@pytest.mark.parametrize("ids", [{}, {"email_id": ""}, {"email_id": None}, {"message_id": None, "id": ""}])
def test_known_event_without_its_message_is_misshapen(name, ids):
    with pytest.raises(MisshapenEvent) as caught:
        event(event=name, event_id="evt_1", subject="Hi", **ids)
    # What could be read is kept: the event is shown, and found again when it comes twice.
    assert (caught.value.event.name, caught.value.event.event_id) == (name, "evt_1")


def test_unknown_event_need_not_name_a_message():
    assert event(event="account.updated", event_id="evt_1").kind == ""


@pytest.mark.parametrize(
    ("fields", "direction"),
    [
        ({"direction": "inbound"}, "inbound"),
        ({"direction": "outbound", "status": "pending_send_approval"}, "outbound"),
        ({"status": "pending_inbound_approval"}, "inbound"),
        ({"data": {"email_id": "01E", "status": "pending_inbound_approval"}}, "inbound"),
        ({"status": "pending_send_approval"}, "outbound"),
        ({}, "outbound"),
    ],
    ids=["named", "named outbound", "status", "inner status", "status outbound", "nothing"],
)
def test_direction_is_read_from_its_field_or_from_the_status(fields, direction):
    assert event(event="oversight.pending", email_id="01E", **fields).direction == direction


@pytest.mark.parametrize(
    "body",
    [
        b"[]",
        b"null",
        b"{",
        b"\xff\xfe",
        b'{"a": "\\ud800"}',
        b'{"a": NaN}',
        b'{"a":' + b"[" * 5000 + b"]" * 5000 + b"}",
    ],
)
def test_unreadable_body_says_so(body):
    with pytest.raises(UnreadableEvent):
        parse(body)


def test_nul_is_replaced_because_postgresql_stores_none():
    assert event(event="oversight.pending", email_id="01E", subject="a\0b").subject == "a\ufffdb"


@pytest.mark.parametrize(
    "value", ["2026-11-20T10:00:00Z", "2026-11-20T10:00:00+00:00", 1795168800, "1795168800", 1795168800000]
)
def test_times_are_read_in_every_form(value):
    assert read_time(value) == datetime(2026, 11, 20, 10, tzinfo=UTC)


@pytest.mark.parametrize("value", [None, "yesterday", {}, 1e300, True and "x"])
def test_time_that_is_none_reads_as_none(value):
    assert read_time(value) is None


@pytest.mark.parametrize("value", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "1969-07-20", 0, "-1", -5])
def test_time_that_could_not_be_stored_or_read_again_is_none(value):
    assert read_time(value) is None


@pytest.mark.parametrize("subject", ["[" * 60, "{" * 60, '\\"[[' * 30, '"' + "[" * 60, "\\" + "[" * 60])
def test_brackets_in_a_subject_are_not_depth(subject):
    assert event(event="oversight.pending", email_id="01E", subject=subject).subject == subject


@pytest.mark.parametrize("body", [b"[" * 41 + b"]" * 41, b'{"a":"\\\\",' + b'"b":' + b"[" * 50 + b"]" * 50 + b"}"])
def test_brackets_outside_of_texts_are(body):
    with pytest.raises(UnreadableEvent, match="levels deep"):
        parse(body)
