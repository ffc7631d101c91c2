"""The home page: waiting times, decisions, findings and refusals within the visible
scope.
"""

import re
from datetime import timedelta
from itertools import count

import pytest
from django.db import connection as database
from django.db.models import F
from django.db.models.functions import Now
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from approvals.decisions.decide import give_verdict, note_refusal
from approvals.decisions.execute import run_decision
from approvals.models import Decision, Review, Verdict, decisions, verdicts
from dashboard.home.overview import overview_of
from mirror.errors import DeskError
from mirror.models import Message
from policy.models import KillSwitch
from tests.factories import make_connection, make_message, make_person, show_row
from tests.integration.deciding import decide, make_due

pytestmark = pytest.mark.usefixtures("people_shown")


def panels(person):
    """The cards by name, without the rest of the page."""
    return {
        one.name: one
        for one in overview_of(person.actor(surface="web"), now=timezone.now())
    }


def rows(person):
    return {name: list(one.rows) for name, one in panels(person).items()}


@pytest.fixture
def decided(connection):
    """Return a function that makes a message on which this person decided, by its rows
    alone.
    """
    shown = make_message(connection).revision
    numbers = count()

    def make(person, outcome="approve", *, seconds_shown=None, rules=(), **fields):
        message = make_message(connection, hydrated=False)
        about = {"message": message, "revision": shown, "outcome": outcome}
        Verdict.objects.create(
            **about, person=person, surface="web", seconds_shown=seconds_shown
        )
        values = {
            "state": "applied",
            "given_by": person,
            "due_at": Now(),
            "reference": f"REF{next(numbers)}",
        }
        Decision.objects.create(**about, **values | fields)
        state = "approved" if outcome == "approve" else "rejected"
        Message.objects.filter(pk=message.pk).update(state=state)
        Review.objects.filter(pk=message.pk).update(rules=list(rules))
        return message

    return make


def held_for(message, **age):
    Message.objects.filter(pk=message.pk).update(held_at=Now() - timedelta(**age))


@pytest.mark.slow
def test_waiting_messages_are_grouped_by_age_and_a_capped_count_says_so(
    reviewer, connection, monkeypatch
):
    for age in ({"minutes": 2}, {"minutes": -2}, {"minutes": 30}, {"minutes": 31}, {"minutes": 32}, {"hours": 3},
                {"hours": 20}, {"days": 3}):  # fmt: skip
        held_for(make_message(connection, hydrated=False), **age)
    decide(make_message(connection), reviewer)
    card = panels(reviewer)["waits"]
    assert card.rows == (
        ("longer than a day", "1"), ("4 h to a day", "1"), ("1 h to 4 h", "1"), ("5 min to 1 h", "3"),
        ("under 5 min", "2"),
    )  # fmt: skip
    assert card.lead == "Held for more than an hour: 3."
    assert "3 5 min to 1 h; 2 under 5 min" in card.summary
    monkeypatch.setattr("common.counts.COUNTED", 2)
    assert rows(reviewer)["waits"][-2:] == [
        ("5 min to 1 h", "2+"),
        ("under 5 min", "2"),
    ]


@pytest.mark.slow
def test_time_to_decision_is_shown_by_day_with_median_and_95th_percentile(
    reviewer, decided, monkeypatch
):
    for seconds in (10, 20, 30, 40, 4050):
        held_for(decided(reviewer), days=1, seconds=seconds)
    Decision.objects.update(recorded_at=Now() - timedelta(days=1))
    card = panels(reviewer)["times"]
    ((day, *row),) = card.rows
    assert row == ["5", "30 s", "54 min"]
    assert f"{day}: median 30 s, 95th percentile 54 min" in card.summary
    # A message with a hold time in the future has not waited yet.
    Message.objects.update(held_at=F("held_at") + timedelta(days=2))
    assert rows(reviewer)["times"][0][2] == "0 s"
    for module in (decisions, verdicts):
        monkeypatch.setattr(module, "MOST", 2)
    cards = panels(reviewer)
    for name in ("times", "people", "caught"):
        assert "Of the newest 2 only." in cards[name].lead, name
    assert cards["times"].rows[0][1] == "2"
    assert cards["people"].rows[0][1] == "2"


def test_decisions_by_reviewer_and_rejections_by_finding_exclude_undone_ones(
    reviewer, second_reviewer, decided
):
    decided(second_reviewer, "approve", seconds_shown=8, rules=["first_contact"])
    first = decided(
        reviewer,
        "reject",
        seconds_shown=30,
        rules=["lookalike_recipient", "first_contact"],
    )
    decided(reviewer, "send_back", seconds_shown=40, rules=["first_contact"])
    decided(reviewer, "reject")
    found = rows(reviewer)
    assert found["people"] == [
        ("Ana Ferreira", "3", "0", "35 s"),
        ("Ben Okafor", "1", "1", "8 s"),
    ]
    assert found["caught"] == [
        ("First contact", "1", "1"), ("Look-alike", "1", "0"), ("No finding", "1", "0"),
    ]  # fmt: skip
    # The rest is counted in one row.
    Review.objects.filter(pk=first.pk).update(
        rules=[f"rule_{character}" for character in "abcdefghi"]
    )
    caught = rows(reviewer)["caught"]
    assert len(caught) == 9
    assert caught[0] == ("First contact", "0", "1")
    assert caught[-2] == ("Other findings", "3", "0")
    Verdict.objects.update(live=False)
    Decision.objects.update(state="undone")
    found = rows(reviewer)
    assert found["people"] == []
    assert found["times"] == []


