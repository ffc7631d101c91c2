"""Small readers and writers: times, cursors, the server's address, events and their
signature.
"""

import hashlib
import hmac
import json
from datetime import UTC, datetime

import pytest

from common.smtp import Server
from gateway.timestamps import epoch_milliseconds, iso, parse_iso
from gateway.webhooks.deliveries import sign
from gateway.webhooks.events import (
    APPROVED,
    KNOWN,
    PENDING,
    REJECTED,
    SPELLINGS,
    envelope,
    spelling_for,
)

NOW = datetime(2026, 11, 20, 8, 15, 0, 123456, tzinfo=UTC)


def test_time_is_returned_as_stored_and_another_form_is_refused():
    assert iso(parse_iso("2026-11-20T08:15:00.1239Z")) == "2026-11-20T08:15:00.123Z"
    assert epoch_milliseconds(parse_iso("1970-01-01T00:00:01Z")) == 1000
    assert iso(None) is None
    for text in (
        "",
        "Z",
        "soon",
        "2026-11-20T08:15:00",
        "2026-11-20T08:15:00+00:00",
        "2026-13-01T00:00:00Z",
    ):
        with pytest.raises(ValueError, match="must be a time in UTC"):
            parse_iso(text)


def test_mail_server_from_its_address():
    server = Server.from_url("smtps://user%40x:p%3Aw@mail.example")
    assert server.host == "mail.example"
    assert server.port == 465
    assert server.user == "user@x"
    assert server.password == "p:w"
    assert Server.from_url("smtp://127.0.0.1:8025?tls=off").starttls == "off"


def test_spelling_is_the_first_of_the_subscriber_s_that_matches():
    events = ["message.sent", "email.pending", "oversight.pending"]
    assert spelling_for(events, PENDING) == "email.pending"
    assert spelling_for(events, APPROVED) is None
    assert (
        spelling_for(["email.decided"], APPROVED)
        == spelling_for(["email.decided"], REJECTED)
        == "email.decided"
    )
    assert all(name in spellings for name, spellings in SPELLINGS.items())
    assert set(SPELLINGS) <= KNOWN


def test_envelope_repeats_everything_but_the_names_under_data_and_is_signed_over_its_bytes():
    raw = envelope(
        "email.sent", event_id="E", now=NOW, facts={"id": "M", "subject": "Grüße"}
    )
    body = json.loads(raw)
    assert body["data"] == {
        "event_id": "E",
        "timestamp": "2026-11-20T08:15:00.123Z",
        "id": "M",
        "subject": "Grüße",
    }
    assert {body["event"], body["type"], body["event_type"]} == {"email.sent"}
    assert (
        sign("whsec_ü", raw)
        == "sha256=" + hmac.new("whsec_ü".encode(), raw, hashlib.sha256).hexdigest()
    )
