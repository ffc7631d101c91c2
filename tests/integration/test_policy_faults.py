"""Rules and approvals by several people under faults: acts at one moment, clocks, rules
that change, no database.
"""

from datetime import UTC, timedelta
from io import StringIO
from threading import Event

import pytest
from django.core.management import call_command
from django.db import DatabaseError, OperationalError, connection
from django.db.models.functions import Now
from django.urls import reverse
from django.utils import timezone

from alerts.cards.message import approvals_of
from approvals.decisions import decide as deciding
from approvals.decisions import execute, outcomes
from approvals.decisions.by_rule import expire_due
from approvals.decisions.execute import run_decision
from approvals.errors import DeskError, VerdictNotAllowed
from approvals.models import Decision, Reminder, Review, Verdict
from approvals.models.decisions import DecisionQuerySet
from approvals.sweeping import DUTIES
from audit.models import Entry
from common.postgres import clock
from people.models import Grant
from policy.errors import StalePolicy
from policy.models import (
    DutyTurn,
    Group,
    LadderStep,
    PolicyVersion,
    ReviewPlan,
    WorkCalendar,
)
from policy.rules.changes import activate_draft, begin_draft, policies
from policy.rules.conditions import as_json
from policy.rules.rules import PolicyRule
from tests.factories import (
    actor_of,
    change_row,
    hours_on,
    make_connection,
    make_message,
    make_person,
    pending_row,
)
from tests.integration.deciding import at_once, decide, in_thread, make_due
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


@pytest.fixture
def third(db):
    return make_person("cleo@example.com", "Cleo Sands", "reviewer")


def calls(upstream):
    """How many calls to decide MultiMail got."""
    return len(upstream.decisions)


def follow():
    """Do what the review plan asks, as the worker does at each tick."""
    DUTIES["review plans"]()


# --- at one moment --------------------------------------------------------------------


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
    told = next(one.sentence for one in results if isinstance(one, StalePolicy))
    assert told.startswith("There is no draft any more")
    assert PolicyVersion.objects.filter(state="active").count() == 1
    assert Entry.objects.filter(action="policy.activated").count() == 1


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


@SESSIONS
def test_escalation_and_the_last_approval_at_one_moment(
    message, reviewer, second_reviewer
):
    DutyTurn.objects.create(person=reviewer)
    plan = ReviewPlan.objects.create(targets={"": [30, 60]})
    LadderStep.objects.create(
        plan=plan, basis="decision", minutes=0, act="remind", whom="duty"
    )
    decide(message, reviewer)
    change_row(message, held_at=Now() - 3 * HOUR)
    Review.objects.filter(pk=message.pk).update(watch_at=Now())
    results = at_once(lambda: decide(message, second_reviewer), follow, follow)
    assert not [one for one in results if isinstance(one, Exception)]
    assert Decision.objects.count() == 1
    assert Reminder.objects.filter(message=message).count() <= 1


# --- between the approvals ------------------------------------------------------------


@pytest.mark.parametrize("what", ["account", "role", "group"])
def test_a_person_leaves_between_the_first_and_the_last_approval(
    message, reviewer, second_reviewer, third, what
):
    finance = Group.objects.create(name="Finance")
    finance.members.set([reviewer, second_reviewer, third])
    put_in_force({"approvals": {finance.pk: 2}})
    decide(message, reviewer)
    if what == "account":
        change_row(reviewer, is_active=False)
    elif what == "role":
        Grant.objects.filter(person=reviewer).delete()
    else:
        finance.members.remove(reviewer)
    second = decide(message, second_reviewer)
    assert second.decision is None
    assert str(second.progress) == "1 of 2"
    assert decide(message, third).decision is not None


# --- clocks ---------------------------------------------------------------------------


@pytest.mark.parametrize("jump", [HOUR, -HOUR], ids=["forward", "back"])
def test_hours_of_a_rule_go_by_the_clock_of_the_database(
    message, reviewer, upstream, monkeypatch, jump
):
    now = clock().astimezone(UTC)
    put_in_force({"office_hours": [hours_around(now)]})
    really = timezone.now
    monkeypatch.setattr(timezone, "now", lambda: really() + jump)
    decision = decide(message, reviewer).decision
    make_due()
    assert run_decision(decision_id=decision.pk) == "applied"
    assert calls(upstream) == 1
    put_in_force({"office_hours": [hours_around(now + jump)]})
    other = make_message(message.connection, subject="Another")
    with pytest.raises(VerdictNotAllowed, match="only within"):
        decide(other, reviewer)
    assert decide(other, reviewer, "reject", "No").decision is not None


def hours_around(at):
    """Return hours of twenty minutes before and after this time, each day."""
    begin = at - timedelta(minutes=20)
    end = at + timedelta(minutes=20)
    return as_json(hours_on(range(7), begin.time(), end.time(), "UTC"))


def test_a_calendar_of_a_rule_is_asked_each_time(message, reviewer, upstream):
    days = {
        (clock().date() + timedelta(days=number)).isoformat(): "Holiday"
        for number in (-1, 0, 1)
    }
    calendar = WorkCalendar.objects.create(
        name="Office", zone="UTC", weekly=[[[0, 1440]]] * 7, holidays=days
    )
    put_in_force({"office_hours": [{"calendar": calendar.pk}]})
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


