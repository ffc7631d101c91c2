"""Review plans: targets in working hours, the ladder, assignment in turn, out of
office, and extending a deadline.
"""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from django.db import transaction
from django.db.models.functions import Now

from approvals import collaboration, tasks
from approvals.decisions.by_rule import expire_due
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
from mirror.recording import record_about
from people.accounts.views import AwayForm
from people.models import Person
from policy.models import DutyTurn, Group, LadderStep, ReviewPlan, WorkCalendar
from policy.plans.deadlines import deadlines_of, steps_of
from tests.factories import (
    actor_of,
    change_row,
    make_connection,
    make_message,
    rolled_back,
)
from tests.integration.deciding import at_once, decide, expires
from tests.integration.practising import make_approved, make_planted

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


def is_away(person):
    change_row(person, away_from=Now() - HOUR, away_until=Now() + HOUR)


def run():
    DUTIES["review plans"]()


def acts(message, *names):
    entries = Entry.objects.filter(
        message=message.public_id,
        action__in=names or ("message.reminded", "message.late"),
    )
    return list(entries.order_by("id").values_list("action", flat=True))


def reminded(message):
    return set(
        Reminder.objects.filter(message=message).values_list("person__name", flat=True)
    )


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
    for risk, look in (("high", 30), ("notice", 60), ("", 60)):
        found = deadlines_of(plan, risk=risk, held_at=thursday, extended_to=None)
        assert found.look_by == thursday + timedelta(minutes=look), risk
        assert found.decide_by == monday, risk
    make_plan(targets={"": [5, 10]})
    run()
    message.refresh_from_db()
    assert message.review.decide_by - message.held_at == timedelta(minutes=10)
    ReviewPlan.objects.create(mailbox=message.mailbox, targets={"": [5, 600]})
    Review.objects.update(watch_at=Now())
    run()
    message.refresh_from_db()
    assert message.review.decide_by - message.held_at == timedelta(minutes=600)


def test_late_message_stands_first_until_it_is_looked_at_or_decided(
    message, reviewer, desk
):
    other = make_message(message.connection, subject="Other")
    change_row(message, held_at=Now() - timedelta(minutes=90))
    change_row(other, held_at=Now() - timedelta(days=9))
    Review.objects.filter(pk=other.pk).update(watch_at=None)
    ReviewPlan.objects.create(mailbox=message.mailbox, targets={"": [60, 120]})
    listed = desk.get("/queue/?format=json").json()["messages"]
    assert [one["id"] for one in listed] == [
        str(other.public_id),
        str(message.public_id),
    ]
    tasks.sweep()
    listed = desk.get("/queue/?format=json").json()["messages"]
    assert [one["id"] for one in listed] == [
        str(message.public_id),
        str(other.public_id),
    ]
    assert b"Late by" in desk.get("/queue/").content
    assert desk_messages().late_by_mailbox()[0]["number"] == 1
    page = desk.get("/").content
    assert page.index(b">Late<") < page.index(b"Waiting too long")
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
    message, reviewer, second_reviewer, desk
):
    on_duty(reviewer)
    make_plan(
        {"minutes": -60, "whom": "duty"},
        {"minutes": 0, "whom": "person", "person": second_reviewer},
        {"minutes": 60, "whom": "destinations"},
    )
    held_for(message, 61 * timedelta(minutes=1))
    for _ in range(2):
        Review.objects.update(watch_at=Now())
        run()
    assert acts(message) == ["message.reminded"]
    assert reminded(message) == {str(reviewer)}
    assert b"Reminder</span>" in desk.get("/queue/?tab=mine").content
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
    make_plan({"whom": "person", "person": reviewer, "act": "assign"})
    held_for(message, 3 * HOUR)
    run()
    assert acts(message) == ["message.late"]


