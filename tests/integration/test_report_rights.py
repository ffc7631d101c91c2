"""Who had which rights when: every way of changing them is in the history, and the report tells it as of a moment."""

from datetime import timedelta
from importlib import import_module

import pytest
from django.db import DatabaseError, connection, transaction
from django.utils import timezone

from approvals.models import Mailbox
from audit.models import Entry
from dashboard.management.commands.prepare import Command
from people.actors import Role
from people.deactivating import deactivate, reactivate
from people.granting import give_role, take_role
from people.models import Grant, GrantPeriod, Person
from people.reach import Place
from tests.factories import make_connection, make_person

pytestmark = pytest.mark.django_db

PATH = "/audit/reports/rights/"


def actor(person):
    return Person.objects.get(pk=person.pk).actor(surface="web")


def run(sql, *values):
    with connection.cursor() as cursor:
        cursor.execute(sql, values or None)


def told(person):
    """A person's periods as they would be told: role, place, how each began and ended."""
    rows = GrantPeriod.objects.of_person(person.pk).order_by("pk")
    assert all((one.until is None) == (one.ended == "") for one in rows)
    return [(one.role, one.place, one.began, one.ended) for one in rows]


def write(**fields):
    """Write history as nobody can but who made the database: for the tests of reading it."""
    given = {"grant": 1, "name": "Ana", "email": "ana@x.example", "role": "reviewer", "place": "everything", **fields}
    run("SET LOCAL session_replication_role = 'replica'")
    row = GrantPeriod.objects.create(**{"began": "given", "ended": "taken" if given.get("until") else "", **given})
    run("SET LOCAL session_replication_role = 'origin'")
    return row


def test_given_and_taken_role_is_a_period(admin, reviewer, connection):
    mailbox = Mailbox.objects.get(connection=connection)
    here = Place(connection=connection.pk, mailbox=mailbox.pk, name=str(mailbox))
    before = timezone.now()
    give_role(actor=actor(admin), person_id=reviewer.pk, role=Role.AUDITOR, place=here)
    grant = reviewer.grants.get(role="auditor")
    period = GrantPeriod.objects.get(grant=grant.pk)
    assert (period.connection, period.mailbox, period.place) == (connection.pk, mailbox.pk, mailbox.address)
    assert before <= period.since <= timezone.now()
    take_role(actor=actor(admin), person_id=reviewer.pk, grant_id=grant.pk)
    assert told(reviewer) == [
        ("reviewer", "everything", "given", ""),
        ("auditor", mailbox.address, "given", "taken"),
    ]


def test_deactivation_ends_the_periods_and_reactivation_begins_new_ones(admin, reviewer):
    deactivate(actor=actor(admin), person_id=reviewer.pk)
    # What is given meanwhile does not count yet.
    Grant.objects.create(person=reviewer, role="auditor")
    assert told(reviewer) == [("reviewer", "everything", "given", "deactivated")]
    reactivate(actor=actor(admin), person_id=reviewer.pk)
    assert told(reviewer)[1:] == [
        ("reviewer", "everything", "reactivated", ""),
        ("auditor", "everything", "reactivated", ""),
    ]


def test_no_way_of_changing_rights_is_forgotten(connection):
    mailbox = Mailbox.objects.get(connection=connection)
    one, two, three, four = (make_person(f"p{n}@yourteam.example", f"P{n}", "reviewer") for n in range(4))
    Grant.objects.filter(person=one).delete()
    assert told(one) == [("reviewer", "everything", "given", "taken")]
    run("INSERT INTO people_grant (person_id, role) VALUES (%s, 'admin')", one.pk)
    assert told(one)[1:] == [("admin", "everything", "given", "")]
    Grant.objects.bulk_create([Grant(person=two, role="admin"), Grant(person=two, role="auditor")])
    assert len(told(two)) == 3
    run("DELETE FROM people_grant WHERE person_id = %s", two.pk)
    assert {ended for *_, ended in told(two)} == {"taken"}
    Grant.objects.filter(person=three).update(role="auditor")
    assert told(three) == [("reviewer", "everything", "given", "changed"), ("auditor", "everything", "changed", "")]
    run("UPDATE people_grant SET mailbox_id = %s WHERE person_id = %s", mailbox.pk, three.pk)
    assert told(three)[2] == ("auditor", mailbox.address, "changed", "")
    # What changes no right makes no period.
    Grant.objects.filter(person=three).update(created_at=timezone.now())
    Person.objects.filter(pk=three.pk).update(name="Else", is_active=True)
    assert len(told(three)) == 3
    run("UPDATE people_person SET is_active = false WHERE id = %s", four.pk)
    assert told(four) == [("reviewer", "everything", "given", "deactivated")]
    Person.objects.filter(pk=four.pk).update(is_active=True)
    assert told(four)[1:] == [("reviewer", "everything", "reactivated", "")]


