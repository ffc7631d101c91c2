"""Admins weigh the published rules: who may, what the ledger says, and that what is held is weighed anew."""

import re
import threading
from dataclasses import asdict
from datetime import timedelta

import pytest
from django.db import connection as database
from django.db import connections, transaction
from django.db.models.functions import Now
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from approvals import tasks
from approvals.desk import weights
from approvals.errors import ActNotAllowed
from approvals.models import Message, Revision, RuleWeight
from approvals.risk.findings import finding
from audit.models import Entry, EntryDetail
from tests.factories import make_connection, make_message, make_person, show_row

pytestmark = pytest.mark.django_db

RULE = "greeting_differs"
MISADDRESSED = {"markdown": "Dear Anna,\n\nhere is what you asked for.", "to_addresses": ["bob@northwind.example"]}


def weigh(person, points, rule=RULE):
    return weights.weigh(rule=rule, points=points, actor=person.actor(surface="web"), now=timezone.now())


def weigh_all_anew():
    for weight in RuleWeight.objects.all():
        tasks.weigh_anew(weight.pk)


def risk_of(message):
    return Message.objects.values_list("risk", "risk_level").get(pk=message.pk)


def test_new_points_hold_for_what_comes_and_for_what_is_held(connection, admin):
    before = make_message(connection, **MISADDRESSED)
    assert risk_of(before) == (30, "notice")
    weigh(admin, 80)
    after = make_message(connection, **MISADDRESSED)
    assert (risk_of(before), risk_of(after)) == ((30, "notice"), (80, "high"))
    weigh_all_anew()
    assert (risk_of(before), risk_of(after)) == ((80, "high"), (80, "high"))
    assert RuleWeight.objects.get().weighed_to is None


def test_rule_without_points_is_noted_and_not_counted(connection, admin, signed_in):
    message = make_message(connection, **MISADDRESSED)
    weigh(admin, 0)
    weigh_all_anew()
    assert risk_of(message) == (0, "")
    assert Message.objects.get(pk=message.pk).rules == [RULE]
    page = signed_in(admin).get(f"/queue/{message.public_id}/").content.decode()
    assert "Noted, not counted: " in page
    assert "greets another 0 <span" in page


def test_rule_counts_as_published_again(connection, admin):
    message = make_message(connection, **MISADDRESSED)
    weigh(admin, 80)
    weigh(admin, None)
    weigh_all_anew()
    assert risk_of(message) == (30, "notice")
    assert weights.weights_to_show() == {}


def test_published_points_are_no_weight_of_an_admin(admin):
    assert weigh(admin, 30).points is None
    assert Entry.objects.filter(action="rule.weighed").count() == 0


def test_ledger_says_who_weighed_what_before_and_after(admin):
    weigh(admin, 80)
    weigh(admin, 80)
    weigh(admin, 5)
    entries = Entry.objects.filter(action="rule.weighed").order_by("pk")
    told = [EntryDetail.objects.get(entry=entry).fields for entry in entries]
    assert [(one["rule"], one["before"], one["after"]) for one in told] == [(RULE, "30", "80"), (RULE, "80", "5")]
    assert {entry.actor_id for entry in entries} == {str(admin.pk)}
    weight = RuleWeight.objects.get()
    assert (weight.points, weight.changed_by) == (5, admin)


@pytest.mark.parametrize("role", ["reviewer", "auditor", "admin of one connection"])
def test_nobody_but_an_admin_of_everything_weighs(connection, signed_in, role):
    scope = {"connection": connection} if "one" in role else {}
    person = make_person("p@yourteam.example", "Pat", role.split()[0], **scope)
    with pytest.raises(ActNotAllowed):
        weigh(person, 80)
    answer = signed_in(person).post(f"/rules/findings/{RULE}/weigh/", {"points": "80"})
    assert answer.status_code == 403
    assert "Only an admin of all mailboxes" in answer.content.decode()
    assert not RuleWeight.objects.exists()


def test_rule_that_is_not_published_cannot_be_weighed(admin, signed_in):
    with pytest.raises(KeyError):
        weigh(admin, 80, rule="made_up")
    assert signed_in(admin).post("/rules/findings/made_up/weigh/", {"points": "80"}).status_code == 404
    assert signed_in(admin).get("/rules/findings/made_up/").status_code == 404