def test_messages_are_assigned_in_turn_to_who_is_on_duty_now(
    message, reviewer, second_reviewer
):
    closed = WorkCalendar.objects.create(name="Never now", zone="UTC", weekly=[[]] * 7)
    ReviewPlan.objects.create(assigns_in_turn=True, targets={})
    on_duty(reviewer, calendar=closed)
    run()
    assert not Claim.objects.exists()
    message.refresh_from_db()
    # It is asked again soon: somebody may come on duty.
    assert message.review.watch_at > clock()
    DutyTurn.objects.all().delete()
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


def test_ladder_hands_over_to_a_person_and_a_group_and_by_hand_anybody_can(
    message, reviewer, second_reviewer, auditor
):
    group = Group.objects.create(name="Night")
    group.members.add(second_reviewer, auditor)
    make_plan(
        {"whom": "person", "person": reviewer, "act": "assign"},
        {"minutes": 60, "whom": "group", "group": group, "act": "assign"},
    )
    for lasting, person in ((2.5 * HOUR, reviewer), (3.5 * HOUR, second_reviewer)):
        held_for(message, lasting)
        run()
        assert Claim.objects.get(message=message).person == person
    claim = assign_by_hand(
        message=message.public_id,
        to=reviewer.pk,
        actor=actor_of(second_reviewer),
    )
    assert claim.person == reviewer
    assert claim.words == "Assigned to"
    for to, actor in ((auditor, reviewer), (reviewer, auditor)):
        with pytest.raises(ActNotAllowed):
            assign_by_hand(message=message.public_id, to=to.pk, actor=actor_of(actor))
    is_away(second_reviewer)
    with pytest.raises(ActNotAllowed, match="out of office"):
        assign_by_hand(
            message=message.public_id,
            to=second_reviewer.pk,
            actor=actor_of(reviewer),
        )
    decide(message, reviewer)
    with pytest.raises(AlreadyDecided):
        assign_by_hand(
            message=message.public_id,
            to=reviewer.pk,
            actor=actor_of(reviewer),
        )


def extended(
    message, person, *, by=timedelta(days=1), reason="The customer calls tomorrow."
):
    actor = actor_of(person)
    return extend_deadline(
        message=message.public_id, actor=actor, until=clock() + by, reason=reason
    )


