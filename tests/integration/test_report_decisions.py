"""Who decided what, by month: figures that add up, and the very rows behind each of them."""

import csv
import io
import re
from datetime import UTC, timedelta
from html import unescape

import pytest
from django.db import connection as database
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from approvals.decide import decide_by_rule, undo_decision
from approvals.models import Decision, Mailbox, Message
from approvals.reports.months import Month
from audit.models import Entry, EntryDetail
from people.actors import worker
from tests.factories import event_body, make_connection, make_message, make_person, post_event
from tests.integration.deciding import decide

pytestmark = pytest.mark.django_db

PATH = "/audit/reports/decisions/"
ROWS = f"{PATH}rows/"


def at(decision, moment, **fields):
    Decision.objects.filter(pk=decision.pk).update(recorded_at=moment, **fields)
    Message.objects.filter(decisions=decision).update(held_at=moment - timedelta(seconds=60))


def made(connection, person, outcome="approve", *, moment=None, state="applied", **fields):
    """A decision of a message of its own, made at a moment, and where it got to."""
    message = make_message(connection, **fields)
    given = decide(message, person, outcome, reason="=No" if outcome != "approve" else "")
    at(given.decision, moment or timezone.now(), state=state)
    return given.decision


def figures(answer, caption):
    """The table of this caption: a number of each column by the row's name."""
    table = re.search(rf"<caption[^>]*>{caption}</caption>(.*?)</table>", answer.content.decode(), re.DOTALL)[1]
    heads = [unescape(one) for one in re.findall(r'<th scope="col"[^>]*>(.*?)</th>', table)][1:]
    found = {}
    for name, cells in re.findall(r'<tr><th scope="row">(.*?)</th>(.*?)</tr>', table, re.DOTALL):
        values = [re.sub(r"<[^>]+>", "", cell).split()[0] for cell in re.findall(r"<td.*?</td>", cells, re.DOTALL)]
        label, _, note = name.partition("<span")
        # Mailboxes of two connections may have one name.
        found[(label, note) if caption == "By mailbox" and note else label] = dict(zip(heads, values, strict=True))
    return found


@pytest.fixture
def month(connection, reviewer, second_reviewer):
    """Some of each kind: Ana four, Ben one, the expiry rule one, and one that was decided elsewhere."""
    made(connection, reviewer)
    made(connection, reviewer, "reject")
    made(connection, reviewer, "send_back", state="refused")
    undone = make_message(connection)
    decide(undone, reviewer)
    undo_decision(message=undone.public_id, actor=reviewer.actor(surface="web"), now=timezone.now())
    other = make_connection("other")
    high = made(other, second_reviewer, state="superseded")
    Message.objects.filter(decisions=high).update(risk_level="high")
    expired = decide_by_rule(make_message(connection), rule="expiry", reason="", actor=worker("sync"))
    at(expired, timezone.now(), state="applied")


def elsewhere(client, connection, **fields):
    message = make_message(connection, **fields)
    told = {"email_id": message.upstream_id, "status": "approved"}
    assert post_event(client, connection, event_body("oversight.approved", **told)).status_code == 200
    message.refresh_from_db()
    assert message.state == "approved"
    return message


def test_figures_are_told_by_person_and_by_mailbox_and_add_up(client, signed_in, auditor, connection, month):
    elsewhere(client, connection)
    answer = signed_in(auditor).get(PATH)
    people, places = figures(answer, "By person"), figures(answer, "By mailbox")
    ana = people["Ana Ferreira"]
    assert {name: value for name, value in ana.items() if value != "0"} == {
        "Approved": "2", "Rejected": "1", "Sent back": "1", "All": "4", "Undone": "1",
        "Refused by the desk": "1", "Half within": "1",
    }  # fmt: skip
    assert (people["Ben Okafor"]["Somebody else was first"], people["Ben Okafor"]["High risk"]) == ("1", "1")
    assert (people["The expiry rule"]["Rejected"], people["The expiry rule"]["By a rule"]) == ("1", "1")
    assert people["Not on this desk"]["Decided elsewhere"] == people["Not on this desk"]["All"] == "1"
    assert people["All"] == places["All"]
    for table in (people, places):
        total = table.pop("All")
        for name in set(total) - {"Half within"}:
            assert int(total[name]) == sum(int(row[name]) for row in table.values()), name
        for row in (*table.values(), total):
            parts = ("Approved", "Rejected", "Sent back", "Decided elsewhere")
            assert int(row["All"]) == sum(int(row[name]) for name in parts)


