"""The thread beside a draft: read in the background, and what came after the draft must be ticked before approval."""

from datetime import UTC, datetime, timedelta

import pytest
from django.db.models.functions import Now

from approvals import ingest, tasks
from approvals.decide import give_verdict
from approvals.errors import ThreadMovedOn
from approvals.models import Connection, Decision, Message, OpenedPart, Thread, ThreadLetter, Verdict
from approvals.reading.fetch import freshen_thread, hear_of_letter, pause_after, read_thread
from approvals.reading.thread import conversation_of, thread_of
from approvals.sync import retain
from audit.models import Entry
from tests.factories import NOW, event_body, make_connection, make_message, make_person
from tests.integration.deciding import decide

pytestmark = pytest.mark.django_db

HTMX = {"HX-Request": "true"}
PATH = "/v1/mailboxes/01MAILBOX/threads/T1"
DRAFTED = datetime.now(UTC) - timedelta(hours=1)


def at(minutes):
    """A time so many minutes after the draft was written."""
    return (DRAFTED + timedelta(minutes=minutes)).isoformat()


def letter(number, minutes, text="", direction="inbound", **fields):
    row = {
        "id": f"01LETTER{number}",
        "direction": direction,
        "status": "unread" if direction == "inbound" else "sent",
        "from": "dana@northwind.example" if direction == "inbound" else "support@yourteam.example",
        "to": ["support@yourteam.example"],
        "subject": "Re: order 4471",
        "received_at": at(minutes),
        "markdown": text or f"Letter {number}",
    }
    return {**row, **fields}


@pytest.fixture
def gateway(connection, upstream):
    connection.api_url, connection.read_key = upstream.url, "mm_live_read"
    connection.save()
    return connection


@pytest.fixture
def desk(signed_in, reviewer):
    return signed_in(reviewer)


@pytest.fixture
def draft(gateway):
    return make_draft(gateway)


def make_draft(gateway, **fields):
    """A held answer in the thread T1, an hour old."""
    message = make_message(gateway, thread_id="T1", in_reply_to="<1@northwind.example>", **fields)
    Message.objects.filter(pk=message.pk).update(held_at=DRAFTED)
    message.refresh_from_db()
    return message


def tell(upstream, *letters, **more):
    """Let the stand-in tell this thread, oldest first."""
    upstream.answers[PATH] = (200, {"thread_id": "T1", "emails": list(letters), **more})


def read(draft):
    """Read the draft's thread now, however lately that was done."""
    Thread.objects.update(wanted=True, not_before=Now())
    return read_thread(thread_id=Thread.objects.get().pk)


def approve(draft, person, **fields):
    return give_verdict(
        message=draft.public_id, actor=person.actor(surface="discord"), outcome="approve", reason="", now=NOW,
        fingerprint=draft.revision.fingerprint, **fields,
    )  # fmt: skip


def fragment(client, draft):
    return client.get(f"/queue/{draft.public_id}/thread/", headers=HTMX).content.decode()


# reading it


def test_answer_in_a_thread_has_it_read_and_a_first_letter_does_not(gateway):
    make_message(gateway, thread_id="T0")
    assert Thread.objects.count() == 0
    make_draft(gateway)
    assert Thread.objects.get().upstream_id == "T1"


def test_thread_is_read_with_the_read_key_and_shown_newest_first(desk, draft, upstream):
    tell(
        upstream,
        letter(1, -60, "Where is it?"),
        letter(2, -30, "On its way.", "outbound"),
        letter(3, -10, "Still not here."),
    )
    assert read(draft) == "read"
    assert upstream.keys[-1] == "mm_live_read"
    assert [one.text for one in thread_of(draft)] == ["Still not here.", "On its way.", "Where is it?"]
    page = fragment(desk, draft)
    assert page.index("Still not here.") < page.index("On its way.") < page.index("Where is it?")
    assert "dana@northwind.example" in page


def test_draft_itself_is_not_a_letter_of_its_thread(draft, upstream):
    tell(
        upstream,
        letter(1, -5),
        letter(2, 0, direction="outbound", id=draft.upstream_id, status="pending_send_approval"),
    )
    read(draft)
    assert [one.upstream_id for one in thread_of(draft)] == ["01LETTER1"]


