"""The home page: what waits and for how long, who decides, what was caught and refused; for what one may see."""

import re
from datetime import timedelta

import pytest
from django.db import connection as database
from django.db.models import F
from django.db.models.functions import Now
from django.test.utils import CaptureQueriesContext

from approvals.models import Decision, Message, Verdict
from approvals.querysets import figures
from policy.models import KillSwitch
from tests.factories import NOW, make_connection, make_message, make_person, show_row
from tests.integration.deciding import decide, make_due

pytestmark = pytest.mark.django_db


def panel(client, name):
    """The words of one card, and what its table says."""
    page = client.get("/").content.decode()
    card = re.search(rf'<section[^>]*id="panel-{name}".*?</section>', page, re.DOTALL)[0]
    rows = [
        tuple(re.findall(r"<t[hd][^>]*>([^<]*)</t[hd]>", row)) for row in re.findall(r"<tr>(.*?)</tr>", card, re.DOTALL)
    ]
    return card, rows[1:]


def held_for(message, **age):
    Message.objects.filter(pk=message.pk).update(held_at=Now() - timedelta(**age))


def test_what_waits_is_told_by_its_age(signed_in, reviewer, connection):
    for age in ({"minutes": 2}, {"minutes": -2}, {"minutes": 30}, {"hours": 3}, {"hours": 20}, {"days": 3}):
        held_for(make_message(connection), **age)
    decide(make_message(connection), reviewer)
    card, rows = panel(signed_in(reviewer), "waits")
    assert rows == [
        ("under 5 min", "2"), ("5 min to 1 h", "1"), ("1 h to 4 h", "1"), ("4 h to a day", "1"),
        ("longer than a day", "1"),
    ]  # fmt: skip
    assert "2 under 5 min; 1 5 min to 1 h" in card


def test_count_that_was_cut_says_so(signed_in, reviewer, connection, monkeypatch):
    monkeypatch.setattr(figures, "COUNTED", 2)
    monkeypatch.setattr("dashboard.overview.COUNTED", 2)
    for _ in range(4):
        held_for(make_message(connection), minutes=30)
    _, rows = panel(signed_in(reviewer), "waits")
    assert ("5 min to 1 h", "2+") in rows


def test_time_to_a_decision_is_told_by_day_with_its_median_and_its_slow_end(signed_in, reviewer, connection):
    for seconds in (10, 20, 30, 40, 4050):
        message = make_message(connection)
        decide(message, reviewer)
        Decision.objects.filter(message=message).update(recorded_at=Now() - timedelta(days=1))
        Message.objects.filter(pk=message.pk).update(held_at=Now() - timedelta(days=1, seconds=seconds))
    card, rows = panel(signed_in(reviewer), "times")
    ((day, number, half, most),) = rows
    assert (number, half, most) == ("5", "30 s", "54 min")
    assert f"{day}: half within 30 s, 95 of 100 within 54 min" in card


def test_figures_of_a_part_of_the_week_say_so(signed_in, reviewer, connection, monkeypatch):
    monkeypatch.setattr(figures, "MOST", 2)
    for _ in range(3):
        decide(make_message(connection), reviewer, "reject", reason="Look again")
    client = signed_in(reviewer)
    for name in ("times", "people", "caught"):
        card, rows = panel(client, name)
        assert "Of the newest 2 only." in card
        assert "2" in rows[0]


def test_each_reviewer_stands_with_number_and_median_by_name(signed_in, reviewer, second_reviewer, connection):
    for person, seconds in ((second_reviewer, 8), (reviewer, 30), (reviewer, 40), (reviewer, None)):
        given = decide(make_message(connection), person)
        Verdict.objects.filter(pk=given.verdict.pk).update(seconds_shown=seconds)
    _, rows = panel(signed_in(reviewer), "people")
    assert rows == [("Ana Ferreira", "3", "3", "35 s"), ("Ben Okafor", "1", "1", "8 s")]


def test_verdict_that_was_taken_back_is_nobodys_number(signed_in, reviewer, connection):
    decide(make_message(connection), reviewer)
    Verdict.objects.update(live=False)
    Decision.objects.update(state="undone")
    client = signed_in(reviewer)
    assert [panel(client, name)[1] for name in ("people", "times")] == [[], []]


def test_what_was_caught_is_told_by_the_words_of_its_findings(signed_in, reviewer, connection):
    for outcome, rules in (
        ("reject", ["lookalike_recipient", "first_contact"]),
        ("send_back", ["first_contact"]),
        ("reject", []),
        ("approve", ["first_contact"]),
    ):
        message = make_message(connection)
        decide(message, reviewer, outcome, reason="Look again")
        Message.objects.filter(pk=message.pk).update(rules=rules)
    _, rows = panel(signed_in(reviewer), "caught")
    assert rows == [("First contact", "1", "1"), ("Look-alike", "1", "0"), ("No rule saw anything", "1", "0")]


def test_finding_beyond_the_bars_is_counted_among_the_others(signed_in, reviewer, connection):
    message = make_message(connection)
    decide(message, reviewer, "reject", reason="Look again")
    Message.objects.update(rules=[f"rule_{letter}" for letter in "abcdefghi"])
    _, rows = panel(signed_in(reviewer), "caught")
    assert (len(rows), rows[0], rows[-1]) == (8, ("Rule a", "1", "0"), ("Other findings", "2", "0"))


