"""The list of held messages is read page by page: what was read is stored, the place is
kept, and nothing waits for the whole list.
"""

import itertools
import time
from datetime import timedelta
from types import SimpleNamespace

import pytest
from django.db.models.functions import Now

from approvals.reconcile import closing, whole_read
from approvals.reconcile import reads as asks
from approvals.reconcile.reads import hydrate, read_everything
from audit.models import Entry
from common.postgres import clock
from mirror.models import Connection, Message, PendingPage
from mirror.sync import reads as asking
from mirror.sync.health import freshness_of
from tests.factories import NOW, change_row, make_connection, make_message, pending_row
from tests.integration.deciding import carry_out, make_decision

LIST = "/v1/oversight/pending"


@pytest.fixture
def hosted(db, upstream):
    upstream.headers = {}
    return make_connection("hosted", api_url=upstream.url, is_our_gateway=False)


def lists(upstream, *pages):
    """Have MultiMail list these ids, page by page. The cursor of a page is its number."""
    upstream.pages = {
        str(number or ""): {
            "pending": [pending_row(upstream_id) for upstream_id in ids],
            "cursor": str(number + 1) if number + 1 < len(pages) else None,
        }
        for number, ids in enumerate(pages)
    }


def read(connection):
    return read_everything(connection_id=connection.pk, now=NOW + timedelta(minutes=1))


def cursors(upstream):
    """Return the cursors of the pages that were asked for, and forget them."""
    asked = [path.partition("cursor=")[2] for path in upstream.paths if "only=" in path]
    upstream.calls.clear()
    return asked


def mirrored():
    return sorted(
        Message.objects.exclude(hydrated_at=None).values_list("upstream_id", flat=True)
    )


BROKEN = {
    "HTML": (200, b"<html>Try later</html>"),
    "nothing": (200, b""),
    "an error": (500, {"error": "no"}),
    "429": (429, {"error": "slow down"}),
}


@pytest.mark.parametrize("name", BROKEN)
def test_read_that_breaks_off_keeps_its_pages_and_goes_on_there(hosted, upstream, name):
    lists(upstream, ["01A", "01B"], ["01C"], ["01D"])
    upstream.pages["1"], whole = BROKEN[name], upstream.pages["1"]
    assert read(hosted) == "unreachable"
    assert mirrored() == ["01A", "01B"]
    hosted.refresh_from_db()
    assert hosted.failing_since is not None
    assert hosted.complete_as_of is None
    assert cursors(upstream) == ["", "1"]
    upstream.pages["1"] = whole
    change_row(hosted, wait_until=None)
    assert read(hosted) == "4 held"
    assert cursors(upstream) == ["1", "2"], "the first page is not read again"
    assert mirrored() == ["01A", "01B", "01C", "01D"]
    hosted.refresh_from_db()
    assert hosted.failing_since is None
    assert hosted.complete_as_of is not None


def test_progress_is_told_until_the_list_is_read(hosted, upstream):
    lists(upstream, ["01A", "01B"], ["01C"])
    upstream.pages[""]["total"] = 10_000
    upstream.pages["1"] = (500, {"error": "no"})
    read(hosted)
    hosted.refresh_from_db()
    freshness = freshness_of(hosted, now=clock())
    assert "2 of about 10,000 held messages read so far" in freshness.reason
    assert freshness.level == "amber"
    lists(upstream, ["01A", "01B"], ["01C"])
    read(hosted)
    hosted.refresh_from_db()
    assert freshness_of(hosted, now=hosted.complete_as_of).reason == ""


def test_run_that_has_no_time_left_goes_on_with_the_next_page(
    hosted, upstream, monkeypatch
):
    lists(upstream, ["01A"], ["01B"], ["01C"])
    now = time.monotonic()
    over = iter([now, now, now, now, now])
    monkeypatch.setattr(
        whole_read, "time", SimpleNamespace(monotonic=lambda: next(over, now + 1000))
    )
    assert read(hosted) == "to be continued"
    monkeypatch.undo()
    asked = cursors(upstream)
    assert 0 < len(mirrored()) < 3
    assert read(hosted) == "3 held"
    assert asked[0] == ""
    assert set(cursors(upstream)) <= {"1", "2"}, "the first page is not read again"


