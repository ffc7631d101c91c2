"""A decision in doubt is ended by reading alone: two complete reads, a settle time apart, by the database's clock."""

from datetime import timedelta

import pytest
from django.db.models.functions import Now

from approvals.deciding.resolve import resolve
from approvals.deciding.withdraw import withdraw_decision
from approvals.models import Connection, Decision, Message
from approvals.reconcile import read_everything
from approvals.sync import asking
from tests.factories import NOW, make_connection, make_message, pending_row
from tests.integration.deciding import decide

pytestmark = pytest.mark.django_db


# Our gateway is asked for one message by id, hosted MultiMail for everything it holds.
both = pytest.mark.parametrize("connection", [True, False], ids=["our gateway", "hosted"], indirect=True)


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
    decision = decide(message, person, outcome).decision
    values = {"state": "unknown", "attempt": 1, "may_have_left": True, **fields}
    Decision.objects.filter(pk=decision.pk).update(changed_at=Now() - timedelta(seconds=3), **values)
    return decision


def look(decision):
    """Read once, as the sweep would, whatever was read a second ago."""
    Connection.objects.update(read_at=None)
    return resolve(decision_id=decision.pk)


def let_settle():
    """Let a settle time pass."""
    Decision.objects.update(due_at=Now() - timedelta(seconds=1))


def seen():
    return Decision.objects.values_list("state", "seen_held", "seen_absent").get()


def test_one_read_proves_nothing(message, reviewer):
    decision = doubt(message, reviewer)
    assert look(decision) == "read once"
    assert seen() == ("unknown", 1, 0)


def test_second_read_before_a_settle_time_is_not_counted(message, reviewer):
    decision = doubt(message, reviewer)
    look(decision)
    assert look(decision) == "read once"
    assert seen() == ("unknown", 1, 0)


def test_second_read_that_began_before_a_settle_time_is_not_counted_although_it_ended_later(
    message, reviewer, monkeypatch
):
    decision = doubt(message, reviewer, "reject")
    look(decision)
    ask = asking.ask_status
    monkeypatch.setattr(asking, "ask_status", lambda one: (Decision.objects.update(due_at=Now()), ask(one))[1])
    assert look(decision) == "read once"
    assert seen() == ("unknown", 1, 0)


@both
def test_reject_seen_held_twice_goes_out_again_by_itself(connection, message, reviewer):
    decision = doubt(message, reviewer, "reject")
    look(decision)
    let_settle()
    assert look(decision) == "recorded"
    decision.refresh_from_db()
    # An earlier call may be on its way still: it is not undone any more.
    assert (decision.attempt, decision.may_have_left) == (1, True)
    assert Decision.objects.due().count() == 1


@both
def test_approve_seen_held_twice_waits_for_a_person(connection, message, reviewer, upstream):
    decision = doubt(message, reviewer)
    look(decision)
    let_settle()
    assert look(decision) == "still held, a person must confirm"
    assert seen() == ("unknown", 2, 0)
    # From now on it is read at leisure.
    assert Decision.objects.to_resolve().count() == 0
    assert upstream.decisions == []


def test_approve_goes_out_again_by_itself_where_the_connection_says_so(message, reviewer):
    Connection.objects.update(repeats_unknown_approvals=True)
    decision = doubt(message, reviewer)
    look(decision)
    let_settle()
    assert look(decision) == "recorded"


def test_absence_counts_anew_after_the_message_was_seen_held(message, reviewer, upstream):
    decision = doubt(message, reviewer)
    look(decision)
    let_settle()
    upstream.holds()
    upstream.unknown = {message.upstream_id}
    assert look(decision) == "read once"
    assert seen() == ("unknown", 0, 1)


@both
def test_message_absent_twice_is_decided_by_nobody_knows_whom(connection, message, reviewer, upstream):
    upstream.holds()
    upstream.unknown = {message.upstream_id}
    decision = doubt(message, reviewer)
    look(decision)
    let_settle()
    assert look(decision) == "unattributed"


@pytest.mark.parametrize(
    ("outcome", "reason", "who", "state"),
    [
        ("approve", "[countersign:{reference}]", "The desk's key", "applied"),
        ("approve", "", "", "applied"),
        ("approve", "", "Ben", "superseded"),
        ("approve", "[countersign:SOMEBODYEL]", "Ben", "superseded"),
        ("reject", "", "Ben", "superseded"),
    ],
)
def test_word_of_our_gateway_ends_the_doubt_at_the_first_read(upstream, reviewer, outcome, reason, who, state):
    message = make_message(make_connection(api_url=upstream.url))
    decision = doubt(message, reviewer, outcome)
    reason = reason.format(reference=decision.reference)
    upstream.holds(status="sent", decision="approved", decided_by=who, reason=reason)
    assert look(decision) == state
    assert Message.objects.get().state == "sent"


