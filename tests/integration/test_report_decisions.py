"""Decisions by reviewer and month: figures that add up, and the rows behind each of
them.
"""

import csv
import io
import re
from datetime import UTC, timedelta
from html import unescape

import pytest
from django.db import connection as database
from django.http import QueryDict
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from approvals.decisions.decide import decide_by_rule
from approvals.models import Decision, Review, Verdict
from approvals.reports.decisions import Month, report_of, rows_of
from approvals.reports.views import DecisionsForm
from audit.models import Entry
from common.actors import worker
from mirror.models import Mailbox, Message
from tests.factories import (
    actor_of,
    change_row,
    event_body,
    make_connection,
    make_message,
    make_person,
    post_confirmed,
)
from tests.integration.deciding import decide, undo

pytestmark = pytest.mark.usefixtures("people_shown")

PATH = "/audit/reports/decisions/"
ROWS = f"{PATH}rows/"


def at(decision, moment, **fields):
    change_row(decision, recorded_at=moment, **fields)
    Message.objects.filter(decisions=decision).update(
        held_at=moment - timedelta(seconds=60)
    )


def made(
    connection, person, outcome="approve", *, moment=None, state="applied", **fields
):
    """A decision on a new message, with a given time and state."""
    message = make_message(connection, **fields)
    result = decide(
        message, person, outcome, reason="=No" if outcome != "approve" else ""
    )
    at(result.decision, moment or timezone.now(), state=state)
    return result.decision


def elsewhere(client, connection, **fields):
    message = make_message(connection, **fields)
    event_fields = {"email_id": message.upstream_id, "status": "approved"}
    assert (
        post_confirmed(
            client, connection, event_body("oversight.approved", **event_fields)
        ).status_code
        == 200
    )
    return message


def report(person):
    return report_of(actor_of(person), Month.of(timezone.now(), "UTC"))


def rows(person, query=""):
    """The decisions and the messages decided elsewhere that an address names."""
    form = DecisionsForm(QueryDict(query), now=Month.of(timezone.now(), "UTC"))
    return [list(found) for found in rows_of(actor_of(person), form.asked)]


def figures(row):
    """The non-zero cells of one row of the report."""
    return {cell.head: cell.number for cell in row.cells if cell.number}


@pytest.fixture
def month(client, connection, reviewer, second_reviewer):
    """Some of each kind: Ana four, Ben one, the expiry rule one, and one that was
    decided elsewhere.
    """
    made(connection, reviewer)
    made(connection, reviewer, "reject")
    made(connection, reviewer, "send_back", state="refused")
    undone = make_message(connection)
    decide(undone, reviewer)
    undo(undone, reviewer)
    high = made(make_connection("other"), second_reviewer, state="superseded")
    Review.objects.filter(message__decisions=high).update(risk_level="high")
    expired = decide_by_rule(
        make_message(connection), rule="expiry", reason="", actor=worker("sync")
    )
    at(expired, timezone.now(), state="applied")
    elsewhere(client, connection)


def test_figures_by_person_and_by_mailbox_add_up_and_each_link_lists_as_many_rows(
    signed_in, auditor, month
):
    found = report(auditor)
    people = {row.label: figures(row) for row in found.people}
    assert people == {
        "Ana Ferreira": {
            "Approved": 2, "Rejected": 1, "Changes requested": 1, "All": 4, "Undone": 1, "Refused by the desk": 1,
        },
        "Ben Okafor": {"Approved": 1, "All": 1, "Superseded": 1, "High risk": 1},
        "The expiry rule": {"Rejected": 1, "All": 1, "By a rule": 1},
        "Elsewhere": {"Decided elsewhere": 1, "All": 1},
    }  # fmt: skip
    assert {row.note for row in found.places} == {"Gateway main", "Gateway other"}
    for table in (found.people, found.places):
        for index, total in enumerate(found.total.cells):
            assert total.number == sum(row.cells[index].number for row in table), (
                total.head
            )
    links = {}
    for row in (*found.people, *found.places, found.total):
        assert row.all.number == sum(cell.number for cell in row.summed)
        links |= {cell.query: cell.number for cell in row.cells if cell.number}
    assert len(links) > 25
    looked_at = {cell.query: cell.number for cell in found.total.cells if cell.number}
    assert {
        query: sum(map(len, rows(auditor, query))) for query in looked_at
    } == looked_at
    # And so does the page.
    client = signed_in(auditor)
    page = client.get(PATH).text
    found_links = {
        unescape(query): int(number)
        for query, number in re.findall(rf'href="{ROWS}\?([^"]*)">(\d+)</a>', page)
    }
    assert found_links == links
    (rejected,) = [cell for cell in found.people[0].cells if cell.name == "rejected"]
    ((one,), _) = rows(auditor, rejected.query)
    assert one.outcome == "reject"
    assert one.given_by.name == "Ana Ferreira"
    page = client.get(f"{ROWS}?{rejected.query}").text
    assert re.findall(r'<li id="decision-(\d+)"', page) == [str(one.pk)]
    assert f"/audit/trace/{one.message.public_id}/" in page
    assert "rejected, by Ana Ferreira" in page


