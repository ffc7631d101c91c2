"""Event names, the envelope, and the signature."""

import hashlib
import hmac
import json
from datetime import UTC, datetime

import pytest

from gateway.event_names import APPROVED, KNOWN, PENDING, REJECTED, SPELLINGS, spelling_for, wants_text_to
from gateway.events import envelope
from gateway.signing import sign

NOW = datetime(2026, 11, 20, 8, 15, 0, 123456, tzinfo=UTC)


def test_spelling_is_the_first_of_the_subscriber_s_that_matches():
    events = ["message.sent", "email.pending", "oversight.pending"]
    assert spelling_for(events, PENDING) == "email.pending"
    assert spelling_for(events, APPROVED) is None


def test_email_decided_means_both_decisions():
    assert spelling_for(["email.decided"], APPROVED) == spelling_for(["email.decided"], REJECTED) == "email.decided"


def test_every_name_is_among_its_own_spellings():
    assert all(name in spellings for name, spellings in SPELLINGS.items())
    assert set(SPELLINGS) <= KNOWN


@pytest.mark.parametrize("event", ["message.pending_approval", "message.approved", "message.rejected", "email.decided"])
def test_subscribers_of_the_discord_page_get_text(event: str):
    assert wants_text_to(["message.sent", event])
    assert not wants_text_to(["message.sent", "oversight.pending"])


def test_envelope_repeats_everything_but_the_names_under_data():
    body = json.loads(envelope("email.sent", event_id="E", now=NOW, facts={"id": "M", "subject": "Grüße"}))
    assert body["data"] == {"event_id": "E", "timestamp": "2026-11-20T08:15:00.123Z", "id": "M", "subject": "Grüße"}
    assert {body["event"], body["type"], body["event_type"]} == {"email.sent"}


def test_signature_is_hmac_of_the_bytes_with_the_whole_secret():
    body = "Grüße".encode()
    assert sign("whsec_ü", body) == "sha256=" + hmac.new("whsec_ü".encode(), body, hashlib.sha256).hexdigest()
