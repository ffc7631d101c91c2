"""Reading the held messages of MultiMail: whatever one row contains, all others reach
the queue.
"""

from datetime import timedelta

import pytest
from django.db.models.functions import Now

import dashboard.celery  # noqa: F401 - the app that wake-ups are sent with
from approvals.reconcile.reads import hydrate, read_everything
from audit.models import Entry
from mirror.models import Connection, Message
from tests.factories import NOW, make_connection, make_message, pending_row


@pytest.fixture
def connection(db, upstream):
    return make_connection(api_url=upstream.url)


def read(connection, minutes=1):
    Connection.objects.update(read_at=None)
    return read_everything(
        connection_id=connection.pk, now=NOW + timedelta(minutes=minutes)
    )


def test_row_that_cannot_be_mirrored_keeps_no_other_out(connection, upstream):
    too_long = pending_row("01ODD", mailbox_id="x" * 201)
    for row in (too_long, pending_row("", id=None), 5):
        upstream.holds(row, pending_row("01GOOD"))
        assert read(connection) == "1 unreadable", row
        assert Message.objects.exclude(hydrated_at=None).get().upstream_id == "01GOOD"
    connection.refresh_from_db()
    assert connection.complete_as_of is None
    assert "1 of the held messages could not be read" in connection.last_error
    # Both it and its end are recorded once.
    upstream.holds(pending_row("01GOOD"))
    assert read(connection, 4) == "1 held"
    found = (
        Entry.objects.filter(action__startswith="connection.")
        .order_by("id")
        .values_list("action", flat=True)
    )
    assert list(found) == ["connection.failing", "connection.recovered"]


def test_nothing_is_closed_by_an_answer_that_is_no_list_or_has_a_row_that_names_nothing(
    connection, upstream
):
    make_message(connection)
    Message.objects.update(seen_at=Now())
    for body in (b"[" * 100_000, b"[]", b"{", b'{"pending": 5}', b""):
        upstream.answers["/v1/oversight/pending"] = (200, body)
        assert read(connection) == "unreachable", body[:20]
    upstream.headers = {}
    upstream.holds({"subject": "which one is this?"})
    assert read(connection) == "1 unreadable"
    assert Message.objects.get().state == "held"


def test_message_that_is_not_known_there_is_gone_and_the_connection_is_well(
    connection, upstream
):
    message = make_message(connection, hydrated=False)
    Message.objects.update(seen_at=Now())
    upstream.holds()
    upstream.unknown = {message.upstream_id}
    assert hydrate(message_id=message.pk, now=NOW + timedelta(minutes=1)) == "0 held"
    message.refresh_from_db()
    connection.refresh_from_db()
    assert message.state == "gone"
    assert connection.failing_since is None


def test_contents_that_json_can_hold_and_postgresql_cannot_are_stored_alike_each_time(
    connection, upstream
):
    upstream.holds(
        pending_row("01ODD", subject="a\0\ud800b", metadata={"n": float("nan")})
    )
    assert [read(connection), read(connection, 2)] == ["1 held", "1 held"]
    message = Message.objects.get()
    assert message.subject == "a\ufffd\ufffdb"
    assert message.trigger == {"n": None}
    assert message.revision.number == 1


def test_read_that_is_asked_to_wait_makes_the_whole_connection_wait(
    connection, upstream
):
    make_message(connection, hydrated=False)
    upstream.answers["/v1/oversight/pending"] = (429, {"error": "slow down"})
    upstream.headers["Retry-After"] = "600"
    assert read(connection) == "unreachable"
    assert Connection.objects.rested().count() == 0
    assert Connection.objects.to_probe().count() == 0
    Connection.objects.update(wait_until=Now(), read_at=None)
    assert Connection.objects.rested().count() == 1
    assert Connection.objects.to_probe().count() == 1


def test_message_found_by_a_read_has_the_id_of_the_call_that_sent_it(
    connection, upstream
):
    upstream.holds(
        pending_row("01KNOWN", request_id="req-7"),
        pending_row("01ODD", request_id={"a": "b c"}),
        pending_row("01KEY", request_id="mm_live_0123456789abcdef"),
    )
    assert read(connection) == "3 held"
    traces = dict(Message.objects.values_list("upstream_id", "trace"))
    assert traces.pop("01KNOWN") == "req-7"
    assert all(len(trace) == 16 for trace in traces.values())
