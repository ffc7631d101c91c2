"""Past its expiry a message is rejected by rule and never sent; what decides is the database's clock."""

import re
from datetime import timedelta

import pytest
from django.db.models.functions import Now

from approvals import tasks
from approvals.decide import undo_decision
from approvals.deciding.expire import expire_due
from approvals.deciding.withdraw import withdraw_decision
from approvals.errors import VerdictNotAllowed
from approvals.execute import run_decision
from approvals.models import Connection, Decision, Mailbox, Message
from approvals.reconcile import read_everything
from audit.models import Entry
from common.postgres import clock
from policy import kill_switch
from tests.factories import NOW, make_connection, make_message, pending_row, show_row
from tests.integration.deciding import decide, make_due

pytestmark = pytest.mark.django_db


@pytest.fixture
def message(upstream):
    """A message whose time is over."""
    message = make_message(make_connection(api_url=upstream.url))
    Message.objects.update(expires_at=Now() - timedelta(minutes=1))
    upstream.holds(pending_row(message.upstream_id))
    upstream.decides(200, status="rejected", decision="rejected")
    message.refresh_from_db()
    return message


def states():
    found = Decision.objects.order_by("pk").values_list("outcome", "rule", "state")
    return [f"{outcome} by {rule or 'a person'}: {state}" for outcome, rule, state in found]


def test_overdue_message_is_rejected_upstream_with_that_reason(message, upstream):
    assert expire_due() == 1
    decision = Decision.objects.get()
    assert (decision.outcome, decision.rule, decision.given_by) == ("reject", "expiry", None)
    assert run_decision(decision_id=decision.pk, now=NOW) == "applied"
    assert [(sent["action"], sent["reason"][:7]) for sent in upstream.decisions] == [("reject", "Expired")]
    recorded = Entry.objects.get(action="decision.recorded")
    assert (recorded.actor_kind, recorded.detail.fields["rule"]) == ("rule", "expiry")


def test_sweep_finds_the_overdue(message):
    tasks.sweep()
    assert states() == ["reject by expiry: recorded"]


def test_message_in_time_is_left_alone(message):
    Message.objects.update(expires_at=Now() + timedelta(seconds=30))
    assert expire_due() == 0


def test_rule_decides_once(message):
    assert (expire_due(), expire_due()) == (1, 0)


@pytest.mark.parametrize("state", ["applied", "superseded"])
def test_message_that_came_back_is_rejected_too(message, reviewer, state):
    Message.objects.update(expires_at=None)
    decide(message, reviewer)
    Decision.objects.update(state=state, changed_at=Now())
    Message.objects.update(expires_at=Now(), state="gone")
    read_everything(connection_id=message.connection_id, now=clock())
    assert expire_due() == 1
    assert states()[1] == "reject by expiry: recorded"


def test_approval_that_has_not_left_is_refused_and_rejected(message, reviewer, upstream):
    Message.objects.update(expires_at=None)
    decide(message, reviewer)
    Message.objects.update(expires_at=Now())
    assert expire_due() == 1
    assert states() == ["approve by a person: refused", "reject by expiry: recorded"]
    assert upstream.decisions == []


@pytest.mark.parametrize("state", ["recorded", "unknown"])
def test_approval_that_may_have_left_is_withdrawn_and_rejected(message, reviewer, state):
    Message.objects.update(expires_at=None)
    decide(message, reviewer)
    Decision.objects.update(state=state, attempt=1, may_have_left=True)
    Message.objects.update(expires_at=Now())
    expire_due()
    assert states() == ["approve by a person: withdrawn", "reject by expiry: recorded"]


def test_approval_withdrawn_by_a_person_is_rejected_by_the_rule(message, reviewer):
    Message.objects.update(expires_at=None)
    decide(message, reviewer)
    Decision.objects.update(state="unknown", attempt=1, may_have_left=True)
    withdraw_decision(message=message.public_id, actor=reviewer.actor(surface="web"), now=NOW)
    Message.objects.update(expires_at=Now())
    expire_due()
    assert states() == ["approve by a person: withdrawn", "reject by expiry: recorded"]


@pytest.mark.parametrize("state", ["calling", "applied", "superseded", "unattributed"])
def test_rule_leaves_a_message_alone_that_is_being_ended(message, reviewer, state):
    Message.objects.update(expires_at=None)
    decide(message, reviewer)
    Decision.objects.update(state=state)
    Message.objects.update(expires_at=Now())
    assert expire_due() == 0


def test_reject_of_a_person_under_way_is_enough(message, reviewer):
    decide(message, reviewer, "reject")
    assert expire_due() == 0


def test_rule_that_was_refused_rests_before_it_tries_again(message, upstream):
    upstream.decides(403, error="This key may not decide.")
    expire_due()
    run_decision(decision_id=Decision.objects.get().pk, now=NOW)
    assert expire_due() == 0
    Decision.objects.update(changed_at=Now() - timedelta(minutes=16))
    assert expire_due() == 1
    assert states() == ["reject by expiry: refused", "reject by expiry: recorded"]


def test_rule_rejects_whatever_the_content_became(message, upstream):
    expire_due()
    upstream.holds(pending_row(message.upstream_id, subject="Another"))
    show_row(message, subject="A third")
    assert run_decision(decision_id=Decision.objects.get().pk, now=NOW) == "applied"
    assert "expected_fingerprint" not in upstream.decisions[0]


