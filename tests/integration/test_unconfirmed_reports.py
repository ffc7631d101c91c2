"""A webhook alone closes nothing: what it reports of a held message waits for a read,
and the read counts.
"""

from datetime import timedelta

import pytest
from django.db.models.functions import Now

from alerts.cards.message import card_status
from approvals import tasks
from approvals.decisions.status import shown_status
from approvals.desk_messages import desk_messages
from approvals.intake.ingest import receive_webhook
from approvals.models import Decision
from approvals.operations.attention import attention_count, attention_for
from approvals.reconcile.reads import ask_about, check_reports
from audit.models import Entry
from common.postgres import clock
from mirror.models import Connection, Message, WebhookEvent
from tests.factories import (
    actor_of,
    change_row,
    event_body,
    make_connection,
    make_message,
    pending_row,
    post_event,
)
from tests.integration.deciding import decide, make_decision, read_all
from tests.markup import words_of

ENDS = (
    "oversight.approved",
    "oversight.rejected",
    "message.sent",
    "message.bounced",
    "message.cancelled",
)
ELSEWHERE = {"status": "sent", "decision": "approved", "decided_by": "Ben elsewhere"}


@pytest.fixture
def connection(upstream):
    """Our own gateway, which can be asked about one message, and was read just now."""
    made = make_connection(api_url=upstream.url)
    Connection.objects.update(complete_as_of=Now())
    return made


@pytest.fixture
def hosted(upstream):
    """Hosted MultiMail with an oversight key alone, so that only the whole list can be
    read.
    """
    upstream.headers = {}
    made = make_connection("hosted", api_url=upstream.url, is_our_gateway=False)
    Connection.objects.update(complete_as_of=Now())
    return made


def report(client, message, name="oversight.approved", **fields):
    """Post a webhook about a message, signed with the connection's secret."""
    body = event_body(name, email_id=message.upstream_id, status="", **fields)
    return post_event(client, message.connection, body).json()["result"]


def check(connection):
    """Read what the webhooks reported, as the task does that they enqueue."""
    return check_reports(connection_id=connection.pk, now=clock())


def is_in_queue(message):
    message.refresh_from_db()
    return desk_messages().in_queue().filter(pk=message.pk).exists()


def refuted_for(admin):
    """Return what an admin finds under Needs attention; the count in the sidebar must
    match.
    """
    actor = actor_of(admin)
    found = [one for one in attention_for(actor, clock()) if one.kind == "refuted"]
    assert attention_count(actor) >= len(found)
    return found


@pytest.mark.parametrize("name", ENDS)
def test_signed_webhook_about_a_pending_message_does_not_take_it_out_of_the_queue(
    client, connection, upstream, admin, signed_in, name
):
    message = make_message(connection)
    upstream.holds(pending_row(message.upstream_id))
    said = {"decided_by": "Mallory", "reason": "Fine"}
    assert report(client, message, name, **said) == "checking"
    assert is_in_queue(message)
    assert not message.upstream_decided_by + message.upstream_reason
    word = "Said to be {} elsewhere".format(name.partition(".")[2])
    desk = signed_in(admin)
    assert f"{word} · being checked" in desk.get("/queue/?group=none").text
    assert f"{word}: being checked" in desk.get(f"/queue/{message.public_id}/").text
    assert card_status(message).word == "Held"
    assert shown_status(message).tone == "amber"

    check(connection)
    assert is_in_queue(message)
    assert message.reported == ""
    assert word not in desk.get("/queue/?group=none").text
    [item] = refuted_for(admin)
    assert name in item.what
    assert item.act is not None
    assert "the secret has leaked" in desk.get("/attention/").text
    entries = Entry.objects.filter(
        message=message.public_id, action__startswith="webhook."
    ).order_by("pk")
    assert list(entries.values_list("action", flat=True)) == [
        "webhook.unconfirmed",
        "webhook.refuted",
    ]


