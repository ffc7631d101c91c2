"""Whole reads: no writes without news, paged lists close nothing wrongly, and all
sources count alike.
"""

from datetime import timedelta

import pytest
from django.db.models import F
from django.db.models.functions import Now

from approvals.desk_messages import desk_messages
from approvals.reconcile import whole_read
from approvals.reconcile.check_again import check_message
from approvals.reconcile.reads import hydrate, read_everything
from audit.models import Entry
from mirror import store
from mirror.models import Connection, Message, Revision
from mirror.sync import reads as asking
from tests.factories import (
    NOW,
    actor_of,
    change_row,
    make_connection,
    make_message,
    pending_row,
    rolled_back,
    show_row,
)
from tests.integration.deciding import Killed, carry_out, die, make_decision


@pytest.fixture
def connection(db, upstream):
    return make_connection(api_url=upstream.url)


@pytest.fixture
def hosted(db, upstream):
    upstream.headers = {}
    return make_connection("hosted", api_url=upstream.url, is_our_gateway=False)


def read(connection):
    return read_everything(connection_id=connection.pk, now=NOW + timedelta(minutes=1))


def pages(upstream, *lists):
    """Answer the next whole read with these pages."""
    upstream.pages = {
        "" if number == 0 else str(number): {
            "pending": list(rows),
            "cursor": str(number + 1) if number + 1 < len(lists) else None,
        }
        for number, rows in enumerate(lists)
    }


def states():
    return dict(Message.objects.values_list("upstream_id", "state"))


def during_a_read(monkeypatch, act):
    """Run this after MultiMail's answer, before the desk stores it."""
    ask = asking.ask_page

    def ask_and_be_overtaken(*args, **more):
        answer = ask(*args, **more)
        act()
        return answer

    monkeypatch.setattr(asking, "ask_page", ask_and_be_overtaken)


def test_row_that_slips_between_pages_is_not_closed_before_a_second_read_lacks_it(
    hosted, upstream
):
    all_held = dict.fromkeys(("01A", "01B", "01C"), "held")
    pages(upstream, [pending_row("01A"), pending_row("01B")], [pending_row("01C")])
    assert read(hosted) == "3 held"
    # 01A was decided while the list was read, and 01C moved from the second page to the
    # first.
    pages(upstream, [pending_row("01A"), pending_row("01B")], [])
    read(hosted)
    assert states() == all_held
    # An unreadable page closes nothing.
    pages(upstream, [pending_row("01C")], [])
    upstream.pages["1"] = (500, {"error": "no"})
    assert read(hosted) == "unreachable"
    assert states() == all_held
    # Read after that place, 01C stands on both pages: something moved meanwhile.
    pages(upstream, [pending_row("01B")], [pending_row("01C")])
    for _ in range(2):
        read(hosted)
        assert states() == all_held
    read(hosted)
    assert states() == {"01A": "gone", "01B": "held", "01C": "held"}
    # A list of one page closes missing messages at once.
    upstream.holds(pending_row("01B"))
    read(hosted)
    assert states() == {"01A": "gone", "01B": "held", "01C": "gone"}


@pytest.mark.slow
def test_reading_the_list_does_not_undo_newer_changes(hosted, upstream, monkeypatch):
    ended = make_message(hosted)
    edited = make_message(hosted)
    make_decision(ended, None, "superseded", "reject")

    def meanwhile():
        change_row(ended, state="gone", changed_at=Now())
        show_row(edited, subject="Newer")
        make_message(hosted, subject="Came meanwhile")

    with monkeypatch.context() as patched:
        during_a_read(patched, meanwhile)
        upstream.holds(pending_row(ended.upstream_id), pending_row(edited.upstream_id))
        read(hosted)
    assert Message.objects.get(subject="Came meanwhile").state == "held"
    assert states()[ended.upstream_id] == "gone"
    edited.refresh_from_db()
    assert edited.state == "held"
    assert edited.subject == "Newer"
    assert edited.revision.number == 2
    read(hosted)
    assert states()[ended.upstream_id] == "held", (
        "the next one says that it is held after all"
    )


@pytest.mark.slow
def test_read_key_shows_the_decision_and_closes_nothing_without_an_answer(
    hosted, upstream
):
    Connection.objects.update(read_key="mm_live_read")
    one = "/v1/mailboxes/01MAILBOX/emails/01A"
    inbound = pending_row("01B", direction="inbound", status="pending_inbound_approval")
    upstream.holds(pending_row("01A"), inbound)
    read(hosted)
    upstream.holds()
    for answer in ((500, {}), (403, {"error": "no"}), (200, b"x")):
        upstream.answers[one] = answer
        Connection.objects.update(failing_since=None)
        assert read(hosted) == "0 held", answer
        # Received mail is never read with the read key: that would mark it as read.
        assert states() == {"01A": "held", "01B": "gone"}, answer
    fields = {"id": "01A", "status": "sent", "decided_by": "Ben", "delivered_at": "x"}
    upstream.answers[one] = (200, fields)
    read(hosted)
    message = Message.objects.get(upstream_id="01A")
    assert message.state == "delivered"
    assert message.upstream_status == "sent"
    assert message.upstream_decided_by == "Ben"
    asked = zip(upstream.keys, upstream.paths, strict=True)
    assert {(key, path) for key, path in asked if "emails" in path} == {
        ("mm_live_read", one)
    }


LESS = ("cc", "bcc", "attachments", "additions", "html_body")


def less(row, *names):
    return {name: value for name, value in row.items() if name not in (names or LESS)}


