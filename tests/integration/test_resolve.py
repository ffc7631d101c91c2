"""A decision in doubt is settled by reads alone: two complete reads, a settle time
apart, by database time.
"""

from datetime import timedelta

import pytest
from django.db.models.functions import Now

from approvals.models import Decision
from approvals.reconcile.closing import resolve
from approvals.reconcile.reads import read_everything
from mirror.models import Connection, Message
from mirror.sync import reads
from tests.factories import (
    NOW,
    change_row,
    make_connection,
    make_message,
    pending_row,
    rolled_back,
)
from tests.integration.deciding import decide, withdraw

# Our gateway is queried for one message by id, hosted MultiMail for everything it
# holds.
both = pytest.mark.parametrize(
    "connection", [True, False], ids=["our gateway", "hosted"], indirect=True
)
hosted = pytest.mark.parametrize("connection", [False], ids=["hosted"], indirect=True)


@pytest.fixture
def connection(request, db, upstream):
    is_our_gateway = getattr(request, "param", True)
    if not is_our_gateway:
        upstream.headers = {}
    return make_connection(api_url=upstream.url, is_our_gateway=is_our_gateway)


@pytest.fixture
def message(connection, upstream):
    message = make_message(connection)
    upstream.holds(pending_row(message.upstream_id))
    return message


def doubt(message, person, outcome="approve", **fields):
    """Let the decision on the message, of which there may be one already, be in doubt
    about this outcome.
    """
    decision = message.decisions.first() or decide(message, person, outcome).decision
    values = {
        "outcome": outcome,
        "state": "unknown",
        "attempt": 1,
        "may_have_left": True,
        **fields,
    }
    change_row(decision, changed_at=Now() - timedelta(seconds=3), **values)
    return decision


def look(decision):
    """Read once, as the sweep would, however recent the last read is."""
    Connection.objects.update(read_at=None)
    return resolve(decision_id=decision.pk)


def look_twice(decision):
    """Read once, and again after a settle time."""
    look(decision)
    let_settle()
    return look(decision)


def let_settle():
    """Let a settle time pass."""
    Decision.objects.update(due_at=Now() - timedelta(seconds=1))


def seen():
    return Decision.objects.values_list("state", "seen_held", "seen_absent").get()


def outcomes(cases, run):
    """The result of each case in isolation: its writes are undone before the next."""
    found = {}
    for case in cases:
        with rolled_back():
            found[case] = run(*case)
    return found


def test_read_within_a_settle_time_is_not_counted(message, reviewer, monkeypatch):
    decision = doubt(message, reviewer, "reject")
    for _ in range(2):
        assert look(decision) == "read once"
        assert seen() == ("unknown", 1, 0)
    # Nor one that began before the call ended, even if it finished later.
    ask = reads.ask_status
    monkeypatch.setattr(
        reads,
        "ask_status",
        lambda one: (Decision.objects.update(due_at=Now()), ask(one))[1],
    )
    assert look(decision) == "read once"
    assert seen() == ("unknown", 1, 0)


def test_message_seen_held_twice_is_rejected_again_and_approved_again_where_a_person_or_the_connection_says_so(
    connection, message, reviewer, upstream
):
    with rolled_back():
        decision = doubt(message, reviewer, "reject")
        assert look_twice(decision) == "recorded"
        decision.refresh_from_db()
        # An earlier call may still be in flight: it cannot be undone any more.
        assert decision.attempt == 1
        assert decision.may_have_left is True
        assert Decision.objects.due().count() == 1
    with rolled_back():
        assert (
            look_twice(doubt(message, reviewer)) == "still held, a person must confirm"
        )
        assert seen() == ("unknown", 2, 0)
        # From now on it is read less often.
        assert Decision.objects.to_resolve().count() == 0
    assert upstream.decisions == []
    Connection.objects.update(repeats_unknown_approvals=True)
    assert look_twice(doubt(message, reviewer)) == "recorded"


@both
def test_message_absent_twice_since_it_was_seen_held_is_decided_by_nobody_knows_whom(
    connection, message, reviewer, upstream
):
    decision = doubt(message, reviewer)
    look(decision)
    let_settle()
    upstream.holds()
    upstream.unknown = {message.upstream_id}
    assert look_twice(decision) == "unattributed"


def test_word_of_our_gateway_ends_the_doubt_at_the_first_read(
    message, upstream, reviewer
):
    def run(reason, who, _):
        decision = doubt(message, reviewer)
        reason = reason.format(reference=decision.reference)
        upstream.holds(
            status="sent", decision="approved", decided_by=who, reason=reason
        )
        state = look(decision)
        assert Message.objects.get().state == "sent"
        return state

    # Decided once, for all of these.
    doubt(message, reviewer)
    cases = [
        ("[countersign:{reference}]", "The desk's key", "applied"),
        ("", "Ben", "superseded"),
    ]
    assert outcomes(cases, run) == {case: case[-1] for case in cases}


