"""Several people have to approve where a rule says so: on every surface, asked again
when it is carried out, and when acts come at one moment.
"""

from datetime import timedelta

import pytest
from django.db import connections
from django.db.models.functions import Now

from approvals.decisions.by_rule import apply_policy, expire_due
from approvals.decisions.execute import run_decision
from approvals.decisions.withdraw import take_back_approval, undo_decision
from approvals.desk_messages import desk_messages
from approvals.errors import AlreadyDecided, ContentChanged, VerdictNotAllowed
from approvals.models import Decision, Review, Verdict
from audit.models import Entry
from common.postgres import clock
from mirror.models import Message
from people.models import Grant
from policy import kill_switch
from policy.models import AllowEntry, Group, KeyOwner, PolicyVersion
from policy.rules.changes import activate_draft, begin_draft
from policy.rules.rules import FIRST_RULE
from tests.factories import (
    actor_of,
    change_row,
    make_connection,
    make_list,
    make_message,
    make_person,
    pending_row,
    put_in_force,
    reject_others,
    show_row,
)
from tests.integration.deciding import at_once, carry_out, decide, make_due
from tests.ledger import latest_details
from tests.markup import HTMX
from tests.variants import variants

CARE = {"is_reauthenticated": True, "risk_read": ["policy"]}
AT_ONCE = pytest.mark.django_db(transaction=True)


@pytest.fixture
def two(db):
    return put_in_force({"approvals": {"0": 2}})


@pytest.fixture
def finance(reviewer, second_reviewer):
    """A group of two, whose approvals are asked for."""
    group = Group.objects.create(name="Finance")
    group.members.add(reviewer, second_reviewer)
    put_in_force({"approvals": {group.pk: 2}})
    return group


def given(message, person, **more):
    return str(decide(message, person, **more).progress)


def test_the_second_of_two_people_decides_and_the_undo_window_opens_then(
    message, reviewer, second_reviewer, two
):
    assert given(message, reviewer) == "1 of 2"
    assert not Decision.objects.exists()
    mine, waiting = (getattr(desk_messages(), name) for name in ("of", "waiting_for"))
    for person, is_first in ((reviewer, True), (second_reviewer, False)):
        assert (message in mine(actor_of(person))) is is_first
        assert (message in waiting(actor_of(person))) is not is_first
    second = decide(message, second_reviewer, surface="discord")
    assert second.decision.given_by == second_reviewer
    assert second.decision.due_at - second.decision.recorded_at == timedelta(seconds=5)
    said = latest_details("decision.recorded")
    assert (said["rules"], said["approvals"]) == ("Rule 0 (r0)", "2 of 2")


def test_one_rejection_ends_it_also_by_who_had_approved(
    message, reviewer, second_reviewer, two
):
    decide(message, reviewer)
    assert decide(message, reviewer, "reject", "No").decision.outcome == "reject"
    with pytest.raises(AlreadyDecided):
        decide(message, second_reviewer)


def test_taken_back_undone_and_other_content_void_approvals(
    message, reviewer, second_reviewer, two
):
    both = {"message": message.public_id, "actor": actor_of(reviewer)}
    decide(message, reviewer)
    take_back_approval(**both)
    assert given(message, second_reviewer) == "1 of 2"
    decide(message, reviewer)
    with pytest.raises(AlreadyDecided):
        take_back_approval(**both)
    undo_decision(**both)
    assert given(message, reviewer) == "1 of 2"
    old = message.revision.fingerprint
    show_row(message, subject="Another amount")
    with pytest.raises(ContentChanged):
        decide(message, second_reviewer, fingerprint=old)
    assert given(message, second_reviewer) == "1 of 2"


def test_undo_key_goes_back_through_ones_own_decisions_and_approvals_then_says_so(
    signed_in, connection, reviewer, second_reviewer
):
    alone, sent, others, early, late = (make_message(connection) for _ in range(5))
    decide(alone, reviewer, "reject", "No")
    change_row(decide(sent, reviewer).decision, may_have_left=True)
    put_in_force({"approvals": {"0": 2}})
    for person, message in (
        (reviewer, others),
        (second_reviewer, others),
        (reviewer, early),
        (reviewer, late),
    ):
        decide(message, person)
    change_row(early, state="gone")

    def undo(person):
        answer = signed_in(person).post("/queue/undo/", headers=HTMX)
        return answer.context and answer.context["message"], answer

    assert [undo(reviewer)[0], undo(reviewer)[0]] == [late, alone]
    _, answer = undo(reviewer)
    assert answer.status_code == 204
    assert "There is nothing left to undo." in answer.headers["HX-Trigger"]
    # What somebody else decided last is theirs.
    assert undo(second_reviewer)[0] == others


def test_only_members_of_the_group_count_and_each_for_one_group(
    message, reviewer, second_reviewer, third, finance
):
    legal = Group.objects.create(name="Legal")
    legal.members.add(reviewer)
    put_in_force({"approvals": {finance.pk: 1, legal.pk: 1}})
    with pytest.raises(VerdictNotAllowed):
        decide(message, third)
    assert decide(message, reviewer).decision is None
    # Whoever came first is in both groups: the other one fills the place in Finance.
    assert decide(message, second_reviewer).decision is not None


# --- before it is carried out ---------------------------------------------------------


def becomes_author(person, group):
    connection = Message.objects.get().connection
    KeyOwner.objects.create(person=person, connection=connection, upstream_key_id="k")
    Message.objects.update(sent_by_key="k")


def asks(**effects):
    return lambda person, group: put_in_force({"approvals": {group.pk: 2}, **effects})


