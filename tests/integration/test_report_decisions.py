"""Decisions by reviewer and month: figures that add up."""

import re
from datetime import UTC, datetime, timedelta

import pytest
from django.utils import timezone

from approvals.decisions.decide import decide_by_rule
from approvals.models import Decision, Review, Verdict
from approvals.reports import Month, report_of
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
from tests.markup import says

pytestmark = pytest.mark.usefixtures("people_shown")

PATH = "/audit/reports/decisions/"


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
    for rule in ("expiry", "policy 12: r-7f", "pass a1 version 2"):
        ruled = decide_by_rule(
            make_message(connection), rule=rule, reason="", actor=worker("sync")
        )
        at(ruled, timezone.now(), state="applied")
    Decision.objects.filter(rule__startswith="pass ").update(pass_name="Refunds")
    elsewhere(client, connection)


@pytest.mark.slow
def test_figures_by_person_and_by_mailbox_add_up(signed_in, auditor, month):
    found = report(auditor)
    people = {row.label: figures(row) for row in found.people}
    assert len(people) == 6
    assert people["Ana Ferreira"] == {
        "Approved": 2, "Rejected": 1, "Changes requested": 1, "All": 4, "Undone": 1, "Refused by the desk": 1,
    }  # fmt: skip
    assert people["Ben Okafor"] == {
        "Approved": 1, "All": 1, "Superseded": 1, "High risk": 1,
    }  # fmt: skip
    assert people["Expired, nobody decided"] == {
        "Rejected": 1,
        "All": 1,
        "By a rule": 1,
    }
    assert people["The pass “Refunds”"] == people["Expired, nobody decided"]
    assert people["Elsewhere"] == {"Decided elsewhere": 1, "All": 1}
    for table in (found.people, found.places):
        for index, total in enumerate(found.total.cells):
            numbers = [row.cells[index].number for row in table]
            assert total.number == sum(numbers), total.head
    for row in (*found.people, *found.places, found.total):
        *summed, total = row.cells[:5]
        assert total.number == sum(cell.number for cell in summed), row.label
    says(signed_in(auditor).get(PATH), 200, "Ana Ferreira 2 1 1 0 4")


@pytest.mark.slow
def test_verdicts_and_decisions_that_differ_from_the_ledger_are_named(
    signed_in, auditor, month
):
    client = signed_in(auditor)
    assert "The ledger agrees with all" in client.get(PATH).text
    changed, undecided, unsaid = verdicts = Verdict.objects.filter(
        outcome="approve"
    ).order_by("message", "pk")[:3]
    change_row(changed, outcome="reject")
    Decision.objects.filter(message=undecided.message).delete()
    unsaid.delete()
    page = client.get(PATH).text
    section = page.partition("3 messages differ from the ledger")[2]
    named = re.findall(
        r'href="/audit/trace/([^/]+)/"', section.partition("</section>")[0]
    )
    assert set(named) == {str(one.message.public_id) for one in verdicts}
    # Also when nothing is left to count.
    Verdict.objects.all().delete()
    Decision.objects.all().delete()
    Message.objects.update(state="held")
    assert "messages differ from the ledger" in client.get(PATH).text


def test_whoever_looks_after_a_part_sees_its_figures_alone(
    signed_in, connection, reviewer, mailbox
):
    other = make_connection("other")
    made(connection, reviewer)
    made(other, reviewer)
    kim = make_person("kim@yourteam.example", "Kim", "auditor", mailbox=mailbox)
    (row,) = report(kim).people
    assert (row.label, figures(row)["All"]) == ("Ana Ferreira", 1)
    assert "Gateway other" not in signed_in(kim).get(PATH).text


def test_months_begin_and_end_by_the_readers_clock():
    november = Month.read("2026-11", "America/St_Johns")
    assert november.since == datetime(2026, 11, 1, 2, 30, tzinfo=UTC)
    assert november.until == datetime(2026, 12, 1, 3, 30, tzinfo=UTC)
    for nonsense in ("", "2026-13", "9999-12", "٢٠٢٦-١١", "2026-11-01"):
        assert Month.read(nonsense, "UTC") is None, nonsense