def test_weighing_anew_goes_by_batches_and_touches_only_what_is_held_and_hit(connection, admin, monkeypatch):
    monkeypatch.setattr(weights, "BATCH", 2)
    hit = [make_message(connection, **MISADDRESSED) for _ in range(5)]
    plain = make_message(connection)
    done = make_message(connection, **MISADDRESSED)
    Message.objects.filter(pk=done.pk).update(state="rejected")
    weight = weigh(admin, 80)
    rounds = 1
    while weights.weigh_anew(weight_id=weight.pk):
        rounds += 1
    assert rounds == 3
    assert {risk_of(one) for one in hit} == {(80, "high")}
    assert (risk_of(plain)[0], risk_of(done)[0]) == (0, 30)


def test_statements_of_a_batch_do_not_grow_with_it(connection, admin):
    def statements():
        RuleWeight.objects.update(weighed_to=weights._BEGINNING, weighed_to_key=0)
        with CaptureQueriesContext(database) as asked:
            weights.weigh_anew(weight_id=weight.pk)
        return len(asked.captured_queries)

    make_message(connection, **MISADDRESSED)
    weight = weigh(admin, 80)
    one = statements()
    for _ in range(8):
        make_message(connection, **MISADDRESSED)
    assert statements() == one <= 7


def test_worker_that_ends_early_goes_on_where_it_was(connection, admin, monkeypatch):
    monkeypatch.setattr(weights, "BATCH", 1)
    monkeypatch.setattr(tasks, "AT_A_TIME", -1.0)
    messages = [make_message(connection, **MISADDRESSED) for _ in range(3)]
    weight = weigh(admin, 80)
    assert tasks.weigh_anew(weight.pk) == "to be continued"
    # The sweep finds it, whatever became of the nudge.
    assert list(RuleWeight.objects.exclude(weighed_to=None)) == [weight]
    while tasks.weigh_anew(weight.pk) != "weighed":
        pass
    assert {risk_of(one)[0] for one in messages} == {80}


@pytest.mark.django_db(transaction=True)
def test_letter_that_is_stored_while_a_rule_is_weighed_is_not_missed(connection, admin):
    message = make_message(connection)
    weighed = threading.Event()

    def weigh_meanwhile():
        weigh(admin, 80)
        weighed.set()
        connections.close_all()

    weighing = threading.Thread(target=weigh_meanwhile)
    with transaction.atomic():
        # By the old points: the new ones are not there yet.
        show_row(message, **MISADDRESSED)
        weighing.start()
        assert not weighed.wait(0.3)
    assert weighed.wait(10)
    weighing.join()
    assert risk_of(message) == (30, "notice")
    weigh_all_anew()
    assert risk_of(message) == (80, "high")


def test_findings_are_stored_with_all_that_the_page_needs(connection):
    message = make_message(connection, **MISADDRESSED)
    [stored] = message.revision.findings
    assert stored == {
        **asdict(finding(RULE, stored["sentence"], stored["detail"], stored["evidence"], anchor="#sheet")),
        "evidence": stored["evidence"],
    }
    assert (stored["version"], stored["points"], stored["anchor"]) == (1, 30, "#sheet")


# the pages


def hit(connection, **fields):
    """A message of today, whatever day it is, in which the rule saw something."""
    message = make_message(connection, **MISADDRESSED, **fields)
    Message.objects.filter(pk=message.pk).update(held_at=Now(), changed_at=Now())
    return message


def test_list_tells_what_each_rule_counts_and_saw_in_30_days(connection, admin, signed_in):
    for _ in range(3):
        hit(connection)
    old = hit(connection)
    Message.objects.filter(pk=old.pk).update(held_at=Now() - timedelta(days=31), changed_at=Now() - timedelta(days=31))
    weigh(admin, 80)
    page = plain(signed_in(admin).get("/rules/findings/"))
    assert (
        "Greets another The letter greets somebody else than it goes to. 80 high published 30 3 messages in 30 days"
        in page
    )
    # Sorted by what they count: it is the heaviest now.
    assert page.index("Greets another") < page.index("Look-alike")


