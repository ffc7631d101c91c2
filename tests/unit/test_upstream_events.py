"""Every spelling of MultiMail's webhooks ends in the same event (docs/multimail.md,
Webhooks).
"""

import itertools
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


def test_every_envelope_reads_alike():
    read = {name: event(**payload) for name, payload in ENVELOPES.items()}
    found = {
        name: (one.kind, one.email_id, one.sender, one.to, one.subject)
        for name, one in read.items()
    }
    assert found == dict.fromkeys(
        ENVELOPES, ("pending", "01E", "a@x.example", ("b@y.example",), "Hi")
    )


def test_kind_is_read_and_never_guessed():
    for payload, kind in (
        ({"type": "email.decided", "decision": "approved"}, "approved"),
        ({"type": "email.decided", "action": "reject"}, "rejected"),
        ({"type": "email.decided"}, ""),
        ({"type": "email.decided", "decision": "maybe"}, ""),
        ({"event": "something.new"}, ""),
        ({"event": "bounce"}, "bounced"),
        ({"event": "message.received"}, "received"),
    ):
        assert event(message_id="01E", **payload).kind == kind, payload


def test_known_event_without_its_message_is_misshapen_and_an_unknown_one_is_not():
    names = ("oversight.pending", "message.sent", "email.rejected", "bounce")
    ids = ({}, {"email_id": ""}, {"email_id": None}, {"message_id": None, "id": ""})
    for name, fields in itertools.product(names, ids):
        with pytest.raises(MisshapenEvent) as caught:
            event(event=name, event_id="evt_1", subject="Hi", **fields)
        # What could be read is kept: the event is shown, and found again when it comes
        # twice.
        assert caught.value.event.name == name
        assert caught.value.event.event_id == "evt_1"
    assert event(event="account.updated", event_id="evt_1").kind == ""


def test_top_level_id_counts_only_without_inner_object():
    with pytest.raises(MisshapenEvent, match="does not say which message"):
        event(event="oversight.pending", id="evt_1", data={"subject": "Hi"})


def test_direction_is_read_from_its_field_or_from_the_status():
    for fields, direction in (
        ({"direction": "inbound"}, "inbound"),
        ({"direction": "outbound", "status": "pending_send_approval"}, "outbound"),
        ({"status": "pending_inbound_approval"}, "inbound"),
        (
            {"data": {"email_id": "01E", "status": "pending_inbound_approval"}},
            "inbound",
        ),
        ({"status": "pending_send_approval"}, "outbound"),
        ({}, "outbound"),
    ):
        assert (
            event(event="oversight.pending", email_id="01E", **fields).direction
            == direction
        ), fields


def test_unreadable_body_says_so():
    deep = b'{"a":' + b"[" * 5000 + b"]" * 5000 + b"}"
    for body in (
        b"[]",
        b"null",
        b"{",
        b"\xff\xfe",
        b'{"a": "\\ud800"}',
        b'{"a": NaN}',
        deep,
    ):
        with pytest.raises(UnreadableEvent):
            pytest.fail(f"{body[:20]!r} was read as {parse(body)}")


def test_nul_is_replaced_because_postgresql_stores_none():
    assert (
        event(event="oversight.pending", email_id="01E", subject="a\0b").subject
        == "a\ufffdb"
    )


def test_times_are_read_in_every_form_and_what_is_none_or_cannot_be_stored_reads_as_none():
    forms = [
        "2026-11-20T10:00:00Z",
        "2026-11-20T10:00:00+00:00",
        1795168800,
        "1795168800",
        1795168800000,
    ]
    assert [read_time(value) for value in forms] == [
        datetime(2026, 11, 20, 10, tzinfo=UTC)
    ] * len(forms)
    none = [
        None,
        "yesterday",
        {},
        1e300,
        "x",
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59-14:00",
        "1969-07-20",
    ]
    assert [
        value for value in (*none, 0, "-1", -5) if read_time(value) is not None
    ] == []


def test_brackets_in_a_text_are_not_depth_and_those_outside_of_texts_are():
    for subject in ("[" * 60, "{" * 60, '\\"[[' * 30, '"' + "[" * 60, "\\" + "[" * 60):
        assert (
            event(event="oversight.pending", email_id="01E", subject=subject).subject
            == subject
        )
    for body in (
        b"[" * 41 + b"]" * 41,
        b'{"a":"\\\\",' + b'"b":' + b"[" * 50 + b"]" * 50 + b"}",
    ):
        with pytest.raises(UnreadableEvent, match="levels deep"):
            parse(body)
