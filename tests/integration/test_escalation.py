"""Review plans: targets in working hours, the ladder, assignment in turn, out of
office, and extending a deadline.
"""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from django.db.models.functions import Now

from approvals import collaboration, tasks
from approvals.decisions.by_rule import apply_policy, expire_due
from approvals.desk_messages import desk_messages
from approvals.errors import AlreadyDecided
from approvals.escalation.handling import assign_by_hand, extend_deadline
from approvals.models import Claim, Decision, Reminder, Review, StepDone
from approvals.sweeping import DUTIES
from audit.models import Entry
from common.postgres import clock
from mirror.errors import ActNotAllowed
from mirror.models import Message
from policy.models import DutyTurn, Group, LadderStep, ReviewPlan, WorkCalendar
from policy.review_plans import deadlines_of
from tests.factories import (
    actor_of,
    change_row,
    make_connection,
    make_message,
    put_in_force,
)
from tests.integration.deciding import at_once, decide, expires
from tests.ledger import latest_details

HOUR = timedelta(hours=1)


@pytest.fixture
def message():
    return make_message(make_connection())


def make_plan(*steps, targets=None, **fields):
    plan = ReviewPlan.objects.create(targets=targets or {"": [60, 120]}, **fields)
    for step in steps:
        LadderStep.objects.create(
            plan=plan, **{"basis": "decision", "act": "remind", "minutes": 0, **step}
        )
    return plan


def held_for(message, lasting):
    change_row(message, held_at=Now() - lasting)
    run()


def on_duty(*people):
    for person in people:
        DutyTurn.objects.create(person=person)


def group_of(person):
    group = Group.objects.create(name=person.name)
    group.members.add(person)
    return group


def is_away(person):
    change_row(person, away_from=Now() - HOUR, away_until=Now() + HOUR)


def run():
    Review.objects.update(watch_at=Now())
    DUTIES["review plans"]()


def acts(message):
    entries = Entry.objects.filter(
        message=message.public_id, action__in=("message.reminded", "message.late")
    )
    return list(entries.order_by("id").values_list("action", flat=True))


def holder(message):
    claim = Claim.objects.filter(message=message).first()
    return claim and claim.person


def test_targets_count_working_hours_of_the_calendar_by_risk_and_an_own_plan_comes_first(
    message,
):
    weekly = [[[540, 1020]]] * 5 + [[], []]
    calendar = WorkCalendar(
        zone="Europe/Berlin", weekly=weekly, holidays={"2026-12-25": "Christmas"}
    )
    plan = ReviewPlan(calendar=calendar, targets={"high": [30, None], "": [60, 240]})
    thursday = datetime(2026, 12, 24, 16, tzinfo=ZoneInfo("Europe/Berlin"))
    found = deadlines_of(plan, risk="high", held_at=thursday, extended_to=None)
    assert found.look_by == thursday + timedelta(minutes=30)
    assert found.decide_by == thursday.replace(day=28, hour=12)
    for minutes, box in ((10, None), (600, message.mailbox)):
        make_plan(targets={"": [5, minutes]}, mailbox=box)
        run()
        message.refresh_from_db()
        lasts = message.review.decide_by - message.held_at
        assert lasts == timedelta(minutes=minutes)


def test_each_step_is_done_once_and_after_a_pause_only_the_last(
    message, reviewer, second_reviewer
):
    on_duty(reviewer)
    make_plan(
        {"minutes": -60, "whom": "duty"},
        {"minutes": 0, "whom": "group", "group": group_of(second_reviewer)},
        {"minutes": 60, "whom": "destinations"},
    )
    # Nothing ran for hours: one step is done, not both. Then the clock is set back.
    for minutes, done in (
        (61, ["message.reminded"]),
        (240, ["message.reminded", "message.late"]),
        (61, ["message.reminded", "message.late"]),
    ):
        for _ in range(2):
            held_for(message, timedelta(minutes=minutes))
        assert acts(message) == done
        assert [one.person for one in Reminder.objects.all()] == [reviewer]
    assert desk_messages().of(actor_of(reviewer)).count() == 1
    assert StepDone.objects.filter(message=message).count() == 3


@pytest.mark.django_db(transaction=True)
def test_two_workers_at_one_tick_do_each_step_that_is_due_once(message, reviewer):
    on_duty(reviewer)
    make_plan({"whom": "duty"}, {"whom": "destinations"})
    change_row(message, held_at=Now() - 3 * HOUR)
    at_once(run, run)
    assert sorted(acts(message)) == ["message.late", "message.reminded"]