def test_list_without_an_end_is_said_to_repeat_and_what_it_lists_is_here(
    hosted, upstream
):
    lists(upstream, ["01A"], ["01B"], [])
    upstream.pages["1"]["cursor"] = "1"
    assert read(hosted) == "unreachable"
    hosted.refresh_from_db()
    assert hosted.last_error == "MultiMail's list of held messages repeated a page."
    assert mirrored() == ["01A", "01B"]
    # The same rows under ever new cursors.
    lists(upstream, ["01A"], ["01B"], ["01A"], ["01B"])
    assert read(hosted) == "unreachable"
    assert mirrored() == ["01A", "01B"]
    # Only empty pages.
    lists(upstream, ["01A"], *([] for _ in range(40)), ["01B"])
    assert read(hosted) == "unreachable"
    # An empty page between others ends nothing, and a row may stand on two pages.
    lists(upstream, ["01A"], [], ["01B", "01C"], ["01C", "01D"], [])
    assert read(hosted) == "4 held"
    assert set(Message.objects.values_list("state", flat=True)) == {"held"}
    # Nor does a list go on whose last page is empty and has the cursor that led to it.
    lists(upstream, ["01A"], ["01B", "01C"], ["01D"], [])
    upstream.pages["3"]["cursor"] = "3"
    assert read(hosted) == "4 held"


def test_cursor_that_is_refused_makes_the_next_read_begin_at_the_first_page(
    hosted, upstream
):
    long = "x" * 10_000
    lists(upstream, ["01A"], ["01B"])
    upstream.pages[""]["cursor"] = long
    upstream.pages[long] = (410, {"error": "That cursor is too old."})
    assert read(hosted) == "unreachable"
    assert cursors(upstream) == ["", long]
    upstream.pages[long] = upstream.pages["1"]
    assert read(hosted) == "2 held"
    assert cursors(upstream) == ["", long]


def test_long_list_rests_between_whole_reads_but_shows_what_is_new(hosted, upstream):
    lists(upstream, ["01A"], ["01B"], ["01C"])
    read(hosted)
    # As after a read that took long.
    change_row(hosted, rest_until=Now() + timedelta(minutes=20))
    cursors(upstream)
    lists(upstream, ["01A", "01NEW FIRST"], ["01B"], ["01C", "01NEW LAST"])
    assert read(hosted) == "ends read"
    assert cursors(upstream) == ["", "2"]
    assert mirrored() == ["01A", "01B", "01C", "01NEW FIRST", "01NEW LAST"]
    # What is not on these pages is not missing.
    assert set(Message.objects.values_list("state", flat=True)) == {"held"}
    change_row(hosted, rest_until=None)
    assert read(hosted) == "5 held"


def test_rest_after_a_read_is_by_the_time_that_was_spent_on_it(
    hosted, upstream, monkeypatch
):
    # Each look at the clock is 5 s after the one before: a page takes long.
    seconds = itertools.count(step=5)
    lists(upstream, ["01A"], ["01B"])
    monkeypatch.setattr(
        whole_read, "time", SimpleNamespace(monotonic=lambda: next(seconds))
    )
    while read(hosted) == "to be continued":
        pass
    monkeypatch.undo()
    hosted.refresh_from_db()
    spent = hosted.whole_read_took
    assert spent > timedelta(seconds=15)
    assert (
        timedelta(0) <= clock() + spent * 3 - hosted.rest_until < timedelta(minutes=1)
    )
    # A read was under way when the worker was killed; it goes on five minutes later.
    five_minutes_ago = Now() - timedelta(minutes=5)
    change_row(
        hosted,
        whole_read_began=five_minutes_ago,
        whole_read_spent=timedelta(0),
        rest_until=None,
    )
    hosted.pending_pages.update(read_at=five_minutes_ago)
    assert read(hosted) == "2 held"
    hosted.refresh_from_db()
    assert hosted.rest_until is None
    assert hosted.whole_read_took < timedelta(minutes=1)


