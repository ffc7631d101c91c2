"""Admins set the weights of the published rules: permissions, ledger entries, and held
messages are reweighed.
"""

from datetime import timedelta

import pytest
from django.db import connection as database
from django.db import transaction
from django.db.models.functions import Now

from approvals import tasks
from approvals.models import Review, RuleWeight
from approvals.risk_rules import weighing
from approvals.risk_rules.views import RuleForm
from approvals.sweeping import DUTIES
from audit.models import Entry, EntryDetail
from mirror.errors import ActNotAllowed
from mirror.models import Message, Revision
from policy.models import ReviewPlan
from tests.factories import (
    actor_of,
    make_connection,
    make_message,
    make_person,
    show_row,
)
from tests.integration.deciding import in_thread, waiting_for_a_lock
from tests.markup import says, words_of

RULE = "greeting_differs"
MISADDRESSED = {
    "markdown": "Dear Anna,\n\nhere is what you asked for.",
    "to_addresses": ["bob@northwind.example"],
}
PAGE = f"/rules/findings/{RULE}/"


def weigh(person, points, rule=RULE):
    return weighing.weigh(rule=rule, points=points, actor=actor_of(person))


def reweigh_all():
    for weight in RuleWeight.objects.all():
        tasks.reweigh(weight.pk)


def risk_of(message):
    return Review.objects.values_list("risk", "risk_level").get(pk=message.pk)


def test_new_points_hold_for_what_comes_and_for_what_is_held(connection, admin):
    before = make_message(connection, **MISADDRESSED)
    assert risk_of(before) == (30, "notice")
    weigh(admin, 80)
    after = make_message(connection, **MISADDRESSED)
    assert risk_of(before) == (30, "notice")
    assert risk_of(after) == (80, "high")
    reweigh_all()
    assert risk_of(before) == (80, "high")
    assert risk_of(after) == (80, "high")
    assert RuleWeight.objects.get().weighed_to is None

    weigh(admin, None)
    reweigh_all()
    assert risk_of(before) == (30, "notice")
    assert RuleWeight.objects.points_by_rule() == {}


def test_deadlines_follow_the_new_risk_and_only_where_its_level_changed(
    connection, admin
):
    ReviewPlan.objects.create(targets={"high": [10, 20], "": [60, 120]})
    follow = DUTIES["review plans"]
    message = make_message(connection, **MISADDRESSED)
    follow()

    def minutes():
        message.refresh_from_db()
        return [
            (at - message.held_at) / timedelta(minutes=1)
            for at in (message.review.look_by, message.review.decide_by)
        ]

    assert minutes() == [60, 120]
    for points, expected, is_asked_again in (
        (31, [60, 120], False),
        (80, [10, 20], True),
        (None, [60, 120], True),
    ):
        Review.objects.update(policy_applied=7)
        before = Review.objects.get().watch_at
        weigh(admin, points)
        reweigh_all()
        message.refresh_from_db()
        assert (message.review.watch_at != before) == is_asked_again
        assert (message.review.policy_applied == 0) == is_asked_again
        follow()
        assert minutes() == expected


def test_ledger_says_who_weighed_what_before_and_after(admin):
    assert weigh(admin, 30).points is None, "published points are no weight of an admin"
    for points in (80, 80, 5):
        weigh(admin, points)
    entries = Entry.objects.filter(action="rule.weighed").order_by("pk")
    recorded = [EntryDetail.objects.get(entry=entry).fields for entry in entries]
    assert [(one["rule"], one["before"], one["after"]) for one in recorded] == [
        (RULE, "30", "80"),
        (RULE, "80", "5"),
    ]
    assert {entry.actor_id for entry in entries} == {str(admin.pk)}
    weight = RuleWeight.objects.get()
    assert weight.points == 5
    assert weight.changed_by == admin


def test_only_an_admin_of_everything_weighs_published_rules(
    connection, reviewer, auditor, admin
):
    of_one_connection = make_person(
        "p@yourteam.example", "Pat", "admin", connection=connection
    )
    for person in (reviewer, auditor, of_one_connection):
        with pytest.raises(ActNotAllowed, match="Only an admin of all mailboxes"):
            weigh(person, 80)
    with pytest.raises(ActNotAllowed, match="not published"):
        weigh(admin, 80, rule="made_up")
    assert not RuleWeight.objects.exists()


def test_worker_that_ends_early_goes_on_where_it_was(connection, admin, monkeypatch):
    monkeypatch.setattr(weighing, "BATCH", 1)
    monkeypatch.setattr("common.tasks.AT_A_TIME", -1.0)
    messages = [make_message(connection, **MISADDRESSED) for _ in range(3)]
    clean = make_message(connection)
    done = make_message(connection, **MISADDRESSED)
    Message.objects.filter(pk=done.pk).update(state="rejected")
    weight = weigh(admin, 80)
    assert tasks.reweigh(weight.pk) == "to be continued"
    # The sweep finds it even if the wake-up was lost.
    assert list(RuleWeight.objects.exclude(weighed_to=None)) == [weight]
    while tasks.reweigh(weight.pk) != "done":
        pass
    assert {risk_of(one)[0] for one in messages} == {80}
    assert (risk_of(clean)[0], risk_of(done)[0]) == (0, 30), (
        "only what is held and was hit is weighed anew"
    )