def test_letter_is_text_with_what_hides_in_it_named(desk, draft, upstream):
    tell(
        upstream,
        letter(
            1,
            -5,
            markdown=None,
            html_body="<p>Hello<script>alert(1)</script><img src=https://evil.example/x> \u202edne</p>",
        ),
    )
    read(draft)
    page = fragment(desk, draft)
    assert "<script>alert(1)" not in page
    assert "<img" not in page
    assert "RIGHT-TO-LEFT OVERRIDE" in page
    assert "\u202e" not in page


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ((403, {"error": "This key lacks the scope read."}), "The thread is not visible with this key"),
        ((401, {"error": "unknown key"}), "The thread is not visible with this key"),
        ((404, {"error": "none"}), "MultiMail knows no such thread (404)."),
        ((500, {"error": "broken"}), "The thread could not be read just now"),
        ((200, b"not json"), "The thread could not be read just now"),
        ((429, {"error": "slow down"}), "The thread could not be read just now"),
    ],
    ids=["scope", "key", "gone", "broken", "nonsense", "throttled"],
)
def test_thread_that_cannot_be_read_says_why_and_is_tried_again(desk, draft, upstream, answer, told):
    upstream.answers[PATH] = answer
    read(draft)
    assert told in fragment(desk, draft)
    thread = Thread.objects.get()
    assert (thread.wanted, read_thread(thread_id=thread.pk)) == (True, "not due")
    tell(upstream, letter(1, -5))
    Thread.objects.update(not_before=Now())
    assert read_thread(thread_id=thread.pk) == "read"


def test_account_without_a_read_key_says_so_and_shows_what_went_through_the_desk(desk, gateway, upstream, draft):
    Connection.objects.filter(pk=gateway.pk).update(read_key="")
    body = event_body(
        "message.received", thread_id="T1", direction="inbound", status="unread", subject="Are you there?",
        **{"from": "dana@northwind.example"},
    )  # fmt: skip
    ingest.receive_webhook(connection=gateway, body=body, secret_used="current")
    assert read(draft) == "no_key"
    assert upstream.paths == []
    page = fragment(desk, draft)
    assert "The thread is not visible with this key. Only what went through this desk stands here." in page
    assert "Are you there?" in page
    assert "What it says is not visible here: opening it would mark it as read for the agent." in page


def test_pauses_between_tries_grow_to_an_hour():
    assert [pause_after(tries).total_seconds() for tries in (1, 2, 3, 20)] == [10, 30, 90, 3600]


def test_hosted_letters_are_opened_one_by_one_but_never_one_that_the_agent_has_not_read(gateway, draft, upstream):
    bare = {"markdown": None}
    tell(
        upstream,
        letter(1, -9, status="read", **bare),
        letter(2, -8, direction="outbound", **bare),
        letter(3, -7, **bare),
    )
    for number in (1, 2, 3):
        path = f"/v1/mailboxes/01MAILBOX/emails/01LETTER{number}"
        upstream.answers[path] = (200, {"id": f"01LETTER{number}", "markdown": f"Words {number}"})
    read(draft)
    assert [one.text for one in thread_of(draft)] == ["", "Words 2", "Words 1"]
    assert not any(path.endswith("01LETTER3") for path in upstream.paths)
    calls = len(upstream.calls)
    read(draft)
    assert len(upstream.calls) == calls + 1


def test_opened_message_has_its_thread_read_again_only_after_half_a_minute(draft, upstream):
    tell(upstream, letter(1, -5))
    assert freshen_thread(message_id=draft.pk) == "read"
    assert freshen_thread(message_id=draft.pk) == "not due"
    Thread.objects.update(read_at=Now() - timedelta(seconds=31))
    assert freshen_thread(message_id=draft.pk) == "read"