def test_pages_that_are_forgotten_in_the_middle_of_a_read_close_nothing(
    hosted, upstream
):
    lists(upstream, ["01A"], ["01B"], ["01C"])
    read(hosted)
    upstream.pages["2"], whole = (500, {"error": "no"}), upstream.pages["2"]
    assert read(hosted) == "unreachable"
    upstream.pages["2"] = whole
    # The key is replaced: it is checked, and the cursors of the old one are forgotten.
    change_row(hosted, oversight_key="mm_live_another", checked_key="")
    assert read(hosted) == "to be continued"
    assert set(Message.objects.values_list("state", "missing_since")) == {
        ("held", None)
    }
    assert read(hosted) == "3 held"


def test_desk_that_is_told_to_wait_calls_nobody_and_goes_on_there(hosted, upstream):
    lists(upstream, ["01A"], ["01B"])
    slow = (429, {"error": "slow down"})
    upstream.pages["1"], whole = slow, upstream.pages["1"]
    assert read(hosted) == "unreachable"
    message = Message.objects.get(upstream_id="01A")
    change_row(
        hosted, wait_until=Now() + timedelta(minutes=15), read_key="mm_live_read"
    )
    cursors(upstream)
    assert read(hosted) == "told to wait"
    assert asks.ask_about(message.pk, NOW) == "told to wait"
    assert upstream.calls == []
    # A quarter of an hour later.
    upstream.pages["1"] = whole
    quarter_of_an_hour_ago = Now() - timedelta(minutes=15)
    change_row(hosted, whole_read_began=quarter_of_an_hour_ago, wait_until=Now())
    hosted.pending_pages.update(read_at=quarter_of_an_hour_ago)
    assert read(hosted) == "2 held"
    assert cursors(upstream) == ["1"]


def test_page_that_comes_too_slowly_is_asked_for_with_fewer_rows(hosted, upstream):
    def limits():
        asked = [path for path in upstream.paths if "only=" in path]
        upstream.calls.clear()
        return [int(path.partition("limit=")[2].partition("&")[0]) for path in asked]

    def break_off():
        if "cursor=1" in upstream.paths[-1]:
            raise ConnectionAbortedError

    lists(upstream, ["01A"], ["01B"])
    upstream.meanwhile["GET"] = break_off
    for _ in range(2):
        assert read(hosted) == "unreachable"
    assert limits() == [100, 100, 25]
    hosted.refresh_from_db()
    assert hosted.failed_page is None, "it may be an outage"
    upstream.meanwhile.clear()
    assert read(hosted) == "2 held"
    assert read(hosted) == "2 held"
    # Small pages that come fast have more rows again.
    assert limits() == [6, 12, 24]


def test_place_that_is_refused_during_a_rest_does_not_end_the_rest(hosted, upstream):
    lists(upstream, ["01A"], ["01B"], ["01C"])
    read(hosted)
    change_row(hosted, rest_until=Now() + timedelta(minutes=20))
    upstream.pages["2"] = (410, {"error": "That cursor is too old."})
    cursors(upstream)
    for _ in range(2):
        read(hosted)
        assert cursors(upstream) == ["", "2"]
    # A list whose end leads back is not read from its beginning.
    lists(upstream, ["01A"], ["01B"], ["01C"])
    upstream.pages["2"]["cursor"] = "1"
    read(hosted)
    assert cursors(upstream) == ["", "2"]
    hosted.refresh_from_db()
    assert hosted.failing_since is None
    assert hosted.failed_page is None
    assert hosted.rest_until > clock()


def test_list_that_takes_long_to_read_is_no_trouble_when_it_is_older(hosted):
    hour = timedelta(hours=1)
    change_row(
        hosted, complete_as_of=Now() - hour, whole_read_took=timedelta(minutes=9)
    )
    hosted.refresh_from_db()
    assert freshness_of(hosted, now=clock()).level == "amber"
    assert not Connection.objects.unwell().exists()
    change_row(hosted, complete_as_of=Now() - hour - timedelta(minutes=8))
    hosted.refresh_from_db()
    assert freshness_of(hosted, now=clock()).level == "red"
    assert Connection.objects.unwell().exists()
    # Nor is one whose first read takes an hour, as long as it goes on.
    change_row(
        hosted, complete_as_of=None, created_at=Now() - hour, whole_read_count=20
    )
    for read_at, is_unwell in ((Now(), False), (Now() - hour, True)):
        change_row(hosted, read_at=read_at)
        assert Connection.objects.unwell().exists() == is_unwell


