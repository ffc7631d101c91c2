"""Decisions by reviewer and month: figures that add up, and the rows behind each of
them.
"""

import csv
import io
import re
from datetime import UTC, datetime, timedelta
from html import unescape

import pytest
from django.http import QueryDict
from django.utils import timezone

from approvals.decisions.decide import decide_by_rule
from approvals.models import Decision, Review, Verdict
from approvals.reports.decisions import Month, report_of, rows_of
from approvals.reports.views import DecisionsForm
from common.actors import worker
from mirror.models import Message
from tests.factories import (
    actor_of,
    change_row,
    event_body,
    make_connection,
    make_message,
    make_person,
    post_confirmed,
)
from tests.integration.deciding import decide, decided, undo
from tests.ledger import latest_details

pytestmark = pytest.mark.usefixtures("people_shown")

PATH = "/audit/reports/decisions/"
ROWS = f"{PATH}rows/"


def at(decision, moment, **fields):
    change_row(decision, recorded_at=moment, **fields)
    Message.objects.filter(decisions=decision).update(
        held_at=moment - timedelta(seconds=60)
    )


def made(connection, person, outcome="approve", *, state="applied", **fields):
    """A decision on a new message, after a minute, with a given state."""
    decision = decided(make_message(connection, **fields), person, outcome, "=No")
    at(decision, timezone.now(), state=state)
    return decision


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
    """Some of each kind: Ana four, Ben one, three rules one each, and one that was
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
    for rule in ("expiry", "policy 12: r-7f", "standing 3 version 2"):
        ruled = decide_by_rule(
            make_message(connection), rule=rule, reason="", actor=worker("sync")
        )
        at(ruled, timezone.now(), state="applied")
    elsewhere(client, connection)


def test_figures_by_person_and_by_mailbox_add_up_and_each_link_lists_as_many_rows(
    signed_in, auditor, month
):
    found = report(auditor)
    people = {row.label: figures(row) for row in found.people}
    assert len(people) == 6
    assert people["Ana Ferreira"] == {
        "Approved": 2, "Rejected": 1, "Changes requested": 1, "All": 4, "Undone": 1, "Refused by the desk": 1,
    }  # fmt: skip
    assert people["Ben Okafor"] == {
        "Approved": 1, "All": 1, "Superseded": 1, "High risk": 1,
    }  # fmt: skip
    assert people["The expiry rule"] == {"Rejected": 1, "All": 1, "By a rule": 1}
    assert people["Elsewhere"] == {"Decided elsewhere": 1, "All": 1}
    for table in (found.people, found.places):
        for index, total in enumerate(found.total.cells):
            numbers = [row.cells[index].number for row in table]
            assert total.number == sum(numbers), total.head
    links = {}
    for row in (*found.people, *found.places, found.total):
        assert row.all.number == sum(cell.number for cell in row.summed)
        links |= {cell.query: cell.number for cell in row.cells if cell.number}
    for query, number in links.items():
        assert sum(map(len, rows(auditor, query))) == number, query
    # And so does the page.
    client = signed_in(auditor)
    pattern = rf'href="{ROWS}\?([^"]*)">(\d+)</a>'
    shown = re.findall(pattern, client.get(PATH).text)
    assert {unescape(query): int(number) for query, number in shown} == links
    page = client.get(f"{ROWS}?{found.people[0].all.query}").text
    assert page.count('<li id="decision-') == 4
    assert "by Ana Ferreira" in page
    assert client.get(f"{ROWS}?figure=pk").status_code == 404


def test_verdicts_and_decisions_that_differ_from_the_ledger_are_named(
    signed_in, auditor, month
):
    client = signed_in(auditor)
    assert "The ledger agrees with all" in client.get(PATH).text
    changed, undecided, unsaid = verdicts = Verdict.objects.filter(
        outcome="approve"
    ).order_by("message", "pk")[:3]
    Verdict.objects.filter(pk=changed.pk).update(outcome="reject")
    Decision.objects.filter(message=undecided.message).delete()
    unsaid.delete()
    page = client.get(PATH).text
    section = page.partition("3 messages differ from the ledger")[2]
    named = re.findall(
        r'href="/audit/trace/([^/]+)/"', section.partition("</section>")[0]
    )
    assert set(named) == {str(one.message.public_id) for one in verdicts}
    # Also where nothing is left to count.
    Verdict.objects.all().delete()
    Decision.objects.all().delete()
    Message.objects.update(state="held")
    assert "messages differ from the ledger" in client.get(PATH).text


def test_whoever_looks_after_a_part_sees_its_figures_alone(
    signed_in, connection, reviewer, mailbox
):
    other = make_connection("other")
    here = made(connection, reviewer)
    hidden = made(other, reviewer).message
    kim = make_person("kim@yourteam.example", "Kim", "auditor", mailbox=mailbox)
    (row,) = report(kim).people
    assert (row.label, row.all.number) == ("Ana Ferreira", 1)
    assert rows(kim) == [[here], []]
    assert rows(kim, f"where={other.pk}-{hidden.mailbox_id}") == [[], []]
    assert "Gateway other" not in signed_in(kim).get(PATH).text


def test_file_has_the_same_figures_holds_no_formula_and_is_noted(
    signed_in, auditor, connection, reviewer
):
    reviewer.name = "=HYPERLINK(1)"
    reviewer.save()
    made(connection, reviewer)
    answer = signed_in(auditor).post(f"{PATH}file/")
    text = b"".join(answer.streaming_content).decode()
    by_name = {row["name"]: row for row in csv.DictReader(io.StringIO(text))}
    assert by_name["'=HYPERLINK(1)"]["approved"] == by_name["All"]["all"] == "1"
    assert by_name["All"]["median_seconds"] == "60"
    assert by_name["support@yourteam.example"]["connection"] == "Gateway main"
    assert latest_details("ledger.report_taken")["rows"] == "2"


def test_months_begin_and_end_by_the_readers_clock():
    november = Month.read("2026-11", "America/St_Johns")
    assert november.since == datetime(2026, 11, 1, 2, 30, tzinfo=UTC)
    assert november.until == datetime(2026, 12, 1, 3, 30, tzinfo=UTC)
    for nonsense in ("", "2026-13", "9999-12", "٢٠٢٦-١١", "2026-11-01"):
        assert Month.read(nonsense, "UTC") is None, nonsense