@pytest.mark.slow
def test_messages_are_assigned_in_turn_to_who_is_there(
    message, reviewer, second_reviewer
):
    make_plan(assigns_in_turn=True)
    on_duty(reviewer, second_reviewer)
    others = [make_message(message.connection) for _ in range(3)]
    for one in (message, *others):
        held_for(one, timedelta(minutes=1))
    got = [holder(one) for one in (message, *others)]
    assert got == got[:2] * 2
    assert {*got} == {reviewer, second_reviewer}
    # An idle assignment stays, unlike a claim; and it lists the message under Mine.
    Claim.objects.update(seen_at=Now() - timedelta(days=1))
    assert collaboration.end_idle_claims() == 0
    assert desk_messages().of(actor_of(reviewer)).count() == 2
    # One leaves, and the other one: it goes to who is there, or is released.
    first, second = got[:2]
    is_away(first)
    tasks.sweep()
    assert holder(message) == second
    is_away(second)
    tasks.sweep()
    assert not Claim.objects.exists()
    # Steps go to the destinations then.
    ReviewPlan.objects.all().delete()
    make_plan({"whom": "group", "group": group_of(reviewer), "act": "assign"})
    held_for(message, 3 * HOUR)
    assert acts(message) == ["message.late"]


def test_ladder_hands_over_to_a_person_and_a_group_and_by_hand_anybody_can(
    message, reviewer, second_reviewer, auditor
):
    group = Group.objects.create(name="Night")
    group.members.add(second_reviewer, auditor)
    make_plan(
        {"whom": "group", "group": group_of(reviewer), "act": "assign"},
        {"minutes": 60, "whom": "group", "group": group, "act": "assign"},
    )
    for lasting, person in ((2.5 * HOUR, reviewer), (3.5 * HOUR, second_reviewer)):
        held_for(message, lasting)
        assert holder(message) == person

    def assign(to, by):
        actor = actor_of(by)
        assign_by_hand(message=message.public_id, to=to.pk, actor=actor)

    assign(reviewer, second_reviewer)
    assert holder(message) == reviewer
    is_away(second_reviewer)
    for to, by in (
        (auditor, reviewer),
        (reviewer, auditor),
        (second_reviewer, reviewer),
    ):
        with pytest.raises(ActNotAllowed):
            assign(to, by)
    decide(message, reviewer)
    with pytest.raises(AlreadyDecided):
        assign(reviewer, reviewer)


def extended(message, person, *, by=timedelta(days=1), reason="They call tomorrow."):
    until = (clock() + by).astimezone(ZoneInfo("Asia/Tokyo"))
    to = {"message": message.public_id, "actor": actor_of(person), "until": until}
    return extend_deadline(reason=reason, **to)


def test_extension_asks_for_a_reason_moves_each_deadline_and_begins_the_ladder_again(
    message, reviewer, auditor
):
    def refuses(person=reviewer, **more):
        with pytest.raises(ActNotAllowed):
            extended(message, person, **more)

    on_duty(reviewer)
    refuses()
    make_plan({"whom": "duty"})
    change_row(message, held_at=Now() - 3 * HOUR)
    expires(seconds=-1)
    refuses()
    expires(hours=1)
    run()
    refuses(reason=" ")
    refuses(by=-HOUR)
    refuses(by=91 * 24 * HOUR)
    refuses(auditor)
    extended(message, reviewer)
    run()
    message.refresh_from_db()
    review = message.review
    assert message.expires_at == review.decide_by == review.extended_to
    assert message.expires_at > clock() + 23 * HOUR
    assert review.late_since is None
    assert acts(message) == ["message.reminded"]
    until = message.expires_at.astimezone(UTC)
    details = latest_details("message.extended")
    assert details["deadline"] == f"{until:%Y-%m-%d %H:%M} UTC"
    Review.objects.update(extended_to=Now() - timedelta(minutes=1))
    run()
    assert acts(message) == ["message.reminded"] * 2


@pytest.mark.parametrize(("rules", "allowed"), [([24], 24), ([48, 24], 24), ([], 80)])
def test_extension_gives_at_most_what_the_rules_allow(
    message, reviewer, rules, allowed
):
    change_row(message, held_at=clock(), expires_at=clock() + HOUR)
    put_in_force(*({"expire_minutes": hours * 60} for hours in rules))
    if rules:
        with pytest.raises(ActNotAllowed):
            extended(message, reviewer, by=(allowed + 1) * HOUR)
    extended(message, reviewer, by=(allowed - 1) * HOUR)

    def expires_in(hours):
        # The sweep had not applied the rule yet.
        apply_policy()
        until = Message.objects.get().expires_at - clock()
        return (hours - 2) * HOUR < until <= hours * HOUR

    assert expires_in(allowed)
    # A rule that comes later is not held up by an extension.
    put_in_force({"expire_minutes": 120})
    assert expires_in(2)
    put_in_force({"unreadable": 1, "then": {}})
    with pytest.raises(ActNotAllowed):
        extended(message, reviewer, by=3 * HOUR)


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_of_expiry_and_extension_at_one_moment_one_counts(message, reviewer):
    # It expires while both are at it.
    change_row(message, expires_at=Now() + timedelta(milliseconds=30))
    at_once(
        lambda: extended(message, reviewer), lambda: [expire_due() for _ in range(20)]
    )
    message.refresh_from_db()
    live = Decision.objects.filter(state="recorded")
    by_rule = live.filter(outcome="reject", rule="expiry").exists()
    assert live.count() <= 1
    assert not (by_rule and message.review.extended_to)