# --- Our gateway lists without contents -----------------------------------------------


def test_contents_of_new_and_changed_messages_alone_are_fetched_by_id(db, upstream):
    connection = make_connection(api_url=upstream.url)
    known = make_message(connection)
    changed = make_message(connection)
    rows = {
        known.upstream_id: known.fingerprint,
        changed.upstream_id: "0" * 64,
        "01NEW": "1" * 64,
    }
    upstream.answers[LIST] = (
        200,
        {
            "pending": [
                {"id": upstream_id, "direction": "outbound", "fingerprint": value}
                for upstream_id, value in rows.items()
            ],
            "contents": False,
            "total": 3,
            "cursor": None,
        },
    )
    asked = []

    def answer_for_one():
        upstream_id = upstream.paths[-1].partition("email_id=")[2]
        if upstream_id:
            asked.append(upstream_id)
            row = pending_row(upstream_id, subject=f"Content of {upstream_id}")
            upstream.single = (200, {"pending": [row]})

    upstream.meanwhile["GET"] = answer_for_one
    upstream.single = (200, {"pending": []})
    assert read(connection) == "3 held"
    assert set(asked) <= {changed.upstream_id, "01NEW"}
    assert known.upstream_id not in asked


# --- Decisions do not wait for the list -----------------------------------------------


def test_decision_on_a_long_list_asks_for_the_page_that_has_the_message(
    hosted, upstream, reviewer
):
    lists(upstream, ["01A"], ["01B"], ["01C"])
    read(hosted)
    cursors(upstream)
    upstream.decides(200, status="approved_and_sent", decision="approved")
    assert carry_out(Message.objects.get(upstream_id="01B"), reviewer) == "applied"
    assert cursors(upstream) == ["1"]
    # Others left the list, so it moved to the page before.
    lists(upstream, ["01A"], ["01C"], ["01D"])
    cursors(upstream)
    assert carry_out(Message.objects.get(upstream_id="01C"), reviewer) == "applied"
    assert cursors(upstream) == ["2", "1"]
    # It moved to another page, which the whole read will find.
    lists(upstream, ["01E"], ["01F"], ["01D"], ["01A"], ["01G"])
    message = Message.objects.get(upstream_id="01A")
    assert carry_out(message, reviewer) == "recorded"
    decision = message.decisions.get()
    assert "not found in MultiMail's list of held messages yet" in decision.explanation


def test_outcome_is_asked_by_id_where_a_key_can_read_it(hosted, upstream, reviewer):
    change_row(hosted, read_key="mm_live_read")
    lists(upstream, ["01A"], ["01B"])
    read(hosted)
    message = Message.objects.get(upstream_id="01B")
    decision = make_decision(message, reviewer, "unknown", "approve")
    change_row(decision, changed_at=Now() - timedelta(minutes=5))
    cursors(upstream)
    answer = {"id": "01B", "status": "sent", "decision": "approved"}
    answer["decision_reference"] = decision.reference
    upstream.answers["/v1/mailboxes/01MAILBOX/emails/01B"] = (200, answer)
    assert closing.resolve(decision.pk) == "applied"
    assert cursors(upstream) == [], "no list was read"


def test_outcome_of_a_message_that_a_whole_read_lacks_twice_is_a_matter_for_people(
    hosted, upstream, reviewer
):
    lists(upstream, ["01A"], ["01B"], ["01C"])
    read(hosted)
    message = Message.objects.get(upstream_id="01B")
    decision = make_decision(message, reviewer, "unknown", "approve")
    change_row(decision, changed_at=Now() - timedelta(minutes=5))
    lists(upstream, ["01A"], ["01C"])
    assert closing.resolve(decision.pk) == "not known"
    for expected in ("unknown", "unattributed"):
        change_row(decision, due_at=Now() - timedelta(seconds=1))
        PendingPage.objects.all().delete()
        read(hosted)
        decision.refresh_from_db()
        assert decision.state == expected


