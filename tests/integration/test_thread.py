"""The thread of a draft: read in the background; newer messages must be ticked before
approval.
"""

from datetime import UTC, datetime, timedelta

import pytest
from django.db.models.functions import Now

from approvals.decisions.decide import give_verdict
from approvals.intake import ingest
from approvals.models import Decision, OpenedPart, Verdict
from audit.models import Entry
from mirror.errors import ThreadMovedOn
from mirror.models import Connection, Message, Thread, ThreadMessage
from mirror.sync import reads, retention
from mirror.threads import conversation_of, freshen_thread, read_thread, request_read
from tests.factories import change_row, event_body, make_message, rolled_back
from tests.integration.deciding import decide, post_verdict
from tests.markup import HTMX

PATH = "/v1/mailboxes/01MAILBOX/threads/T1"
DRAFTED = datetime.now(UTC) - timedelta(hours=1)


def at(minutes):
    """A time so many minutes after the draft was written."""
    return (DRAFTED + timedelta(minutes=minutes)).isoformat()


def thread_row(number, minutes, text="", direction="inbound", **fields):
    is_inbound = direction == "inbound"
    row = {
        "id": f"01LETTER{number}", "direction": direction, "status": "unread" if is_inbound else "sent",
        "from": "dana@northwind.example" if is_inbound else "support@yourteam.example",
        "to": ["support@yourteam.example"], "subject": "Re: order 4471", "received_at": at(minutes),
        "markdown": text or f"Letter {number}",
    }  # fmt: skip
    return {**row, **fields}


@pytest.fixture
def gateway(connection, upstream):
    connection.api_url = upstream.url
    connection.read_key = "mm_live_read"
    connection.save()
    return connection


@pytest.fixture
def draft(gateway):
    return make_draft(gateway)


def make_draft(gateway, **fields):
    """A held reply in the thread T1, an hour old."""
    message = make_message(
        gateway, thread_id="T1", in_reply_to="<1@northwind.example>", **fields
    )
    change_row(message, held_at=DRAFTED)
    message.refresh_from_db()
    return message


def set_thread(upstream, *rows, **more):
    """Make the stand-in return this thread, oldest first."""
    upstream.answers[PATH] = (200, {"thread_id": "T1", "emails": list(rows), **more})


def read(draft):
    """Read the draft's thread now, even if it was read recently."""
    Thread.objects.update(wanted=True, not_before=Now())
    return read_thread(thread_id=Thread.objects.get().pk)


def approve(draft, person, **fields):
    """Approve it, and return the outcome of the decision."""
    return give_verdict(
        message=draft.public_id, actor=person.actor(surface="discord"), outcome="approve", reason="",
        fingerprint=draft.revision.fingerprint, **fields,
    ).decision.outcome  # fmt: skip


def fragment(client, draft):
    return client.get(f"/queue/{draft.public_id}/thread/", headers=HTMX).text


def receive(gateway, name="message.received", **fields):
    """Receive the webhook of a message of the thread."""
    event_fields = {
        "thread_id": "T1",
        "direction": "inbound",
        "status": "unread",
        **fields,
    }
    return ingest.receive_webhook(
        connection=gateway, body=event_body(name, **event_fields), secret_used="current"
    )


def late(draft):
    """The messages that came after the draft."""
    return [one.upstream_id for one in conversation_of(draft).late]


# reading it


def test_thread_of_an_answer_is_read_and_shown_newest_first(desk, gateway, upstream):
    make_message(gateway, thread_id="T0")
    assert Thread.objects.count() == 0, "a first message has none"
    draft = make_draft(gateway)
    hostile = "<p>Hello<script>alert(1)</script><img src=https://evil.example/x> \u202edne</p>"
    set_thread(
        upstream, thread_row(1, -60, "Where is it?"), thread_row(2, -30, "On its way.", "outbound"),
        thread_row(4, -10, markdown=None, html_body=hostile),
        thread_row(5, 0, direction="outbound", id=draft.upstream_id, status="pending_send_approval"),
    )  # fmt: skip
    assert read(draft) == "read"
    assert upstream.keys[-1] == "mm_live_read"
    page = fragment(desk, draft)
    assert page.index("On its way.") < page.index("Where is it?")
    assert "dana@northwind.example" in page
    # A message is shown as text, with its hidden parts named.
    for live in ("<script>alert(1)", "<img", "\u202e"):
        assert live not in page
    assert "RIGHT-TO-LEFT OVERRIDE" in page