def test_decision_elsewhere_leaves_the_queue_once_it_is_read_by_its_id(
    client, connection, upstream, admin
):
    message = make_message(connection)
    upstream.holds(**ELSEWHERE)
    assert report(client, message, decided_by="Mallory") == "checking"
    assert report(client, message, "message.sent") == "checking"
    assert is_in_queue(message)
    upstream.calls.clear()
    check(connection)
    message.refresh_from_db()
    # What the read says counts, also about who decided.
    assert message.state == "sent"
    assert message.upstream_decided_by == "Ben elsewhere"
    assert message.reported == ""
    assert [path for path in upstream.paths if "pending" in path] == [
        f"/v1/oversight/pending?email_id={message.upstream_id}"
    ]
    assert not WebhookEvent.objects.filter(
        handled_at=None, result__in=("checking", "refuted", "late")
    ).exists()
    assert refuted_for(admin) == []


def test_read_that_names_another_end_counts_and_the_webhook_is_refuted(
    client, connection, upstream, admin
):
    message = make_message(connection)
    upstream.holds(status="rejected", decision="rejected", decided_by="Ben elsewhere")
    report(client, message)
    check(connection)
    message.refresh_from_db()
    assert message.state == "rejected"
    assert len(refuted_for(admin)) == 1


def test_hosted_multimail_confirms_by_two_complete_reads_that_lack_the_message(
    client, hosted, upstream
):
    message = make_message(hosted)
    upstream.holds()
    report(client, message, "oversight.rejected", decided_by="Ben elsewhere")
    assert check(hosted) == "again"
    assert is_in_queue(message)
    check(hosted)
    message.refresh_from_db()
    assert message.state == "rejected"
    assert message.upstream_decided_by == "Ben elsewhere"
    assert message.reported == ""


def test_hosted_multimail_that_still_lists_the_message_refutes_after_a_moment(
    client, hosted, upstream, admin
):
    message = make_message(hosted)
    upstream.holds(pending_row(message.upstream_id))
    report(client, message)
    check(hosted)
    # Its list may be a moment behind.
    message.refresh_from_db()
    assert message.reported == "approved"
    assert refuted_for(admin) == []
    WebhookEvent.objects.update(received_at=Now() - timedelta(seconds=31))
    read_all(hosted)
    assert is_in_queue(message)
    assert message.reported == ""
    assert len(refuted_for(admin)) == 1


@pytest.mark.parametrize("kind", ["own", "hosted"])
def test_many_decisions_elsewhere_at_once_cost_few_reads_and_need_nobody(
    client, upstream, admin, request, kind
):
    connection = request.getfixturevalue("connection" if kind == "own" else "hosted")
    messages = [make_message(connection) for _ in range(5)]
    upstream.holds(**(ELSEWHERE if kind == "own" else {}))
    for message in messages:
        report(client, message)
    upstream.calls.clear()
    for _ in messages:
        tasks.check_reports(connection.pk)
    assert upstream.paths.count("/v1/oversight/pending?only=pending") == (
        1 if kind == "own" else 2
    )
    assert not Message.objects.filter(state="held").exists()
    assert refuted_for(admin) == []


@pytest.mark.parametrize(
    "name", ["oversight.approved", "oversight.rejected", "message.sent"]
)
def test_complete_read_reopens_what_webhooks_alone_had_ended(
    client, connection, upstream, admin, name
):
    """The forged webhook comes before the message is known: there is nothing yet that
    could be kept.
    """
    body = event_body(name, email_id="01EARLY", status="")
    post_event(client, connection, body)
    message = Message.objects.get()
    assert message.state != "held"
    upstream.holds(pending_row("01EARLY"))
    assert read_all(connection) == "1 held"
    assert is_in_queue(message)
    assert message.hydrated_at is not None
    [item] = refuted_for(admin)
    assert name in item.what
    held = Entry.objects.filter(
        message=message.public_id, action="message.held"
    ).latest("pk")
    assert "although it had been reported as" in held.detail.fields["found"]
    assert Entry.objects.filter(
        message=message.public_id, action="webhook.refuted"
    ).exists()


def test_pending_webhook_after_a_forged_end_is_read_at_once(
    client, connection, upstream
):
    post_event(
        client,
        connection,
        event_body("oversight.approved", email_id="01EARLY", status=""),
    )
    message = Message.objects.get()
    upstream.holds(pending_row("01EARLY"))
    report(client, message, "oversight.pending")
    assert ask_about(message_id=message.pk, now=clock()) == "held again"
    assert is_in_queue(message)


