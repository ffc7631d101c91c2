"""Stuck items are listed with a reason and one safe action, within a person's visible
scope.
"""

import json
import random
from datetime import timedelta
from functools import partial

import pytest
import redis
from django.conf import settings
from django.core.management import call_command
from django.db.models.functions import Now

from alerts.models import Destination
from approvals.intake import ingest
from approvals.operations import attention
from approvals.operations.attention import attention_count, attention_for
from approvals.operations.items import grouped
from approvals.reconcile import closing
from approvals.reconcile.reads import ask_about
from audit.models import Entry
from dashboard.models import Tick
from mirror.models import Connection, Message, WebhookEvent
from mirror.sync.reads import UpstreamStatus
from policy.kill_switch import pull
from tests.factories import (
    NOW,
    actor_of,
    change_row,
    event_body,
    make_connection,
    make_message,
    make_person,
    rolled_back,
)
from tests.integration.deciding import expires, make_decision

pytestmark = pytest.mark.usefixtures("working")

# Longer ago than anything that resolves itself may take.
LATE = Now() - timedelta(minutes=5)


@pytest.fixture
def press(signed_in, django_capture_on_commit_callbacks):
    """Return a function that presses a button and returns the sent tasks and rows, in
    order.
    """
    broker = redis.Redis.from_url(settings.REDIS_URL)

    def post(person, url, **fields):
        broker.delete("sync", "decisions")
        with django_capture_on_commit_callbacks(execute=True):
            answer = signed_in(person).post(url, fields)
        assert answer.status_code == 302
        assert answer["Location"] == "/attention/"
        sent = []
        while raw := broker.rpop("sync") or broker.rpop("decisions"):
            headers = json.loads(raw)["headers"]
            sent.append(
                (
                    headers["task"].rpartition(".")[2],
                    int(headers["argsrepr"].strip("[](),")),
                )
            )
        return sent

    return post


decide = partial(make_decision, changed_at=LATE)


def found(person, now=NOW):
    """Return the stuck items; the count in the rail must match."""
    actor = actor_of(person)
    listed = attention_for(actor, now)
    assert attention_count(actor) == len(listed)
    return listed


def kinds(person):
    return [one.kind for one in found(person)]


def make_event(connection, result="poison", body=b"{", **fields):
    return WebhookEvent.objects.create(
        connection=connection, digest=str(WebhookEvent.objects.count()), body=body, secret_used="current",
        result=result, error="The body is no JSON.", name="oversight.pending", **{"received_at": LATE, **fields},
    )  # fmt: skip


DOUBTS = {
    "Unknown": ({"state": "unknown"}, "Check again", True),
    "Held twice": (
        {"state": "unknown", "seen_held": 2},
        "Read it, then send again",
        False,
    ),
    "Unattributed": ({"state": "unattributed"}, "Record what happened", False),
    "Withdrawn": ({"state": "withdrawn"}, "Reject at MultiMail", False),
    "Refused": (
        {"state": "refused", "explanation": "The content changed."},
        "Read again",
        False,
    ),
    "Applied": ({"state": "applied"}, "", False),
    "Recorded": ({"state": "recorded"}, "", False),
    "Undone": ({"state": "undone"}, "", False),
}


def test_unconfirmed_decision_is_listed_with_its_action_and_a_healthy_one_is_not(
    signed_in, reviewer, connection, press, django_assert_max_num_queries
):
    decisions = [
        decide(make_message(connection, subject=name), reviewer, **fields)
        for name, (fields, *_) in DOUBTS.items()
    ]
    wanted = {
        name: (fields["state"], label, posts)
        for name, (fields, label, posts) in DOUBTS.items()
        if label
    }
    assert {
        one.message.subject: (one.kind, one.act.label, one.act.posts)
        for one in found(reviewer)
    } == wanted
    client = signed_in(reviewer)
    with django_assert_max_num_queries(36):
        page = client.get("/attention/").text
    assert [
        text
        for name, (_, label, _) in wanted.items()
        for text in (name, label)
        if text not in page
    ] == []
    unknown = decisions[0]
    assert ("resolve_decision", unknown.pk) in press(
        reviewer, f"/attention/{unknown.message.public_id}/look/"
    )
    assert (
        Entry.objects.filter(
            action="message.asked_about", message=unknown.message.public_id
        ).count()
        == 1
    )