# --- a rule changes -------------------------------------------------------------------


def test_a_rule_that_changes_after_the_page_was_shown_asks_for_more(
    message, reviewer, second_reviewer, signed_in
):
    decide(message, reviewer)
    page = signed_in(second_reviewer).get(reverse("message", args=[message.public_id]))
    assert "1 of 2" in page.text
    put_in_force({"approvals": {"0": 3}})
    assert decide(message, second_reviewer).decision is None


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


# --- PostgreSQL is away ---------------------------------------------------------------


def lose_the_database_at(monkeypatch, module, name):
    """Have the server end the session when it comes to this step the first time; return
    whether it came there.
    """
    step = getattr(module, name)
    came = Event()

    def run(*args, **kwargs):
        if not came.is_set():
            came.set()
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")
        return step(*args, **kwargs)

    monkeypatch.setattr(module, name, run)
    return came


def elsewhere(work):
    """Run in a session of its own, which the server may end; return its result or its
    exception.
    """
    thread, results = in_thread(work)
    thread.join(60)
    return results[0]


@SESSIONS
@pytest.mark.parametrize("last", [False, True], ids=["the first", "the last"])
def test_postgresql_is_away_when_an_approval_is_stored(
    message, reviewer, second_reviewer, monkeypatch, last
):
    if last:
        decide(message, reviewer)
    before = Verdict.objects.count()
    came = lose_the_database_at(
        monkeypatch, deciding, "make_decision" if last else "record_about"
    )
    person = second_reviewer if last else reviewer
    assert isinstance(elsewhere(lambda: decide(message, person)), OperationalError)
    assert came.is_set()
    assert Verdict.objects.count() == before
    assert Decision.objects.count() == 0
    assert str(elsewhere(lambda: decide(message, person)).progress) == (
        "2 of 2" if last else "1 of 2"
    )
    assert Verdict.objects.count() == before + 1
    assert Decision.objects.count() == int(last)


@SESSIONS
@pytest.mark.parametrize(
    ("module", "step", "calls_at_first"),
    [
        (execute, "_refusal", 0),
        (execute.settle, "advance", 0),
        (execute, "_compare", 0),
        (DecisionQuerySet, "still_allowed", 0),
        (outcomes, "end_with_success", 1),
    ],
    ids=["counting", "claiming", "counting again", "marking", "ending"],
)
def test_postgresql_is_away_when_it_is_carried_out(
    message,
    reviewer,
    second_reviewer,
    upstream,
    monkeypatch,
    module,
    step,
    calls_at_first,
):
    decide(message, reviewer)
    decision = decide(message, second_reviewer).decision
    make_due()
    monkeypatch.setattr(execute, "_PAUSES", (0, 0, 0))
    came = lose_the_database_at(monkeypatch, module, step)
    result = elsewhere(lambda: run_decision(decision_id=decision.pk))
    assert came.is_set()
    assert calls(upstream) == calls_at_first
    decision.refresh_from_db()
    if not calls_at_first:
        assert isinstance(result, DatabaseError) or decision.state == "recorded", result
        message.refresh_from_db()
        assert message.state == "held"
        # As the sweep does once its lease is over.
        change_row(decision, lease_until=Now() - HOUR, due_at=Now())
        execute.abandon(decision_id=decision.pk)
        change_row(decision, due_at=Now())
        assert elsewhere(lambda: run_decision(decision_id=decision.pk)) == "applied"
    decision.refresh_from_db()
    assert decision.state == "applied"
    assert calls(upstream) == 1


# --- nobody can, or people left -------------------------------------------------------


def test_page_row_and_card_say_that_nobody_can_approve(
    message, reviewer, second_reviewer, signed_in
):
    finance = Group.objects.create(name="Finance")
    finance.members.add(second_reviewer)
    put_in_force({"approvals": {finance.pk: 1}})
    client = signed_in(reviewer)
    address = reverse("message", args=[message.public_id])

    def said():
        """Whether the row, the page and the card say so."""
        row = "Too few people may approve: ask an admin"
        whom = "Too few people may give that: ask an admin to change the rule or the group."
        return [
            row in client.get(reverse("queue")).text,
            whom in client.get(address).text,
            whom in approvals_of(message),
        ]

    assert said() == [False] * 3
    change_row(second_reviewer, is_active=False)
    assert said() == [True] * 3
    with pytest.raises(DeskError):
        decide(message, reviewer)
    assert decide(message, reviewer, "reject", "No").decision is not None


def test_people_who_left_are_told_by_doctor(reviewer, second_reviewer):
    gone = make_person("cleo@example.com", "Cleo Sands", "reviewer")
    finance = Group.objects.create(name="Finance")
    finance.members.set([reviewer, second_reviewer, gone])
    then = {"approvals": {finance.pk: 1}}
    put_in_force({"owner": gone.pk, "when": {"key_owners": [gone.pk]}, "then": then})
    change_row(gone, is_active=False)
    told = (
        "the owner of “Rule 0”, has left",
        "names Cleo Sands, who has left",
        "in which Cleo Sands cannot approve",
    )
    out = StringIO()
    with pytest.raises(SystemExit):
        call_command("doctor", stdout=out, stderr=out)
    said = " ".join(out.getvalue().split())
    assert all(one in said for one in told), said
