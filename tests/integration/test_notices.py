"""Notices: who is told because of what, once, and no longer than the cause lasts; and
the page that lists them.
"""

import contextlib
from datetime import UTC, datetime, time, timedelta

import pytest
from django.db.models.functions import Now
from hypothesis import example, given
from hypothesis import strategies as st

from alerts.deliveries.planning import plan_waiting
from approvals import collaboration
from approvals.errors import AlreadyDecided
from approvals.escalation.handling import assign_by_hand
from approvals.models import Claim, Question
from audit import actions
from common.actors import worker
from common.postgres import clock
from mirror.errors import ActNotAllowed, DeskError
from mirror.recording import record_about
from notices import planning, preferences, wording
from notices.models import Cause, Notice, unread_count
from people.models import Grant, Person
from people.second_admin.changes import ask_second_admin, decline
from people.second_admin.registry import ChangeInWords
from policy.models import Group
from tests.factories import (
    actor_of,
    change_row,
    make_connection,
    make_message,
    make_person,
    put_in_force,
    rolled_back,
)
from tests.integration.deciding import decide, undo
from tests.signing import sign_in

pytestmark = pytest.mark.usefixtures("plans_at_once")


@pytest.fixture
def message():
    return make_message(make_connection())


def told(person):
    """The causes of what a person is told now, the newest first."""
    plan_waiting()
    return [one.cause for one in Notice.objects.for_list(actor_of(person))]


def assign(message, to, by):
    assign_by_hand(message=message.public_id, to=to.pk, actor=actor_of(by))


def comment(message, by, text):
    collaboration.add_comment(message=message.public_id, actor=actor_of(by), text=text)


def test_a_mention_is_told_with_each_comment_until_it_is_answered(
    message, reviewer, second_reviewer
):
    comment(message, reviewer, "@Ben please look")
    assert told(second_reviewer) == ["mentioned"]
    first = Notice.objects.open().get()
    assert first.by == reviewer
    change_row(first, read_at=Now())
    comment(message, reviewer, "@Ben are you there?")
    assert told(second_reviewer) == ["mentioned"]
    assert Notice.objects.open().get().read_at is None
    comment(message, second_reviewer, "It is fine.")
    assert told(second_reviewer) == []


def test_members_of_a_group_are_told_until_they_have_approved(
    reviewer, second_reviewer
):
    group = Group.objects.create(name="Finance")
    group.members.add(second_reviewer)
    put_in_force({"approvals": {"0": 2, str(group.pk): 1}})
    message = make_message(make_connection())
    assert told(second_reviewer) == ["approval"]
    assert told(reviewer) == []
    decide(message, second_reviewer)
    assert told(second_reviewer) == []


def test_a_decision_that_comes_back_is_told_to_whoever_made_it(
    message, reviewer, second_reviewer
):
    decide(message, reviewer)
    assert told(reviewer) == []
    for action in ("message.failed", "message.bounced"):
        record_about(action, message, worker("sync"))
    assert told(reviewer) == ["returned"]
    assert Notice.objects.open().get().action == "message.bounced"
    assert told(second_reviewer) == []


def test_admins_who_can_accept_a_change_are_told_until_it_is_answered(reviewer, admin):
    other = make_person("eve@yourteam.example", "Eve Lind", "admin")
    asked = ChangeInWords(
        title="Caps: 500 an hour", before="300", after="500", page="/caps/",
        command="set_caps", change={},
    )  # fmt: skip
    change = ask_second_admin(asked=asked, reason="More mail", actor=actor_of(admin))
    assert told(other) == ["change"]
    assert told(admin) == told(reviewer) == []
    decline(change_id=change.pk, reason="No", actor=actor_of(other))
    assert told(other) == []


def test_a_new_device_is_told_and_a_known_one_and_the_first_are_not(client, reviewer):
    def sign_in_from(device):
        client.cookies.clear()
        client.defaults["HTTP_USER_AGENT"] = device
        sign_in(client, reviewer)
        return told(reviewer)

    assert sign_in_from("Firefox/1 (Linux)") == []
    for _ in range(2):
        assert sign_in_from("Chrome/1 (Windows)") == ["account"]