def test_item_that_resolves_itself_is_listed_only_once_it_is_overdue(
    reviewer, connection
):
    message = make_message(connection)
    for fields in DOUBTS.values():
        with rolled_back():
            decide(message, reviewer, **{**fields[0], "changed_at": Now()})
            only_people_can = fields[1] in (
                "Read it, then send again",
                "Reject at MultiMail",
                "Read again",
            )
            assert bool(found(reviewer)) == only_people_can, fields
    # MultiMail was restarted: the next reads may work.
    Connection.objects.update(
        failing_since=Now() - timedelta(minutes=2), last_error="No answer."
    )
    make_event(connection, result="late", received_at=Now())
    assert found(make_person("ada@yourteam.example", "Ada", "admin")) == []


def receive_event(connection, message, name, **fields):
    """Receive one more webhook about a message."""
    body = event_body(name, email_id=message.upstream_id, **fields)
    return ingest.receive_webhook(
        connection=connection, body=body, secret_used="current"
    )


def test_approvals_whose_webhooks_come_late_and_in_any_order_are_not_listed(
    reviewer, admin, connection
):
    """The reads after a bulk decision report everything first; the later webhooks add
    nothing.
    """
    complete = UpstreamStatus(
        reported="approved",
        status="sent",
        later_events=("sent", "delivered"),
        decided_by="Ana",
    )
    webhooks = [
        "oversight.pending",
        "oversight.approved",
        "message.sent",
        "message.delivered",
    ]
    shuffled = random.Random(18)
    for number in range(5):
        message = make_message(connection)
        decide(message, reviewer, "applied", changed_at=Now())
        read = shuffled.choice([None, UpstreamStatus(reported="approved"), complete])
        if read:
            assert closing.close(message, read, NOW) == "closed"
        for name in shuffled.sample(webhooks, 4):
            long_ago = {"timestamp": "2026-11-20T04:00:00Z"} if number % 5 == 0 else {}
            assert receive_event(connection, message, name, **long_ago).result in (
                "applied",
                "late",
            )
        message.refresh_from_db()
        assert message.state == "delivered"
    WebhookEvent.objects.update(received_at=LATE)
    assert WebhookEvent.objects.filter(result="late").count() > 4, "they did come late"
    assert found(admin) == []
    assert WebhookEvent.objects.to_look_at().count() == 0


def test_contradicting_webhook_is_checked_and_listed_only_if_the_check_does_not_settle_it(
    admin, upstream
):
    connection = make_connection("asked", api_url=upstream.url, complete_as_of=NOW)
    Connection.objects.update(complete_as_of=Now())
    message = make_message(connection)
    upstream.holds(status="rejected", decision="rejected")
    assert receive_event(connection, message, "oversight.rejected").result == "checking"
    assert ask_about(message_id=message.pk, now=NOW) == "closed"
    # It says that the rejected message was sent: a read tells whether that is so.
    for there, needs in ((None, ["late"]), ("sent", []), ("rejected", ["refuted"])):
        with rolled_back():
            assert (
                receive_event(connection, message, "message.sent").result == "checking"
            )
            WebhookEvent.objects.update(received_at=LATE)
            upstream.unknown = set() if there else {message.upstream_id}
            upstream.holds(
                status=there, decision="rejected" if there == "rejected" else "approved"
            )
            ask_about(message_id=message.pk, now=NOW)
            assert kinds(admin) == needs, there
    upstream.unknown = set()
    upstream.holds(status="rejected", decision="rejected")
    event = receive_event(connection, message, "oversight.approved")
    assert event.result == "late"
    assert event.ask == message
    WebhookEvent.objects.update(received_at=LATE)
    [one] = found(admin)
    assert one.kind == "late"
    assert one.act.label == "Compare with MultiMail"
    assert ask_about(message_id=message.pk, now=NOW) == "nothing new"
    assert found(admin) == []
    # A check does not settle a webhook that came after it.
    Message.objects.update(asked_at=Now() - timedelta(minutes=9))
    receive_event(connection, message, "oversight.approved")
    WebhookEvent.objects.update(received_at=LATE)
    message.refresh_from_db()
    closing.catch_up(message, UpstreamStatus(reported="rejected"), NOW)
    assert kinds(admin) == ["late"]


