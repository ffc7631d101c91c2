"""Small readers: times, the mail server's address, and the names of events."""

import pytest

from common.smtp import Server
from gateway.timestamps import epoch_milliseconds, iso, parse_iso
from gateway.webhooks.events import APPROVED, PENDING, REJECTED, spelling_for


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
