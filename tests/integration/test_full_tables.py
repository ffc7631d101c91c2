"""Pages that list the desk's own tables, with a thousand rows in each of these."""

import pytest
from django.db import connection as database
from django.test.utils import CaptureQueriesContext

from alerts.models import Destination
from common.actors import Role
from mirror.models import Mailbox
from people.models import Grant, Person
from policy.models import Allowlist, DutyTurn, Group, WorkCalendar
from tests.walk import Persona, standing_before

ROWS = range(1000)
PAGES = """
    activate-draft add-api-key add-policy-group add-policy-pass add-policy-rule alerts
    allowlists connection connections groups-and-hours home invite mailboxes message
    notice-preferences people person policy queue report-rights review-plans stop ways
""".split()


@pytest.mark.slow
def test_pages_stand_with_a_thousand_rows_and_ask_no_more_queries(client, signed_in):
    wrong = {}
    for name, walk in standing_before(client, signed_in, PAGES):
        walk.become(Persona(Role.ADMIN, "everything"))
        for role in ("reviewer", "auditor"):
            Grant.objects.create(person=walk.person, role=role)
        address = walk.address(name)
        with CaptureQueriesContext(database) as few:
            client.get(address)
        fill(walk.connection)
        with CaptureQueriesContext(database) as many:
            answer = client.get(address)
        size = len(answer.content)
        if answer.status_code != 200 or len(many) > len(few) + 2 or size > 2_000_000:
            wrong[name] = (answer.status_code, len(few), len(many), size)
    assert wrong == {}


def fill(connection):
    """Make a thousand mailboxes, each with a reviewer, a list and a turn of duty; and
    a thousand groups, calendars and destinations.
    """
    boxes = Mailbox.objects.bulk_create(
        Mailbox(
            connection=connection, upstream_id=f"01B{n}", address=f"b{n}@acme.example"
        )
        for n in ROWS
    )
    people = Person.objects.bulk_create(
        Person(email=f"p{n}@yourteam.example", name=f"Person {n}") for n in ROWS
    )
    pairs = list(zip(people, boxes, strict=True))
    Grant.objects.bulk_create(
        Grant(person=one, role="reviewer", mailbox=box) for one, box in pairs
    )
    DutyTurn.objects.bulk_create(
        DutyTurn(person=one, mailbox=box) for one, box in pairs
    )
    Allowlist.objects.bulk_create(
        Allowlist(name=f"List {box}", mailbox=box) for box in boxes
    )
    Group.objects.bulk_create(Group(name=f"Group {n}") for n in ROWS)
    hours = {"zone": "Europe/Lisbon", "weekly": [[[540, 1020]]] * 7}
    WorkCalendar.objects.bulk_create(
        WorkCalendar(name=f"Hours {n}", **hours) for n in ROWS
    )
    Destination.objects.bulk_create(
        Destination(name=f"Channel {n}", kind="webhook") for n in ROWS
    )