def test_rule_waits_under_the_kill_switch(message, reviewer, upstream):
    kill_switch.pull(actor=reviewer.actor(surface="web"), reason="Stop")
    assert expire_due() == 1
    assert run_decision(decision_id=Decision.objects.get().pk, now=NOW) == "not due"
    assert upstream.decisions == []


@pytest.mark.parametrize("act", [undo_decision, withdraw_decision])
def test_nobody_takes_the_rules_decision_back(message, reviewer, act):
    expire_due()
    with pytest.raises(VerdictNotAllowed, match="rule"):
        act(message=message.public_id, actor=reviewer.actor(surface="web"), now=NOW)


def test_expired_message_cannot_be_approved_any_more_but_rejected(message, reviewer):
    with pytest.raises(VerdictNotAllowed, match="time to approve"):
        decide(message, reviewer, "approve")
    assert decide(message, reviewer, "reject").decision.state == "recorded"


def test_approval_whose_time_ended_in_the_undo_window_is_not_carried_out(message, reviewer, upstream):
    Message.objects.update(expires_at=None)
    given = decide(message, reviewer)
    make_due()
    Message.objects.update(expires_at=Now())
    assert run_decision(decision_id=given.decision.pk, now=NOW) == "refused"
    assert upstream.decisions == []


@pytest.mark.proves("case 25", "promise 9")
def test_expired_message_is_sent_by_no_path(message, reviewer, upstream, signed_in):
    client, path = signed_in(reviewer), f"/queue/{message.public_id}/"
    approval = {"outcome": "approve", "fingerprint": message.revision.fingerprint}
    assert client.post(f"{path}verdict/", approval).status_code == 403
    sheet = client.post("/queue/bulk/", {"id": [str(message.public_id)]}).content.decode()
    signed = re.search(r'name="sheet" value="([^"]+)"', sheet)[1]
    ticked = f"{message.public_id}.{message.revision.fingerprint}"
    client.post("/queue/bulk/decide/", {"sheet": signed, "item": [ticked], "outcome": "approve"})
    with pytest.raises(VerdictNotAllowed, match="time to approve"):
        decide(message, reviewer, surface="discord")
    assert not Decision.objects.exists()
    # Approved in time, but the worker comes late; then sent again by somebody who does not know that either.
    Message.objects.update(expires_at=None)
    given = decide(message, reviewer)
    make_due()
    Message.objects.update(expires_at=Now())
    assert run_decision(decision_id=given.decision.pk, now=NOW) == "refused"
    Decision.objects.update(state="unknown", attempt=1, may_have_left=True, seen_held=2)
    client.post(f"{path}send-again/")
    make_due()
    run_decision(decision_id=given.decision.pk, now=NOW)
    assert upstream.decisions == []


def test_host_whose_clock_is_a_day_ahead_expires_nothing_early(message, reviewer):
    Message.objects.update(expires_at=Now() + timedelta(minutes=1))
    # What this host takes for the time is only handed in; the database says whether it is over.
    later = clock() + timedelta(days=1)
    assert decide(message, reviewer).decision.state == "recorded"
    make_due()
    assert run_decision(decision_id=Decision.objects.get().pk, now=later) == "applied"
    assert expire_due() == 0


@pytest.mark.parametrize(
    ("told", "behind", "expected"),
    [
        # MultiMail's word counts, however slow this host's clock.
        (timedelta(minutes=10), timedelta(hours=1), timedelta(minutes=50)),
        # Without it the first sight counts, by the database's clock.
        (None, timedelta(hours=1), timedelta(minutes=60)),
        # It was never held in the future.
        (-timedelta(hours=5), timedelta(0), timedelta(minutes=60)),
    ],
)
def test_expiry_counts_from_when_it_was_held_and_not_by_this_hosts_clock(connection, told, behind, expected):
    Mailbox.objects.update(expire_after=timedelta(hours=1))
    at = clock()
    message = make_message(connection, hydrated=False)
    Message.objects.update(held_at=at - behind - (told or timedelta(0)) if told != -timedelta(hours=5) else at)
    message.refresh_from_db()
    show_row(message, received_at=(at - told).isoformat() if told else None)
    message.refresh_from_db()
    assert abs(message.expires_at - at - expected) < timedelta(minutes=1)


def test_message_that_waited_for_its_time_before_it_was_held_does_not_expire_at_once(connection):
    Mailbox.objects.update(expire_after=timedelta(hours=1))
    at = clock()
    message = make_message(connection, hydrated=False)
    received, due = at - timedelta(days=3), at - timedelta(minutes=5)
    Message.objects.update(held_at=received)
    message.refresh_from_db()
    show_row(message, received_at=received.isoformat(), send_at=due.isoformat())
    message.refresh_from_db()
    assert abs(message.expires_at - at - timedelta(minutes=55)) < timedelta(minutes=1)


def test_expiry_stays_when_the_content_changes(connection):
    Mailbox.objects.update(expire_after=timedelta(hours=1))
    message = show_row(make_message(connection), received_at=clock().isoformat())
    before = Message.objects.get().expires_at
    show_row(message, subject="Another", received_at=(clock() + timedelta(hours=3)).isoformat())
    assert Message.objects.get().expires_at == before


def test_paused_connection_keeps_the_rules_decision_waiting(message, upstream):
    Connection.objects.update(paused_at=Now())
    assert expire_due() == 1
    assert run_decision(decision_id=Decision.objects.get().pk, now=NOW) == "not due"
