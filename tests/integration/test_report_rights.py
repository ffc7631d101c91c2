"""The rights report: every change of rights is in the history, and the report shows
them at a moment.
"""

import contextlib
import re
from datetime import UTC, datetime, timedelta

import pytest
from django.db import DatabaseError, connection, transaction
from django.utils import timezone

from dashboard.management.commands.prepare import Command
from mirror.models import Mailbox
from people.models import Grant, GrantPeriod, Person
from tests.factories import change_row, make_connection, make_person
from tests.integration.deciding import in_thread, waiting_for_a_lock
from tests.markup import says, words_of

PATH = "/audit/reports/rights/"


def run(sql, *values):
    with connection.cursor() as cursor:
        cursor.execute(sql, values or None)


def periods_of(person):
    """A person's periods: role, scope, how each began and ended."""
    rows = GrantPeriod.objects.filter(person=person.pk).order_by("pk")
    assert all((one.until is None) == (one.ended == "") for one in rows)
    return [(one.role, one.place, one.began, one.ended) for one in rows]


@contextlib.contextmanager
def without_triggers():
    """Write history as only the database's owner can, to test reading it."""
    run("SET LOCAL session_replication_role = 'replica'")
    yield
    run("SET LOCAL session_replication_role = 'origin'")


def test_no_way_of_changing_rights_is_forgotten(mailbox):
    one, two, three, four = (
        make_person(f"p{n}@yourteam.example", f"P{n}", "reviewer") for n in range(4)
    )
    Grant.objects.filter(person=one).delete()
    run(GIVE, one.pk)
    assert periods_of(one) == [
        ("reviewer", "everything", "given", "taken"),
        ("auditor", "everything", "given", ""),
    ]
    Grant.objects.bulk_create([Grant(person=two, role="admin")])
    run("DELETE FROM people_grant WHERE person_id = %s", two.pk)
    assert [ended for *_, ended in periods_of(two)] == ["taken"] * 2
    Grant.objects.filter(person=three).update(role="auditor")
    move = "UPDATE people_grant SET mailbox_id = %s WHERE person_id = %s"
    run(move, mailbox.pk, three.pk)
    # A change that affects no right adds no period.
    Grant.objects.filter(person=three).update(created_at=timezone.now())
    change_row(three, name="Else", is_active=True)
    assert periods_of(three) == [
        ("reviewer", "everything", "given", "changed"),
        ("auditor", "everything", "changed", "changed"),
        ("auditor", mailbox.address, "changed", ""),
    ]
    run(AWAY, four.pk)
    # A role that is granted meanwhile does not count yet.
    Grant.objects.create(person=four, role="admin")
    assert periods_of(four) == [("reviewer", "everything", "given", "deactivated")]
    change_row(four, is_active=True)
    assert periods_of(four)[1:] == [
        ("reviewer", "everything", "reactivated", ""),
        ("admin", "everything", "reactivated", ""),
    ]


def test_periods_outlive_their_scope_and_person(reviewer):
    other = make_connection("other")
    mailbox = Mailbox.objects.get(connection=other)
    Grant.objects.create(person=reviewer, role="admin", connection=other)
    Grant.objects.create(person=reviewer, role="auditor", mailbox=mailbox)
    other.delete()
    gone = Person(pk=reviewer.pk)
    reviewer.delete()
    assert periods_of(gone) == [
        ("reviewer", "everything", "given", "taken"),
        ("admin", "Gateway other", "given", "taken"),
        ("auditor", "support@yourteam.example", "given", "taken"),
    ]


def test_emptied_table_ends_everything(reviewer):
    run("SET CONSTRAINTS ALL IMMEDIATE")
    run("TRUNCATE people_grant")
    assert periods_of(reviewer) == [("reviewer", "everything", "given", "taken")]


def test_history_is_written_by_the_triggers_alone(reviewer):
    before = list(GrantPeriod.objects.values_list())
    for sql in (
        "INSERT INTO people_grantperiod SELECT (p).* FROM (SELECT p FROM people_grantperiod p LIMIT 1) one",
        "UPDATE people_grantperiod SET until = now(), ended = 'taken'",
        "UPDATE people_grantperiod SET since = since - interval '1 day'",
        "DELETE FROM people_grantperiod",
        "TRUNCATE people_grantperiod",
        "SELECT people_end_period(id, 'taken') FROM people_grant",
        "SELECT people_begin_period(g, 'given') FROM people_grant g",
    ):
        with pytest.raises(DatabaseError, match="writes itself"), transaction.atomic():
            run(sql)
    assert list(GrantPeriod.objects.values_list()) == before


def test_right_can_be_revoked_when_the_clock_goes_back(reviewer):
    later = timezone.now() + timedelta(hours=1)
    with without_triggers():
        GrantPeriod.objects.update(since=later)
    Grant.objects.all().delete()
    assert GrantPeriod.objects.get().until == later