def test_each_rule_leads_to_its_rows(auditor, connection):
    for rule in ("expiry", "policy 12: r-7f", "standing 3 version 2"):
        message = make_message(connection)
        decide_by_rule(message, rule=rule, reason="", actor=worker("sync"))
    found = report(auditor)
    assert len(found.people) == 3
    for row in found.people:
        assert list(map(len, rows(auditor, row.all.query))) == [1, 0], row.label


def test_verdicts_and_decisions_that_differ_from_the_ledger_are_named(
    signed_in, auditor, month
):
    client = signed_in(auditor)
    assert (
        "The ledger agrees with all 11 verdicts and decisions." in client.get(PATH).text
    )
    changed, undecided, unsaid = verdicts = Verdict.objects.filter(
        outcome="approve"
    ).order_by("message", "pk")[:3]
    Verdict.objects.filter(pk=changed.pk).update(outcome="reject")
    Decision.objects.filter(message=undecided.message).delete()
    unsaid.delete()
    page = client.get(PATH).text
    section = page[page.index("3 messages differ from the ledger") :]
    named = set(
        re.findall(
            r'href="/audit/trace/([^/]+)/"', section[: section.index("</section>")]
        )
    )
    assert named == {str(one.message.public_id) for one in verdicts}
    # Also where nothing is left to count.
    Verdict.objects.all().delete()
    Decision.objects.all().delete()
    Message.objects.update(state="held")
    page = client.get(PATH).text
    assert "Nothing was decided in" in page
    assert "messages differ from the ledger" in page


@pytest.mark.slow
def test_months_begin_and_end_by_the_readers_clock(auditor, connection, reviewer):
    zone = "America/St_Johns"
    decision = made(connection, reviewer)
    november = Month.read("2026-11", zone)
    last = timedelta(microseconds=1)
    asked = DecisionsForm(
        {"month": "2026-11"}, now=Month.of(timezone.now(), zone)
    ).asked
    found = {}
    for name, moment in (
        ("before", november.since - last),
        ("after", november.until),
        ("first", november.since),
        ("last", november.until - last),
    ):
        at(decision, moment.astimezone(UTC))
        found[name] = rows_of(actor_of(auditor), asked)[0].exists()
    assert found == {"before": False, "after": False, "first": True, "last": True}


def test_whoever_looks_after_a_part_sees_its_figures_alone(
    signed_in, connection, reviewer
):
    other = make_connection("other")
    made(connection, reviewer, subject="Here")
    hidden = made(other, reviewer, subject="Not for everybody")
    keeper = make_person(
        "kim@yourteam.example",
        "Kim",
        "auditor",
        mailbox=Mailbox.objects.get(connection=connection),
    )
    assert [(row.label, row.all.number) for row in report(keeper).people] == [
        ("Ana Ferreira", 1)
    ]
    assert [made.message.subject for made in rows(keeper)[0]] == ["Here"]
    assert rows(keeper, f"where={other.pk}-{hidden.message.mailbox_id}") == [[], []]
    assert "Gateway other" not in signed_in(keeper).get(PATH).text


