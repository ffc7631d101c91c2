"""Several people have to approve where a rule says so: on every surface, and asked
again when it is carried out.
"""

import re
from datetime import time, timedelta

import pytest
from django.db import DatabaseError, transaction
from django.db.models import Max
from django.db.models.functions import Now
from django.urls import reverse

from approvals.bulk.batch import decide_batch
from approvals.bulk.sheet import OnSheet, Sheet, gather
from approvals.decisions.by_rule import apply_policy, expire_due
from approvals.decisions.decide import give_verdict
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
from approvals.models import Decision, Verdict
from audit.models import Entry
from common.postgres import clock
from people.models import Grant
from policy.models import Group, KeyOwner, PolicyVersion
from policy.rules.conditions import as_json
from policy.rules.names import problems_now
from tests.factories import change_row, hours_on, make_message, make_person, show_row
from tests.integration.deciding import at_once, decide, make_due


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
def third(db):
    return make_person("cleo@example.com", "Cleo Sands", "reviewer")


@pytest.fixture
def two(db):
    return put_in_force({"approvals": {"0": 2}})


def actor(person):
    return person.actor(surface="web")


def detail(action):
    return Entry.objects.filter(action=action).latest("pk").detail.fields


def test_the_second_of_two_people_decides_and_the_undo_window_opens_then(
    message, reviewer, second_reviewer, two
):
    first = decide(message, reviewer)
    assert first.decision is None
    assert str(first.progress) == "1 of 2"
    assert detail("approval.recorded")["approvals"] == "1 of 2"
    assert not Decision.objects.exists()
    second = decide(message, second_reviewer, surface="discord")
    assert second.decision.given_by == second_reviewer
    assert second.decision.due_at - second.decision.recorded_at == timedelta(seconds=5)
    said = detail("decision.recorded")
    assert said["policy"] == "version 1"
    assert said["rules"] == "Rule 0 (r0)"
    assert said["approvals"] == "2 of 2"
    assert not Verdict.objects.filter(awaits_others=True).exists()


def scripts(client, tab="waiting"):
    return [
        one["approvals"]
        for one in client.get(f"/queue/?tab={tab}&format=json").json()["messages"]
    ]


def past(client):
    """What the rows of the history say of approvals."""
    page = client.get("/history/").text
    shown = re.findall(r"data-approvals\s*>(.*?)<span\s+class=\"age\"", page, re.DOTALL)
    return [" ".join(re.sub("<[^>]*>", "", one).split()) for one in shown]


def test_scripts_and_the_history_see_how_many_approved_and_who(
    message, connection, signed_in, reviewer, second_reviewer, two
):
    client = signed_in(second_reviewer)
    ana = str(reviewer)
    ben = str(second_reviewer)
    assert scripts(client) == [
        {
            "given": 0,
            "needed": 2,
            "by": [],
            "missing": "2 more are needed: 2 of any reviewer.",
        }
    ]
    decide(message, reviewer)
    missing = "1 more is needed: 1 of any reviewer."
    assert scripts(client) == [
        {"given": 1, "needed": 2, "by": [ana], "missing": missing}
    ]
    decide(message, second_reviewer)
    assert scripts(client, "leaving") == [
        {"given": 2, "needed": 2, "by": [ana, ben], "missing": ""}
    ]
    change_row(message, state="approved")
    rejected = make_message(connection, subject="Another")
    decide(rejected, reviewer)
    decide(rejected, second_reviewer, "reject", "No")
    Decision.objects.update(state="applied")
    change_row(rejected, state="rejected", changed_at=clock())
    assert past(client) == [
        f"1 of 2 approved: {ana}",
        f"2 of 2 approved: {ana} and {ben}",
    ]


