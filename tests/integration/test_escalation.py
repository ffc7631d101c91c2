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
from approvals.escalation.handling import (
    assign_by_hand,
    extend_deadline,
)
from approvals.models import Claim, Decision, Reminder, Review, StepDone
from approvals.sweeping import DUTIES
from audit.models import Entry
from common.postgres import clock
from mirror.errors import ActNotAllowed
from mirror.models import Message
from people.models import Person
from policy.models import (
    DutyTurn,
    Group,
    LadderStep,
    PolicyVersion,
    ReviewPlan,
    WorkCalendar,
)
from policy.review_plans import deadlines_of
from tests.factories import (
    actor_of,
    change_row,
    make_connection,
    make_message,
)
from tests.integration.deciding import at_once, decide, expires
from tests.integration.test_policy_pages import typed_in
from tests.integration.test_several_approvals import put_in_force
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
    Review.objects.filter(pk=message.pk).update(watch_at=Now())
    return message


def on_duty(*people, **fields):
    for person in people:
        DutyTurn.objects.create(person=person, **fields)


def group_of(person):
    group = Group.objects.create(name=person.name)
    group.members.add(person)
    return group


def is_away(person):
    change_row(person, away_from=Now() - HOUR, away_until=Now() + HOUR)


def run():
    DUTIES["review plans"]()


def acts(message):
    entries = Entry.objects.filter(
        message=message.public_id, action__in=("message.reminded", "message.late")
    )
    return list(entries.order_by("id").values_list("action", flat=True))


def reminded(message):
    return set(
        Reminder.objects.filter(message=message).values_list("person__name", flat=True)
    )


def test_steps_that_are_due_at_one_moment_are_all_done(message, reviewer):
    on_duty(reviewer)
    make_plan({"whom": "duty"}, {"whom": "destinations"})
    held_for(message, 3 * HOUR)
    run()
    assert sorted(acts(message)) == ["message.late", "message.reminded"]


def test_targets_count_working_hours_of_the_calendar_by_risk_and_an_own_plan_comes_first(
    message,
):
    weekly = [[[540, 1020]]] * 5 + [[], []]
    calendar = WorkCalendar(
        zone="Europe/Berlin", weekly=weekly, holidays={"2026-12-25": "Christmas"}
    )
    plan = ReviewPlan(calendar=calendar, targets={"high": [30, None], "": [60, 240]})
    thursday = datetime(2026, 12, 24, 16, tzinfo=ZoneInfo("Europe/Berlin"))
    monday = datetime(2026, 12, 28, 12, tzinfo=ZoneInfo("Europe/Berlin"))
    found = deadlines_of(plan, risk="high", held_at=thursday, extended_to=None)
    assert found.look_by == thursday + timedelta(minutes=30)
    assert found.decide_by == monday
    make_plan(targets={"": [5, 10]})
    run()
    message.refresh_from_db()
    assert message.review.decide_by - message.held_at == timedelta(minutes=10)
    ReviewPlan.objects.create(mailbox=message.mailbox, targets={"": [5, 600]})
    Review.objects.update(watch_at=Now())
    run()
    message.refresh_from_db()
    assert message.review.decide_by - message.held_at == timedelta(minutes=600)


@pytest.mark.slow
def test_late_message_stands_first_until_it_is_looked_at_or_decided(
    message, reviewer, desk
):
    other = make_message(message.connection, subject="Other")
    change_row(message, held_at=Now() - timedelta(minutes=90))
    change_row(other, held_at=Now() - timedelta(days=9))
    ReviewPlan.objects.create(mailbox=message.mailbox, targets={"": [60, 120]})
    Review.objects.filter(pk=other.pk).update(watch_at=None)
    tasks.sweep()
    listed = desk.get("/queue/?format=json").json()["messages"]
    assert [one["id"] for one in listed] == [
        str(message.public_id),
        str(other.public_id),
    ]
    assert desk_messages().late_by_mailbox()[0]["number"] == 1
    # A look ends the lateness of the first look; the decision is not late yet.
    desk.post(
        f"/queue/{message.public_id}/opened/",
        {"fingerprint": message.revision.fingerprint},
    )
    Review.objects.update(watch_at=Now())
    run()
    message.refresh_from_db()
    assert message.review.late_since is None
    assert message.review.look_by < clock()
    held_for(message, 3 * HOUR)
    run()
    message.refresh_from_db()
    assert message.review.late_since == message.review.decide_by


