"""After a call may have been sent: what a person can still do, and how a withdrawn
decision is settled.
"""

from datetime import timedelta

import pytest
from django.db import transaction
from django.db.models.functions import Now

from approvals.decisions.execute import run_decision
from approvals.decisions.outcomes import end_with_success
from approvals.decisions.settle import settle_by_report
from approvals.decisions.status import shown_status
from approvals.decisions.withdraw import confirm_approval, settle_by_hand
from approvals.desk_messages import desk_messages
from approvals.errors import AlreadyDecided, ContentChanged, VerdictNotAllowed
from approvals.models import Decision, Verdict
from approvals.reconcile.closing import resolve
from approvals.reconcile.reads import read_everything
from audit.models import Entry
from common.actors import worker
from mirror.models import Connection, Message
from mirror.sync import reads
from tests.factories import (
    NOW,
    actor_of,
    change_row,
    event_body,
    make_connection,
    make_message,
    pending_row,
    post_confirmed,
    rolled_back,
)
from tests.factories import show_row as show
from tests.integration.deciding import decide, read_all, undo, withdraw


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


def in_doubt(message, person, outcome="approve", **fields):
    """Make a decision whose call was not answered."""
    decision = decide(message, person, outcome).decision
    values = {"state": "unknown", "attempt": 1, "may_have_left": True, **fields}
    change_row(decision, **values)
    decision.refresh_from_db()
    return decision


def confirm(message, person):
    return confirm_approval(message=message.public_id, actor=actor_of(person))


def settle(message, person, took_effect):
    actor = actor_of(person)
    return settle_by_hand(
        message=message.public_id, actor=actor, took_effect=took_effect
    )


def report(client, message, name, **fields):
    post_confirmed(
        client,
        message.connection,
        event_body(name, email_id=message.upstream_id, **fields),
    )


def states():
    return list(Decision.objects.order_by("pk").values_list("state", flat=True))


@pytest.fixture
def withdrawn(message, reviewer):
    """An approval that was withdrawn after its call may have been sent."""
    in_doubt(message, reviewer)
    return withdraw(message, reviewer)


def test_decision_whose_call_may_have_left_is_withdrawn_once_and_never_undone(
    message, reviewer
):
    decide(message, reviewer)
    with rolled_back():
        assert withdraw(message, reviewer).state == "undone", "it has not left"
        with pytest.raises(AlreadyDecided, match="has ended"):
            undo(message, reviewer)
    for state in ("recorded", "calling", "unknown"):
        with rolled_back():
            Decision.objects.update(state=state, attempt=1, may_have_left=True)
            with pytest.raises(AlreadyDecided, match="too late"):
                undo(message, reviewer)
            withdrawn = withdraw(message, reviewer)
            assert withdrawn.state == "withdrawn", state
            assert withdrawn.seen_held == 0, state
            with pytest.raises(AlreadyDecided):
                withdraw(message, reviewer)


def test_withdrawn_approve_takes_a_reject_at_once_and_an_approve_after_two_reads(
    message, reviewer, withdrawn
):
    with rolled_back():
        assert decide(message, reviewer, "reject").decision.state == "recorded"
        assert Verdict.objects.filter(live=True).count() == 1
    for seen_held in (0, 1):
        Decision.objects.update(seen_held=seen_held)
        with pytest.raises(
            AlreadyDecided, match="was withdrawn and may still take effect"
        ):
            decide(message, reviewer, "approve")
    with rolled_back():
        Decision.objects.update(seen_held=2)
        assert decide(message, reviewer, "approve").decision.state == "recorded"
    # After a withdrawn rejection every verdict is possible.
    Decision.objects.update(outcome="reject")
    assert decide(message, reviewer, "approve").decision.state == "recorded"


NOT_CONFIRMED = [
    ({"seen_held": 1}, VerdictNotAllowed),
    ({"seen_held": 2, "state": "calling"}, AlreadyDecided),
    ({"seen_held": 2, "outcome": "reject"}, AlreadyDecided),
]


def test_approval_of_unknown_outcome_goes_out_again_when_a_person_confirms(
    message, reviewer, upstream
):
    decision = in_doubt(message, reviewer, seen_held=2)
    # Not before its time, after a change, or once it expired.
    for fields, error in NOT_CONFIRMED:
        with rolled_back():
            Decision.objects.update(**fields)
            with pytest.raises(error):
                confirm(message, reviewer)
    with rolled_back():
        show(message, subject="Another")
        with pytest.raises(ContentChanged):
            confirm(message, reviewer)

    confirmed = confirm(message, reviewer)
    assert confirmed.state == "recorded"
    assert confirmed.attempt == 1
    assert Entry.objects.filter(action="decision.confirmed").count() == 1
    ours = {
        "status": "sent",
        "decision": "approved",
        "reason": f"[countersign:{decision.reference}]",
    }
    # It was not decided before, or only by our first call.
    for status, body in (
        (200, {"decision": "approved"}),
        (409, {**ours, "error": "decided"}),
    ):
        with rolled_back():
            upstream.decides(status, **body)
            assert run_decision(decision_id=decision.pk) == "applied", status
            decision.refresh_from_db()
            assert decision.attempt == 2


SETTLED = [
    ("approve", True, "applied", "Approved"),
    ("send_back", True, "applied", "Changes requested"),
    ("reject", False, "superseded", "Not carried out"),
]


