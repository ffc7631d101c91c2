"""Rules and approvals by several people under faults: acts at one moment, clocks, rules
that change, no database.
"""

from datetime import timedelta

import pytest
from django.db.models.functions import Now

from approvals.decisions import execute
from approvals.decisions.by_rule import expire_due
from approvals.decisions.execute import run_decision
from approvals.errors import VerdictNotAllowed
from approvals.models import Decision, Verdict
from audit.models import Entry
from common.postgres import clock
from policy.models import (
    Group,
    PolicyVersion,
    WorkCalendar,
)
from policy.rules.changes import activate_draft, begin_draft, policies
from policy.rules.rules import PolicyRule
from tests.factories import (
    actor_of,
    change_row,
    make_connection,
    make_message,
    make_person,
    pending_row,
)
from tests.integration.deciding import at_once, decide, make_due
from tests.integration.test_several_approvals import put_in_force

SESSIONS = pytest.mark.django_db(transaction=True)
HOUR = timedelta(hours=1)


@pytest.fixture
def message(db, upstream):
    """A held message that two people have to approve, and that MultiMail holds as it
    is.
    """
    put_in_force({"approvals": {"0": 2}})
    found = make_message(make_connection(api_url=upstream.url))
    upstream.holds(pending_row(found.upstream_id))
    upstream.decides(200, status="approved", decision="approved")
    return found


def calls(upstream):
    """How many calls to decide MultiMail got."""
    return len(upstream.decisions)


# --- at one moment --------------------------------------------------------------------


@pytest.mark.slow
@SESSIONS
def test_two_admins_activate_the_draft_at_one_moment(admin):
    second = make_person("sam@yourteam.example", "Sam Second", "admin")
    one, other = (actor_of(person) for person in (admin, second))
    rule = PolicyRule.from_json(
        {"id": "a1", "name": "Two", "then": {"approvals": {"0": 2}}}
    )
    begin_draft(actor=one, rules=[rule], based_on=0)
    edits = policies().draft.edits
    works = [
        lambda by=by: activate_draft(actor=by, edits=edits, active=0)
        for by in (one, other)
    ]
    results = at_once(*works)
    assert sorted(type(one).__name__ for one in results) == [
        "PolicyVersion",
        "StalePolicy",
    ]
    assert PolicyVersion.objects.filter(state="active").count() == 1
    assert Entry.objects.filter(action="policy.activated").count() == 1


@pytest.mark.slow
@SESSIONS
def test_expiry_and_the_last_approval_at_one_moment(
    message, reviewer, second_reviewer, upstream
):
    decide(message, reviewer)
    change_row(message, expires_at=Now() + timedelta(milliseconds=30))
    at_once(
        lambda: decide(message, second_reviewer),
        lambda: [expire_due() for _ in range(20)],
    )
    expire_due()
    assert Decision.objects.live().count() == 1
    upstream.decides(200, status="rejected", decision="rejected")
    make_due()
    for one in Decision.objects.live():
        run_decision(decision_id=one.pk)
    expire_due()
    make_due()
    for one in Decision.objects.live():
        run_decision(decision_id=one.pk)
    assert {one.outcome for one in Decision.objects.filter(state="applied")} == {
        "reject"
    }
    assert calls(upstream) == 1


# --- between the approvals ------------------------------------------------------------


@pytest.mark.slow
def test_a_person_leaves_between_the_first_and_the_last_approval(
    message, reviewer, second_reviewer, third
):
    finance = Group.objects.create(name="Finance")
    finance.members.set([reviewer, second_reviewer, third])
    put_in_force({"approvals": {finance.pk: 2}})
    decide(message, reviewer)
    change_row(reviewer, is_active=False)
    second = decide(message, second_reviewer)
    assert second.decision is None
    assert str(second.progress) == "1 of 2"
    assert decide(message, third).decision is not None


# --- a rule changes -------------------------------------------------------------------


def test_a_rule_that_changes_while_a_worker_reads_is_met_before_its_call(
    message, reviewer, second_reviewer, upstream, monkeypatch
):
    """One that changes before the worker begins: test_several_approvals.py."""
    decide(message, reviewer)
    decision = decide(message, second_reviewer).decision
    read = execute._read_pending

    def change_and_read(*asked):
        put_in_force({"approvals": {"0": 3}})
        return read(*asked)

    monkeypatch.setattr(execute, "_read_pending", change_and_read)
    make_due()
    assert run_decision(decision_id=decision.pk) == "refused"
    message.refresh_from_db()
    assert message.state == "held"
    assert calls(upstream) == 0
    assert not Verdict.objects.filter(live=True).exists()


# --- calendars ------------------------------------------------------------------------


@pytest.mark.slow
def test_a_calendar_of_a_rule_is_asked_each_time(message, reviewer, upstream):
    days = {
        (clock().date() + timedelta(days=number)).isoformat(): "Holiday"
        for number in (-1, 0, 1)
    }
    calendar = WorkCalendar.objects.create(
        name="Office", zone="UTC", weekly=[[[0, 1440]]] * 7, holidays=days
    )
    put_in_force({"office_hours": [calendar.pk]})
    with pytest.raises(VerdictNotAllowed, match="within the hours of Office: next"):
        decide(message, reviewer)
    WorkCalendar.objects.update(holidays={})
    decision = decide(message, reviewer).decision
    WorkCalendar.objects.all().delete()
    make_due()
    assert run_decision(decision_id=decision.pk) == "refused"
    assert calls(upstream) == 0
    with pytest.raises(VerdictNotAllowed, match="These hours never come: ask an admin"):
        decide(message, reviewer)