def test_periods_outlive_their_place_and_person(reviewer):
    other = make_connection("other")
    mailbox = Mailbox.objects.get(connection=other)
    Grant.objects.create(person=reviewer, role="admin", connection=other)
    Grant.objects.create(person=reviewer, role="auditor", mailbox=mailbox)
    other.delete()
    ended = [("admin", "Gateway other", "given", "taken"), ("auditor", "support@yourteam.example", "given", "taken")]
    assert told(reviewer)[1:] == ended
    gone = Person(pk=reviewer.pk)
    reviewer.delete()
    assert told(gone)[0] == ("reviewer", "everything", "given", "taken")
    assert told(gone)[1:] == ended


def test_emptied_table_ends_everything(reviewer, admin):
    run("SET CONSTRAINTS ALL IMMEDIATE")
    run("TRUNCATE people_grant")
    assert not GrantPeriod.objects.filter(until=None).exists()
    assert GrantPeriod.objects.filter(ended="taken").count() == 2


@pytest.mark.parametrize(
    "sql",
    [
        "INSERT INTO people_grantperiod SELECT (p).* FROM (SELECT p FROM people_grantperiod p LIMIT 1) one",
        "UPDATE people_grantperiod SET until = now(), ended = 'taken'",
        "UPDATE people_grantperiod SET since = since - interval '1 day'",
        "DELETE FROM people_grantperiod",
        "TRUNCATE people_grantperiod",
        "SELECT people_end_period(id, 'taken') FROM people_grant",
        "SELECT people_begin_period(g, 'given') FROM people_grant g",
    ],
)
def test_history_is_written_by_the_triggers_alone(reviewer, sql):
    before = list(GrantPeriod.objects.values_list())
    with pytest.raises(DatabaseError, match="writes itself"), transaction.atomic():
        run(sql)
    assert list(GrantPeriod.objects.values_list()) == before


def test_clock_that_goes_back_keeps_no_right_from_being_taken(reviewer):
    run("SET LOCAL session_replication_role = 'replica'")
    later = timezone.now() + timedelta(hours=1)
    GrantPeriod.objects.update(since=later)
    run("SET LOCAL session_replication_role = 'origin'")
    Grant.objects.all().delete()
    assert GrantPeriod.objects.get().until == later


def test_application_role_changes_rights_and_only_reads_their_history(reviewer):
    run("CREATE ROLE somebody_at_work")
    Command()._grant("somebody_at_work")
    run("SET LOCAL ROLE somebody_at_work")
    Grant.objects.create(person=reviewer, role="auditor")
    Person.objects.filter(pk=reviewer.pk).update(is_active=False)
    assert [ended for *_, ended in told(reviewer)] == ["deactivated", "deactivated"]
    for sql in ("DELETE FROM people_grantperiod", "UPDATE people_grantperiod SET name = 'x'"):
        with pytest.raises(DatabaseError, match="permission denied"), transaction.atomic():
            run(sql)
    # Nor by a table of its own that it hangs the triggers onto.
    run("CREATE TEMP TABLE mine (LIKE people_grant)")
    with pytest.raises(DatabaseError, match="permission denied"), transaction.atomic():
        run("CREATE TRIGGER t AFTER DELETE ON mine FOR EACH ROW EXECUTE FUNCTION people_note_grant()")
    run("RESET ROLE")


def test_history_begins_with_what_stands_and_what_stood_of_who_is_away(admin, reviewer):
    deactivate(actor=actor(admin), person_id=reviewer.pk)
    away = Entry.objects.get(action="person.deactivated").at
    migration = import_module("people.migrations.0004_history_of_rights")
    run("SET CONSTRAINTS ALL IMMEDIATE")
    run(migration.BACKWARDS)
    GrantPeriod.objects.all().delete()
    run(migration.FORWARDS)
    stands, stood = GrantPeriod.objects.order_by("name")[::-1]
    assert (stands.name, stands.since, stands.until, stands.began) == (
        "Ida Lindqvist", admin.grants.get().created_at, None, "found",
    )  # fmt: skip
    assert (stood.name, stood.until, stood.ended) == ("Ana Ferreira", away, "deactivated")