@pytest.mark.slow
def test_message_missing_upstream_is_checked_although_its_decision_waits_for_a_person(
    reviewer, connection, press
):
    messages = {
        state: make_message(connection) for state in ("unattributed", "withdrawn")
    }
    for state, message in messages.items():
        decide(message, reviewer, state)
    Message.objects.update(state="gone")
    assert {one.act.label for one in found(reviewer)} == {"Record what happened"}
    for message in messages.values():
        assert press(reviewer, f"/attention/{message.public_id}/look/") == [
            ("ask_about", message.pk)
        ]


def test_refused_and_overdue_messages_are_listed_until_they_are_decided_again(
    reviewer, connection
):
    message = make_message(connection)
    with rolled_back():
        decide(message, reviewer, "refused")
        assert kinds(reviewer) == ["refused"]
        decide(message, reviewer, "recorded", outcome="reject")
        assert kinds(reviewer) == []
    expires(minutes=-5)
    assert kinds(reviewer) == ["overdue"]
    decide(message, None, "recorded", outcome="reject", rule="expiry")
    assert kinds(reviewer) == []


@pytest.mark.slow
def test_auditor_sees_stuck_items_without_actions(
    signed_in, auditor, reviewer, connection
):
    decide(make_message(connection), reviewer, "unknown")
    make_event(connection)
    assert [one.act for one in found(auditor)] == [None, None]
    page = signed_in(auditor).get("/attention/").text
    assert "It is not known whether" in page
    assert "Webhook body" not in page
    assert "<form" not in page.partition('id="attention"')[2].partition("</section>")[0]


def test_items_outside_the_visible_scope_are_neither_counted_nor_listed(
    admin, reviewer, connection
):
    decide(make_message(connection), reviewer, "unknown")
    make_event(connection)
    make_event(connection, result="late")
    assert attention_count(actor_of(admin)) == 3
    Connection.objects.update(paused_at=Now())
    other = make_connection("other", complete_as_of=NOW)
    change_row(other, complete_as_of=Now())
    stranger = make_person("x@yourteam.example", "X", "admin", connection=other)
    assert kinds(stranger) == []


def test_missing_content_is_listed_with_its_reason_and_can_be_retried(
    admin, connection, press
):
    message = make_message(connection, hydrated=False)
    Message.objects.update(held_at=Now() - timedelta(minutes=5))
    Connection.objects.update(last_error="MultiMail did not answer in time.")
    [one] = found(admin)
    assert one.kind == "unread"
    assert one.why == "MultiMail did not answer in time."
    Message.objects.update(fetch_tries=3)
    [one] = found(admin)
    assert one.kind == "unfetchable"
    assert one.act.label == "Try again"
    assert ("hydrate", message.pk) in press(admin, one.act.url)
    message.refresh_from_db()
    assert message.fetch_tries == 0


@pytest.mark.slow
def test_ignored_newer_content_is_listed_too(reviewer, connection, press):
    make_message(connection)
    Message.objects.update(fetch_tries=4)
    [one] = found(reviewer)
    assert one.kind == "unfetchable"
    assert press(reviewer, one.act.url) == [("read_connection", connection.pk)]
    assert found(reviewer) == []


@pytest.mark.slow
def test_approved_messages_without_news_are_compared_even_without_webhooks(
    reviewer, connection, press
):
    message = make_message(connection)
    Message.objects.update(state="approved", changed_at=Now() - timedelta(hours=2))
    for fields in ({}, {"subject": "", "hydrated_at": None, "revision": None}):
        Message.objects.update(**fields)
        [one] = found(reviewer)
        assert one.kind == "silent", fields
        assert one.act.label == "Compare with MultiMail", fields
        assert ("ask_about", message.pk) in press(reviewer, one.act.url)
        Message.objects.update(changed_at=Now() - timedelta(hours=2))


def test_decision_that_no_worker_claimed_is_retried(reviewer, admin, connection, press):
    decision = decide(make_message(connection), reviewer, "recorded", due_at=LATE)
    # A switch of another connection is not named as the cause.
    pull(
        actor=actor_of(admin),
        reason="Elsewhere",
        connection=make_connection("other"),
    )
    one = next(one for one in found(reviewer) if one.kind == "stalled")
    assert one.why == "No worker has picked them up."
    assert press(reviewer, one.act.url) == [("execute_decision", decision.pk)]