def test_every_number_leads_to_exactly_so_many_rows(client, signed_in, auditor, connection, month):
    elsewhere(client, connection)
    client = signed_in(auditor)
    page = client.get(PATH).content.decode()
    links = re.findall(rf'<a href="({ROWS}[^"]*)">(\d+)</a>', page)
    assert len(links) > 30
    for link, number in links:
        rows = client.get(unescape(link)).content.decode()
        assert rows.count('<li id="decision-') + rows.count('<li id="past-') == int(number), link


def test_rows_are_those_that_the_figure_counts(signed_in, auditor, connection, reviewer, second_reviewer):
    mine = made(connection, reviewer, "reject", subject="Rejected by Ana")
    made(connection, second_reviewer, "reject", subject="Rejected by Ben")
    made(connection, reviewer, subject="Approved by Ana")
    answer = signed_in(auditor).get(ROWS, {"who": f"person-{reviewer.pk}", "figure": "rejected"})
    page = answer.content.decode()
    assert re.findall(r'<li id="decision-(\d+)"', page) == [str(mine.pk)]
    assert f"/audit/trace/{mine.message.public_id}/" in page
    assert "rejected, by Ana Ferreira" in page


@pytest.mark.parametrize("zone", ["UTC", "America/St_Johns"])
def test_months_begin_and_end_by_the_readers_clock(signed_in, auditor, connection, reviewer, zone):
    auditor.time_zone = zone
    auditor.save()
    client, november = signed_in(auditor), Month.read("2026-11", zone)
    last = timedelta(microseconds=1)
    expected = {}
    for month in (november.before, november, november.after):
        for moment in (month.since, month.until - last):
            key = made(connection, reviewer, moment=moment.astimezone(UTC)).pk
            expected.setdefault(str(month), set()).add(str(key))
    found = {month: client.get(ROWS, {"month": month}).content.decode() for month in expected}
    assert {month: set(re.findall(r'<li id="decision-(\d+)"', page)) for month, page in found.items()} == expected


def test_whoever_looks_after_a_part_sees_its_figures_alone(signed_in, connection, reviewer):
    other = make_connection("other")
    made(connection, reviewer, subject="Here")
    hidden = made(other, reviewer, subject="Not for everybody")
    keeper = make_person("kim@yourteam.example", "Kim", "auditor", mailbox=Mailbox.objects.get(connection=connection))
    client = signed_in(keeper)
    answer = client.get(PATH)
    assert figures(answer, "By person")["Ana Ferreira"]["All"] == "1"
    assert "Gateway other" not in answer.content.decode()
    for asked in ({}, {"where": f"{other.pk}-{hidden.message.mailbox_id}"}):
        assert b"Not for everybody" not in client.get(ROWS, asked).content
    # By a role that only decides, nothing.
    make_person("ron@yourteam.example", "Ron", "reviewer")
    person = make_person("mix@yourteam.example", "Mix", "reviewer")
    assert {signed_in(person).get(path).status_code for path in (PATH, ROWS, "/audit/reports/")} == {403}


def test_decided_elsewhere_is_what_was_held_and_not_decided_here(client, signed_in, auditor, connection, reviewer):
    told = elsewhere(client, connection, subject="By somebody at MultiMail")
    decided = made(connection, reviewer, subject="By Ana")
    event = event_body("oversight.approved", email_id=decided.message.upstream_id, status="approved")
    assert post_event(client, connection, event).status_code == 200
    # Never held, and taken back by its sender.
    post_event(client, connection, event_body("message.sent", email_id="01AUTO", status="sent", subject="Autonomous"))
    post_event(client, connection, event_body("message.cancelled", email_id=make_message(connection).upstream_id))
    page = signed_in(auditor).get(ROWS, {"figure": "elsewhere"}).content.decode()
    assert re.findall(r'<li id="past-(\d+)"', page) == [str(told.pk)]