def test_view_asks_nobody_and_tells_a_worker(desk, draft, upstream, monkeypatch, django_capture_on_commit_callbacks):
    sent = []
    monkeypatch.setattr("common.nudge.send", lambda *command: sent.append(str(command)))
    with django_capture_on_commit_callbacks(execute=True):
        fragment(desk, draft)
    assert upstream.paths == []
    assert any("freshen_thread" in one for one in sent)


def test_thread_outside_ones_mailboxes_does_not_exist(signed_in, draft, upstream):
    tell(upstream, letter(1, -5, "secret words"))
    read(draft)
    stranger = make_person("x@yourteam.example", "X", "reviewer", connection=make_connection("other"))
    answer = signed_in(stranger).get(f"/queue/{draft.public_id}/thread/")
    assert (answer.status_code, b"secret words" in answer.content) == (404, False)


def test_letters_of_another_mailbox_stay_there(gateway, draft, upstream):
    other = make_message(gateway, thread_id="T1", mailbox_id="02MAILBOX", mailbox="board@yourteam.example")
    assert other.mailbox_id != draft.mailbox_id
    assert thread_of(draft) == ()


# what came after the draft


def test_letter_that_came_after_the_draft_is_marked_and_recorded_once(desk, draft, upstream):
    tell(upstream, letter(1, -5), letter(2, 5, "Please cancel it instead."))
    read(draft)
    read(draft)
    assert [one.upstream_id for one in conversation_of(draft).late] == ["01LETTER2"]
    assert fragment(desk, draft).count("Came after this draft") == 1
    [entry] = Entry.objects.of_message(draft.public_id).filter(action="message.answered").select_related("detail")
    assert entry.detail.fields["from"] == "dana@northwind.example"


def test_pulse_tells_an_open_page_of_a_letter_that_came_after_the_draft(desk, draft, upstream):
    read(draft)
    before = desk.get(f"/queue/pulse/?open={draft.public_id}")
    assert before.json()["open"]["late"] == "0"
    tell(upstream, letter(1, 10, "Please wait."))
    read(draft)
    after = desk.get(f"/queue/pulse/?open={draft.public_id}", headers={"If-None-Match": before["ETag"]})
    assert after.json()["open"]["late"] != "0"
    page = desk.get(f"/queue/{draft.public_id}/").content.decode()
    assert f'data-late="{after.json()["open"]["late"]}"' in page


def test_approval_that_leaves_out_what_came_after_is_refused_on_every_surface(draft, upstream, reviewer):
    tell(upstream, letter(1, 5))
    read(draft)
    with pytest.raises(ThreadMovedOn, match=r"dana@northwind\.example wrote in this thread on .* after this draft"):
        approve(draft, reviewer)
    assert Verdict.objects.count() == 0
    assert approve(draft, reviewer, thread_read=conversation_of(draft).late_id).decision.outcome == "approve"


@pytest.mark.parametrize("outcome", ["reject", "send_back"])
def test_rejecting_asks_for_no_tick(draft, upstream, reviewer, outcome):
    tell(upstream, letter(1, 5))
    read(draft)
    assert decide(draft, reviewer, outcome, "They wrote again").decision.outcome == outcome


def test_tick_for_one_letter_is_none_for_the_next(draft, upstream, reviewer):
    tell(upstream, letter(1, 5))
    read(draft)
    ticked = conversation_of(draft).late_id
    tell(upstream, letter(1, 5), letter(2, 6))
    read(draft)
    with pytest.raises(ThreadMovedOn):
        approve(draft, reviewer, thread_read=ticked)


def test_tick_is_none_for_a_letter_that_was_found_later_though_it_was_written_earlier(draft, upstream, reviewer):
    tell(upstream, letter(2, 9))
    read(draft)
    ticked = conversation_of(draft).late_id
    tell(upstream, letter(1, 5), letter(2, 9))
    read(draft)
    with pytest.raises(ThreadMovedOn):
        approve(draft, reviewer, thread_read=ticked)