def test_extension_asks_for_a_reason_moves_each_deadline_and_begins_the_ladder_again(
    message, reviewer, auditor
):
    on_duty(reviewer)
    with pytest.raises(ActNotAllowed, match="no deadline"):
        extended(message, reviewer)
    make_plan({"whom": "duty"})
    held_for(message, 3 * HOUR)
    Message.objects.update(expires_at=Now() + HOUR)
    run()
    for person, more in (
        (reviewer, {"reason": " "}),
        (reviewer, {"by": -HOUR}),
        (auditor, {}),
        (reviewer, {"by": 91 * 24 * HOUR}),
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
    entry = Entry.objects.get(action="message.extended")
    assert entry.detail.fields["reason"] == "The customer calls tomorrow."
    Review.objects.update(extended_to=Now() - timedelta(minutes=1), watch_at=Now())
    run()
    assert acts(message) == ["message.reminded"] * 2


def test_expired_message_is_not_extended_and_extended_one_does_not_expire(
    message, reviewer
):
    with rolled_back():
        expires(seconds=-1)
        with pytest.raises(ActNotAllowed, match="expired"):
            extended(message, reviewer)
        assert expire_due() == 1
        with pytest.raises(AlreadyDecided):
            extended(message, reviewer)
    expires(minutes=1)
    extended(message, reviewer)
    assert expire_due() == 0


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("act", ["extend", "decide"])
def test_of_expiry_and_extension_or_decision_at_one_moment_one_counts(
    message, reviewer, act
):
    # It expires while both are at it.
    change_row(message, expires_at=Now() + timedelta(milliseconds=30))
    works = {
        "extend": lambda: extended(message, reviewer),
        "decide": lambda: decide(message, reviewer),
    }
    at_once(works[act], lambda: [expire_due() for _ in range(20)])
    message.refresh_from_db()
    live = Decision.objects.filter(message=message, state="recorded")
    by_rule = live.filter(outcome="reject", rule="expiry").exists()
    assert live.count() <= 1
    assert not (by_rule and message.review.extended_to)


def test_admin_adds_a_calendar_and_puts_somebody_on_duty(
    admin, reviewer, signed_in, connection
):
    client = signed_in(admin)
    path = "/review-plans/calendars/add/"
    typed = {"name": "Office", "zone": "Europe/Lisbon", "day-6": "nine to five"}
    answer = client.post(path, typed)
    wrong = "Write hours as 09:00-12:00" in answer.text
    assert answer.status_code == 422
    assert wrong is True
    typed |= {"day-6": "09:00-12:00", "holidays": "2030-12-25 Christmas Day"}
    assert client.post(path, typed).status_code == 302
    assert WorkCalendar.objects.get().holidays == {"2030-12-25": "Christmas Day"}
    duty = {"person": reviewer.pk, "mailbox": "all"}
    assert client.post("/review-plans/duty/", duty).status_code == 302
    assert DutyTurn.objects.get().person == reviewer
    assert "On duty now" in client.get("/review-plans/").text


def test_late_message_is_assigned_and_extended_on_a_page_of_its_own(
    message, desk, second_reviewer
):
    make_plan()
    held_for(message, 3 * HOUR)
    run()
    path = f"/queue/{message.public_id}"
    assert desk.post(f"{path}/assign/", {"to": ""}).status_code == 422
    assert desk.post(f"{path}/assign/", {"to": second_reviewer.pk}).status_code == 302
    page = desk.get(f"{path}/handling/")
    assert "Assigned to Ben Okafor." in page.text
    typed = {"until": page.context["until"], "reason": ""}
    assert desk.post(f"{path}/extend/", typed).status_code == 422
    typed["reason"] = "The customer calls tomorrow."
    assert desk.post(f"{path}/extend/", typed).status_code == 302
    message.refresh_from_db()
    assert message.review.late_since is None
    assert bool(message.review.extended_to)


def test_last_day_out_of_office_is_not_before_the_first():
    form = AwayForm({"away_first": "2030-01-05", "away_last": "2030-01-01"})
    assert form.errors["away_last"] == ["The last day is before the first one."]


def test_step_times_are_right_over_daylight_saving():
    weekly = [[[0, 1440]]] * 7
    plan = make_plan({"minutes": 60, "whom": "duty"}, targets={"": [None, 240]})
    plan.calendar = WorkCalendar(zone="Europe/Berlin", weekly=weekly, holidays={})
    held_at = datetime(2026, 10, 24, 22, tzinfo=UTC)
    found = deadlines_of(plan, risk="", held_at=held_at, extended_to=None)
    assert found.decide_by == held_at + 4 * HOUR
    assert found.decide_by.astimezone(ZoneInfo("Europe/Berlin")).hour == 3
    assert [due.at for due in steps_of(plan, found, risk="", held_at=held_at)] == [
        held_at + 5 * HOUR
    ]


def test_stale_plan_is_shown_beside_what_was_typed(admin, signed_in, connection):
    client = signed_in(admin)
    path = "/review-plans/all/save/"
    assert client.post(path, {"version": 0, "decision-other": "4 h"}).status_code == 302
    stale = client.post(
        path, {"version": 0, "decision-other": "2 h", "look-other": "20 min"}
    )
    page = stale.text
    assert stale.status_code == 409
    assert ReviewPlan.objects.get().targets[""] == [None, 240]
    assert "Decision in 4 h" in page
    assert 'value="2 h"' in page
    # What is saved now replaces what the page showed.
    assert 'name="version" value="1"' in page


def test_steps_are_saved_and_shown_again_and_what_is_wrong_with_one_names_it(
    admin, reviewer, signed_in
):
    client = signed_in(admin)
    path = "/review-plans/all/save/"
    step = {
        "offset": "1 h",
        "side": "before",
        "basis": "decision",
        "act": "assign",
        "whom": f"person-{reviewer.pk}",
    }

    def posted(**fields):
        typed = {f"step-2-{name}": value for name, value in (step | fields).items()}
        # Without anybody whom it is for, the first is no step.
        return client.post(
            path, {"version": 0, "decision-other": "4 h", "step-1-whom": "", **typed}
        )

    for fields, words in (
        ({"whom": "person-0"}, "Step 2: choose from the lists."),
        (
            {"whom": "holder"},
            "Step 2: a message can be assigned to people, not to whoever has it",
        ),
        ({"offset": "soon"}, "Step 2: soon: Write it as 45 min"),
    ):
        answer = posted(**fields)
        assert answer.status_code == 422, words
        assert words in answer.text, words
    assert posted().status_code == 302
    stored = ReviewPlan.objects.get().steps.get()
    assert stored.minutes == -60
    assert stored.act == "assign"
    assert stored.person == reviewer
    shown = client.get("/review-plans/all/").context["form"].steps
    assert {name: str(shown[0][name].value()) for name in ("side", "whom")} == {
        "side": "before", "whom": step["whom"],
    }  # fmt: skip
    assert 'value="1 h"' in client.get("/review-plans/all/").text


def test_calendar_that_somebody_else_changed_is_told_and_replaced_only_knowingly(
    admin, signed_in
):
    calendar = WorkCalendar.objects.create(
        name="Office", zone="UTC", weekly=[[[540, 1020]]] + [[]] * 6
    )
    client = signed_in(admin)
    path = f"/review-plans/calendars/{calendar.pk}/"
    shown = client.get(path).context["seen"]
    typed = {"name": "Office", "zone": "UTC", "day-0": "08:00-17:00", "holidays": ""}
    assert (
        client.post(
            f"{path}save/", {**typed, "seen": shown, "day-1": "09:00-17:00"}
        ).status_code
        == 302
    )
    answer = client.post(f"{path}save/", {**typed, "seen": shown})
    page = answer.text
    assert answer.status_code == 409
    assert "Tuesday 09:00" in page
    assert "08:00-17:00" in page
    calendar.refresh_from_db()
    assert calendar.weekly[1] == [[540, 1020]]
    assert (
        client.post(
            f"{path}save/", {**typed, "seen": answer.context["seen"]}
        ).status_code
        == 302
    )
    calendar.refresh_from_db()
    assert calendar.weekly[1] == []


def test_practice_message_shows_its_targets_is_assigned_and_ends_where_a_real_one_would_be_late(
    message, reviewer
):
    make_approved(message.connection, reviewer)
    planted = make_planted(message.connection)
    practice = planted.message
    steps = ({"minutes": -30}, {"whom": "destinations"})
    make_plan(*steps, assigns_in_turn=True)
    on_duty(reviewer)
    for lasting in (timedelta(minutes=45), timedelta(minutes=100)):
        if lasting > HOUR:
            # Somebody looked at it in time, so only the decision is awaited.
            with transaction.atomic():
                record_about("message.opened", practice, actor=actor_of(reviewer))
        held_for(practice, lasting)
        run()
        practice.refresh_from_db()
        assert practice.state == "held"
        assert practice.review.late_since is None
    assert None not in (practice.review.look_by, practice.review.decide_by)
    assert Claim.objects.get(message=practice).person == reviewer
    held_for(practice, timedelta(minutes=121))
    assert tasks.sweep() == "swept"
    assert tasks.sweep() == "swept"
    planted.refresh_from_db()
    assert planted.outcome == "unanswered"
    assert acts(practice) == []
    assert reminded(practice) == set()
    assert not Claim.objects.filter(message=practice).exists()
