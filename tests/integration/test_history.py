"""The history: searched and filtered as the queue is, and by dates, page by page."""

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from tests.factories import change_row, make_connection, make_message, make_person

LISBON = ZoneInfo("Europe/Lisbon")


def make_past(connection, name, *, day=20, hour=12, **fields):
    """A rejected message, named by a word, to which something happened last in November
    2026.
    """
    message = make_message(
        connection, subject=f"Subject {name}", markdown=f"About {name}", **fields
    )
    change_row(
        message,
        state="rejected",
        changed_at=datetime(2026, 11, day, hour, tzinfo=LISBON),
    )
    return message


@pytest.fixture
def past(connection, reviewer):
    reviewer.time_zone = "Europe/Lisbon"
    reviewer.save()
    make_past(
        connection, "plum", day=19, hour=23, to_addresses=["Zoe <zoe@contoso.example>"]
    )
    make_past(connection, "kiwi", day=20, hour=0)
    make_past(connection, "fig", day=21, hour=8)
    make_message(connection, subject="Subject held")


def names(client, query=""):
    page = client.get(f"/history/?{query}")
    return [
        row.message.subject.removeprefix("Subject ") for row in page.context["rows"]
    ]


@pytest.mark.slow
def test_history_has_the_search_the_filters_and_the_dates(desk, past, mailbox):
    for query, found in (
        ("", ["fig", "kiwi", "plum"]),
        (f"mailbox={mailbox.pk}&q=kiwi", ["kiwi"]),
        # Days begin at midnight of whoever asks.
        ("q=on:2026-11-20", ["kiwi"]),
        ("since=2026-11-20", ["fig", "kiwi"]),
        ("until=2026-11-19", ["plum"]),
        # What the queue alone knows is left out here.
        ("tab=waiting&order=riskiest&group=thread", ["fig", "kiwi", "plum"]),
    ):
        assert names(desk, query) == found, query


@pytest.mark.slow
def test_history_of_one_mailbox_finds_nothing_of_others(signed_in, past, mailbox):
    other = make_connection("other")
    make_past(other, "secret", day=22)
    narrow = signed_in(
        make_person("rita@yourteam.example", "Rita", "reviewer", mailbox=mailbox)
    )
    assert names(narrow, "q=subject") == ["fig", "kiwi", "plum"]
    assert names(narrow, "q=secret") == []