def test_what_the_desk_refused_is_told_by_why(signed_in, reviewer, second_reviewer, connection):
    client = signed_in(reviewer)
    shown = make_message(connection)
    seen = shown.revision.fingerprint
    show_row(shown, markdown="Pay to another account")
    client.post(f"/queue/{shown.public_id}/verdict/", {"outcome": "approve", "fingerprint": seen, "reason": ""})
    late = make_message(connection)
    Message.objects.filter(pk=late.pk).update(expires_at=Now() - timedelta(minutes=1))
    press = {"outcome": "approve", "fingerprint": late.revision.fingerprint, "reason": ""}
    client.post(f"/queue/{late.public_id}/verdict/", press)
    first = make_message(connection)
    decide(first, second_reviewer)
    press = {"outcome": "approve", "fingerprint": first.revision.fingerprint, "reason": ""}
    client.post(f"/queue/{first.public_id}/verdict/", press)
    changed = make_message(connection)
    decide(changed, reviewer)
    show_row(changed, markdown="Pay to another account")
    make_due()
    from approvals.execute import run_decision

    run_decision(decision_id=changed.decisions.get().pk, now=NOW)
    assert changed.decisions.get().state == "refused"
    stopped = make_message(connection)
    decide(stopped, reviewer)
    KillSwitch.objects.create(connection=connection, reason="Wrong list", pulled_by=second_reviewer)
    _, rows = panel(client, "refused")
    assert dict(rows)["Changed after it was read"] == "2"
    assert dict(rows)["Its time was over"] == "1"
    assert dict(rows)["Somebody else was first"] == "1"
    assert int(dict(rows)["Kept by the kill switch now"]) >= 1
    assert "For another reason" not in dict(rows)


def test_what_the_expiry_rule_rejected_counts_as_out_of_time(signed_in, reviewer, connection):
    message = make_message(connection)
    decide(message, reviewer, "reject", reason="Look again")
    Decision.objects.update(rule="expiry", given_by=None)
    client = signed_in(reviewer)
    assert panel(client, "refused")[1] == [("Its time was over", "1")]
    assert [panel(client, name)[1] for name in ("times", "caught")] == [[], []]


def test_nothing_older_than_a_week_is_told(signed_in, reviewer, connection):
    message = make_message(connection)
    decide(message, reviewer, "reject", reason="Look again")
    Decision.objects.update(recorded_at=Now() - timedelta(days=8))
    Verdict.objects.update(given_at=Now() - timedelta(days=8))
    client = signed_in(reviewer)
    assert [panel(client, name)[1] for name in ("times", "people", "caught", "refused")] == [[], [], [], []]


def test_empty_desk_says_so_on_each_card_and_draws_no_chart(signed_in, reviewer, connection):
    page = signed_in(reviewer).get("/").content.decode()
    assert '<svg class="chart"' not in page
    for words in (
        "Nothing waits.", "Nobody has decided anything in the last 7 days.", "Nothing was rejected or sent back",
        "no letter changed after it was read",
    ):  # fmt: skip
        assert words in page


def test_chart_has_a_title_a_description_and_a_table(signed_in, reviewer, connection):
    decide(make_message(connection), reviewer)
    decide(make_message(connection), reviewer, "reject", reason="Look again")
    late = decide(make_message(connection), reviewer, "reject", reason="Look again")
    Decision.objects.filter(pk=late.decision.pk).update(rule="expiry", given_by=None)
    make_message(connection)
    for name in ("waits", "times", "people", "caught", "refused"):
        card, rows = panel(signed_in(reviewer), name)
        assert re.search(r'<svg class="chart" role="img" aria-labelledby="(\S+) (\S+)"', card), name
        for identity in re.search(r'role="img" aria-labelledby="(\S+) (\S+)"', card).groups():
            assert re.search(rf'id="{identity}">[^<]+<', card), identity
        assert rows


def test_figures_are_of_what_the_person_may_see_alone(signed_in, reviewer, connection):
    other = make_connection("other")
    mine, theirs = make_message(connection), make_message(other)
    for message in (mine, theirs, make_message(other)):
        Message.objects.filter(pk=message.pk).update(rules=["link_text_lies"])
    waits = make_message(other)
    for message in (mine, theirs):
        decide(message, reviewer, "reject", reason="Look again")
    assert waits.state == "held"
    box = connection.mailboxes.get()
    client = signed_in(make_person("x@yourteam.example", "X", "reviewer", connection=connection, mailbox=box))
    assert panel(client, "waits")[1] == []
    assert panel(client, "times")[1][0][1] == "1"
    assert panel(client, "people")[1][0][:2] == ("Ana Ferreira", "1")
    assert panel(client, "caught")[1] == [("Link lies", "1", "0")]
    Decision.objects.update(state="applied")
    assert re.search(r"<b>1</b><span>rejected or sent back", client.get("/").content.decode())


def test_name_of_a_person_is_text_in_the_chart(signed_in, connection):
    person = make_person("n@yourteam.example", "<script>alert(1)</script>", "reviewer")
    decide(make_message(connection), person)
    assert "<script>alert(1)" not in signed_in(person).get("/").content.decode()


def test_home_costs_the_same_queries_at_any_length(signed_in, reviewer, connection, upstream):
    client = signed_in(reviewer)
    counts = []
    for _ in range(2):
        for _ in range(4):
            make_message(connection)
            decide(make_message(connection), reviewer, "reject", reason="Look again")
        with CaptureQueriesContext(database) as sent:
            assert client.get("/").status_code == 200
        counts.append(len(sent))
    assert counts[0] == counts[1]
    assert counts[1] <= 30


def test_held_again_in_the_future_has_waited_for_no_time(signed_in, reviewer, connection):
    message = make_message(connection)
    decide(message, reviewer)
    Message.objects.filter(pk=message.pk).update(held_at=F("held_at") + timedelta(days=2))
    Decision.objects.update(recorded_at=Now())
    assert panel(signed_in(reviewer), "times")[1][0][2] == "0 s"
