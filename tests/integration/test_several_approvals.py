"""Several people have to approve where a rule says so: on every surface, and asked
again when it is carried out.
"""

from datetime import timedelta

import pytest
from django.db import DatabaseError, transaction
from django.db.models import Max
from django.db.models.functions import Now
from django.urls import reverse

from approvals.bulk.batch import decide_batch
from approvals.bulk.sheet import OnSheet, Sheet, gather
from approvals.decisions.by_rule import apply_policy, expire_due
from approvals.decisions.execute import run_decision
from approvals.decisions.ruling import rulings
from approvals.decisions.withdraw import take_back_approval, undo_decision
from approvals.desk_messages import desk_messages
from approvals.errors import (
    AlreadyDecided,
    ContentChanged,
    ReauthenticationNeeded,
    RiskUnread,
    VerdictNotAllowed,
)
from approvals.models import Decision, Review, Verdict
from common.postgres import clock
from mirror.models import Message
from people.models import Grant
from policy.models import Group, KeyOwner, PolicyVersion
from tests.factories import (
    actor_of,
    change_row,
    make_message,
    show_row,
)
from tests.integration.deciding import at_once, decide, make_due
from tests.ledger import latest_details


def put_in_force(*rules):
    """Make a version of these rules the active one; each is what it asks, or its
    conditions and what it asks.
    """
    PolicyVersion.objects.active().update(state="retired", retired_at=Now())
    number = (PolicyVersion.objects.aggregate(last=Max("number"))["last"] or 0) + 1
    written = [one if "then" in one else {"then": one} for one in rules]
    stored = [
        {"id": f"r{place}", "name": f"Rule {place}", **one}
        for place, one in enumerate(written)
    ]
    return PolicyVersion.objects.create(
        number=number, state="active", rules=stored, activated_at=clock()
    )


@pytest.fixture
def two(db):
    return put_in_force({"approvals": {"0": 2}})


def test_the_second_of_two_people_decides_and_the_undo_window_opens_then(
    message, reviewer, second_reviewer, two
):
    first = decide(message, reviewer)
    assert first.decision is None
    assert str(first.progress) == "1 of 2"
    assert latest_details("approval.recorded")["approvals"] == "1 of 2"
    assert not Decision.objects.exists()
    second = decide(message, second_reviewer, surface="discord")
    assert second.decision.given_by == second_reviewer
    assert second.decision.due_at - second.decision.recorded_at == timedelta(seconds=5)
    said = latest_details("decision.recorded")
    assert said["rules"] == "Rule 0 (r0)"
    assert said["approvals"] == "2 of 2"


@pytest.mark.slow
def test_pages_and_the_history_see_how_many_approved_and_who(
    message, signed_in, reviewer, second_reviewer, two
):
    client = signed_in(reviewer)
    page = reverse("message", args=[message.public_id])
    decide(message, reviewer)
    assert "Take back approval" in client.get(page).text
    client = signed_in(second_reviewer)
    assert f"{reviewer.name} approved" in client.get(page).text
    assert "1 of 2 approved" in client.get(reverse("queue")).text
    decide(message, second_reviewer)
    Decision.objects.update(state="applied")
    change_row(message, state="approved")
    found = f"2 of 2 approved: {reviewer} and {second_reviewer}"
    assert found in client.get("/history/").text


def test_notice_tells_of_an_approval_after_a_decision_that_was_refused(
    message, signed_in, reviewer, second_reviewer, two
):
    decide(message, reviewer)
    change_row(decide(message, second_reviewer).decision, state="refused")
    message.verdicts.void()
    decide(message, second_reviewer)
    address = reverse("decided", args=[message.public_id])
    client = signed_in(second_reviewer)
    assert "Take back" in client.get(address, headers={"HX-Request": "true"}).text


def test_one_rejection_ends_it_also_by_who_had_approved(
    message, reviewer, second_reviewer, two
):
    decide(message, reviewer)
    assert decide(message, reviewer, "reject", "No").decision.outcome == "reject"
    with pytest.raises(AlreadyDecided):
        decide(message, second_reviewer)


