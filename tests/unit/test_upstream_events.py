"""Every spelling of MultiMail's webhooks ends in the same event (docs/multimail.md,
Webhooks).
"""

import json
from datetime import UTC, datetime

import pytest

from simple_form.data import rows
from upstream.events import MisshapenEvent, UnreadableEvent, parse, read_time


def event(**payload):
    return parse(json.dumps(payload).encode())


KINDS = list(
    rows("""
approved  {"type": "email.decided", "decision": "approved"}
rejected  {"type": "email.decided", "action": "reject"}
-         {"type": "email.decided"}
-         {"type": "email.decided", "decision": "maybe"}
-         {"event": "something.new"}
bounced   {"event": "bounce"}
received  {"event": "message.received"}
""")
)


def test_kind_is_read_and_never_guessed():
    for kind, payload in KINDS:
        assert event(message_id="01E", **json.loads(payload)).kind == kind.strip("-")


def test_top_level_id_counts_only_without_inner_object():
    with pytest.raises(MisshapenEvent, match="does not say which message"):
        event(event="oversight.pending", id="evt_1", data={"subject": "Hi"})


def test_empty_list_of_recipients_hides_no_other_spelling():
    found = event(event="bounce", message_id="01E", to_addresses=[], to="a@b.example")
    assert found.to == ("a@b.example",)


def test_comma_in_a_name_parts_no_recipients():
    text = '"Doe, Jo" <jo@x.example>, a@b.example'
    found = event(event="bounce", message_id="01E", to=text)
    assert found.to == ('"Doe, Jo" <jo@x.example>', "a@b.example")


def test_times_are_read_in_every_form_and_what_is_none_or_cannot_be_stored_reads_as_none():
    forms = [
        "2026-11-20T10:00:00Z",
        "2026-11-20T10:00:00+00:00",
        1795168800,
        "1795168800",
        1795168800000,
        1795168800000000,
        1795168800000000000,
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
    for subject in ("[" * 60, '\\"[[' * 30):
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