def test_page_of_a_rule_leads_to_what_it_saw_and_says_so_in_its_words(connection, reviewer, signed_in):
    message = hit(connection)
    answer = signed_in(reviewer).get(f"/rules/findings/{RULE}/")
    assert f'href="/queue/{message.public_id}/"' in answer.content.decode()
    page = plain(answer)
    assert "“Dear Anna,” goes to bob@northwind.example." in page
    assert "Reads the salutation in a dozen languages" in page
    assert "An admin of all mailboxes can weigh it." in page


def test_hits_out_of_reach_are_neither_counted_nor_shown(connection, signed_in):
    hit(connection, subject="Not for everybody")
    stranger = make_person("x@yourteam.example", "X", "admin", connection=make_connection("other"))
    assert "Greets another The letter greets somebody else than it goes to. 30 a notice none" in plain(
        signed_in(stranger).get("/rules/findings/")
    )
    assert "Not for everybody" not in plain(signed_in(stranger).get(f"/rules/findings/{RULE}/"))


def test_hits_are_paged_without_gap_or_repetition(connection, admin, signed_in, monkeypatch):
    monkeypatch.setattr("approvals.views.rules.PAGE", 2)
    wanted = {str(hit(connection).public_id) for _ in range(5)}
    client, address, seen = signed_in(admin), f"/rules/findings/{RULE}/", []
    while address:
        context = client.get(address).context
        seen += [str(hit.message.public_id) for hit in context["hits"]]
        after = context["next_after"]
        address = f"/rules/findings/{RULE}/?after={after}" if after else ""
    assert sorted(seen) == sorted(wanted)


@pytest.mark.parametrize("after", ["x", "1-", "99999999999999999999-1", "%00", "-1-2"])
def test_ill_formed_place_is_the_first_page(connection, admin, signed_in, after):
    hit(connection)
    answer = signed_in(admin).get(f"/rules/findings/{RULE}/?after={after}")
    assert (answer.status_code, len(answer.context["hits"])) == (200, 1)


@pytest.mark.parametrize("points", ["", "101", "-1", "1.5", "many"])
def test_points_that_are_none_are_refused_and_kept(admin, signed_in, points):
    answer = signed_in(admin).post(f"/rules/findings/{RULE}/weigh/", {"points": points})
    assert answer.status_code == 422
    page = answer.content.decode()
    assert "Give it 0 to 100 points, in whole numbers." in page
    assert f'value="{points}"' in page
    assert not RuleWeight.objects.exists()


def test_admin_weighs_and_takes_it_back_on_the_page(admin, signed_in):
    client = signed_in(admin)
    answer = client.post(f"/rules/findings/{RULE}/weigh/", {"points": "80"}, follow=True)
    page = plain(answer)
    assert "“Greets another” counts 80 now." in page
    assert "What is held is being weighed anew." in page
    weigh_all_anew()
    assert "being weighed anew" not in plain(client.get(f"/rules/findings/{RULE}/"))
    answer = client.post(f"/rules/findings/{RULE}/weigh/", {"points": "", "as_published": "1"}, follow=True)
    assert "counts 30 now" in plain(answer)


def test_list_costs_the_same_however_many_messages_there_are(connection, admin, signed_in):
    def statements():
        with CaptureQueriesContext(database) as asked:
            assert client.get("/rules/findings/").status_code == 200
        return len(asked.captured_queries)

    client = signed_in(admin)
    hit(connection)
    statements()
    first = statements()
    for _ in range(5):
        hit(connection)
    assert statements() == first


def test_finding_of_a_rule_that_is_published_no_more_keeps_what_it_counted(connection, admin, signed_in):
    message = make_message(connection)
    stored = {"rule": "of_old", "version": 1, "level": "high", "sentence": "It was seen once.", "points": 55}
    Revision.objects.filter(pk=message.revision_id).update(findings=[stored])
    page = plain(signed_in(admin).get(f"/queue/{message.public_id}/"))
    assert "High: It was seen once." in page
    assert "Risk 55" in page


def plain(answer):
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", "", answer.content.decode()))