@pytest.mark.slow
def test_hosted_messages_are_read_singly_except_those_that_the_agent_has_not_read(
    draft, upstream
):
    bare = {"markdown": None}
    set_thread(
        upstream,
        thread_row(1, -9, status="read", **bare),
        thread_row(2, -8, direction="outbound", **bare),
        thread_row(3, -7, **bare),
    )
    for number in (1, 2, 3):
        key = f"01LETTER{number}"
        answer = {"id": key, "markdown": f"Words {number}"}
        upstream.answers[f"/v1/mailboxes/01MAILBOX/emails/{key}"] = (200, answer)
    read(draft)
    texts = [one.text for one in conversation_of(draft).messages]
    assert texts == ["", "Words 2", "Words 1"]
    assert not any(path.endswith("01LETTER3") for path in upstream.paths)
    calls = len(upstream.calls)
    read(draft)
    assert len(upstream.calls) == calls + 1


def test_received_message_that_is_opened_is_never_read_singly(desk, gateway, upstream):
    Connection.objects.update(is_our_gateway=False)
    gateway.refresh_from_db()
    received = make_draft(
        gateway, direction="inbound", status="pending_inbound_approval"
    )
    set_thread(upstream, thread_row(2, 0, id=received.upstream_id, markdown=None))
    assert desk.get(f"/queue/{received.public_id}/").status_code == 200
    assert freshen_thread(message_id=received.pk) == "read"
    reads.ask_status(received)
    assert not any("/emails/" in path for path in upstream.paths)


def test_thread_outside_ones_mailboxes_does_not_exist(
    signed_in, stranger, gateway, draft, upstream
):
    set_thread(upstream, thread_row(1, -5, "secret words"))
    read(draft)
    answer = signed_in(stranger).get(f"/queue/{draft.public_id}/thread/")
    assert answer.status_code == 404
    # Messages of another mailbox are not shown.
    elsewhere = {"mailbox_id": "02MAILBOX", "mailbox": "board@yourteam.example"}
    other = make_message(gateway, thread_id="T1", **elsewhere)
    assert conversation_of(other).messages == ()
    assert [one.text for one in conversation_of(draft).messages] == ["secret words"]


# what came after the draft


@pytest.mark.slow
def test_message_that_came_after_the_draft_is_marked_recorded_once_and_announced(
    desk, draft, upstream
):
    rows = [thread_row(1, -5)]
    set_thread(upstream, *rows)
    read(draft)
    path = f"/queue/{draft.public_id}/thread/"
    pulse = f"/queue/pulse/?open={draft.public_id}"
    assert desk.get(pulse).json()["open"]["late"] == "0"
    desk.get(path, headers={**HTMX, "Sec-Purpose": "prefetch"})
    assert OpenedPart.objects.count() == 0, "nobody looked at it"

    rows.append(thread_row(2, 5, "Please cancel it instead."))
    set_thread(upstream, *rows)
    for _ in range(2):
        read(draft)
    assert late(draft) == ["01LETTER2"]
    answered = Entry.objects.get(action="message.answered")
    assert answered.detail.fields["from"] == "dana@northwind.example"
    assert desk.get(pulse).json()["open"]["late"] != "0"
    # Opening the thread is recorded once, until it grows.
    for _ in range(2):
        assert fragment(desk, draft).count("Came after this draft") == 1
    assert Entry.objects.filter(action="thread.opened").count() == 1
    set_thread(upstream, *rows, thread_row(3, 6))
    read(draft)
    unread = desk.get(f"/queue/{draft.public_id}/unread/").text
    assert "<bdi>the thread</bdi>" in unread