def test_scripts_and_the_history_say_nothing_where_one_approval_is_enough(
    message, signed_in, reviewer
):
    client = signed_in(reviewer)
    assert scripts(client) == [None]
    decide(message, reviewer)
    Decision.objects.update(state="applied")
    change_row(message, state="approved")
    assert "Approved by Ana" in client.get("/history/").text
    assert past(client) == []


def test_one_rejection_ends_it_also_by_who_had_approved(
    message, reviewer, second_reviewer, two
):
    decide(message, reviewer)
    assert decide(message, reviewer, "reject", "No").decision.outcome == "reject"
    with pytest.raises(AlreadyDecided):
        decide(message, second_reviewer)


@pytest.mark.parametrize("by_first", [True, False])
def test_undo_by_any_giver_voids_all_approvals(
    message, reviewer, second_reviewer, two, by_first
):
    decide(message, reviewer)
    decide(message, second_reviewer)
    undo_decision(
        message=message.public_id,
        actor=actor(reviewer if by_first else second_reviewer),
    )
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
        give_verdict(
            message=message.public_id,
            actor=actor(second_reviewer),
            outcome="approve",
            fingerprint=old,
            reason="",
        )
    assert str(decide(message, second_reviewer).progress) == "1 of 2"
    assert [one.person for one in Verdict.objects.filter(live=True)] == [
        second_reviewer
    ]
    assert decide(message, reviewer).decision is not None


def test_an_approval_can_be_taken_back_until_it_is_decided(
    message, reviewer, second_reviewer, two
):
    decide(message, reviewer)
    take_back_approval(message=message.public_id, actor=actor(reviewer))
    assert detail("verdict.taken_back")["outcome"] == "approve"
    assert str(decide(message, second_reviewer).progress) == "1 of 2"
    decide(message, reviewer)
    with pytest.raises(AlreadyDecided, match="undo the decision"):
        take_back_approval(message=message.public_id, actor=actor(reviewer))