def test_undo_by_any_giver_voids_all_approvals(message, reviewer, second_reviewer, two):
    decide(message, reviewer)
    decide(message, second_reviewer)
    undo_decision(message=message.public_id, actor=actor_of(reviewer))
    assert not Verdict.objects.filter(live=True).exists()
    assert str(decide(message, reviewer).progress) == "1 of 2"


def test_a_changed_fingerprint_voids_all_approvals(
    message, reviewer, second_reviewer, two
):
    decide(message, reviewer)
    old = message.revision.fingerprint
    show_row(message, subject="Another amount")
    message.refresh_from_db()
    with pytest.raises(ContentChanged):
        decide(message, second_reviewer, fingerprint=old)
    assert str(decide(message, second_reviewer).progress) == "1 of 2"
    assert decide(message, reviewer).decision is not None


def test_an_approval_can_be_taken_back_until_it_is_decided(
    message, reviewer, second_reviewer, two
):
    decide(message, reviewer)
    take_back_approval(message=message.public_id, actor=actor_of(reviewer))
    assert latest_details("verdict.taken_back")["outcome"] == "approve"
    assert str(decide(message, second_reviewer).progress) == "1 of 2"
    decide(message, reviewer)
    for state, why in (("recorded", "undo the decision"), ("applied", "no approval")):
        Decision.objects.update(state=state)
        with pytest.raises(AlreadyDecided, match=why):
            take_back_approval(message=message.public_id, actor=actor_of(reviewer))


@pytest.mark.slow
def test_what_a_person_approved_waits_for_others_and_stands_among_their_own(
    message, reviewer, second_reviewer, two
):
    decide(message, reviewer)
    mine, waiting = (getattr(desk_messages(), name) for name in ("of", "waiting_for"))
    assert message not in waiting(actor_of(reviewer))
    assert message in waiting(actor_of(second_reviewer))
    assert message in mine(actor_of(reviewer))
    assert message not in mine(actor_of(second_reviewer))
    assert desk_messages().count_waiting_for(actor_of(reviewer)) == 0
    show_row(message, subject="Another amount")
    assert message in waiting(actor_of(reviewer))


def test_only_members_of_the_group_count_and_each_for_one_group(
    message, reviewer, second_reviewer, third
):
    finance = Group.objects.create(name="Finance")
    legal = Group.objects.create(name="Legal")
    finance.members.add(reviewer, second_reviewer)
    legal.members.add(reviewer)
    put_in_force({"approvals": {finance.pk: 1, legal.pk: 1}})
    with pytest.raises(
        VerdictNotAllowed, match=r"0 of 2 .* 1 of Finance and 1 of Legal"
    ):
        decide(message, third)
    assert decide(message, reviewer).decision is None
    # Whoever came first is in both groups: the other one fills the place in Finance.
    assert decide(message, second_reviewer).decision is not None


def test_barred_are_groups_the_author_and_who_edited_last(
    message, reviewer, second_reviewer
):
    sales = Group.objects.create(name="Sales")
    sales.members.add(reviewer)
    put_in_force({"approvals": {"0": 2}, "barred_groups": [sales.pk]})
    with pytest.raises(VerdictNotAllowed, match="members of Sales"):
        decide(message, reviewer)
    decide(message, second_reviewer)
    owned = {"connection": message.connection, "upstream_key_id": "k"}
    KeyOwner.objects.create(person=second_reviewer, **owned)
    change_row(message, sent_by_key="k")
    message.refresh_from_db()
    # Its author by now: the approval counts no more.
    assert (
        str(rulings([message], actor_of(reviewer))[message.pk].demand.progress)
        == "0 of 2"
    )


def test_two_people_at_one_moment_make_one_decision(
    transactional_db, connection, reviewer, second_reviewer
):
    put_in_force({"approvals": {"0": 2}})
    message = make_message(connection)
    results = at_once(
        lambda: decide(message, reviewer), lambda: decide(message, second_reviewer)
    )
    assert sorted(str(one.progress) for one in results) == ["1 of 2", "2 of 2"]
    assert Decision.objects.count() == 1