def test_each_step_is_done_once_and_after_a_pause_only_the_last(
    message, reviewer, second_reviewer
):
    on_duty(reviewer)
    make_plan(
        {"minutes": -60, "whom": "duty"},
        {"minutes": 0, "whom": "group", "group": group_of(second_reviewer)},
        {"minutes": 60, "whom": "destinations"},
    )
    held_for(message, timedelta(minutes=61))
    for _ in range(2):
        Review.objects.update(watch_at=Now())
        run()
    assert acts(message) == ["message.reminded"]
    assert reminded(message) == {str(reviewer)}
    assert desk_messages().of(actor_of(reviewer)).count() == 1
    # Nothing ran for hours: one step is done, not both.
    held_for(message, 4 * HOUR)
    for _ in range(2):
        Review.objects.update(watch_at=Now())
        run()
    assert acts(message) == ["message.reminded", "message.late"]
    assert reminded(message) == {str(reviewer)}
    assert StepDone.objects.filter(message=message).count() == 3
    # The clock is set back: nothing is done again.
    held_for(message, timedelta(minutes=61))
    run()
    assert len(acts(message)) == 2


@pytest.mark.django_db(transaction=True)
def test_two_workers_at_one_tick_send_one_reminder(message, reviewer):
    on_duty(reviewer)
    make_plan({"whom": "duty"})
    held_for(message, 3 * HOUR)
    at_once(run, run)
    assert acts(message) == ["message.reminded"]


@pytest.mark.slow
def test_away_people_are_passed_over_in_turn_in_steps_and_when_they_leave(
    message, reviewer, second_reviewer
):
    ReviewPlan.objects.create(assigns_in_turn=True, targets={})
    on_duty(reviewer, second_reviewer)
    is_away(reviewer)
    run()
    assert Claim.objects.get(message=message).person == second_reviewer
    # She leaves too, and he is back: it goes to him.
    Person.objects.update(away_from=None, away_until=None)
    is_away(second_reviewer)
    tasks.sweep()
    assert Claim.objects.get(message=message).person == reviewer
    # Nobody is there: it is released, and steps go to the destinations.
    Person.objects.update(away_from=Now() - HOUR, away_until=Now() + HOUR)
    tasks.sweep()
    assert not Claim.objects.exists()
    ReviewPlan.objects.all().delete()
    make_plan({"whom": "group", "group": group_of(reviewer), "act": "assign"})
    held_for(message, 3 * HOUR)
    run()
    assert acts(message) == ["message.late"]


@pytest.mark.slow
def test_messages_are_assigned_in_turn(message, reviewer, second_reviewer):
    ReviewPlan.objects.create(assigns_in_turn=True, targets={})
    on_duty(reviewer, second_reviewer)
    others = [make_message(message.connection) for _ in range(3)]
    for one in (message, *others):
        held_for(one, HOUR)
        run()
    got = [Claim.objects.get(message=one).person.name for one in (message, *others)]
    assert got[0] != got[1]
    assert got[:2] == got[2:]
    # An idle assignment stays, unlike a claim; and it lists the message under Mine.
    Claim.objects.update(seen_at=Now() - timedelta(days=1))
    assert collaboration.end_idle_claims() == 0
    assert desk_messages().of(actor_of(reviewer)).count() == 2


