"""Every page says as of when the queue is complete, and why it is not; what was never read is never green."""

from datetime import timedelta

import pytest
from django.db.models.functions import Now

from approvals.models import Connection
from people.models import Grant
from tests.factories import make_connection, make_message

pytestmark = pytest.mark.django_db

PAGES = ("/", "/queue/", "/history/", "/audit/", "/alerts/", "/connections/", "/attention/", "/stop/")
AGES = {
    "just_read": (timedelta(seconds=5), "green", ""),
    "for_two_minutes": (timedelta(seconds=119), "green", ""),
    "over_two_minutes": (timedelta(seconds=125), "amber", "Gateway main was last read 2 minutes ago."),
    "over_ten_minutes": (timedelta(seconds=605), "red", "Gateway main was last read 10 minutes ago."),
    "never": (None, "amber", "Gateway main has not been read yet."),
}


def line_of(page):
    return page.partition('id="fresh"')[2].partition("</div>")[0]


@pytest.mark.parametrize("age", AGES)
def test_queue_says_how_old_it_is_and_why(signed_in, reviewer, connection, age):
    since, level, reason = AGES[age]
    Connection.objects.update(complete_as_of=Now() - since if since else None)
    line = line_of(signed_in(reviewer).get("/queue/").content.decode())
    assert f'data-level="{level}"' in line
    assert reason in line
    assert ("Complete as of" in line) is (since is not None)


@pytest.mark.parametrize("path", PAGES)
def test_every_page_says_so(signed_in, reviewer, connection, path):
    Connection.objects.update(complete_as_of=Now() - timedelta(minutes=11))
    page = signed_in(reviewer).get(path).content.decode()
    assert 'data-level="red"' in line_of(page)
    assert "was last read 11 minutes ago." in page.partition('id="behind"')[2].partition("</p>")[0]


def test_message_page_says_so_too(signed_in, reviewer, connection):
    Connection.objects.update(complete_as_of=Now(), failing_since=Now(), last_error="MultiMail did not answer.")
    page = signed_in(reviewer).get(f"/queue/{make_message(connection).public_id}/").content.decode()
    assert 'data-level="amber"' in line_of(page)
    assert "MultiMail did not answer." in line_of(page)


def test_worst_connection_counts_and_each_is_told_by_itself(signed_in, admin, connection):
    Connection.objects.update(complete_as_of=Now())
    make_connection("never")
    page = signed_in(admin).get("/connections/").content.decode()
    assert 'data-level="amber"' in line_of(page)
    well, never = (page.partition(f'id="connection-{c.pk}"')[2].partition("</section>")[0] for c in
                   Connection.objects.order_by("name"))  # fmt: skip
    assert ("Well" in well, "Well" in never) == (True, False)
    assert "Not read yet" in never


def test_paused_connection_says_why_and_what_to_do(signed_in, admin, connection):
    Connection.objects.update(complete_as_of=Now(), paused_at=Now(), paused_because="The key was refused.")
    page = signed_in(admin).get("/connections/").content.decode()
    for words in ("Paused", "The key was refused.", "Put in a key that MultiMail takes."):
        assert words in page


def test_secret_of_the_last_webhook_is_told(signed_in, admin, connection):
    make_message(connection)
    Connection.objects.update(
        complete_as_of=Now(), previous_webhook_secret="whsec_old", previous_secret_until=Now() + timedelta(hours=1)
    )
    page = signed_in(admin).get("/connections/").content.decode()
    assert "signed with the current secret" in page
    assert "The previous secret is taken until" in page
    assert "whsec_" not in page


def test_reviewer_elsewhere_who_audits_here_is_not_offered_to_read_now(signed_in, auditor, connection):
    other = make_connection("other")
    Grant.objects.create(person=auditor, role="reviewer", mailbox=other.mailboxes.get(), connection=other)
    client = signed_in(auditor)
    assert client.get("/connections/").content.count(b"Read now") == 1
    assert client.post(f"/connections/{connection.pk}/read/").status_code == 403
    assert client.post(f"/connections/{other.pk}/read/").status_code == 302


def test_auditor_is_not_offered_to_read_now(signed_in, auditor, connection):
    client = signed_in(auditor)
    assert b"Read now" not in client.get("/connections/").content
    assert client.post(f"/connections/{connection.pk}/read/").status_code == 403


def test_home_shows_an_open_page_how_the_connections_are_by_now(
    signed_in, reviewer, connection, django_assert_max_num_queries
):
    client = signed_in(reviewer)
    Connection.objects.update(complete_as_of=Now())
    assert 'id="home-connections" data-refresh="/"' in client.get("/").content.decode()
    Connection.objects.update(failing_since=Now(), last_error="MultiMail did not answer.")
    with django_assert_max_num_queries(16):
        answer = client.get("/", headers={"HX-Request": "true"})
    fragment = answer.content.decode()
    assert fragment.startswith('<section class="card panel-card" id="home-connections"')
    assert ("Failing" in fragment, "MultiMail did not answer." in fragment) == (True, True)
    assert "<html" not in fragment
    assert "HX-Request" in answer["Vary"]
    assert "<html" in client.get("/", headers={"HX-Request": "true", "HX-Boosted": "true"}).content.decode()
