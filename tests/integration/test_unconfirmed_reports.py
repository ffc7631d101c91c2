"""A webhook alone closes nothing: what it reports of a held message waits for a read,
and the read counts.
"""

import random
from datetime import UTC, datetime, timedelta

import pytest
from django.db.models.functions import Now

from alerts.cards.message import card_status
from alerts.models import Delivery, Destination, Route
from approvals.desk_messages import desk_messages
from approvals.intake import ingest
from approvals.intake.ingest import receive_webhook
from approvals.operations.attention import attention_count, attention_for
from approvals.reconcile.reads import ask_about, check_reports
from audit.models import Entry
from common.postgres import clock
from mirror.models import Connection, Message, WebhookEvent
from tests.factories import (
    NOW,
    actor_of,
    change_row,
    confirm_reports,
    event_body,
    make_connection,
    make_message,
    pending_row,
    post_confirmed,
    post_event,
)
from tests.integration.deciding import at_once, decide, read_all
from tests.variants import variants

pytestmark = pytest.mark.usefixtures("plans_at_once")

ELSEWHERE = {"status": "sent", "decision": "approved", "decided_by": "Ben elsewhere"}
DECIDED = ("message.approved", "message.released", "message.rejected")


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


def test_signed_webhook_about_a_pending_message_does_not_take_it_out_of_the_queue(
    client, connection, upstream, admin, signed_in
):
    name = "oversight.approved"
    message = make_message(connection)
    upstream.holds(pending_row(message.upstream_id))
    said = {"decided_by": "Mallory", "reason": "Fine"}
    assert report(client, message, name, **said) == "checking"
    assert is_in_queue(message)
    assert not message.upstream_decided_by + message.upstream_reason
    word = "Said to be {} elsewhere".format(name.partition(".")[2])
    assert word in signed_in(admin).get(f"/queue/{message.public_id}/").text
    assert card_status(message).word == "Held"

    check(connection)
    assert is_in_queue(message)
    assert message.reported == ""
    [item] = refuted_for(admin)
    assert name in item.what
    assert item.act is not None
    assert Entry.objects.of_message(message.public_id).of_action("webhook.refuted")


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


def test_complete_read_reopens_what_webhooks_alone_had_ended(
    client, connection, upstream, admin
):
    """The forged webhook comes before the message is known: there is nothing yet that
    could be kept.
    """
    post_event(
        client, connection, event_body("message.sent", email_id="01EARLY", status="")
    )
    message = Message.objects.get()
    assert message.state != "held"
    upstream.holds(pending_row("01EARLY"))
    assert read_all(connection) == "1 held"
    assert is_in_queue(message)
    assert message.hydrated_at is not None
    assert len(refuted_for(admin)) == 1


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


def test_webhook_changes_nothing_of_a_message_that_was_read_but_has_it_read_again(
    connection,
):
    message = make_message(connection, metadata={})
    before = Message.objects.filter(pk=message.pk).values().get()
    for fields, asks in (
        ({"to": ["eve@evil.example"]}, True),
        ({"thread_id": "01OTHER", "decided_by": "y", "metadata": {"x": "y"}}, False),
    ):
        body = event_body(email_id=message.upstream_id, **fields)
        stored = receive_webhook(
            connection=connection, body=body, secret_used="current"
        )
        assert (stored.ask is not None) is asks, fields
        assert Message.objects.filter(pk=message.pk).values().get() == before, fields


# The state, an event, and what a read by id tells; then what becomes of it, and whether
# the webhook was refuted.
REPORTED_ENDS = [
    ("approved", "message.failed", ELSEWHERE, "sent", True),
    ("scheduled", "message.cancelled", {"status": "cancelled"}, "cancelled", False),
    # The gateway has forgotten it, so that the webhook is the best that is known.
    ("scheduled_approved", "message.cancelled", {}, "cancelled", False),
]


@pytest.mark.parametrize(
    ("state", "name", "there", "after", "is_false"), variants(REPORTED_ENDS, 1)
)
def test_webhook_alone_ends_nothing_that_has_not_ended_and_a_read_tells_what_is_true(
    client, connection, upstream, admin, state, name, there, after, is_false
):
    message = make_message(connection)
    change_row(message, state=state)
    upstream.holds(**there)
    assert report(client, message, name, decided_by="Mallory") == "checking"
    message.refresh_from_db()
    assert message.state == state
    assert message.upstream_decided_by == ""
    check(connection)
    message.refresh_from_db()
    assert message.state == after
    assert message.reported == ""
    assert [name in one.what for one in refuted_for(admin)] == [True] * is_false


def test_false_reject_does_not_settle_a_decision_in_doubt(
    client, connection, upstream, reviewer, admin
):
    message = make_message(connection)
    decision = decide(message, reviewer).decision
    change_row(decision, state="unattributed", may_have_left=True, attempt=1)
    change_row(message, state="gone")
    assert report(client, message, "oversight.rejected", reason="No") == "checking"
    decision.refresh_from_db()
    assert decision.state == "unattributed"
    reason = f"[countersign:{decision.reference}]"
    upstream.holds(status="sent", decision="approved", reason=reason)
    check(connection)
    decision.refresh_from_db()
    assert decision.state == "applied"
    assert len(refuted_for(admin)) == 1


