"""The table of an email's states, every state by every change; which oversight mode holds;
and small readers.
"""

import itertools

import pytest

from common.smtp import Server
from gateway.models import Mailbox
from gateway.states import (
    Change,
    InvalidTransition,
    Mode,
    allows,
    is_gated,
    next_state,
    stricter,
)
from gateway.timestamps import epoch_milliseconds, iso, parse_iso

# Once more by hand, in the words that clients get: a state, a change, and where it
# leads. There is no other way.
WAYS = """
    pending_scan hold pending_send_approval
    pending_scan release scheduled
    pending_scan refuse rejected
    pending_scan cancel cancelled
    pending_send_approval approve scheduled
    pending_send_approval reject rejected
    pending_send_approval cancel cancelled
    pending_inbound_approval approve unread
    pending_inbound_approval reject rejected
    pending_inbound_approval cancel cancelled
    scheduled ask pending_send_approval
    scheduled send sent
    scheduled fail send_failed
    scheduled cancel cancelled
    scheduled edit pending_scan
    unread open read
    unread report_spam spam_quarantined
    read report_spam spam_quarantined
    archived report_spam spam_quarantined
    spam_flagged report_spam spam_quarantined
    spam_flagged not_spam unread
    spam_quarantined not_spam unread
"""
STATUSES = (
    "pending_scan pending_send_approval pending_inbound_approval scheduled sent send_failed rejected cancelled"
    " unread read archived deleted spam_flagged spam_quarantined"
)
CHANGES = "hold release refuse ask approve reject cancel send fail edit open report_spam not_spam"


def test_every_state_by_every_change_follows_the_table():
    ways = {
        (before, change): after
        for before, change, after in map(str.split, WAYS.strip().splitlines())
    }
    found = {}
    for status, change in itertools.product(STATUSES.split(), CHANGES.split()):
        if allows(status, Change(change)):
            found[status, change] = str(next_state(status, Change(change)))
            continue
        with pytest.raises(
            InvalidTransition, match=f"^An email that is {status} cannot {change}.$"
        ):
            next_state(status, Change(change))
    assert found == ways


def test_effective_mode_is_the_stricter_unless_the_mailbox_allows_looser():
    for mailbox, asked in itertools.product(Mode, Mode):
        both = (mailbox, asked)
        held = Mailbox(oversight_mode=mailbox).mode_for(asked)
        assert held is stricter(*both) is min(both, key=list(Mode).index), both
        free = Mailbox(oversight_mode=mailbox, allow_looser_per_call=True)
        loosest = Mode.READ_ONLY if mailbox is Mode.READ_ONLY else asked
        assert free.mode_for(asked) is loosest, both
    assert free.mode_for(None) is Mode.AUTONOMOUS
    assert list(Mode) == [
        "read_only",
        "gated_all",
        "gated_send",
        "monitored",
        "autonomous",
    ]
    assert {mode for mode in Mode if is_gated(mode)} == {
        Mode.GATED_ALL,
        Mode.GATED_SEND,
    }


def test_time_is_returned_as_stored_and_another_form_is_refused():
    assert iso(parse_iso("2026-11-20T08:15:00.1239Z")) == "2026-11-20T08:15:00.123Z"
    assert epoch_milliseconds(parse_iso("1970-01-01T00:00:01Z")) == 1000
    for text in (
        "",
        "2026-11-20T08:15:00",
        "2026-11-20T08:15:00+00:00",
        "2026-13-01T00:00:00Z",
    ):
        with pytest.raises(ValueError, match="must be a time in UTC"):
            parse_iso(text)


def test_mail_server_from_its_address():
    server = Server.from_url("smtps://user%40x:p%3Aw@mail.example")
    assert (server.host, server.port) == ("mail.example", 465)
    assert (server.user, server.password) == ("user@x", "p:w")
    assert Server.from_url("smtp://127.0.0.1:8025?tls=off").starttls == "off"