def test_refused_presses_lead_to_exactly_those_entries(client, signed_in, auditor, connection, reviewer):
    decided = made(connection, reviewer)
    for _ in range(2):
        fields = {"outcome": "approve", "fingerprint": decided.revision.fingerprint, "reason": ""}
        signed_in(reviewer).post(f"/queue/{decided.message.public_id}/verdict/", fields)
    auditor.time_zone = "America/St_Johns"
    auditor.save()
    client = signed_in(auditor)
    link, number = re.search(r'href="(/audit/\?[^"]*)">(\d+) presses</a>', client.get(PATH).content.decode()).groups()
    entries = client.get(f"{unescape(link)}&format=json").json()["entries"]
    assert (number, [one["action"] for one in entries]) == ("2", ["verdict.refused"] * 2)
    month = Month.of(timezone.now(), "America/St_Johns")
    told = client.get(f"{unescape(link)}").context["filters"]
    assert (told.begins, told.ends) == (month.since, month.until)


def test_file_has_the_same_figures_holds_no_formula_and_is_noted(signed_in, auditor, connection, reviewer):
    reviewer.name = "=HYPERLINK(1)"
    reviewer.save()
    made(connection, reviewer)
    answer = signed_in(auditor).post(f"{PATH}file/", {"month": f"{timezone.now():%Y-%m}"})
    text = b"".join(answer.streaming_content).decode()
    head, *rows = csv.reader(io.StringIO(text))
    by_name = {row[3]: dict(zip(head, row, strict=True)) for row in rows}
    assert by_name["'=HYPERLINK(1)"]["approved"] == by_name["All"]["all"] == "1"
    assert (by_name["All"]["median_seconds"], by_name["support@yourteam.example"]["connection"]) == (
        "60",
        "Gateway main",
    )
    assert "attachment" in answer["Content-Disposition"]
    entry = Entry.objects.get(action="ledger.report_taken")
    fields = EntryDetail.objects.get(entry=entry).fields
    assert (entry.actor_id, fields["report"], fields["rows"]) == (str(auditor.pk), "who decided what", "2")


def test_nonsense_is_this_month_and_names_no_rows(signed_in, auditor):
    client = signed_in(auditor)
    for month in ("", "2026-13", "0000-01", "9999-12", "nov", "٢٠٢٦-١١", "2026-11-01", "3000-01", "a\0b"):
        page = client.get(PATH, {"month": month}).content.decode()
        assert f"Nothing was decided in {timezone.now():%B %Y}" in page
    for asked in ({"who": "person-x"}, {"where": "1-2-3"}, {"figure": "pk"}, {"who": "person-" + "9" * 30}):
        assert client.get(ROWS, asked).status_code == 404


def test_month_to_come_is_empty(signed_in, auditor):
    assert b"has not come yet" in signed_in(auditor).get(PATH, {"month": "2999-12"}).content


def test_report_costs_the_same_for_many(signed_in, auditor, connection, reviewer, second_reviewer):
    made(connection, reviewer)
    client = signed_in(auditor)
    client.get(PATH)

    def queries(path, **asked):
        with CaptureQueriesContext(database) as found:
            assert client.get(path, asked).status_code == 200
        return len(found)

    few = queries(PATH), queries(ROWS)
    for slug in ("b", "c"):
        other = make_connection(slug)
        for person in (reviewer, second_reviewer):
            made(other, person)
    assert (queries(PATH), queries(ROWS)) == few


def test_pages_of_rows_have_each_row_once(signed_in, auditor, connection, reviewer, monkeypatch):
    monkeypatch.setattr("approvals.views.report_decisions.PAGE", 2)
    keys = {made(connection, reviewer).pk for _ in range(3)}
    elsewhere_one = elsewhere(signed_in(auditor), connection)
    client, found, past = signed_in(auditor), [], []
    for page in (1, 2, 3):
        text = client.get(ROWS, {"page": page}).content.decode()
        assert ("3 to 4 of 4" in text) == (page == 2)
        found += re.findall(r'<li id="decision-(\d+)"', text)
        past += re.findall(r'<li id="past-(\d+)"', text)
    assert (sorted(map(int, found)), past) == (sorted(keys), [str(elsewhere_one.pk)])
