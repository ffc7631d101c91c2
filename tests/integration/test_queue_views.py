"""Saved views of the queue, private or shared: each only stores an address."""

import re

import pytest

from approvals.models import SavedView
from approvals.queue import saved_views
from audit.models import Entry

pytestmark = pytest.mark.django_db


def save(client, name="Risky first", query="order=riskiest&risk=high", **fields):
    return client.post("/queue/views/", {"name": name, "query": query, **fields})


def queue(client):
    return client.get("/queue/").content.decode()


def saved():
    return list(SavedView.objects.order_by("pk").values_list("name", "query"))


def test_view_is_saved_shown_and_leads_back_to_what_it_shows(signed_in, auditor):
    client = signed_in(auditor)
    answer = save(client)
    assert answer["Location"] == "/queue/?risk=high&order=riskiest"
    page = client.get(answer["Location"]).content.decode()
    assert "Saved as “Risky first”." in page
    assert re.search(r'href="/queue/\?risk=high&amp;order=riskiest" aria-current="true"><span class="clip">Risky', page)
    assert Entry.objects.filter(action="view.saved").count() == 1
    # A view of the same name is replaced; page and unknown parameters are dropped.
    save(client, name="RISKY first", query="after=1700000000000000-9&q=refund&next=https://evil.example/&tab=nonsense")
    assert saved() == [("RISKY first", "q=refund")]


def test_private_view_is_its_owners_alone_and_a_shared_one_deleted_by_its_owner_alone(
    signed_in, reviewer, second_reviewer
):
    client = signed_in(reviewer)
    save(client, name="Mine alone")
    save(client, name="For all", shared="1")
    view = SavedView.objects.get(name="For all")
    other = signed_in(second_reviewer)
    page = queue(other)
    assert "Mine alone" not in page
    assert "For all" in page
    assert "by Ana Ferreira" in page
    assert "Delete the view" not in page
    assert other.post(f"/queue/views/{view.pk}/delete/").status_code == 404
    assert signed_in(reviewer).post(f"/queue/views/{view.pk}/delete/").status_code == 302
    assert [name for name, _ in saved()] == ["Mine alone"]
    assert Entry.objects.filter(action="view.deleted").count() == 1


@pytest.mark.slow
def test_view_with_an_invalid_name_or_over_the_limit_is_refused_with_an_error(signed_in, reviewer, monkeypatch):
    client = signed_in(reviewer)
    for name in ("", "x" * 61, "a\0b"):
        save(client, name=name)
    assert saved() == []
    monkeypatch.setattr(saved_views, "MAX_VIEWS", 1)
    save(client)
    save(client, name="One more")
    assert [name for name, _ in saved()] == ["Risky first"]
    page = queue(client)
    for words in (
        "Give the view a name.", "under 60 characters", "Null characters", "You have 1 views already",
    ):  # fmt: skip
        assert words in page