def test_other_draft_is_no_news_until_it_has_left(draft, upstream, reviewer):
    other = letter(1, 5, direction="outbound", status="pending_send_approval")
    tell(upstream, other, letter(2, 6))
    read(draft)
    ticked = conversation_of(draft).late_id
    assert [one.upstream_id for one in conversation_of(draft).late] == ["01LETTER2"]
    tell(upstream, {**other, "status": "sent", "sent_at": at(8)}, letter(2, 6))
    read(draft)
    with pytest.raises(ThreadMovedOn, match="sent a letter in this thread"):
        approve(draft, reviewer, thread_read=ticked)
    assert ThreadLetter.objects.filter(upstream_id="01LETTER1").count() == 1


@pytest.mark.parametrize("status", ["rejected", "cancelled", "send_failed"])
def test_letter_that_came_to_nothing_is_no_news(draft, upstream, reviewer, status):
    tell(upstream, letter(1, 5, direction="outbound", status=status))
    read(draft)
    assert approve(draft, reviewer).decision.outcome == "approve"


def test_received_mail_that_waits_for_its_own_approval_is_news(draft, upstream):
    tell(upstream, letter(1, 5, status="pending_inbound_approval", markdown=None, subject=""))
    read(draft)
    assert len(conversation_of(draft).late) == 1


def test_draft_counts_from_when_it_was_written_though_it_was_held_later(draft, upstream):
    tell(
        upstream,
        letter(0, -30, direction="outbound", id=draft.upstream_id, status="pending_send_approval"),
        letter(1, -5),
    )
    read(draft)
    assert len(conversation_of(draft).late) == 1


def test_released_mail_needs_no_tick_for_what_came_after_it(gateway, upstream, reviewer):
    held = make_draft(gateway, direction="inbound", status="pending_inbound_approval")
    tell(upstream, letter(1, 5))
    read(held)
    assert approve(held, reviewer).decision.outcome == "approve"


def test_webhook_of_a_new_letter_counts_before_the_thread_was_read_again(gateway, draft, upstream, reviewer):
    tell(upstream, letter(1, -5))
    read(draft)
    body = event_body("message.received", thread_id="T1", direction="inbound", status="unread", email_id="01LETTER2")
    ingest.receive_webhook(connection=gateway, body=body, secret_used="current")
    with pytest.raises(ThreadMovedOn, match="came in this moment"):
        approve(draft, reviewer, thread_read=10**9)
    tell(upstream, letter(1, -5), letter(2, 59, "Never mind."))
    came = Message.objects.get(upstream_id="01LETTER2")
    assert hear_of_letter(message=came.public_id) == Thread.objects.get()
    assert read_thread(thread_id=Thread.objects.get().pk) == "read"
    assert approve(draft, reviewer, thread_read=conversation_of(draft).late_id).decision.outcome == "approve"


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("message.received", {"direction": "inbound", "status": "unread"}),
        ("oversight.pending", {"direction": "inbound", "status": "pending_inbound_approval"}),
        ("message.sent", {"status": "sent"}),
    ],
    ids=["received", "held", "sent"],
)
def test_webhook_of_a_letter_has_its_thread_read_once_it_is_committed(
    gateway, draft, monkeypatch, django_capture_on_commit_callbacks, name, fields
):
    Thread.objects.update(wanted=False)
    nudged = []
    monkeypatch.setattr("approvals.reading.hearing.nudge", lambda task, key: nudged.append((task, key)))
    body = event_body(name, thread_id="T1", email_id="01NEW", **fields)
    ingest.receive_webhook(connection=gateway, body=body, secret_used="current")
    came = Message.objects.get(upstream_id="01NEW")
    assert nudged == [("approvals.tasks.hear_of_letter", str(came.public_id))]
    monkeypatch.setattr("approvals.tasks.nudge", lambda task, key: nudged.append((task, key)))
    assert tasks.hear_of_letter(nudged[0][1]) == "to be read"
    thread = Thread.objects.get()
    assert (thread.wanted, nudged[-1]) == (True, ("approvals.tasks.read_thread", thread.pk))