def test_what_a_person_approved_waits_for_others_and_stands_among_their_own(
    message, reviewer, second_reviewer, two
):
    decide(message, reviewer)
    mine, waiting = (getattr(desk_messages(), name) for name in ("of", "waiting_for"))
    assert message not in waiting(actor(reviewer))
    assert message in waiting(actor(second_reviewer))
    assert message in mine(actor(reviewer))
    assert message not in mine(actor(second_reviewer))
    assert desk_messages().count_waiting_for(actor(reviewer)) == 0
    show_row(message, subject="Another amount")
    assert message in waiting(actor(reviewer))


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
    KeyOwner.objects.create(
        connection=message.connection,
        upstream_key_id=message.sent_by_key or "k",
        person=second_reviewer,
    )
    change_row(message, sent_by_key=message.sent_by_key or "k")
    message.refresh_from_db()
    # Its author by now: the approval counts no more.
    assert (
        str(rulings([message], actor(reviewer))[message.pk].demand.progress) == "0 of 2"
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


def after_decision(message, *people):
    for person in people:
        result = decide(message, person)
    make_due()
    return result.decision


@pytest.mark.parametrize(
    "what", ["role", "account", "group", "stricter", "hours", "barred"]
)
def test_what_changes_before_it_is_carried_out_holds_it_again(
    message, reviewer, second_reviewer, what, upstream
):
    finance = Group.objects.create(name="Finance")
    finance.members.add(reviewer, second_reviewer)
    put_in_force({"approvals": {finance.pk: 2}})
    decision = after_decision(message, reviewer, second_reviewer)
    if what == "role":
        Grant.objects.filter(person=reviewer).delete()
    elif what == "account":
        change_row(reviewer, is_active=False)
    elif what == "group":
        finance.members.remove(reviewer)
    elif what == "stricter":
        put_in_force({"approvals": {finance.pk: 3}})
    elif what == "barred":
        put_in_force({"approvals": {"0": 2}, "barred_groups": [finance.pk]})
    else:
        put_in_force({"office_hours": [closed_now()]})
    assert run_decision(decision_id=decision.pk) == "refused"
    decision.refresh_from_db()
    assert {
        "hours": "approved and sent only within",
        "stricter": "2 of 3 approvals count now",
    }.get(what, "of 2 approvals count now") in decision.explanation
    assert not Verdict.objects.filter(live=True).exists()
    message.refresh_from_db()
    assert message.state == "held"


def closed_now():
    """Return working hours of one day that is not today."""
    day = (clock().weekday() + 3) % 7
    return as_json(hours_on([day], time(9), time(17), "UTC"))


def test_a_looser_policy_lets_the_next_press_decide(message, reviewer, two):
    decide(message, reviewer)
    put_in_force({"never_in_bulk": True})
    # Nobody decided yet: the same person's next press does.
    assert decide(message, reviewer).decision is not None


def test_reauthentication_is_asked_and_discord_is_refused(message, reviewer, client):
    put_in_force({"reauthenticate": True})
    with pytest.raises(ReauthenticationNeeded):
        decide(message, reviewer, surface="discord")
    client.force_login(reviewer)
    posted = {"outcome": "approve", "fingerprint": message.revision.fingerprint}
    answer = client.post(reverse("verdict", args=[message.public_id]), posted)
    assert answer.status_code == 302
    assert reverse("account_reauthenticate") in answer.url
    assert not Verdict.objects.exists()


def test_never_in_bulk_is_said_on_the_sheet_and_refused_by_the_command(
    message, reviewer
):
    put_in_force({"never_in_bulk": True})
    (alone,) = gather([message.public_id], actor=actor(reviewer), now=clock()).alone
    assert "together with others" in alone.why_alone
    shown = OnSheet(message.public_id, message.revision.fingerprint)
    sheet = Sheet([shown])
    (result,) = decide_batch(
        sheet=sheet, ticked=[shown], actor=actor(reviewer), outcome="approve", reason=""
    )
    assert result.decision is None
    assert result.sentence == alone.why_alone


def test_an_approval_in_bulk_counts_and_waits_for_others(
    message, reviewer, second_reviewer, two
):
    shown = OnSheet(message.public_id, message.revision.fingerprint)
    for person, counts in ((reviewer, True), (second_reviewer, False)):
        sheet = Sheet([shown])
        (result,) = decide_batch(
            sheet=sheet,
            ticked=[shown],
            actor=actor(person),
            outcome="approve",
            reason="",
        )
        assert (result.kind == "counted") == counts
        assert (result.decision is None) == counts


def test_high_risk_page_is_asked_for_by_a_rule(message, reviewer, client):
    put_in_force({"high_risk_page": True})
    with pytest.raises(RiskUnread, match="page of its own"):
        decide(message, reviewer)
    client.force_login(reviewer)
    page = reverse("approve", args=[message.public_id])
    assert b"A rule of the policy asks" in client.get(page).content
    typed = message.recipients[0].rpartition("@")[2]
    posted = {
        "fingerprint": message.revision.fingerprint,
        "risk_read": ["policy"],
        "typed": typed,
    }
    assert client.post(page, posted).status_code == 302
    assert Decision.objects.get().outcome == "approve"


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
    assert detail("decision.recorded")["policy"] == "version 1"
    assert apply_policy() == 0


def test_a_rule_shortens_the_time_to_approve_and_never_lengthens_it(message):
    change_row(message, held_at=clock() - timedelta(hours=2))
    put_in_force({"expire_minutes": 60})
    apply_policy()
    message.refresh_from_db()
    assert message.expires_at == message.held_at + timedelta(minutes=60)
    put_in_force({"expire_minutes": 600})
    assert apply_policy() == 1
    assert type(message).objects.get(pk=message.pk).expires_at == message.expires_at
    assert expire_due() == 1


def test_a_read_that_shows_nothing_new_asks_no_policy_again(message):
    put_in_force({"never_in_bulk": True})
    apply_policy()
    show_row(message)
    assert apply_policy() == 0
    show_row(message, subject="Pay 900 EUR")
    assert apply_policy() == 1


def test_rulings_one_by_one_and_together_are_the_same(
    connection, reviewer, second_reviewer
):
    messages = [make_message(connection, subject=f"Pay {n}00 EUR") for n in range(1, 4)]
    put_in_force(
        {"when": {"amount": "200", "currency": "EUR"}, "then": {"approvals": {"0": 2}}}
    )
    for one in messages:
        decide(one, second_reviewer)
    now = clock()
    many = rulings(messages, actor(reviewer), now=now)
    alone = [rulings([one], actor(reviewer), now=now)[one.pk] for one in messages]
    assert [many[one.pk].reasons for one in messages] == [one.reasons for one in alone]
    assert [str(one.demand.progress) for one in alone[1:]] == ["1 of 2", "1 of 2"]


def test_list_page_and_notice_show_how_many_approved(
    message, reviewer, second_reviewer, two, client
):
    client.force_login(reviewer)
    posted = {"outcome": "approve", "fingerprint": message.revision.fingerprint}
    answer = client.post(
        reverse("verdict", args=[message.public_id]), posted, follow=True
    )
    assert b"Approved: 1 of 2." in answer.content
    page = client.get(reverse("message", args=[message.public_id])).text
    assert "Take back approval" in page
    client.force_login(second_reviewer)
    page = client.get(reverse("message", args=[message.public_id])).text
    assert f"{reviewer.name} approved" in page
    assert "1 of 2 approved" in client.get(reverse("queue")).text


def test_rules_that_cannot_be_read_hold_everything(message, reviewer):
    PolicyVersion.objects.create(
        number=1, state="active", rules=[{"id": "x"}], activated_at=clock()
    )
    with pytest.raises(VerdictNotAllowed, match="could not be read"):
        decide(message, reviewer)


def test_a_version_that_was_active_never_changes(two):
    for change in ({"rules": []}, {"number": 9}, {"state": "draft"}):
        with pytest.raises(DatabaseError), transaction.atomic():
            PolicyVersion.objects.filter(pk=two.pk).update(**change)
    with pytest.raises(DatabaseError), transaction.atomic():
        two.delete()


def test_a_message_that_nobody_can_approve_says_so_and_whom_to_ask(
    message, reviewer, second_reviewer
):
    put_in_force({"approvals": {"0": 3}})
    asked = (
        "Too few people may give that: ask an admin to change the rule or the group."
    )
    assert asked in rulings([message], actor(reviewer))[message.pk].reasons[0]
    with_third = make_person("cleo@example.com", "Cleo Sands", "reviewer")
    assert asked not in rulings([message], actor(reviewer))[message.pk].reasons[0]
    assert problems_now() == []
    Grant.objects.filter(person=with_third).delete()
    assert [one.blocks for one in problems_now()] == [True]


@pytest.mark.parametrize(
    ("text", "asks", "says"),
    [
        ("5000EUR", True, ""),
        ("EUR 241.00.", False, ""),
        (
            "5000 Danish crowns",
            True,
            "A sum could not be read near “5000 Danish crowns”: rules on sums apply.",
        ),
        ("Order 5000", False, ""),
    ],
)
def test_sum_asks_for_two_however_it_is_written_and_one_that_cannot_be_read_too(
    connection, signed_in, reviewer, text, asks, says
):
    put_in_force(
        {"when": {"amount": "1000", "currency": "EUR"}, "then": {"approvals": {"0": 2}}}
    )
    message = make_message(connection, markdown=f"Hello Dana,\n\nwe will pay {text}\n")
    page = signed_in(reviewer).get(reverse("message", args=[message.public_id])).text
    assert says in page
    assert ("A sum could not be read" in page) == bool(says)
    assert (decide(message, reviewer).decision is None) == asks