@pytest.mark.parametrize(
    ("body", "state"),
    [
        ({"status": "sent", "approved_at": NOW.isoformat()}, "applied"),
        ({"status": "rejected", "decision": "rejected"}, "superseded"),
        ({"status": "cancelled"}, "superseded"),
        ({"status": "pending_send_approval"}, "unknown"),
    ],
)
def test_read_key_of_hosted_multimail_ends_the_doubt(upstream, reviewer, body, state):
    upstream.headers = {}
    message = make_message(make_connection(api_url=upstream.url, is_our_gateway=False, read_key="mm_live_read"))
    upstream.holds()
    path = f"/v1/mailboxes/{message.mailbox.upstream_id}/emails/{message.upstream_id}"
    upstream.answers[path] = (200, {"id": message.upstream_id, **body})
    decision = doubt(message, reviewer)
    look(decision)
    assert Decision.objects.get().state == state
    # One source that lacks it and one that holds it prove nothing.
    assert (Decision.objects.get().seen_held, Decision.objects.get().seen_absent) == (0, 0)


@pytest.mark.parametrize("status", [401, 429, 500])
def test_read_that_fails_proves_nothing(message, reviewer, upstream, status):
    upstream.answers["/v1/oversight/pending"] = (status, {"error": "no"})
    assert look(doubt(message, reviewer)) == "not known"
    assert seen() == ("unknown", 0, 0)


def test_list_with_rows_that_name_nothing_shows_no_absence(upstream, reviewer):
    upstream.headers = {}
    message = make_message(make_connection(api_url=upstream.url, is_our_gateway=False))
    upstream.holds({"subject": "which one is this?"})
    assert look(doubt(message, reviewer)) == "not known"


@pytest.mark.parametrize("fields", [{"wait_until": Now() + timedelta(minutes=1)}, {"paused_at": Now()}])
def test_nothing_is_looked_up_while_the_connection_waits(message, reviewer, upstream, fields):
    decision = doubt(message, reviewer)
    Connection.objects.update(**fields)
    assert look(decision) == "nothing to resolve"
    assert upstream.calls == []


@both
def test_message_that_a_read_lists_again_is_not_lost(message, reviewer, upstream, connection):
    decision = doubt(message, reviewer, "reject", state="unattributed")
    Message.objects.update(state="gone")
    read_everything(connection_id=connection.pk, now=NOW)
    assert Message.objects.get().state == "held"
    assert seen() == ("unknown", 0, 0)
    Decision.objects.update(changed_at=Now() - timedelta(seconds=3))
    look(decision)
    let_settle()
    assert look(decision) == "recorded"


def test_withdrawn_approve_is_read_twice_and_stays_withdrawn(message, reviewer):
    decision = doubt(message, reviewer)
    withdraw_decision(message=message.public_id, actor=reviewer.actor(surface="web"), now=NOW)
    Decision.objects.update(changed_at=Now() - timedelta(seconds=3))
    look(decision)
    let_settle()
    assert look(decision) == "still withdrawn"
    assert seen() == ("withdrawn", 2, 0)


def forgotten(connection, upstream, person, state, mirror, outcome):
    """A decision in doubt on a message that later webhooks moved, and that MultiMail knows no more."""
    message = make_message(connection)
    decision = doubt(message, person, outcome, state=state)
    Message.objects.update(state=mirror)
    upstream.holds()
    upstream.unknown = {message.upstream_id}
    return decision


@pytest.mark.parametrize("connection", [False], ids=["hosted"], indirect=True)
@pytest.mark.parametrize(
    ("state", "mirror", "outcome", "end"),
    [
        ("unknown", "sent", "approve", "applied"),
        ("withdrawn", "bounced", "approve", "applied"),
        ("unattributed", "rejected", "approve", "superseded"),
        ("withdrawn", "cancelled", "approve", "superseded"),
        ("unknown", "delivered", "reject", "superseded"),
    ],
)
def test_later_webhooks_end_what_the_lost_one_would_have_ended(
    connection, upstream, reviewer, state, mirror, outcome, end
):
    assert look(forgotten(connection, upstream, reviewer, state, mirror, outcome)) == end


@pytest.mark.parametrize(
    ("state", "mirror", "outcome", "end"),
    [
        ("unknown", "sent", "approve", "unattributed"),
        ("unknown", "rejected", "reject", "unattributed"),
        ("withdrawn", "bounced", "approve", "withdrawn"),
        ("unattributed", "rejected", "approve", "superseded"),
        ("withdrawn", "cancelled", "approve", "superseded"),
        ("unknown", "delivered", "reject", "superseded"),
    ],
)
def test_later_webhooks_of_our_gateway_that_name_nobody_prove_only_what_was_not_ours(
    connection, upstream, reviewer, state, mirror, outcome, end
):
    assert look(forgotten(connection, upstream, reviewer, state, mirror, outcome)) == end


@both
def test_later_webhook_is_not_believed_while_multimail_may_still_say_more(connection, message, reviewer, upstream):
    decision = doubt(message, reviewer)
    Message.objects.update(state="sent")
    upstream.answers["/v1/oversight/pending"] = (500, {"error": "no"})
    assert look(decision) == "not known"
    assert seen() == ("unknown", 0, 0)


def test_name_in_the_mirror_says_whose_it_was(connection, reviewer):
    message = make_message(connection)
    decision = doubt(message, reviewer)
    Message.objects.update(state="sent", upstream_reason="[countersign:SOMEBODYEL]")
    assert look(decision) == "superseded"


@pytest.mark.parametrize("state", ["withdrawn", "unattributed"])
def test_what_only_a_person_can_tell_is_not_read_again_and_again(connection, reviewer, state):
    doubt(make_message(connection), reviewer, state=state)
    Message.objects.update(state="gone")
    assert Decision.objects.to_resolve().count() == 0