CHANGES = {
    "no role": lambda person, group: Grant.objects.filter(person=person).delete(),
    "deactivated": lambda person, group: change_row(person, is_active=False),
    "not in the group": lambda person, group: group.members.remove(person),
    "author": becomes_author,
    "more": lambda person, group: put_in_force({"approvals": {group.pk: 3}}),
    "barred": lambda person, group: put_in_force({"barred_groups": [group.pk]}),
    "care": asks(care=True),
    "expired": asks(expire_minutes=60),
    "rejected": asks(reject="No."),
    "hours": asks(office_hours=[99]),
    "unreadable": asks(odd=1),
}


@pytest.mark.parametrize("change", variants(CHANGES.values(), 1), ids=CHANGES)
def test_what_changes_before_it_is_carried_out_holds_it_again(
    message, reviewer, second_reviewer, finance, change
):
    change_row(message, held_at=clock() - timedelta(hours=2))
    decide(message, reviewer)
    decision = decide(message, second_reviewer).decision
    make_due()
    change(reviewer, finance)
    assert run_decision(decision_id=decision.pk) == "refused"
    assert not Verdict.objects.filter(live=True).exists()
    message.refresh_from_db()
    assert message.state == "held"


@pytest.mark.parametrize(
    ("how", "state"),
    variants(
        [
            ({"is_reauthenticated": True}, "refused"),
            ({"risk_read": ["policy"]}, "refused"),
            ({**CARE, "sheet": "s1"}, "refused"),
            # Nothing answers there: it is tried again.
            (CARE, "recorded"),
        ],
        2,
    ),
    ids=["signed in", "on its page", "in bulk", "with care"],
)
def test_rule_that_asks_for_care_in_the_undo_window_counts_what_was_given_so(
    message, reviewer, how, state
):
    decision = decide(message, reviewer, **how).decision
    put_in_force({"care": True})
    make_due()
    assert run_decision(decision_id=decision.pk) == state


def test_earlier_approval_counts_by_the_rules_of_now(
    message, reviewer, second_reviewer, two
):
    decide(message, reviewer)
    put_in_force({"approvals": {"0": 2}, "care": True})
    assert given(message, second_reviewer, **CARE) == "1 of 2"
    # Nobody decided yet: the same person's next press does.
    put_in_force({"bar_editor": True})
    assert decide(message, reviewer).decision is not None


def test_a_rule_shortens_the_time_to_approve_and_never_lengthens_it(message):
    change_row(message, held_at=clock() - timedelta(hours=2))
    for minutes in (60, 600):
        put_in_force({"expire_minutes": minutes})
        assert apply_policy() == 1
        message.refresh_from_db()
        assert message.expires_at == message.held_at + timedelta(minutes=60)
    # An extension gives no more than the rules of the moment.
    until = clock() + timedelta(hours=5)
    Review.objects.update(extended_to=until)
    Message.objects.update(expires_at=until)
    put_in_force({"expire_minutes": 60})
    assert apply_policy() == 1
    assert expire_due() == 1


# --- at one moment --------------------------------------------------------------------


@AT_ONCE
def test_of_thirty_presses_of_two_people_two_count_and_one_decides(
    connection, reviewer, second_reviewer
):
    put_in_force({"approvals": {"0": 2}})
    message = make_message(connection)
    presses = (reviewer, second_reviewer) * 15
    at_once(*(lambda one=one: decide(message, one) for one in presses))
    assert Verdict.objects.filter(live=True).count() == 2
    assert Decision.objects.count() == 1


@AT_ONCE
def test_of_thirty_activations_of_one_draft_one_wins(admin):
    draft = begin_draft(actor=actor_of(admin), rules=[FIRST_RULE], based_on=0)
    shown = {"seen": draft.seen}
    actors = [
        actor_of(make_person(f"{one}@x.example", f"{one}", "admin"))
        for one in range(30)
    ]
    at_once(*(lambda by=by: activate_draft(actor=by, **shown) for by in actors))
    assert PolicyVersion.objects.filter(state="active").count() == 1
    assert Entry.objects.filter(action="policy.activated").count() == 1


@pytest.fixture
def served(upstream):
    """A message to a listed recipient that MultiMail holds and would send."""
    message = make_message(make_connection(api_url=upstream.url))
    upstream.holds(pending_row(message.upstream_id))
    upstream.decides(200, status="approved", decision="approved")
    reject_others(make_list("northwind.example"))
    return message


MEANWHILE = {
    "rule": lambda person: put_in_force({"approvals": {"0": 2}}),
    "list": lambda person: AllowEntry.objects.update(expires_at=Now()),
    "switch": lambda person: kill_switch.pull(actor=actor_of(person), reason="Stop"),
}


@AT_ONCE
@pytest.mark.parametrize("happens", variants(MEANWHILE.values(), 1), ids=MEANWHILE)
def test_what_happens_while_a_worker_reads_is_met_before_its_call(
    served, reviewer, upstream, happens
):
    def meanwhile():
        happens(reviewer)
        connections.close_all()

    # The stand-in answers in a thread, with its own session.
    upstream.meanwhile["GET"] = meanwhile
    assert carry_out(served, reviewer) in ("refused", "recorded")
    assert upstream.decisions == []
    assert Decision.objects.get().may_have_left is False


@pytest.mark.slow
@AT_ONCE
def test_expiry_and_the_approval_at_one_moment_make_one_call(
    served, reviewer, upstream
):
    change_row(served, expires_at=Now() + timedelta(milliseconds=30))
    at_once(lambda: decide(served, reviewer), lambda: [expire_due() for _ in range(20)])
    expire_due()
    for _ in range(2):
        make_due()
        for one in Decision.objects.live():
            run_decision(decision_id=one.pk)
        upstream.decides(200, status="rejected", decision="rejected")
        expire_due()
    assert [sent["action"] for sent in upstream.decisions] == ["reject"]