@hosted
def test_read_key_of_hosted_multimail_ends_the_doubt(
    connection, message, upstream, reviewer
):
    Connection.objects.update(read_key="mm_live_read")
    upstream.holds()
    path = f"/v1/mailboxes/{message.mailbox.upstream_id}/emails/{message.upstream_id}"

    def run(status, decision, at, reason, _):
        upstream_fields = {
            "status": status,
            "decision": decision,
            "approved_at": at,
            "reason": reason,
        }
        upstream.answers[path] = (
            200,
            {
                "id": message.upstream_id,
                **{name: one for name, one in upstream_fields.items() if one},
            },
        )
        look(doubt(message, reviewer))
        # One source that lacks it and one that holds it prove nothing.
        state, *counted = seen()
        assert counted == [0, 0]
        return state

    doubt(message, reviewer)
    cases = [
        ("sent", "", NOW.isoformat(), "", "applied"),
        # Hosted MultiMail may shorten a reason; one with another reference belongs to
        # another decision.
        ("sent", "approved", "", "It is fine.", "applied"),
        ("sent", "approved", "", "[countersign:SOMEBODYEL]", "superseded"),
        ("pending_send_approval", "", "", "", "unknown"),
    ]
    assert outcomes(cases, run) == {case: case[-1] for case in cases}


def test_read_that_fails_proves_nothing_and_none_is_made_while_the_connection_waits(
    message, reviewer, upstream
):
    decision = doubt(message, reviewer)
    for status in (500, 429, 401):
        upstream.answers["/v1/oversight/pending"] = (status, {"error": "no"})
        Connection.objects.update(wait_until=None)
        assert look(decision) == "not known", status
    assert seen() == ("unknown", 0, 0)
    upstream.calls.clear()
    Connection.objects.update(wait_until=Now() + timedelta(hours=1))
    assert look(decision) == "nothing to resolve"
    assert upstream.calls == []


@hosted
def test_list_with_rows_that_name_nothing_shows_no_absence(message, reviewer, upstream):
    upstream.holds({"subject": "which one is this?"})
    assert look(doubt(message, reviewer)) == "not known"


def test_message_that_a_read_lists_again_is_not_lost(
    message, reviewer, upstream, connection
):
    decision = doubt(
        message, reviewer, "reject", state="unattributed", seen_held=1, seen_absent=2
    )
    Message.objects.update(state="gone")
    read_everything(connection_id=connection.pk, now=NOW)
    assert Message.objects.get().state == "held"
    assert seen() == ("unknown", 0, 0)
    Decision.objects.update(changed_at=Now() - timedelta(seconds=3))
    assert look_twice(decision) == "recorded"


def test_withdrawn_approve_is_read_twice_and_stays_withdrawn(message, reviewer):
    decision = doubt(message, reviewer)
    withdraw(message, reviewer)
    Decision.objects.update(changed_at=Now() - timedelta(seconds=3))
    assert look_twice(decision) == "still withdrawn"
    assert seen() == ("withdrawn", 2, 0)


# What later webhooks made of the message that MultiMail knows no more: state, mirror,
# outcome, and how it ends.
FORGOTTEN_BY_HOSTED = [
    ("unknown", "sent", "approve", "applied"),
    ("withdrawn", "bounced", "approve", "applied"),
    ("unattributed", "cancelled", "approve", "superseded"),
]
# Our gateway tells who decided, so that without a name only what was not ours is
# proved.
FORGOTTEN_BY_OURS = [
    ("unknown", "sent", "approve", "unattributed"),
    ("unknown", "rejected", "reject", "unattributed"),
    ("withdrawn", "bounced", "approve", "withdrawn"),
    ("unattributed", "rejected", "approve", "superseded"),
]


@both
def test_later_webhooks_end_what_the_lost_one_would_have_ended(
    connection, message, upstream, reviewer
):
    upstream.holds()
    upstream.unknown = {message.upstream_id}

    def run(state, mirror, outcome, _):
        decision = doubt(message, reviewer, outcome, state=state)
        Message.objects.update(state=mirror)
        return look(decision)

    doubt(message, reviewer)
    cases = FORGOTTEN_BY_OURS if connection.is_our_gateway else FORGOTTEN_BY_HOSTED
    assert outcomes(cases, run) == {case: case[-1] for case in cases}
    # No answer is final while MultiMail may still say more.
    upstream.unknown = set()
    upstream.answers["/v1/oversight/pending"] = (500, {"error": "no"})
    assert run("unknown", "sent", "approve", "") == "not known"
    assert seen() == ("unknown", 0, 0)


def test_doubt_that_only_a_person_can_resolve_is_not_read_repeatedly(message, reviewer):
    for state in ("withdrawn", "unattributed"):
        doubt(message, reviewer, state=state)
        Message.objects.update(state="gone")
        assert not Decision.objects.to_resolve().exists(), state