@pytest.fixture
def message(db, upstream):
    connection = make_connection(api_url=upstream.url)
    for kind in ("inngest", "discord_webhook"):
        destination = Destination.objects.create(
            kind=kind, name=kind, url="https://discord.com/api/webhooks/1/token"
        )
        Route.objects.create(
            destination=destination,
            actions=[*DECIDED, "message.sent", "message.bounced"],
        )
    return make_message(connection)


def delivered_events():
    """The events planned for the program, in order; at most one card is planned."""
    assert Delivery.objects.filter(kind="card").count() <= 1
    return list(
        Delivery.objects.filter(kind="event")
        .order_by("pk")
        .values_list("action", flat=True)
    )


def receive_events(client, message, *names):
    for name in names:
        response = post_confirmed(
            client, message.connection, event_body(name, email_id=message.upstream_id)
        )
        assert response.status_code == 200


def hold(upstream, message):
    """Make MultiMail hold the message as the desk knows it."""
    upstream.holds(
        pending_row(
            message.upstream_id, subject=message.subject, metadata=message.trigger
        )
    )


def test_decision_made_elsewhere_and_found_by_reading_is_announced_once(
    client, message, upstream
):
    Connection.objects.update(read_at=None)
    upstream.holds(pending_row("01OTHER"))
    Message.objects.update(state="gone")
    upstream.holds(status="sent", decision="approved")
    ask_about(message_id=message.pk, now=NOW)
    acts = ["message.approved", "message.sent"]
    assert delivered_events() == acts
    receive_events(client, message, "oversight.approved")
    assert delivered_events() == acts


# --- webhooks in any order, repeated, late or at once ---


OUTBOUND = [
    ("pending",),
    ("pending", "approved", "cancelled"),
    ("pending", "approved", "sent", "delivered", "complained"),
    ("pending", "approved", "sent", "bounced", "delivered"),
    ("pending", "approved", "sent", "bounced", "complained"),
    ("pending", "approved", "bounced", "failed"),
]
INBOUND = [
    ("received",),
    ("pending", "rejected"),
    ("pending", "approved", "received"),
    ("pending", "received"),
]
DECISIONS = ("approved", "rejected")


def bodies_of(number, kinds, *, is_old=False, **fields):
    """Return the webhooks of one message, oldest first. `is_old`: a day ago, so that
    they are stored as late.
    """
    first = datetime.now(UTC) - (timedelta(days=1) if is_old else timedelta(minutes=10))
    bodies = []
    for index, kind in enumerate(kinds):
        fields["timestamp"] = (first + timedelta(seconds=index)).isoformat()
        if kind in DECISIONS:
            fields |= {"decision": kind, "reason": "Fine", "decided_by": "operator"}
        kind_of = "oversight" if kind in ("pending", *DECISIONS) else "message"
        bodies.append(
            event_body(f"{kind_of}.{kind}", email_id=f"01E{number}", **fields)
        )
    return bodies


def receive(connection, body):
    stored = ingest.receive_webhook(
        connection=connection, body=body, secret_used="current"
    )
    assert stored.result != "poison", stored.event and stored.event.error
    return stored.result


def mirror_of(connection):
    """Return everything that must be equal in the end."""
    return {
        message.upstream_id: (
            message.state,
            message.subject,
            message.direction,
            message.upstream_decided_by,
            message.held_at,
        )
        for message in Message.objects.filter(connection=connection)
    }


def held_announcements(connection):
    return Entry.objects.filter(connection=connection.pk, action="message.held").count()


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(6))
def test_webhooks_in_any_order_end_in_the_same_mirror(seed):
    chance = random.Random(seed)
    kinds = [*OUTBOUND, *INBOUND]
    is_old = [chance.random() < 0.25 for _ in kinds]
    histories = [
        bodies_of(
            number,
            kinds[number],
            is_old=is_old[number],
            direction="outbound" if number < len(OUTBOUND) else "inbound",
        )
        for number in range(len(kinds))
    ]
    ordered = make_connection("ordered")
    shuffled = make_connection("shuffled")
    bodies = [body for history in histories for body in history]
    for body in bodies:
        receive(ordered, body)
    order = chance.sample([*bodies, *chance.choices(bodies, k=5)], len(bodies) + 5)
    confirm_reports()
    for body in order:
        receive(shuffled, body)
    confirm_reports()
    assert mirror_of(shuffled) == mirror_of(ordered)
    assert WebhookEvent.objects.filter(connection=shuffled).count() == len(bodies)
    # Held mail is announced only if that was the first event.
    first = [min(history, key=order.index) for history in histories]
    assert held_announcements(shuffled) == sum(
        kinds[number][0] == "pending"
        and not is_old[number]
        and first[number] == history[0]
        for number, history in enumerate(histories)
    )


@pytest.mark.django_db(transaction=True)
def test_webhooks_that_come_twice_at_once_end_in_the_same_mirror():
    kinds = ("pending", "approved", "sent", "delivered")
    bodies = [*bodies_of(1, kinds), *bodies_of(2, kinds)]
    ordered = make_connection("ordered")
    hurried = make_connection("hurried")
    for body in bodies:
        receive(ordered, body)
    orders = [random.Random(seed).sample(bodies, len(bodies)) for seed in range(4)]
    works = [lambda one=one: [receive(hurried, body) for body in one] for one in orders]
    results = [result for found in at_once(*works) for result in found]
    confirm_reports()
    assert mirror_of(hurried) == mirror_of(ordered)
    assert results.count("duplicate") == 24
    assert held_announcements(hurried) <= 2