def test_approval_that_leaves_out_what_came_after_is_refused_on_every_surface(
    draft, upstream, reviewer
):
    set_thread(upstream, thread_row(2, 5))
    read(draft)
    with pytest.raises(
        ThreadMovedOn,
        match=r"dana@northwind\.example wrote in this thread on .* after this draft",
    ):
        approve(draft, reviewer)
    # Rejecting it and releasing received mail require no tick.
    for outcome in ("reject", "send_back"):
        with rolled_back():
            decide(draft, reviewer, outcome, "They wrote again")
            assert Decision.objects.get().outcome == outcome
    with rolled_back():
        Message.objects.update(direction="inbound")
        assert decide(draft, reviewer).decision.outcome == "approve"
    draft.refresh_from_db()
    # A tick for one message does not cover the next, nor an earlier one that is found
    # later.
    for found in (thread_row(3, 6), thread_row(1, 1)):
        ticked = conversation_of(draft).late_id
        upstream.answers[PATH][1]["emails"].append(found)
        read(draft)
        with pytest.raises(ThreadMovedOn):
            approve(draft, reviewer, thread_read=ticked)
    assert Verdict.objects.count() == 0
    ticked = conversation_of(draft).late_id
    assert approve(draft, reviewer, thread_read=ticked) == "approve"


def test_webhook_of_a_new_message_counts_before_the_thread_is_read_again(
    gateway, draft, upstream, reviewer
):
    set_thread(upstream, thread_row(1, -5))
    read(draft)
    receive(gateway, email_id="01LETTER2")
    with pytest.raises(ThreadMovedOn, match="has just arrived"):
        approve(draft, reviewer, thread_read=10**9)
    set_thread(upstream, thread_row(1, -5), thread_row(2, 59, "Never mind."))
    request_read(Message.objects.get(upstream_id="01LETTER2"))
    assert read_thread(thread_id=Thread.objects.get().pk) == "read"
    # A message that the read key cannot see counts by its webhook.
    held = {"email_id": "01HELD", "status": "pending_inbound_approval"}
    receive(gateway, "oversight.pending", **held)
    read(draft)
    assert "01HELD" in late(draft)
    with pytest.raises(ThreadMovedOn):
        approve(draft, reviewer)
    Message.objects.filter(upstream_id="01HELD").delete()
    ticked = conversation_of(draft).late_id
    assert approve(draft, reviewer, thread_read=ticked) == "approve"


# the page and its form


def test_page_requires_the_tick_and_keeps_what_was_typed_without_it(
    desk, draft, upstream
):
    set_thread(upstream, thread_row(1, 5, "Please cancel it instead."))
    read(draft)
    ticked = conversation_of(draft).late_id
    for nonsense in ("", "-1", "9" * 30, "1 OR 1=1"):
        refused = post_verdict(
            desk, draft, thread_read=nonsense, reason="Checked with Ben."
        )
        page = refused.text
        assert refused.status_code == 409
    for expected in (
        "Read it, tick the box, then approve.",
        "Checked with Ben.",
        f'name="thread_read" value="{ticked}" required',
        "Please cancel it instead.",
    ):
        assert expected in page
    assert Decision.objects.count() == 0
    assert post_verdict(desk, draft, thread_read=str(ticked)).status_code == 302
    assert Decision.objects.get().outcome == "approve"


def test_thread_is_deleted_a_month_after_its_last_draft_is_past_the_desk(
    draft, upstream
):
    set_thread(upstream, thread_row(1, -5))
    read(draft)
    Thread.objects.update(not_before=Now() - timedelta(days=31))
    assert retention.forget()["threads"] == 0
    Message.objects.update(state="sent")
    assert retention.forget()["threads"] == 1
    assert ThreadMessage.objects.count() == 0