def test_one_person_twice_at_one_moment_counts_once(
    transactional_db, connection, reviewer
):
    put_in_force({"approvals": {"0": 2}})
    message = make_message(connection)
    results = at_once(
        lambda: decide(message, reviewer),
        lambda: decide(message, reviewer, surface="discord"),
    )
    assert sorted(type(one).__name__ for one in results) == [
        "VerdictNotAllowed",
        "VerdictResult",
    ]
    assert Verdict.objects.filter(live=True).count() == 1


def leaves(person, group):
    Grant.objects.filter(person=person).delete()


def leaves_the_group(person, group):
    group.members.remove(person)


def asks_for_more(person, group):
    put_in_force({"approvals": {group.pk: 3}})


def bars_the_group(person, group):
    put_in_force({"approvals": {"0": 2}, "barred_groups": [group.pk]})


@pytest.mark.parametrize(
    "change",
    [
        leaves,
        pytest.param(leaves_the_group, marks=pytest.mark.slow),
        pytest.param(asks_for_more, marks=pytest.mark.slow),
        bars_the_group,
    ],
)
def test_what_changes_before_it_is_carried_out_holds_it_again(
    message, reviewer, second_reviewer, change
):
    finance = Group.objects.create(name="Finance")
    finance.members.add(reviewer, second_reviewer)
    put_in_force({"approvals": {finance.pk: 2}})
    decide(message, reviewer)
    decision = decide(message, second_reviewer).decision
    make_due()
    change(reviewer, finance)
    assert run_decision(decision_id=decision.pk) == "refused"
    decision.refresh_from_db()
    assert "approvals count now" in decision.explanation
    assert not Verdict.objects.filter(live=True).exists()
    message.refresh_from_db()
    assert message.state == "held"


WITH_CARE = {"is_reauthenticated": True, "risk_read": ["policy"]}


@pytest.mark.parametrize(
    ("rule", "given", "given_so"),
    [
        ({"care": True}, {}, WITH_CARE),
        ({"care": True}, {"is_reauthenticated": True}, WITH_CARE),
        ({"care": True}, {"risk_read": ["policy"]}, WITH_CARE),
        ({"care": True}, {**WITH_CARE, "sheet": "s1"}, WITH_CARE),
        ({"expire_minutes": 60}, {}, None),
    ],
    ids=["plainly", "signed in", "on its page", "in bulk", "expired"],
)
def test_rule_that_asks_another_way_in_the_undo_window_holds_it_again(
    message, reviewer, rule, given, given_so
):
    change_row(message, held_at=clock() - timedelta(hours=2))
    decision = decide(message, reviewer, **given).decision
    put_in_force(rule)
    make_due()
    assert run_decision(decision_id=decision.pk) == "refused"
    assert not Verdict.objects.filter(live=True).exists()
    if given_so is not None:
        decision.refresh_from_db()
        assert "by the rules and roles of now" in decision.explanation
        again = decide(message, reviewer, **given_so).decision
        make_due()
        # Nothing answers there: it is tried again.
        assert run_decision(decision_id=again.pk) == "recorded"


def test_earlier_approval_in_another_way_does_not_count_beside_a_later_one(
    message, reviewer, second_reviewer, two
):
    decide(message, reviewer)
    put_in_force({"approvals": {"0": 2}, "care": True})
    second = decide(message, second_reviewer, **WITH_CARE)
    assert str(second.progress) == "1 of 2"
    assert decide(message, reviewer, **WITH_CARE).decision is not None


@pytest.mark.slow
def test_a_looser_policy_lets_the_next_press_decide(message, reviewer, two):
    decide(message, reviewer)
    put_in_force({"bar_editor": True})
    # Nobody decided yet: the same person's next press does.
    assert decide(message, reviewer).decision is not None


def test_care_takes_a_page_of_its_own_and_signing_in_again(
    message, reviewer, signed_in
):
    put_in_force({"care": True})
    with pytest.raises(RiskUnread, match="page of its own"):
        decide(message, reviewer, is_reauthenticated=True)
    with pytest.raises(ReauthenticationNeeded):
        decide(message, reviewer, risk_read=["policy"])
    page = reverse("approve", args=[message.public_id])
    client = signed_in(reviewer)
    shown = client.get(reverse("message", args=[message.public_id]))
    assert f'href="{page}"' in shown.text
    assert "With care: " in client.get(page).text


