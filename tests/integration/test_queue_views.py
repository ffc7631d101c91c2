"""Saved views of the queue: one's own, or everybody's, and always no more than an address."""

import re

import pytest

from approvals.desk import views as views_of_desk
from approvals.models import SavedView
from audit.models import Entry

pytestmark = pytest.mark.django_db


@pytest.fixture
def desk(signed_in, reviewer):
    return signed_in(reviewer)


def save(client, name="Risky first", query="order=riskiest&risk=high", **fields):
    return client.post("/queue/views/", {"name": name, "query": query, **fields})


def told(client):
    """What the notice on the next page says."""
    return client.get("/queue/").content.decode()


def test_view_is_saved_shown_and_leads_back_to_what_it_shows(desk, reviewer):
    answer = save(desk)
    assert answer["Location"] == "/queue/?risk=high&order=riskiest"
    page = desk.get(answer["Location"]).content.decode()
    assert "Saved as “Risky first”." in page
    assert re.search(r'href="/queue/\?risk=high&amp;order=riskiest" aria-current="true"><span class="clip">Risky', page)
    assert Entry.objects.filter(action="view.saved").count() == 1


def test_private_view_is_its_owners_alone_and_a_shared_one_everybodys(signed_in, reviewer, second_reviewer):
    client = signed_in(reviewer)
    save(client, name="Mine alone")
    save(client, name="For all", shared="1")
    page = signed_in(second_reviewer).get("/queue/").content.decode()
    assert "Mine alone" not in page
    assert "For all" in page
    assert "by Ana Ferreira" in page


def test_view_is_deleted_by_its_owner_alone(signed_in, reviewer, second_reviewer):
    save(signed_in(reviewer), shared="1")
    view = SavedView.objects.get()
    other = signed_in(second_reviewer)
    assert "Delete the view" not in other.get("/queue/").content.decode()
    assert other.post(f"/queue/views/{view.pk}/delete/").status_code == 404
    assert signed_in(reviewer).post(f"/queue/views/{view.pk}/delete/").status_code == 302
    assert not SavedView.objects.exists()
    assert Entry.objects.filter(action="view.deleted").count() == 1


def test_view_of_the_same_name_is_replaced(desk):
    save(desk)
    save(desk, name="RISKY first", query="tab=mine")
    assert [(view.name, view.query) for view in SavedView.objects.all()] == [("RISKY first", "tab=mine")]


def test_view_keeps_no_page_and_nothing_that_the_queue_does_not_know(desk):
    save(desk, query="after=1700000000000000-9&q=refund&next=https://evil.example/&tab=nonsense")
    assert SavedView.objects.get().query == "q=refund"


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"name": ""}, "Give the view a name."),
        ({"name": "x" * 61}, "under 60 characters"),
        ({"name": "a\0b"}, "Null characters"),
    ],
    ids=["none", "long", "null"],
)
def test_view_without_a_fit_name_is_not_saved_and_that_is_said(desk, fields, words):
    assert save(desk, **fields).status_code == 302
    assert words in told(desk)
    assert not SavedView.objects.exists()


def test_more_views_than_one_finds_again_are_refused(desk, monkeypatch):
    monkeypatch.setattr(views_of_desk, "MAX_VIEWS", 1)
    save(desk)
    save(desk, name="One more")
    assert "You have 1 views already" in told(desk)
    assert SavedView.objects.count() == 1


def test_auditor_may_save_views_too(signed_in, auditor):
    assert save(signed_in(auditor)).status_code == 302
    assert SavedView.objects.get().person == auditor