def test_read_that_began_before_the_end_reopens_nothing(connection, upstream, reviewer):
    ended = make_message(connection)
    decided = make_message(connection)
    upstream.holds(pending_row(ended.upstream_id), pending_row(decided.upstream_id))
    # It ends while the read is under way.
    change_row(ended, state="approved", changed_at=Now() + timedelta(minutes=1))
    # MultiMail carried our decision out a moment ago; its list may be behind.
    make_decision(decided, reviewer, "applied", changed_at=Now())
    change_row(decided, state="sent")
    read_all(connection)
    assert set(Message.objects.values_list("state", flat=True)) == {"approved", "sent"}
    Decision.objects.update(changed_at=Now() - timedelta(minutes=2))
    Message.objects.update(changed_at=Now() - timedelta(minutes=2))
    read_all(connection)
    assert set(Message.objects.values_list("state", flat=True)) == {"held"}


def test_webhook_that_names_our_call_needs_no_read_and_one_that_does_not_settles_nothing(
    client, connection, reviewer
):
    for reason, expected in (
        ("Fine [countersign:{}]", ("applied", "approved")),
        ("Fine", ("calling", "held")),
    ):
        message = make_message(connection)
        decision = decide(message, reviewer).decision
        change_row(decision, state="calling", may_have_left=True, attempt=1)
        report(
            client,
            message,
            reason=reason.format(decision.reference),
            decided_by="the desk",
        )
        decision.refresh_from_db()
        message.refresh_from_db()
        assert (decision.state, message.state) == expected
    # Once MultiMail has answered, its webhooks tell what our decision did; another end
    # still needs a read.
    Decision.objects.update(state="applied", changed_at=Now())
    assert report(client, message, "oversight.rejected") == "checking"
    assert report(client, message, "message.sent") == "applied"
    message.refresh_from_db()
    assert message.state == "sent"


def test_webhook_changes_nothing_of_a_message_that_was_read(
    client, connection, upstream
):
    message = make_message(connection, metadata={})
    before = Message.objects.filter(pk=message.pk).values().get()
    upstream.holds(pending_row(message.upstream_id, metadata={}))
    more = {
        "thread_id": "01OTHER",
        "metadata": {"discord_user": "mallory"},
        "reason": "x",
        "decided_by": "y",
    }
    for fields in (
        more,
        {"subject": "Another"},
        {"to": ["eve@evil.example"]},
        {"timestamp": "2020-01-01T00:00:00Z"},
    ):
        report(client, message, "oversight.pending", **fields)
        assert Message.objects.filter(pk=message.pk).values().get() == before, fields


def test_webhook_that_names_other_content_has_the_message_read_again(connection):
    message = make_message(connection)
    for fields, asks in (
        ({"to": ["eve@evil.example"]}, True),
        ({"subject": "Another"}, True),
        ({}, False),
    ):
        body = event_body(email_id=message.upstream_id, **fields)
        stored = receive_webhook(
            connection=connection, body=body, secret_used="current"
        )
        assert (stored.ask is not None) is asks, fields


SCHEDULED_THERE = {
    "status": "scheduled",
    "decision": "approved",
    "decided_by": "the desk",
}
# The state, a false event, and what a read by id tells; then the message stays, and the
# webhook is refuted.
FALSE_ENDS = [
    ("scheduled_approved", "message.cancelled", SCHEDULED_THERE, "scheduled_approved"),
    ("scheduled_approved", "message.bounced", SCHEDULED_THERE, "scheduled_approved"),
    ("scheduled_approved", "message.delivered", SCHEDULED_THERE, "scheduled_approved"),
    ("approved", "message.cancelled", SCHEDULED_THERE, "scheduled_approved"),
    ("approved", "message.failed", ELSEWHERE, "sent"),
    ("scheduled", "message.delivered", {"status": "scheduled"}, "scheduled"),
    ("rejected", "message.sent", {"status": "rejected"}, "rejected"),
]


@pytest.mark.parametrize(("state", "name", "there", "after"), FALSE_ENDS)
def test_webhook_alone_ends_nothing_that_has_not_ended(
    client, connection, upstream, admin, signed_in, state, name, there, after
):
    message = make_message(connection)
    change_row(message, state=state)
    upstream.holds(**there)
    assert report(client, message, name, decided_by="Mallory") == "checking"
    message.refresh_from_db()
    assert message.state == state
    assert message.upstream_decided_by == ""
    page = words_of(signed_in(admin).get(f"/queue/{message.public_id}/"))
    assert page.count(f"Said to be {message.reported}: being checked.") == 1
    check(connection)
    message.refresh_from_db()
    assert message.state == after
    assert message.reported == ""
    assert [name in one.what for one in refuted_for(admin)] == [True]


