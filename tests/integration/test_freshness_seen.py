"""Every page shows when the queue was last complete, and why it is stale; an unread
connection is never green.
"""

from datetime import timedelta

import pytest
from django.db.models.functions import Now

from mirror.models import Connection
from mirror.sync.health import freshness_of
from tests.factories import NOW, change_row, make_connection, make_message
from tests.markup import words_of


def line_of(page):
    return page.partition('id="fresh"')[2].partition("</div>")[0]


def test_queue_shows_its_age_and_why_it_is_stale():
    for age, level, reason in (
        (timedelta(seconds=120), "green", ""),
        (timedelta(seconds=121), "amber", "Gateway main was last read 2 minutes ago."),
        (timedelta(seconds=600), "amber", "Gateway main was last read 10 minutes ago."),
        (timedelta(seconds=601), "red", "Gateway main was last read 10 minutes ago."),
        (None, "amber", "Gateway main has not been read yet."),
    ):
        read_at = NOW - age if age else None
        found = freshness_of(
            Connection(name="Gateway main", complete_as_of=read_at), now=NOW
        )
        assert found.level == level
        assert found.as_of == read_at
        assert found.reason == reason


OTHER_PAGES = (
    "/queue/{message}/",
    "/",
    "/stop/",
    "/history/",
    "/audit/",
    "/alerts/",
    "/connections/",
    "/attention/",
)


@pytest.mark.parametrize(
    "paths",
    [("/queue/",), pytest.param(OTHER_PAGES, marks=pytest.mark.slow)],
    ids=["queue", "others"],
)
def test_every_page_shows_freshness(signed_in, reviewer, connection, paths):
    Connection.objects.update(complete_as_of=Now() - timedelta(minutes=11))
    client = signed_in(reviewer)
    message = make_message(connection).public_id
    for path in paths:
        page = client.get(path.format(message=message)).text
        assert 'data-level="red"' in line_of(page), path
        assert "Complete as of" in line_of(page), path
        assert (
            "was last read 11 minutes ago."
            in page.partition('id="behind"')[2].partition("</p>")[0]
        ), path


def test_worst_connection_sets_the_status_and_each_is_listed(
    signed_in, admin, connection
):
    Connection.objects.update(complete_as_of=Now())
    make_connection("never")
    paused = make_connection("paused")
    make_message(paused)
    change_row(paused,
        complete_as_of=Now(), paused_at=Now(), paused_because="The key was refused.",
        previous_webhook_secret="whsec_old", previous_secret_until=Now() + timedelta(hours=1),
    )  # fmt: skip
    page = signed_in(admin).get("/connections/").text
    assert 'data-level="red" title="Gateway paused is paused' in line_of(page)
    well, never, broken = (
        page.partition(f'id="connection-{one.pk}"')[2].partition("</section>")[0]
        for one in Connection.objects.order_by("name")
    )
    assert ["Healthy" in one for one in (well, never, broken)] == [True, False, False]
    assert "Not read yet" in never
    for words in (
        "Paused", "The key was refused.", "Enter a key that MultiMail accepts.",
        "oversight.pending", "Old secret valid until",
    ):  # fmt: skip
        assert words in broken, words
    assert "whsec_" not in page


@pytest.mark.slow
def test_home_updates_an_open_page_with_the_connection_status(
    signed_in, reviewer, connection, django_assert_max_num_queries
):
    client = signed_in(reviewer)
    Connection.objects.update(
        complete_as_of=Now(),
        failing_since=Now(),
        last_error="MultiMail did not answer.",
    )
    with django_assert_max_num_queries(8):
        answer = client.get("/", headers={"HX-Request": "true"})
    fragment = answer.text
    assert fragment.startswith('<section class="card panel-card" id="home-connections"')
    assert "Failing" in fragment
    assert "MultiMail did not answer." in fragment
    assert "<html" not in fragment
    assert "HX-Request" in answer["Vary"]
    page = client.get("/", headers={"HX-Request": "true", "HX-Boosted": "true"}).text
    assert "<html" in page
    assert 'id="home-connections" data-refresh="/"' in page


def test_empty_desk_says_what_to_do_next_on_each_of_its_lists(desk, connection):
    Connection.objects.update(complete_as_of=Now())
    for path, title, advice in (
        ("/queue/?tab=waiting", "No messages waiting", "appears here"),
        ("/queue/?tab=mine", "Nothing in Mine", "Show waiting messages"),
        ("/queue/?tab=leaving", "Nothing is being sent", "can be undone"),
        ("/queue/?tab=unknown", "Nothing is unconfirmed", "until the desk knows"),
        ("/queue/?tab=failed", "Nothing has failed", "appear here"),
        ("/queue/?tab=done", "No decided messages yet", "Messages appear here"),
        ("/history/", "No decided messages yet", "Open the queue"),
        ("/", "No messages are waiting.", ""),
    ):
        words = words_of(desk.get(path))
        assert title in words, path
        assert advice in words, path