@pytest.mark.slow
def test_blocked_attempts_are_shown_by_reason(reviewer, second_reviewer, connection):
    shown, late, first, changed, stopped = (make_message(connection) for _ in range(5))
    show_row(shown, markdown="Pay to another account")
    Message.objects.filter(pk=late.pk).update(expires_at=Now() - timedelta(minutes=1))
    decide(first, second_reviewer)
    for message in (shown, late, first):
        # Including what was on the page before.
        decided = {
            "outcome": "approve",
            "fingerprint": message.revision.fingerprint,
            "reason": "",
        }
        actor = reviewer.actor(surface="web")
        with pytest.raises(DeskError) as refused:
            give_verdict(message=message.public_id, actor=actor, **decided)
        note_refusal(
            message, actor=actor, outcome="approve", sentence=str(refused.value)
        )
    decide(changed, reviewer)
    show_row(changed, markdown="Pay to another account")
    make_due()
    assert run_decision(decision_id=changed.decisions.get().pk) == "refused"
    expired = decide(
        make_message(connection), reviewer, "reject", reason="Look again"
    ).decision
    Decision.objects.filter(pk=expired.pk).update(rule="expiry", given_by=None)
    decide(stopped, reviewer)
    KillSwitch.objects.create(
        connection=connection, reason="Wrong list", pulled_by=second_reviewer
    )
    refused = dict(rows(reviewer)["refused"])
    assert int(refused.pop("On hold by the kill switch")) >= 1
    assert refused == {
        "Content changed after it was opened": "2", "Expired": "2", "Decided by somebody else first": "1",
    }  # fmt: skip
    # A rejection by rule is no person's decision.
    assert [row for row in rows(reviewer)["caught"] if row[1] != "0"] == []


def test_only_the_last_week_and_visible_messages_are_counted(
    reviewer, connection, decided
):
    other = make_connection("other")
    decided(reviewer, "reject")
    Message.objects.filter(pk=decided(reviewer, "reject").pk).update(
        connection=other, mailbox=other.mailboxes.get()
    )
    make_message(other)
    Review.objects.update(rules=["link_text_lies"])
    Message.objects.filter(connection=connection, state="held").update(state="gone")
    box = connection.mailboxes.get()
    person = make_person(
        "x@yourteam.example", "X", "reviewer", connection=connection, mailbox=box
    )
    seen = rows(person)
    assert seen["waits"] == []
    assert seen["caught"] == [("Misleading link", "1", "0")]
    assert seen["refused"] == []
    assert seen["times"][0][1] == "1"
    assert seen["people"][0][:2] == ("Ana Ferreira", "1")
    Decision.objects.update(recorded_at=Now() - timedelta(days=8))
    Verdict.objects.update(given_at=Now() - timedelta(days=8))
    assert rows(reviewer) | {"waits": []} == {name: [] for name in seen}


def test_each_chart_has_a_title_a_description_and_a_table_and_names_are_text(
    signed_in, reviewer, decided
):
    decided(make_person("n@yourteam.example", "<script>alert(1)</script>", "reviewer"))
    decided(reviewer, "reject")
    decided(reviewer, "reject", rule="expiry", given_by=None)
    page = signed_in(reviewer).get("/").text
    assert "<script>alert(1)" not in page
    assert re.search(r"<b>2</b><span>not approved in 24 h", page)
    for name in ("waits", "times", "people", "caught", "refused"):
        card = re.search(
            rf'<section[^>]*id="panel-{name}".*?</section>', page, re.DOTALL
        )[0]
        title, description = re.search(
            r'<svg class="chart" role="img" aria-labelledby="(\S+) (\S+)"', card
        ).groups()
        for identity in (title, description):
            assert re.search(rf'id="{identity}">[^<]+<', card), identity
        assert card.count("<tr>") > 1, name


@pytest.mark.slow
def test_home_costs_the_same_queries_at_any_length(
    signed_in, reviewer, connection, decided
):
    client = signed_in(reviewer)
    counts = []
    for number in (1, 3):
        for _ in range(number):
            make_message(connection, hydrated=False)
            decided(reviewer, "reject")
        with CaptureQueriesContext(database) as sent:
            assert client.get("/").status_code == 200
        counts.append(len(sent))
    assert counts[0] == counts[1] <= 37