@pytest.mark.parametrize(("state", "name", "there", "after"), [
    ("scheduled_approved", "message.cancelled", {"status": "cancelled", "decision": "approved"}, "cancelled"),
    ("scheduled", "message.cancelled", {"status": "cancelled"}, "cancelled"),
    ("scheduled_approved", "message.sent", {"status": "sent", "decision": "approved"}, "sent"),
    ("approved", "message.complained", {"status": "sent", "decision": "approved"}, "complained"),
    # The gateway has forgotten it, so that the webhook is the best that is known.
    ("scheduled_approved", "message.cancelled", {}, "cancelled"),
])  # fmt: skip
def test_true_end_is_applied_as_soon_as_it_was_read_and_needs_nobody(
    client, connection, upstream, admin, state, name, there, after
):
    message = make_message(connection)
    change_row(message, state=state)
    upstream.holds(**there)
    assert report(client, message, name) == "checking"
    check(connection)
    message.refresh_from_db()
    assert message.state == after
    assert message.reported == ""
    assert not WebhookEvent.objects.filter(
        handled_at=None, result__in=("checking", "refuted", "late")
    ).exists()


def test_false_cancel_right_after_our_approval_waits_and_what_follows_is_quiet(
    client, connection, reviewer
):
    message = make_message(connection)
    decision = decide(message, reviewer).decision
    change_row(decision, state="applied", may_have_left=True, changed_at=Now())
    # Also before the webhook about our own approval has come.
    assert report(client, message, "message.cancelled") == "checking"
    reason = f"Fine [countersign:{decision.reference}]"
    assert report(client, message, reason=reason) == "applied"
    assert report(client, message, "message.failed") == "checking"
    assert [
        report(client, message, f"message.{name}") for name in ("sent", "delivered")
    ] == ["applied", "applied"]


def test_false_reject_does_not_settle_a_decision_in_doubt(
    client, connection, upstream, reviewer, admin
):
    for state, outcome in (("gone", "unattributed"), ("approved", "unknown")):
        message = make_message(connection)
        decision = decide(message, reviewer).decision
        change_row(decision, state=outcome, may_have_left=True, attempt=1)
        change_row(message, state=state)
        assert (
            report(
                client, message, "oversight.rejected", decided_by="Mallory", reason="No"
            )
            == "checking"
        )
        decision.refresh_from_db()
        assert decision.state == outcome
        upstream.holds(
            status="sent",
            decision="approved",
            reason=f"[countersign:{decision.reference}]",
            decided_by="the desk",
        )
        check(connection)
        decision.refresh_from_db()
        message.refresh_from_db()
        assert decision.state == "applied"
        assert message.state == "sent"
    assert len(refuted_for(admin)) > 0


def test_many_reports_of_mail_that_is_not_held_are_asked_about_by_the_sweep(
    client, connection, upstream, admin
):
    messages = [make_message(connection) for _ in range(5)]
    Message.objects.update(state="scheduled_approved")
    upstream.holds(status="cancelled", decision="approved")
    for message in messages:
        report(client, message, "message.cancelled")
    check(connection)
    assert Message.objects.filter(state="cancelled").count() == 3
    tasks.sweep()
    for message in Message.objects.reported_and_ended():
        ask_about(message_id=message.pk, now=clock())
    assert Message.objects.filter(state="cancelled").count() == 5
    assert refuted_for(admin) == []


def test_no_wrong_end_is_for_good_where_only_the_whole_list_can_be_read(client, hosted):
    message = make_message(hosted)
    Message.objects.update(state="scheduled_approved")
    assert report(client, message, "message.cancelled") == "applied"
    # It moves, and a person learns that the two webhooks disagree.
    assert report(client, message, "message.sent") == "late"
    message.refresh_from_db()
    assert message.state == "sent"
    assert report(client, message, "message.delivered") == "applied"
    assert WebhookEvent.objects.get(result="late").handled_at is None