def is_denied(sql):
    with pytest.raises(DatabaseError, match="permission denied"), transaction.atomic():
        run(sql)


def test_application_role_changes_rights_and_only_reads_their_history(reviewer):
    run("CREATE ROLE somebody_at_work")
    Command()._grant("somebody_at_work")
    run("SET LOCAL ROLE somebody_at_work")
    Grant.objects.create(person=reviewer, role="auditor")
    change_row(reviewer, is_active=False)
    assert [ended for *_, ended in periods_of(reviewer)] == ["deactivated"] * 2
    is_denied("DELETE FROM people_grantperiod")
    is_denied("UPDATE people_grantperiod SET name = 'x'")
    # Nor by a new table that it attaches the triggers to.
    run("CREATE TEMP TABLE mine (LIKE people_grant)")
    is_denied(
        "CREATE TRIGGER t AFTER DELETE ON mine FOR EACH ROW EXECUTE FUNCTION people_note_grant()"
    )
    run("RESET ROLE")


def shown(answer):
    """Rights and their reasons, as `Could decide: Ana, Reviewer of everything`."""
    found = []
    sections = r'<h2 id="(deciding|others)">.*?</h2>(.*?)</section>'
    for title, section in re.findall(sections, answer.text, re.DOTALL):
        for row in re.findall(r"<tr>\s*<td>(.*?)</tr>", section, re.DOTALL):
            who, what = (words_of(cell) for cell in row.split("</td>")[:2])
            found.append((title, who, what))
    return found


SINCE = datetime(2026, 3, 1, 10, tzinfo=UTC)


UNTIL = datetime(2026, 3, 8, 10, tzinfo=UTC)


def test_report_shows_who_could_decide_in_a_mailbox_and_by_which_role(
    signed_in, auditor, reviewer, connection, mailbox
):
    other = make_connection("other")
    for name, where in (
        ("Boxer", {"mailbox": mailbox}),
        ("Whole", {"connection": connection}),
        ("Elsewhere", {"connection": other}),
    ):
        make_person(f"{name}@yourteam.example", name, "reviewer", **where)
    client = signed_in(auditor)
    here = shown(client.get(PATH, {"place": f"mailbox-{mailbox.pk}"}))
    assert [(title, who.split()[0], what) for title, who, what in here] == [
        ("deciding", "Ana", "Reviewer of everything"),
        ("deciding", "Boxer", f"Reviewer of {mailbox.address}"),
        ("deciding", "Whole", "Reviewer of Gateway main"),
        ("others", "Max", "Auditor of everything"),
    ]
    # The history still has scopes that were removed.
    gone = {"place": f"connection-{other.pk}"}
    other.delete()
    says(client.get(PATH, gone), 200, "Connection Gateway other (removed)")
    with without_triggers():
        former = GrantPeriod.objects.filter(place="Gateway other")
        former.update(since=SINCE, until=UNTIL)
    ((_, who, what),) = shown(client.get(PATH, gone | {"at": "2026-03-05"}))
    assert who.startswith("Elsewhere")
    assert what == "Reviewer of Gateway other"


def test_whoever_looks_after_a_part_reads_of_that_part(
    signed_in, admin, connection, mailbox
):
    other = make_connection("other")
    kim = make_person("kim@yourteam.example", "Kim", "auditor", mailbox=mailbox)
    make_person("whole@yourteam.example", "Whole", "reviewer", connection=connection)
    stranger = make_person("else@yourteam.example", "X", "reviewer", connection=other)
    client = signed_in(kim)
    answer = client.get(PATH)
    rows = shown(answer)
    assert {who.split()[0] for _, who, _ in rows} == {"Ida", "Kim", "Whole"}
    # What their mailbox is in has no name for them, and others are none of theirs.
    assert "Gateway" not in answer.text.split("<main")[1]
    assert "Reviewer of the whole connection" in {what for *_, what in rows}
    assert client.get(PATH, {"person": stranger.pk}).status_code == 404
    elsewhere = client.get(PATH, {"place": f"connection-{other.pk}"})
    says(elsewhere, 200, "There is no such scope")


GIVE = "INSERT INTO people_grant (person_id, role) VALUES (%s, 'auditor')"
AWAY = "UPDATE people_person SET is_active = false WHERE id = %s"


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("first", "second"), [(GIVE, AWAY), (AWAY, GIVE)])
def test_role_granted_while_somebody_is_deactivated_does_not_count_afterwards(
    reviewer, first, second
):
    with transaction.atomic():
        run(first, reviewer.pk)
        thread, _ = in_thread(lambda: run(second, reviewer.pk))
        waiting_for_a_lock(connection)
    thread.join()
    assert Grant.objects.filter(person=reviewer).count() == 2
    assert not GrantPeriod.objects.filter(until=None).exists()