@pytest.mark.slow
def test_decisions_with_one_cause_are_grouped_and_link_to_it(
    reviewer, admin, connection
):
    for _ in range(3):
        decide(make_message(connection), reviewer, "recorded", due_at=LATE)
    page = f"/connections/#connection-{connection.pk}"
    for cause, url, words in (
        (
            {"paused_at": Now(), "paused_because": "The key was refused."},
            page,
            "The key was refused.",
        ),
        (
            {"wait_until": NOW + timedelta(hours=1)},
            page,
            "asked Gateway main to wait until 11:00:00 UTC",
        ),
        ({}, "/stop/", "A flood of refunds"),
    ):
        with rolled_back():
            if cause:
                Connection.objects.update(**cause)
            else:
                pull(
                    actor=actor_of(admin),
                    reason=words,
                    connection=connection,
                )
            [group] = [
                one for one in grouped(found(reviewer)) if one.first.kind == "stalled"
            ]
            assert group.what == "3 decisions were not carried out", cause
            assert len(group.items) == 3, cause
            assert words in group.first.why, cause
            assert group.act.url == url, cause


@pytest.mark.slow
def test_decisions_stopped_by_a_kill_switch_are_listed_at_once(
    signed_in, reviewer, admin, connection, capsys
):
    message = make_message(connection, subject="Invoice 2207")
    decision = decide(message, reviewer, "recorded")
    assert found(reviewer) == []
    wholes = ({}, {"connection": connection}, {"mailbox": message.mailbox})
    for where, fields in (
        *((one, {}) for one in wholes),
        (wholes[2], {"mailbox": None}),
    ):
        with rolled_back():
            Message.objects.update(**{"mailbox": message.mailbox, **fields})
            pull(actor=actor_of(admin), reason="A flood of refunds", **where)
            [one] = found(admin)
            assert one.kind == "stalled"
            assert one.message == message
            assert one.act.url == "/stop/"
            assert "“Invoice 2207” was approved" in one.what
            assert "Ida Lindqvist pulled the kill switch for" in one.why

    pull(actor=actor_of(admin), reason="A flood of refunds")
    with pytest.raises(SystemExit):
        call_command("doctor")
    assert (
        "“Invoice 2207” was approved, and that was not carried out"
        in capsys.readouterr().out
    )
    # A decision that can still be undone waits for that, not for the switch.
    change_row(decision, due_at=Now() + timedelta(seconds=50))
    assert found(reviewer) == []


@pytest.mark.slow
def test_late_webhook_is_compared_and_closed(admin, connection, press):
    message = make_message(connection)
    known = make_event(connection, result="late", email_id=message.upstream_id)
    unknown = make_event(connection, result="late", email_id="nobody knows")
    assert press(admin, f"/attention/webhooks/{known.pk}/compare/") == [
        ("ask_about", message.pk)
    ]
    assert press(admin, f"/attention/webhooks/{unknown.pk}/compare/") == [
        ("read_connection", connection.pk)
    ]
    assert kinds(admin) == []


def test_unhealthy_connection_can_be_read_now(admin, connection, press):
    actor = actor_of(admin)
    long_ago = Now() - timedelta(hours=1)
    for fields, words in (
        ({"paused_at": Now(), "paused_because": "The key was refused."}, "is paused"),
        (
            {"failing_since": LATE, "last_error": "No answer."},
            "cannot be read reliably",
        ),
        ({"complete_as_of": None, "created_at": long_ago}, "has never been read"),
        ({"complete_as_of": Now() - timedelta(minutes=11)}, "cannot be read reliably"),
    ):
        with rolled_back():
            Connection.objects.update(**fields)
            [one] = attention_for(actor, NOW)
            assert words in one.what, fields
    Connection.objects.update(complete_as_of=Now() - timedelta(minutes=11))
    [one] = found(admin)
    assert press(admin, one.act.url, back="attention") == [
        ("read_connection", connection.pk)
    ]


