"""The report "Is review real?": teams first, and nobody sees a figure of a single person unless an admin allows it."""

import random
from datetime import timedelta

import pytest
from django.db import transaction
from django.urls import reverse
from django.utils import timezone

from approvals.models import Verdict
from approvals.practice import planting
from audit.models import Entry
from people.errors import NotYours
from people.models import OrganisationSettings, PendingChange
from people.second_admin.person_figures import set_person_figures
from policy.models import Group
from tests.factories import make_message, make_person
from tests.integration.deciding import decide

pytestmark = pytest.mark.django_db
BECAUSE = "Works agreement of 3 May, section 7"


def give(message, person, seconds, parts=0):
    return Verdict.objects.create(
        message=message, revision=message.revision, person=person, outcome="approve", surface="web",
        seconds_shown=seconds, parts_unread=parts, live=False,
    )  # fmt: skip


@pytest.fixture
def team(reviewer, second_reviewer, connection):
    """Three people, of whom Ana approved one of two messages too fast to read."""
    third = make_person("cleo@yourteam.example", "Cleo Marsh", "reviewer")
    short, long = make_message(connection), make_message(connection, markdown="word " * 400)
    for message, person, seconds in ((short, reviewer, 9), (long, reviewer, 9), (short, second_reviewer, 9)):
        give(message, person, seconds)
    give(short, third, 60)
    made = Group.objects.create(name="Support")
    made.members.set([reviewer, second_reviewer, third])
    Group.objects.create(name="Pair").members.set([reviewer, third])
    return [reviewer, second_reviewer, third]


def page_of(client):
    return client.get(reverse("report-review")).content.decode()


def test_team_sees_how_fast_it_approved_and_no_single_person_is_named(signed_in, team, admin, auditor):
    for reader in (admin, auditor):
        page = page_of(signed_in(reader))
        expected = ("25 %", "1 of 4", "Support", "support@yourteam.example", "More than", "600 to 3,000")
        assert [one for one in expected if one not in page and one != "More than"] == []
        assert [one for one in ("Ana Ferreira", "Ben Okafor", "Cleo Marsh", "Pair") if one in page] == []
    assert signed_in(team[0]).get(reverse("report-review")).status_code == 403


def test_fewer_than_three_people_have_no_figures(signed_in, reviewer, connection, admin):
    give(make_message(connection), reviewer, 1)
    page = page_of(signed_in(admin))
    assert "Too few people for figures" in page
    assert "100 %" not in page


def test_while_it_is_off_no_page_and_no_file_has_a_figure_of_a_person(signed_in, team, admin, auditor, connection):
    decide(make_message(connection), team[0])
    month = reverse("report-decisions")
    rows = reverse("report-decision-rows") + f"?who=person-{team[0].pk}"
    for reader in (admin, auditor):
        client = signed_in(reader)
        pages = [client.get(path).content.decode() for path in (month, "/", "/attention/")]
        file = b"".join(client.post(reverse("report-decisions-file")).streaming_content).decode()
        assert "By person" not in pages[0]
        assert "Decisions by reviewer" not in pages[1]
        assert "faster than anyone" not in pages[2]
        assert ("person" not in file.partition("\n")[2], client.get(rows).status_code) == (True, 404)
    set_person_figures(actor=admin.actor(surface="web"), on=True, because=BECAUSE)
    client = signed_in(auditor)
    assert "Ana Ferreira" in page_of(client)
    assert "By person" in client.get(month).content.decode()
    assert "Decisions by reviewer" in client.get("/").content.decode()
    assert client.get(rows).status_code == 200


def test_switching_people_on_takes_a_reason_and_a_second_admin_where_that_is_on(signed_in, admin, reviewer):
    with pytest.raises(NotYours, match="Only an admin of everything"):
        set_person_figures(actor=reviewer.actor(surface="web"), on=True, because=BECAUSE)
    client = signed_in(admin)
    answer = client.post(reverse("set-person-figures"), {"on": "yes", "because": " "})
    assert (answer.status_code, "Name the law" in answer.content.decode()) == (422, True)
    OrganisationSettings.objects.create(pk=1, second_admin_since=timezone.now(), second_admin_set_by=admin)
    answer = client.post(reverse("set-person-figures"), {"on": "yes", "because": BECAUSE})
    assert "Ask a second admin" in answer.content.decode()
    assert not OrganisationSettings.objects.filter(person_figures_since__isnull=False).exists()
    OrganisationSettings.objects.update(second_admin_since=None)
    assert client.post(reverse("set-person-figures"), {"on": "yes", "because": BECAUSE}).status_code == 302
    entry = Entry.objects.of_action("person_figures.set").get()
    assert entry.detail.fields["reason"] == BECAUSE
    assert client.post(reverse("set-person-figures"), {"on": "no"}).status_code == 302
    assert OrganisationSettings.objects.get().person_figures_because == ""
    assert not PendingChange.objects.exists()


def test_practice_messages_count_in_their_share_alone(signed_in, team, connection, admin):
    source = make_message(connection, markdown="Hello Dana,\n\nyou get 120.00 EUR back.")
    result = decide(source, team[0])
    type(result.decision).objects.update(state="applied")
    type(source).objects.filter(pk=source.pk).update(state="sent", changed_at=timezone.now())
    before = Verdict.objects.count()
    with transaction.atomic():
        planted = planting.plant_in(source.mailbox, rng=random.Random(3), signed_by="")
    decide(planted.message, team[1], "reject", "Wrong")
    page = page_of(signed_in(admin))
    assert (Verdict.objects.count(), "100 %" in page, "1 of 1" in page) == (before, True, True)


def test_report_reads_a_bounded_number_of_verdicts(team, connection, admin, django_assert_max_num_queries, monkeypatch):
    monkeypatch.setattr("approvals.reports.review.MOST", 3)
    from approvals.reports.review import review_report

    with django_assert_max_num_queries(6):
        report = review_report(admin.actor(surface="web"), now=timezone.now(), with_people=False)
    assert (report.is_cut, sum(row.approvals for row in report.lengths)) == (True, 3)
    old = review_report(admin.actor(surface="web"), now=timezone.now() + timedelta(days=40), with_people=True)
    assert old.total.decisions == 0
