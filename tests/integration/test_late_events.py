"""Messages whose next event is late are checked, and MultiMail's response updates
mirror and decision.
"""

from datetime import timedelta

import pytest
from django.db.models.functions import Now

from approvals.models import Decision
from approvals.reconcile.reads import ask_about
from audit.models import Entry
from mirror.models import Connection, Message
from tests.factories import NOW, change_row, make_connection, pending_row, rolled_back
from tests.integration.deciding import decide


@pytest.fixture
def connection(db, upstream):
    return make_connection(api_url=upstream.url)


def set_state(message, state, **ago):
    """Put the message in this state, with times so many seconds ago: `changed=90`."""
    fields = {
        f"{name}_at": Now() - timedelta(seconds=seconds)
        for name, seconds in ago.items()
    }
    change_row(message, state=state, **fields)


def report_status(upstream, **fields):
    upstream.holds(**{"status": "sent", "decision": "approved", **fields})


def ask(message):
    result = ask_about(message_id=message.pk, now=NOW)
    message.refresh_from_db()
    return result, message.state


AT = "2026-11-20T10:00:00Z"
STATUSES = [
    ("approved", {}, "sent"),
    ("approved", {"delivered_at": AT}, "delivered"),
    ("approved", {"bounced_at": AT}, "bounced"),
    ("approved", {"status": "send_failed"}, "failed"),
    (
        "approved",
        {"status": "scheduled", "send_at": "2199-01-01T00:00:00Z"},
        "scheduled_approved",
    ),
    # At our gateway, what is sent in a moment has this status too.
    ("approved", {"status": "scheduled"}, "approved"),
    ("approved", {"fate_unknown": True}, "approved"),
    ("approved", {"status": "something new", "decision": "odd"}, "approved"),
    ("gone", {"status": "rejected", "decision": "rejected"}, "rejected"),
    ("gone", {"status": "cancelled", "decision": None}, "cancelled"),
    ("gone", {"status": "deleted", "decision": None}, "gone"),
    # A webhook that arrived meanwhile is never undone, unless the message was sent
    # after all.
    ("delivered", {}, "delivered"),
    ("sent", {"status": "rejected", "decision": "rejected"}, "sent"),
    ("rejected", {}, "sent"),
]


def test_upstream_status_moves_the_mirror_forward_only(message, upstream):
    for state, upstream_fields, end in STATUSES:
        report_status(upstream, **upstream_fields)
        with rolled_back():
            set_state(message, state, changed=90)
            assert ask(message)[1] == end, (state, upstream_fields)
    set_state(message, end, changed=90)
    assert ask(message) == ("nothing new", end)
    # Received mail is released.
    Message.objects.update(direction="inbound", state="gone")
    report_status(upstream, status="unread", decision=None)
    assert ask(message) == ("released", "released")


def test_end_of_our_own_message_is_recorded_with_its_decision(
    message, upstream, reviewer
):
    decision = decide(message, reviewer).decision
    Decision.objects.update(state="unknown", may_have_left=True, attempt=1)
    set_state(message, "gone", changed=90)
    report_status(
        upstream, reason=f"[countersign:{decision.reference}]", decided_by="the desk"
    )
    assert ask(message)[1] == "sent"
    decision.refresh_from_db()
    assert decision.state == "applied"
    assert message.upstream_decided_by == "the desk"
    assert Entry.objects.filter(action="message.sent").count() == 1


@pytest.mark.slow
def test_message_assumed_gone_is_restored_if_held_upstream_and_unchanged_if_unknown(
    message, upstream
):
    with rolled_back():
        set_state(message, "gone", changed=90)
        upstream.holds(pending_row(message.upstream_id))
        assert ask(message) == ("held", "held")
    set_state(message, "approved", changed=90)
    report_status(upstream)
    upstream.unknown = {message.upstream_id}
    assert ask(message) == ("nothing new", "approved")
    # Without a response nothing changes, and the check is repeated later.
    set_state(message, "approved", changed=90)
    upstream.answers["/v1/oversight/pending"] = (500, {})
    upstream.unknown = set()
    assert ask(message) == ("not known", "approved")
    Connection.objects.update(failing_since=None)
    assert Message.objects.to_ask_about().count() == 0
