"""How messages were read, in the report of decisions: of teams, and of single people
only where an admin allows it.
"""

import pytest
from django.urls import reverse

from approvals.models import Verdict
from people.second_admin.setting import set_person_figures
from tests.factories import actor_of, make_message, make_person
from tests.integration.deciding import decide

BECAUSE = "Works agreement of 3 May, section 7"


def give(message, person, seconds):
    return Verdict.objects.create(
        message=message, revision=message.revision, person=person, outcome="approve", surface="web",
        seconds_shown=seconds, parts_unread=0, live=False,
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


def test_while_it_is_off_no_page_has_a_figure_of_a_person(
    signed_in, team, admin, auditor, connection
):
    decide(make_message(connection), team[0])
    month = reverse("report-decisions")
    client = signed_in(auditor)
    for path, words in ((month, "By person"), ("/attention/", "faster than anyone")):
        assert words not in client.get(path).text
    assert "Ana" not in client.get(month).text
    set_person_figures(actor=actor_of(admin), on=True, because=BECAUSE)
    page = client.get(month).text
    assert "By person" in page
    assert "Ana Ferreira" in page