def test_care_is_said_on_the_sheet_and_asked_for_by_the_command(message, reviewer):
    put_in_force({"care": True})
    (alone,) = gather([message.public_id], actor=actor_of(reviewer), now=clock()).alone
    assert "with care" in alone.why_alone
    shown = OnSheet(message.public_id, message.revision.fingerprint)
    sheet = Sheet([shown])
    (result,) = decide_batch(
        sheet=sheet,
        ticked=[shown],
        actor=actor_of(reviewer),
        outcome="approve",
        reason="",
    )
    assert result.decision is None
    assert result.sentence == alone.why_alone


def test_a_rule_rejects_with_its_reason_and_is_named(message):
    put_in_force(
        {
            "when": {"recipients": ["northwind.example"]},
            "then": {"reject": "We do not write to them."},
        }
    )
    assert apply_policy() == 1
    decision = Decision.objects.get()
    assert decision.outcome == "reject"
    assert decision.reason == "We do not write to them."
    assert decision.rule == "policy 1: r0"
    assert latest_details("decision.recorded")["policy"] == "version 1"
    assert apply_policy() == 0


@pytest.mark.slow
def test_a_rule_shortens_the_time_to_approve_and_never_lengthens_it(message):
    change_row(message, held_at=clock() - timedelta(hours=2))
    put_in_force({"expire_minutes": 60})
    apply_policy()
    message.refresh_from_db()
    assert message.expires_at == message.held_at + timedelta(minutes=60)
    put_in_force({"expire_minutes": 600})
    assert apply_policy() == 1
    assert type(message).objects.get(pk=message.pk).expires_at == message.expires_at
    # An extension gives no more than the rules of the moment.
    until = clock() + timedelta(hours=5)
    Review.objects.update(extended_to=until)
    Message.objects.update(expires_at=until)
    put_in_force({"expire_minutes": 60})
    assert apply_policy() == 1
    assert expire_due() == 1


def test_rules_that_cannot_be_read_hold_everything(message, reviewer):
    PolicyVersion.objects.create(
        number=1, state="active", rules=[{"id": "x"}], activated_at=clock()
    )
    with pytest.raises(VerdictNotAllowed, match="could not be read"):
        decide(message, reviewer)


def test_a_version_that_was_active_never_changes(two):
    for change in ({"rules": []}, {"number": 9}, {"state": "draft"}):
        with pytest.raises(DatabaseError), transaction.atomic():
            change_row(two, **change)
    with pytest.raises(DatabaseError), transaction.atomic():
        two.delete()


@pytest.mark.parametrize(
    ("text", "asks", "is_unread"),
    [
        ("5000EUR", True, False),
        pytest.param("EUR 241.00.", False, False, marks=pytest.mark.slow),
        ("5000 Danish crowns", True, True),
    ],
)
def test_sum_asks_for_two_however_it_is_written_and_one_that_cannot_be_read_too(
    connection, signed_in, reviewer, text, asks, is_unread
):
    put_in_force(
        {"when": {"amount": "1000", "currency": "EUR"}, "then": {"approvals": {"0": 2}}}
    )
    message = make_message(connection, markdown=f"Hello Dana,\n\nwe will pay {text}\n")
    page = signed_in(reviewer).get(reverse("message", args=[message.public_id])).text
    assert ("not all that it asks about is known" in page) == is_unread
    assert (decide(message, reviewer).decision is None) == asks


def test_a_rule_on_first_contacts_holds_while_the_connection_knows_nobody(
    connection, reviewer
):
    put_in_force({"when": {"first_contact": True}, "then": {"approvals": {"0": 2}}})
    first = make_message(connection, to_addresses=["dana@northwind.example"])
    assert str(decide(first, reviewer).progress) == "1 of 2"
    change_row(first, state="delivered")
    known = make_message(connection, to_addresses=["dana@northwind.example"])
    assert decide(known, reviewer).decision is not None