def test_items_with_one_cause_are_one_group_with_one_action(
    signed_in, admin, reviewer, connection, press, monkeypatch
):
    monkeypatch.setattr("approvals.operations.items.SHOWN", 2)
    for number in range(4):
        make_event(connection, body=b'{"n": %d}' % number)
    make_event(connection, event_id="x")
    WebhookEvent.objects.filter(event_id="x").update(
        error="Another error.", name="message.sent"
    )
    alone, group = sorted(grouped(found(admin)), key=lambda one: one.number)
    assert alone.number == 1
    assert alone.act.label == "Replay"
    assert (
        group.what
        == "4 webhooks (oversight.pending) of Gateway main could not be applied"
    )
    assert group.act.label == "Replay all 4"
    assert group.act.url == f"/attention/groups/{group.key}/"
    page = signed_in(admin).get("/attention/").text
    for words in (
        '<strong class="nums">5</strong> items',
        "2 causes",
        "And 2 more.",
        group.act.label,
    ):
        assert words in page, words
    # Each item still has its own action.
    each = [one.event.pk for one in group.items]
    assert [f"/attention/webhooks/{key}/replay/" in page for key in each] == [
        True
    ] * 2 + [False] * 2
    assert signed_in(reviewer).post(group.act.url).status_code == 403
    press(admin, group.act.url)
    assert Entry.objects.filter(action="webhook.replayed").count() == 4
    assert grouped(found(admin)) == [alone]
    assert signed_in(admin).post(group.act.url).status_code == 404
    for number in range(2):
        make_event(connection, body=b"[%d]" % number)
    group = max(grouped(found(admin)), key=lambda one: one.number)
    press(admin, group.act.url, do="dismiss")
    assert grouped(found(admin)) == [alone]
    assert Entry.objects.filter(action="webhook.dismissed").count() == 2


def test_group_of_messages_is_checked_in_one_go_and_the_page_counts_the_rest(
    signed_in, admin, connection, press, monkeypatch
):
    monkeypatch.setattr(attention, "READ", 3)
    monkeypatch.setattr("approvals.operations.views.READ", 3)
    messages = [make_message(connection, hydrated=False) for _ in range(5)]
    Message.objects.update(held_at=LATE)
    Connection.objects.update(last_error="MultiMail did not answer in time.")
    [group] = grouped(attention_for(actor_of(admin), NOW))
    assert group.number == 3
    assert group.act.label == "Try all 3 again"
    page = " ".join(signed_in(admin).get("/attention/").text.split())
    assert (
        'The 3 oldest of each kind are listed; <strong class="nums">2</strong> more follow'
        in page
    )
    enqueued = press(admin, group.act.url)
    assert enqueued == [("hydrate", message.pk) for message in messages[:3]]


def test_page_shows_admins_poison_and_silent_workers(signed_in, admin, connection):
    make_event(
        connection,
        body=b'{"subject": "<script>alert(1)</script>\xe2\x80\xae"' + b"x" * 5000,
    )
    Tick.objects.filter(job="alerts.tasks.sweep").update(
        at=Now() - timedelta(minutes=3)
    )
    page = signed_in(admin).get("/attention/").text
    expected = (
        "The body is no JSON.",
        "&lt;script&gt;alert(1)",
        "more bytes",
        "Alerts are not sent since",
    )
    assert [one for one in expected if one not in page] == []
    hidden = (
        "<script>alert",
        "x" * 2500,
        "Decisions are not carried out",
        "Nothing needs attention",
    )
    assert [one for one in hidden if one in page] == []
    event = f"/attention/webhooks/{WebhookEvent.objects.get().pk}"
    for act, words in (
        ("replay", "still could not be applied"),
        ("dismiss", "The webhook was dismissed."),
    ):
        answer = signed_in(admin).post(f"{event}/{act}/", follow=True)
        assert words in answer.text


@pytest.mark.slow
def test_page_shows_reviewers_disabled_destinations(signed_in, reviewer, connection):
    Destination.objects.create(
        name="Ops", url="https://discord.com/api/webhooks/1/secret-token", switched_off_at=Now(),
        switched_off_because="Discord says that it is gone.",
    )  # fmt: skip
    page = signed_in(reviewer).get("/attention/").text
    assert "Alerts to Ops are switched off since" in page
    assert "Discord says that it is gone." in page
    assert "An admin of everything can fix it." in page
    hidden = ("Send a test", "Nothing needs attention", "secret-token")
    assert [one for one in hidden if one in page] == []