def test_word_of_a_person_ends_what_was_unattributed(client, message, reviewer, admin):
    in_doubt(message, reviewer, state="unattributed")
    for outcome, took_effect, state, word in SETTLED:
        person = admin if outcome == "approve" else reviewer
        with rolled_back():
            Decision.objects.update(outcome=outcome)
            settled = settle(message, person, took_effect)
            assert settled.state == state, (outcome, took_effect)
            assert settled.ending == "by_hand"
            assert f"{person.name} says that it" in settled.explanation
            action = "decision.applied" if took_effect else "decision.without_effect"
            assert Entry.objects.filter(action=action).count() == 1
            assert shown_status(Message.objects.get()).word == word
    # MultiMail's own report settles it too.
    report(client, message, "oversight.rejected")
    assert states() == ["superseded"]


def test_message_that_came_back_takes_a_new_verdict_but_is_not_approved_twice(
    message, reviewer, upstream, connection
):
    in_doubt(message, reviewer, state="unattributed")
    with rolled_back():
        settle(message, reviewer, took_effect=False)
        read_all(connection)
        assert desk_messages().awaiting_review().count() == 1
        assert decide(message, reviewer, "reject").decision.state == "recorded"

    Message.objects.update(state="gone")
    settle(message, reviewer, took_effect=True)
    assert desk_messages().awaiting_review().count() == 0
    read_all(connection)
    assert Message.objects.get().state == "held"
    # The queue must show that it waits again.
    assert desk_messages().awaiting_review().count() == 1
    assert desk_messages().leaving().count() == 0
    with pytest.raises(AlreadyDecided):
        decide(message, reviewer, "approve")
    assert decide(message, reviewer, "reject").decision.state == "recorded"
    undo(message, reviewer)
    with pytest.raises(AlreadyDecided):
        decide(message, reviewer, "approve")


def test_message_whose_withdrawn_approval_took_effect_takes_no_verdict_while_its_webhook_is_late(
    message, reviewer
):
    decision = in_doubt(message, reviewer, state="calling")
    withdraw(message, reviewer)
    assert end_with_success(decision).state == "applied"
    assert Message.objects.get().state == "held"
    with pytest.raises(AlreadyDecided, match="approved this message first"):
        decide(message, reviewer, "reject")


@pytest.fixture
def decision(connection, reviewer):
    """Return an approval whose call may have been sent."""
    return in_doubt(make_message(connection), reviewer, state="calling")


def meet(decision, reported, *, reason="", decided_by=""):
    """Settle the message by the report; return the resulting decision."""
    with transaction.atomic():
        settle_by_report(
            decision.message,
            reported=reported,
            reason=reason,
            decided_by=decided_by,
            ended_by="",
            actor=worker("sync"),
        )
    decision.refresh_from_db()
    return decision.state, decision.explanation


@pytest.mark.slow
def test_report_ends_a_decision_with_the_reason_that_people_read(decision):
    ours = f"[countersign:{decision.reference}]"
    gateway = (True,)
    hosted = (False,)
    both = (True, False)
    for where, reported, reason, who, lost in (
        (both, "approved", ours, "key_desk", ""),
        # A webhook without reason and name was shortened, whoever sent it.
        (gateway, "approved", "", "", ""),
        # Our gateway reports every reason, and each of our calls has one; hosted
        # MultiMail may drop it.
        (gateway, "approved", "", "key_other", "approved by key_other outside"),
        (hosted, "approved", "", "key_other", ""),
        (gateway, "approved", "Fine by me", "", "approved outside this desk first."),
        (hosted, "approved", "Fine by me", "", ""),
        (hosted, "approved", "[countersign:SOMEBODYEL]", "", "approved outside"),
        # Cancelled after it was decided here: scheduled mail can be.
        (both, "cancelled", ours, "", ""),
        (both, "cancelled", "", "Eve", "withdrawn by its sender first."),
        (both, "rejected", ours, "Eve", "rejected by Eve outside this desk first."),
        (hosted, "rejected", "", "", "rejected outside this desk first."),
    ):
        for is_our_gateway in where:
            with rolled_back():
                decision.message.connection.is_our_gateway = is_our_gateway
                end = meet(decision, reported, reason=reason, decided_by=who)
                expected = ("superseded", f"The message was {lost}")
                found = (end[0], end[1][: len(expected[1])])
                assert (found if lost else end) == (
                    expected if lost else ("applied", "")
                ), (is_our_gateway, reported, reason, who)


# How a decision in doubt is settled by reads alone: two complete reads, a settle time
# apart, by database time.
# Our gateway is queried for one message by id, hosted MultiMail for everything it
# holds.
both = pytest.mark.parametrize(
    "connection", [True, False], ids=["our gateway", "hosted"], indirect=True
)
hosted = pytest.mark.parametrize("connection", [False], ids=["hosted"], indirect=True)


def doubt(message, person, outcome="approve", **fields):
    """Let the decision on the message, of which there may be one already, be in doubt
    about this outcome.
    """
    decision = message.decisions.first() or in_doubt(message, person, outcome)
    values = {"outcome": outcome, "state": "unknown", **fields}
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


@pytest.mark.slow
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


@pytest.mark.slow
def test_withdrawn_approve_is_read_twice_and_stays_withdrawn(message, reviewer):
    decision = doubt(message, reviewer)
    withdraw(message, reviewer)
    Decision.objects.update(changed_at=Now() - timedelta(seconds=3))
    assert look_twice(decision) == "still withdrawn"
    assert seen() == ("withdrawn", 2, 0)


@pytest.mark.slow
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