@pytest.mark.django_db(transaction=True)
def test_message_that_is_stored_while_a_rule_is_weighed_is_not_missed(
    connection, admin
):
    message = make_message(connection)
    with transaction.atomic():
        # By the old points: the new ones are not there yet.
        show_row(message, **MISADDRESSED)
        weighing, _ = in_thread(lambda: weigh(admin, 80))
        waiting_for_a_lock(database)
        assert not RuleWeight.objects.exists()
    weighing.join()
    assert risk_of(message) == (30, "notice")
    reweigh_all()
    assert risk_of(message) == (80, "high")


@pytest.mark.slow
def test_message_page_shows_uncounted_and_discontinued_findings(
    connection, admin, signed_in
):
    message = make_message(connection, **MISADDRESSED)
    [stored] = message.revision.findings
    weigh(admin, 0)
    reweigh_all()
    assert risk_of(message) == (0, "")
    assert Review.objects.get(pk=message.pk).rules == [RULE]

    of_old = {
        "rule": "of_old",
        "version": 1,
        "level": "high",
        "sentence": "It was seen once.",
        "points": 55,
    }
    Revision.objects.filter(pk=message.revision_id).update(findings=[stored, of_old])
    page = words_of(signed_in(admin).get(f"/queue/{message.public_id}/"))
    for expected in (
        "Noted, not counted: ",
        "wrong greeting 0 ",
        "High: It was seen once.",
        "Risk 55",
    ):
        assert expected in page


# the pages


def hit(connection, **fields):
    """A message of today, with a finding of the rule."""
    message = make_message(connection, **MISADDRESSED, **fields)
    Message.objects.filter(pk=message.pk).update(held_at=Now(), changed_at=Now())
    return message


def test_list_shows_the_weight_and_30_days_of_findings_of_each_rule(
    connection, admin, signed_in
):
    hits = [hit(connection) for _ in range(2)]
    old = Now() - timedelta(days=31)
    Message.objects.filter(pk=hits[0].pk).update(held_at=old, changed_at=old)
    weigh(admin, 80)
    page = words_of(signed_in(admin).get("/rules/findings/"))
    what = (
        "Wrong greeting The greeting does not match the recipient. 80 high published 30"
    )
    assert f"{what} 1 message in 30 days" in page
    # Sorted by weight: it is the heaviest now.
    assert page.index("Wrong greeting") < page.index("Look-alike")


def test_page_of_a_rule_leads_to_what_it_saw_and_shows_nothing_out_of_reach(
    connection, reviewer, signed_in
):
    message = hit(connection, subject="Not for everybody")
    answer = signed_in(reviewer).get(PAGE)
    assert f'href="/queue/{message.public_id}/"' in answer.text
    page = words_of(answer)
    assert "“Dear Anna,” goes to bob@northwind.example." in page
    assert "Reads greetings in a dozen languages" in page
    assert "Only an admin of all mailboxes can change the points." in page

    stranger = signed_in(
        make_person(
            "x@yourteam.example", "X", "admin", connection=make_connection("other")
        )
    )
    assert "Not for everybody" not in words_of(stranger.get(PAGE))


@pytest.mark.slow
def test_hits_are_paged_without_gap_or_repetition(
    connection, admin, signed_in, monkeypatch
):
    monkeypatch.setattr("approvals.risk_rules.views.PAGE", 2)
    wanted = {str(hit(connection).public_id) for _ in range(3)}
    client = signed_in(admin)
    address = PAGE
    seen = []
    while address:
        context = client.get(address).context
        seen += [str(message.public_id) for message, *_ in context["hits"]]
        after = context["next_after"]
        address = f"{PAGE}?after={after}" if after else ""
    assert sorted(seen) == sorted(wanted)
    # A malformed position is the first page; test_queue_filters.py tests the forms.
    assert len(client.get(f"{PAGE}?after=99999999999999999999-1").context["hits"]) == 2


def test_admin_sets_weights_and_invalid_points_are_refused_and_stay_in_the_field(
    admin, signed_in
):
    for points in ("", "101", "-1", "1.5", "many"):
        assert (
            RuleForm({"points": points}).first_error()
            == "Give it 0 to 100 points, in whole numbers."
        ), points
    client = signed_in(admin)
    refused = client.post(f"{PAGE}weigh/", {"points": "101"})
    says(refused, 422, "Give it 0 to 100 points, in whole numbers.")
    assert 'value="101"' in refused.text
    assert not RuleWeight.objects.exists()

    page = words_of(client.post(f"{PAGE}weigh/", {"points": "80"}, follow=True))
    assert "“Wrong greeting” now counts 80." in page
    assert "Held messages are scored again" in page
    client.post(f"{PAGE}weigh/", {"points": "", "as_published": "1"})
    assert RuleWeight.objects.get().points is None