@pytest.mark.slow
def test_decided_elsewhere_is_what_was_held_and_not_decided_here(
    client, auditor, connection, reviewer
):
    event_message = elsewhere(client, connection, subject="By somebody at MultiMail")
    decided = made(connection, reviewer, subject="By Ana")
    event = event_body(
        "oversight.approved", email_id=decided.message.upstream_id, status="approved"
    )
    assert post_confirmed(client, connection, event).status_code == 200
    # Never held, and withdrawn by its sender.
    post_confirmed(
        client,
        connection,
        event_body(
            "message.sent", email_id="01AUTO", status="sent", subject="Autonomous"
        ),
    )
    post_confirmed(
        client,
        connection,
        event_body("message.cancelled", email_id=make_message(connection).upstream_id),
    )
    assert rows(auditor, "figure=elsewhere") == [[], [event_message]]


def test_file_has_the_same_figures_holds_no_formula_and_is_noted(
    signed_in, auditor, connection, reviewer
):
    reviewer.name = "=HYPERLINK(1)"
    reviewer.save()
    made(connection, reviewer)
    answer = signed_in(auditor).post(
        f"{PATH}file/", {"month": f"{timezone.now():%Y-%m}"}
    )
    text = b"".join(answer.streaming_content).decode()
    head, *lines = csv.reader(io.StringIO(text))
    by_name = {row[3]: dict(zip(head, row, strict=True)) for row in lines}
    assert by_name["'=HYPERLINK(1)"]["approved"] == by_name["All"]["all"] == "1"
    assert by_name["All"]["median_seconds"] == "60"
    assert by_name["support@yourteam.example"]["connection"] == "Gateway main"
    assert "attachment" in answer["Content-Disposition"]
    entry = Entry.objects.get(action="ledger.report_taken")
    fields = entry.detail.fields
    assert entry.actor_id == str(auditor.pk)
    assert fields["report"] == "who decided what"
    assert fields["rows"] == "2"


@pytest.mark.slow
def test_nonsense_is_this_month_and_names_no_rows(signed_in, auditor):
    now = Month.of(timezone.now(), "UTC")
    for month in (
        "",
        "2026-13",
        "0000-01",
        "9999-12",
        "nov",
        "٢٠٢٦-١١",
        "2026-11-01",
        "3000-01",
        "a\0b",
    ):
        assert DecisionsForm({"month": month}, now=now).asked_month == now, month
    for asked in (
        {"who": "person-x"},
        {"where": "1-2-3"},
        {"figure": "pk"},
        {"who": "person-" + "9" * 30},
    ):
        assert DecisionsForm(asked, now=now).asked is None, asked
    client = signed_in(auditor)
    assert (
        f"Nothing was decided in {timezone.now():%B %Y}"
        in client.get(PATH, {"month": "nov"}).text
    )
    assert client.get(ROWS, {"figure": "pk"}).status_code == 404
    assert b"is in the future" in client.get(PATH, {"month": "2999-12"}).content


@pytest.mark.slow
def test_report_costs_the_same_for_many(auditor, connection, reviewer, second_reviewer):
    made(connection, reviewer)

    def queries():
        with CaptureQueriesContext(database) as found:
            report(auditor)
            rows(auditor)
        return len(found)

    few = queries()
    other = make_connection("other")
    for person in (reviewer, second_reviewer):
        made(other, person)
    assert queries() == few


@pytest.mark.slow
def test_pages_of_rows_have_each_row_once(
    signed_in, auditor, connection, reviewer, monkeypatch
):
    monkeypatch.setattr("approvals.reports.views.PAGE", 2)
    keys = {made(connection, reviewer).pk for _ in range(3)}
    gone = elsewhere(signed_in(auditor), connection)
    client = signed_in(auditor)
    found = []
    past = []
    for page in (1, 2, 3):
        text = client.get(ROWS, {"page": page}).text
        assert ("3 to 4 of 4" in text) == (page == 2)
        found += re.findall(r'<li id="decision-(\d+)"', text)
        past += re.findall(r'<li id="past-(\d+)"', text)
    assert sorted(map(int, found)) == sorted(keys)
    assert past == [str(gone.pk)]