def test_received_mail_that_the_read_key_does_not_see_counts_by_its_webhook(gateway, draft, upstream, reviewer):
    tell(upstream, letter(1, -5))
    read(draft)
    held = {"direction": "inbound", "status": "pending_inbound_approval"}
    body = event_body("oversight.pending", thread_id="T1", email_id="01HELD", **held)
    ingest.receive_webhook(connection=gateway, body=body, secret_used="current")
    read(draft)
    assert [one.upstream_id for one in conversation_of(draft).late] == ["01HELD"]
    with pytest.raises(ThreadMovedOn):
        approve(draft, reviewer)


def test_letter_of_a_thread_in_which_nobody_waits_is_not_asked_about(gateway, upstream):
    came = make_message(gateway, thread_id="T9")
    Message.objects.filter(pk=came.pk).update(state="sent")
    assert hear_of_letter(message=came.public_id) is None
    assert Thread.objects.count() == 0


# the page and its form


def post(client, draft, **fields):
    data = {"outcome": "approve", "reason": "", "fingerprint": draft.revision.fingerprint, **fields}
    return client.post(f"/queue/{draft.public_id}/verdict/", data, headers=HTMX)


def test_page_asks_for_the_tick_and_takes_it(desk, draft, upstream):
    tell(upstream, letter(1, 5, "Please cancel it instead."))
    read(draft)
    page = desk.get(f"/queue/{draft.public_id}/", headers=HTMX).content.decode()
    ticked = conversation_of(draft).late_id
    assert f'name="thread_read" value="{ticked}" required' in page
    assert "Please cancel it instead." in page
    refused = post(desk, draft)
    assert refused.status_code == 409
    assert "Read that, tick that you did, then approve." in refused.content.decode()
    assert Decision.objects.count() == 0
    assert post(desk, draft, thread_read=str(ticked)).status_code == 200
    assert Decision.objects.get().outcome == "approve"


@pytest.mark.parametrize("nonsense", ["-1", "x", "9" * 30, "1 OR 1=1"])
def test_nonsense_for_a_tick_is_none(desk, draft, upstream, nonsense):
    tell(upstream, letter(1, 5))
    read(draft)
    assert post(desk, draft, thread_read=nonsense).status_code == 409


def test_refused_approval_keeps_what_was_typed(desk, draft, upstream):
    tell(upstream, letter(1, 5))
    read(draft)
    page = post(desk, draft, reason="Checked with Ben, the sum is right.").content.decode()
    assert "Checked with Ben, the sum is right." in page


def test_thread_that_was_opened_is_noted_until_it_grows(desk, draft, upstream, reviewer):
    tell(upstream, letter(1, -5))
    read(draft)
    address = f"/queue/{draft.public_id}/unread/"
    assert 'title="Not opened yet: the thread"' in desk.get(address).content.decode()
    fragment(desk, draft)
    fragment(desk, draft)
    assert "hidden" in desk.get(address).content.decode()
    assert Entry.objects.of_message(draft.public_id).filter(action="thread.opened").count() == 1
    tell(upstream, letter(1, -5), letter(2, -4))
    read(draft)
    assert 'title="Not opened yet: the thread"' in desk.get(address).content.decode()


def test_thread_that_nobody_looks_at_is_not_noted(desk, draft, upstream):
    tell(upstream, letter(1, -5))
    read(draft)
    desk.head(f"/queue/{draft.public_id}/thread/")
    desk.get(f"/queue/{draft.public_id}/thread/", headers={"Sec-Purpose": "prefetch"})
    assert OpenedPart.objects.count() == 0


def test_thread_has_a_page_of_its_own_without_scripts(desk, draft, upstream):
    tell(upstream, letter(1, -5, "Where is it?"))
    read(draft)
    page = desk.get(f"/queue/{draft.public_id}/thread/").content.decode()
    assert "<h1" in page
    assert "Where is it?" in page
    assert f'href="/queue/{draft.public_id}/"' in page


# for how long


def test_thread_is_deleted_a_month_after_its_last_draft_is_past_the_desk(draft, upstream):
    tell(upstream, letter(1, -5))
    read(draft)
    Thread.objects.update(not_before=Now() - timedelta(days=31))
    assert retain.forget_threads() == 0
    Message.objects.update(state="sent")
    assert retain.forget_threads() == 1
    assert ThreadLetter.objects.count() == 0