def test_the_summary_comes_once_a_morning_and_only_if_something_waits(
    reviewer, monkeypatch
):
    at_eight = datetime.combine(clock(), time(8), UTC)
    monkeypatch.setattr(planning, "clock", lambda: at_eight)
    change_row(reviewer, joined_at=at_eight - timedelta(days=1))
    assert planning.summarise() == 0
    make_message(make_connection())
    change_row(reviewer, joined_at=at_eight)
    assert planning.summarise() == 0
    change_row(reviewer, joined_at=at_eight - timedelta(days=1))
    monkeypatch.setattr(planning, "clock", lambda: at_eight - timedelta(seconds=1))
    assert planning.summarise() == 0
    monkeypatch.setattr(planning, "clock", lambda: at_eight)
    assert planning.summarise() == 1
    change_row(Notice.objects.get(), made_at=at_eight)
    assert planning.summarise() == 0
    assert told(reviewer) == ["summary"]


def test_the_page_lists_what_waits_opens_it_and_marks_it_as_read(
    signed_in, message, reviewer, second_reviewer
):
    comment(message, reviewer, "@Ben please look")
    plan_waiting()
    notice = Notice.objects.get()
    page = f"/queue/{message.public_id}/"
    client = signed_in(second_reviewer)
    shown = client.get("/notices/").text
    assert "You were asked in a comment · Ana Ferreira" in shown
    assert "data-notices>1<" in client.get("/queue/pulse/").json()["html"]
    assert client.get(f"/notices/{notice.pk}/").headers["Location"] == page
    assert unread_count(actor_of(second_reviewer)) == 0
    assert "Mark as read" not in client.get("/notices/").text
    change_row(notice, read_at=None)
    client.post("/notices/read/")
    assert unread_count(actor_of(second_reviewer)) == 0
    # Nobody else's, and nothing that is over.
    assert signed_in(reviewer).get(f"/notices/{notice.pk}/").status_code == 404
    # It ends with the decision, before that is planned.
    decide(message, reviewer)
    client = signed_in(second_reviewer)
    assert client.get(f"/notices/{notice.pk}/").status_code == 404
    assert "Nothing for you" in client.get("/notices/").text


def test_a_cause_that_is_off_on_the_desk_has_no_line_there_and_is_pushed(
    signed_in, message, reviewer, second_reviewer
):
    client = signed_in(second_reviewer)
    page = "/account/notifications/"
    wanted = {"desk": ["assigned"], "push": ["mentioned"], "mail_after": 5}
    assert client.post(page, wanted).status_code == 302
    comment(message, reviewer, "@Ben please look")
    assert told(second_reviewer) == ["mentioned"]
    assert "push" in preferences.ways_of(second_reviewer, "mentioned", clock())
    assert not preferences.wants_chat(second_reviewer, Cause.MENTIONED)
    assert preferences.wants_chat(reviewer, Cause.MENTIONED)
    assert unread_count(actor_of(second_reviewer)) == 0
    assert "Nothing for you" in client.get("/notices/").text
    # What is chosen holds for what was told before.
    client.post(page, wanted | {"desk": ["mentioned"]})
    assert unread_count(actor_of(second_reviewer)) == 1


_ACTS = {
    "ask": lambda message, one, other: comment(message, one, f"@{other} please look"),
    "assign": lambda message, one, other: assign(message, other, one),
    "decide": lambda message, one, _: decide(message, one),
    "undo": lambda message, one, _: undo(message, one),
    "lose roles": lambda _, one, __: Grant.objects.filter(person=one).delete(),
    "plan": lambda *_: plan_waiting(),
}


@given(st.lists(st.tuples(st.sampled_from(sorted(_ACTS)), st.booleans()), max_size=12))
@example([("ask", True), ("plan", True), ("decide", False), ("undo", False)])
@example([("ask", True), ("plan", True), ("lose roles", False)])
@example([("ask", False), ("decide", False), ("undo", True)])
def test_what_people_are_told_follows_from_what_is_so_and_never_twice(
    db, reviewer, second_reviewer, message, acts
):
    with rolled_back():
        for act, is_first in acts:
            people = (reviewer, second_reviewer)
            one, other = people if is_first else reversed(people)
            with contextlib.suppress(ActNotAllowed, AlreadyDecided, DeskError):
                _ACTS[act](message, one, other)
        plan_waiting()
        waits = bool(collaboration.awaits_review(message.pk))
        for person in Person.objects.all():
            sees = waits and bool(actor_of(person).scopes)
            asked = Question.objects.filter(person=person).exists()
            claims = Claim.objects.filter(person=person, is_assigned=True)
            expected = ["mentioned"] * (sees and asked)
            expected += ["assigned"] * (sees and claims.exists())
            assert sorted(told(person)) == sorted(expected)


def test_every_act_that_is_told_has_a_sentence_and_is_recorded_under_its_name():
    assert actions.ACTIONS.keys() >= planning.ACTIONS
    assert {*planning.ACCOUNT, *planning.RETURNS} <= wording.SENTENCES.keys()