def test_new_message_on_a_long_list_is_read_by_id(hosted, upstream):
    change_row(hosted, read_key="mm_live_read")
    lists(upstream, ["01A"], ["01B"])
    read(hosted)
    message = make_message(hosted, hydrated=False)
    cursors(upstream)
    row = pending_row(message.upstream_id, subject="Read by its id")
    address = f"/v1/mailboxes/01MAILBOX/emails/{message.upstream_id}"
    upstream.answers[address] = (200, row)
    assert hydrate(message.pk, NOW) == "fetched"
    message.refresh_from_db()
    assert message.subject == "Read by its id"
    assert cursors(upstream) == []


def test_page_stays_in_memory_for_nobody(hosted, upstream):
    lists(upstream, ["01A"], ["01B"])
    read(hosted)
    assert not asking._reads


def test_new_message_on_a_long_list_is_read_from_its_last_page(hosted, upstream):
    lists(upstream, ["01A"], ["01B"])
    read(hosted)
    message = make_message(hosted, hydrated=False)
    change_row(hosted, rest_until=Now() + timedelta(minutes=20))
    cursors(upstream)
    lists(upstream, ["01A"], ["01B", message.upstream_id])
    assert hydrate(message.pk, NOW) == "fetched"
    assert cursors(upstream) == ["1"]


def test_list_that_fails_at_the_same_page_each_time_is_reported_once(hosted, upstream):
    lists(upstream, ["01A"], ["01B"], ["01C"])
    upstream.pages["2"] = (410, {"error": "That cursor is too old."})
    for _ in range(3):
        assert read(hosted) == "unreachable"
    told = Entry.objects.filter(connection=hosted.pk).order_by("pk")
    actions = list(told.values_list("action", flat=True))
    assert actions.count("connection.failing") == 1
    assert "connection.recovered" not in actions
    lists(upstream, ["01A"], ["01B"], ["01C"])
    assert read(hosted) == "3 held"
    assert told.filter(action="connection.recovered").count() == 1


def test_message_that_is_not_listed_while_others_move_is_not_closed(
    hosted, upstream, monkeypatch
):
    def state():
        return Message.objects.get(upstream_id="01A").state

    lists(upstream, ["01A", "01B"], ["01C", "01D"])
    read(hosted)
    # A row stands on two pages.
    lists(upstream, ["01B", "01C"], ["01D", "01C"])
    for _ in range(3):
        assert read(hosted) == "3 held"
        assert state() == "held"
    # A message ends while the list is read.
    lists(upstream, ["01B", "01C"], ["01D"])
    ended = make_message(hosted)
    ask_page = asking.ask_page

    def end_and_ask(*asked):
        change_row(ended, state="rejected", changed_at=Now())
        return ask_page(*asked)

    with monkeypatch.context() as patched:
        patched.setattr(asking, "ask_page", end_and_ask)
        for _ in range(3):
            read(hosted)
            assert state() == "held"
    for expected in ("held", "gone"):
        read(hosted)
        assert state() == expected


def test_held_by_its_id_is_enough_where_the_list_is_long(hosted, upstream, reviewer):
    change_row(hosted, read_key="mm_live_read")
    lists(upstream, ["01A"], ["01B"], ["01C"])
    read(hosted)
    message = Message.objects.get(upstream_id="01B")
    decision = make_decision(message, reviewer, "unknown", "reject")
    held = {"id": "01B", "status": "pending_send_approval"}
    upstream.answers["/v1/mailboxes/01MAILBOX/emails/01B"] = (200, held)
    # It moved to a page on which nothing makes it likely to be.
    lists(upstream, ["01A"], ["01E"], ["01C"], ["01B"], ["01F"])
    for expected in ("read once", "recorded"):
        long_ago = Now() - timedelta(minutes=5)
        change_row(decision, changed_at=long_ago, due_at=long_ago)
        assert closing.resolve(decision.pk) == expected


def test_desk_that_is_told_to_wait_asks_about_no_other_message(hosted, upstream):
    change_row(hosted, read_key="mm_live_read")
    lists(upstream, ["01A", "01B", "01C"])
    read(hosted)
    lists(upstream, [])
    slow = (429, {"error": "slow down"})
    for upstream_id in ("01A", "01B", "01C"):
        upstream.answers[f"/v1/mailboxes/01MAILBOX/emails/{upstream_id}"] = slow
    assert read(hosted) == "unreachable"
    assert len([path for path in upstream.paths if "/emails/" in path]) == 1