@pytest.mark.slow
def test_source_with_more_fields_is_a_new_version_with_fewer_is_not_and_both_merge_once(
    hosted, upstream
):
    whole = pending_row("01A", cc=["b@x.example"])
    for row in (less(whole), whole, less(whole)):
        upstream.holds(row)
        read(hosted)
    first, second = Revision.objects.order_by("number")
    assert "cc" not in first.coverage
    assert "cc" in second.coverage
    assert "not_visible" in str(first.findings)
    assert "not_visible" not in str(second.findings)
    assert Message.objects.get().revision == second
    # Unless its content differs.
    upstream.holds(less(whole) | {"subject": "Another"})
    read(hosted)
    assert "cc" not in Message.objects.get(subject="Another").revision.coverage

    whole = pending_row("01B", cc=["b@x.example"], reply_to="r@x.example")
    for row in (less(whole, "cc"), less(whole, "reply_to")) * 2:
        upstream.holds(row)
        read(hosted)
    message = Message.objects.get(upstream_id="01B")
    assert message.revisions.count() == 2
    latest = store.stored_content(message.revision)
    assert latest.cc == ("b@x.example",)
    assert latest.reply_to == "r@x.example"


def test_content_that_kills_its_reader_is_left_alone_after_three_tries(
    connection, upstream, monkeypatch, admin
):
    """The state after a killed process: the try was counted before the content was
    stored.
    """
    whole = store.content_of

    def content_of(row):
        return die() if row["id"] == "01POISON" else whole(row)

    monkeypatch.setattr(store, "content_of", content_of)
    upstream.holds(pending_row("01POISON"), pending_row("01GOOD"))
    for _ in range(3):
        Connection.objects.update(reading_until=None)
        with pytest.raises(Killed):
            read(connection)
    assert read(connection) == "2 held"
    poison = Message.objects.unfetchable().get()
    assert poison.upstream_id == "01POISON"
    assert states() == {"01POISON": "held", "01GOOD": "held"}
    assert Message.objects.get(upstream_id="01GOOD").hydrated_at is not None
    assert hydrate(message_id=poison.pk, now=NOW) == "nothing to fetch"
    # A read that lists it again returns it to the queue, without a second announcement.
    change_row(poison, state="gone", changed_at=F("changed_at") - timedelta(minutes=1))
    read(connection)
    assert desk_messages().unfetchable().awaiting_review().count() == 1
    assert Entry.objects.filter(action="message.unreadable").count() == 1
    monkeypatch.setattr(store, "content_of", whole)
    check_message(message=poison.public_id, actor=actor_of(admin))
    assert hydrate(message_id=poison.pk, now=NOW) == "fetched"


def test_read_whose_lease_another_took_over_stops_and_claims_nothing(
    connection, upstream, monkeypatch
):
    upstream.holds(pending_row("01A"), pending_row("01B"))
    monkeypatch.setattr(whole_read, "_RENEW_AFTER", -1.0)
    others = Now() + timedelta(seconds=20)
    during_a_read(monkeypatch, lambda: Connection.objects.update(reading_until=others))
    Connection.objects.update(failing_since=Now())
    assert read(connection) == "overtaken"
    connection.refresh_from_db()
    assert connection.complete_as_of is None
    assert connection.failing_since is not None
    assert connection.reading_until is not None, "the other's lease is not ours to end"


def test_lost_wake_up_is_made_good(connection):
    for seconds, due in ((50, 1), (0, 0)):
        lately = Now() - timedelta(seconds=seconds)
        Connection.objects.update(read_at=lately, complete_as_of=lately)
        assert Connection.objects.overdue().count() == due


def test_key_that_may_also_send_is_refused_and_pauses_its_connection(
    connection, upstream
):
    upstream.holds(pending_row("01A"))
    upstream.answers["/v1/account"] = (200, {"scopes": ["oversight", "send"]})
    assert read(connection) == "unreachable"
    connection.refresh_from_db()
    assert "may also send" in connection.paused_because
    assert Message.objects.count() == 0
    assert not Connection.objects.to_read().exists()
    # A new key ends it automatically. Each key is checked once.
    upstream.answers["/v1/account"] = (200, {"scopes": ["oversight"]})
    change_row(connection, oversight_key="mm_live_another")
    assert [read(connection), read(connection)] == ["1 held", "1 held"]
    assert upstream.paths.count("/v1/account") == 2
    connection.refresh_from_db()
    assert connection.paused_at is None


def test_only_the_oversight_key_reads_and_decides_and_nothing_before_it_could_be_asked_about(
    hosted, upstream, reviewer
):
    hosted.read_key = "mm_live_read"
    hosted.admin_key = "mm_live_admin"
    hosted.agent_key = "mm_live_agent"
    hosted.save()
    upstream.holds(pending_row("01A"))
    upstream.decides(200, status="approved_and_sent", decision="approved")
    read(hosted)
    for status, is_paused in ((500, False), (429, False), (401, True)):
        with rolled_back():
            Connection.objects.update(checked_key="")
            upstream.answers["/v1/account"] = (status, {"error": "no"})
            assert carry_out(Message.objects.get(), reviewer) == "recorded", status
            hosted.refresh_from_db()
            assert [hosted.paused_at is not None, hosted.wait_until is not None] == [
                is_paused,
                status == 429,
            ], status
    assert upstream.decisions == []
    assert carry_out(Message.objects.get(), reviewer) == "applied"
    assert "/v1/oversight/decide" in upstream.paths
    assert set(upstream.keys) == {"mm_live_oversight"}