def test_ladder_hands_over_to_groups_and_by_hand_anybody_can(
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
        run()
        assert Claim.objects.get(message=message).person == person
    assert assigned(message, reviewer, by=second_reviewer).person == reviewer
    for to, by in ((auditor, reviewer), (reviewer, auditor)):
        with pytest.raises(ActNotAllowed):
            assigned(message, to, by=by)
    is_away(second_reviewer)
    with pytest.raises(ActNotAllowed, match="out of office"):
        assigned(message, second_reviewer, by=reviewer)
    decide(message, reviewer)
    with pytest.raises(AlreadyDecided):
        assigned(message, reviewer, by=reviewer)


def assigned(message, to, *, by):
    return assign_by_hand(message=message.public_id, to=to.pk, actor=actor_of(by))


def extended(
    message, person, *, by=timedelta(days=1), reason="The customer calls tomorrow."
):
    actor = actor_of(person)
    until = (clock() + by).astimezone(ZoneInfo("Asia/Tokyo"))
    return extend_deadline(
        message=message.public_id, actor=actor, until=until, reason=reason
    )


def test_extension_asks_for_a_reason_moves_each_deadline_and_begins_the_ladder_again(
    message, reviewer, auditor
):
    on_duty(reviewer)
    with pytest.raises(ActNotAllowed, match="no deadline"):
        extended(message, reviewer)
    make_plan({"whom": "duty"})
    held_for(message, 3 * HOUR)
    expires(seconds=-1)
    with pytest.raises(ActNotAllowed, match="expired"):
        extended(message, reviewer)
    expires(hours=1)
    run()
    for person, more in (
        (reviewer, {"reason": " "}),
        (reviewer, {"by": -HOUR}),
        (reviewer, {"by": 91 * 24 * HOUR}),
        (auditor, {}),
    ):
        with pytest.raises(ActNotAllowed):
            extended(message, person, **more)
    extended(message, reviewer)
    run()
    message.refresh_from_db()
    assert (
        message.expires_at
        == message.review.decide_by
        == message.review.extended_to
        > clock() + 23 * HOUR
    )
    assert message.review.late_since is None
    assert acts(message) == ["message.reminded"]
    until = message.expires_at.astimezone(UTC)
    details = latest_details("message.extended")
    assert details["deadline"] == f"{until:%Y-%m-%d %H:%M} UTC"
    Review.objects.update(extended_to=Now() - timedelta(minutes=1), watch_at=Now())
    run()
    assert acts(message) == ["message.reminded"] * 2


@pytest.mark.parametrize(("rules", "allowed"), [([24], 24), ([48, 24], 24), ([], 80)])
def test_extension_gives_at_most_what_the_rules_allow(
    message, reviewer, rules, allowed
):
    change_row(message, held_at=clock(), expires_at=clock() + HOUR)
    put_in_force(*({"expire_minutes": hours * 60} for hours in rules))
    if allowed < 80:
        with pytest.raises(ActNotAllowed, match="at the latest"):
            extended(message, reviewer, by=(allowed + 1) * HOUR)
    extended(message, reviewer, by=(allowed - 1) * HOUR)
    apply_policy()
    until = Message.objects.get().expires_at
    assert clock() + (allowed - 2) * HOUR < until < clock() + allowed * HOUR
    # A rule that comes later is not held up by an extension.
    put_in_force({"expire_minutes": 90})
    apply_policy()
    assert Message.objects.get().expires_at <= clock() + 90 * timedelta(minutes=1)


def test_extension_of_an_unreadable_policy_and_before_the_rule_was_applied_gives_nothing(
    message, reviewer
):
    change_row(message, held_at=clock() - HOUR, expires_at=None)
    make_plan({"whom": "duty"})
    run()
    # The sweep has not applied the rule yet.
    put_in_force({"expire_minutes": 120})
    extended(message, reviewer)
    apply_policy()
    assert Message.objects.get().expires_at < clock() + HOUR
    PolicyVersion.objects.update(state="retired", retired_at=Now())
    PolicyVersion.objects.create(
        number=9, state="active", rules=[{"id": "x"}], activated_at=Now()
    )
    with pytest.raises(ActNotAllowed, match="at the latest"):
        extended(message, reviewer, by=2 * HOUR)


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_of_expiry_and_extension_at_one_moment_one_counts(message, reviewer):
    # It expires while both are at it.
    change_row(message, expires_at=Now() + timedelta(milliseconds=30))
    at_once(
        lambda: extended(message, reviewer), lambda: [expire_due() for _ in range(20)]
    )
    message.refresh_from_db()
    live = Decision.objects.filter(message=message, state="recorded")
    by_rule = live.filter(outcome="reject", rule="expiry").exists()
    assert live.count() <= 1
    assert not (by_rule and message.review.extended_to)


@pytest.mark.slow
def test_steps_are_saved_and_shown_again_and_what_is_wrong_or_stale_is_not_saved(
    admin, reviewer, signed_in
):
    client = signed_in(admin)
    path = "/review-plans/0/"
    typed = {
        "decision-other": "4 h",
        # For nobody, the first is no step.
        "step-1-minutes": "2 h",
        "step-2-minutes": "1 h",
        "step-2-when": "decision before",
        "step-2-act": "assign",
    }
    for whom in ("group-0", "holder"):
        refused = client.post(path, {**typed, "step-2-whom": whom})
        assert refused.status_code == 422, whom
        assert "step-2-whom" in refused.context["form"].errors
    group = group_of(reviewer)
    whom = f"group-{group.pk}"
    for odd in ({"decision-other": ""}, {"decision-other": "4 days"}):
        assert (
            client.post(path, {**typed, "step-2-whom": whom, **odd}).status_code == 422
        )
    assert client.post(path, {**typed, "step-2-whom": whom}).status_code == 302
    stored = ReviewPlan.objects.get().steps.get()
    assert stored.minutes == -60
    assert stored.act == "assign"
    assert stored.group == group
    shown = client.get(path).context["form"]
    assert shown["step-1-when"].value() == "decision before"
    assert shown["step-1-whom"].value() == whom
    saved = client.post(path, typed_in(shown))
    assert saved.status_code == 302, saved.context["form"].errors
    assert ReviewPlan.objects.get().steps.get().minutes == -60
    # Somebody else has changed it by now: both are shown.
    stale = client.post(path, {"decision-other": "2 h"})
    assert stale.status_code == 409
    assert ReviewPlan.objects.get().targets[""] == [None, 240]
    for words in ("decision in 4 h", 'value="2 h"'):
        assert words in stale.text
