"""How messages were read, in the report of decisions: of teams, and of single people
only where an admin allows it.
"""

import random

import pytest
from django.db import transaction
from django.urls import reverse
from django.utils import timezone

from approvals.models import Verdict
from approvals.reports.decisions import Month, review_of
from audit.models import Entry
from people.errors import NotYours
from people.models import OrganisationSettings, PendingChange
from people.second_admin.setting import set_person_figures
from practice import planting
from tests.factories import actor_of, change_row, make_message, make_person
from tests.integration.deciding import decide

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
    short = make_message(connection)
    long = make_message(connection, markdown="word " * 400)
    for message, person, seconds in (
        (short, reviewer, 9),
        (long, reviewer, 9),
        (short, second_reviewer, 9),
    ):
        give(message, person, seconds)
    give(short, third, 60)
    return [reviewer, second_reviewer, third]


def review(reader):
    return review_of(actor_of(reader), Month.of(timezone.now(), "UTC"))


def test_report_says_how_long_approvals_took_how_many_were_unread_and_what_practice_found(
    signed_in, team, connection, admin, auditor
):
    source = make_message(
        connection, markdown="Hello Dana,\n\nyou get 120.00 EUR back."
    )
    result = decide(source, team[0])
    Verdict.objects.filter(message=source).update(seconds_shown=None, parts_unread=None)
    type(result.decision).objects.update(state="applied")
    change_row(source, state="sent", changed_at=timezone.now())
    with transaction.atomic():
        planted = planting.plant_in(source.mailbox, rng=random.Random(3), signed_by="")
    decide(planted.message, team[1], "reject", "Wrong")
    for reader in (admin, auditor):
        found = review(reader)
        assert found.median == "9 s"
        assert found.unread == 1
        assert found.known == 4
        assert found.figures == [("Practice messages stopped", "1 of 1")]
        page = signed_in(reader).get(reverse("report-decisions")).text
        assert [
            words for words in ("9 s", "25 %, 1 of 4", "1 of 1") if words not in page
        ] == []
        assert [
            name
            for name in ("Ana Ferreira", "Ben Okafor", "Cleo Marsh")
            if name in page
        ] == []
    assert signed_in(team[0]).get(reverse("report-decisions")).status_code == 403
    # Two people are single people. A part that nobody opened is unread, however long
    # the message was open.
    Verdict.objects.filter(person=team[2]).update(person=team[0], parts_unread=1)
    assert review(admin) is None
    set_person_figures(actor=actor_of(admin), on=True, because=BECAUSE)
    assert review(admin).unread == 2
    assert review(admin).known == 4


def test_while_it_is_off_no_page_and_no_file_has_a_figure_of_a_person(
    signed_in, team, admin, auditor, connection
):
    decide(make_message(connection), team[0])
    month = reverse("report-decisions")
    rows = reverse("report-decision-rows") + f"?who=person-{team[0].pk}"
    for reader in (admin, auditor):
        client = signed_in(reader)
        pages = [client.get(path).text for path in (month, "/", "/attention/")]
        file = b"".join(
            client.post(reverse("report-decisions-file")).streaming_content
        ).decode()
        assert "By person" not in pages[0]
        assert "Decisions by reviewer" not in pages[1]
        assert "faster than anyone" not in pages[2]
        assert "person" not in file.partition("\n")[2]
        assert client.get(rows).status_code == 404
    set_person_figures(actor=actor_of(admin), on=True, because=BECAUSE)
    client = signed_in(auditor)
    page = client.get(month).text
    assert "By person" in page
    assert "Ana Ferreira" in page
    assert "Decisions by reviewer" in client.get("/").text
    assert client.get(rows).status_code == 200


def test_switching_people_on_takes_a_reason_and_a_second_admin_where_that_is_on(
    signed_in, admin, reviewer
):
    with pytest.raises(NotYours, match="Only an admin of everything"):
        set_person_figures(actor=actor_of(reviewer), on=True, because=BECAUSE)
    client = signed_in(admin)
    answer = client.post(reverse("set-person-figures"), {"on": "yes", "because": " "})
    assert answer.status_code == 422
    assert "Name the law" in answer.text
    OrganisationSettings.objects.create(
        pk=1, second_admin_since=timezone.now(), second_admin_set_by=admin
    )
    answer = client.post(
        reverse("set-person-figures"), {"on": "yes", "because": BECAUSE}
    )
    assert "Ask a second admin" in answer.text
    assert not OrganisationSettings.objects.filter(
        person_figures_since__isnull=False
    ).exists()
    OrganisationSettings.objects.update(second_admin_since=None)
    assert (
        client.post(
            reverse("set-person-figures"), {"on": "yes", "because": BECAUSE}
        ).status_code
        == 302
    )
    entry = Entry.objects.of_action("person_figures.set").get()
    assert entry.detail.fields["reason"] == BECAUSE
    assert client.post(reverse("set-person-figures"), {"on": "no"}).status_code == 302
    assert OrganisationSettings.objects.get().person_figures_because == ""
    assert not PendingChange.objects.exists()
