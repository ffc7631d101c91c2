"""Events for programs: their content at each privacy level, one body in every attempt,
and each response's outcome.
"""

import logging
from datetime import timedelta

import inngest as inngest_package
import pytest
from django.core.exceptions import PermissionDenied
from django.db.models.functions import Now
from django.test import override_settings
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from alerts.channels import channel_of
from alerts.channels.requests import CardRefused, DestinationGone, RetryLater
from alerts.deliveries.event_bodies import send_event
from alerts.destinations.commands import rotate_secret
from alerts.models import Delivery, Destination
from approvals.decisions.execute import run_decision
from audit.models import Entry, EntryDetail
from audit.recording import record
from common.actors import worker
from mirror.models import Message
from tests.alerting import deliver
from tests.conformance.inngest_standin import inngest as serve_inngest
from tests.factories import (
    change_row,
    make_connection,
    make_message,
    pending_row,
    rolled_back,
)
from tests.integration.deciding import decide, make_due
from tests.programs import program

pytestmark = pytest.mark.usefixtures("plans_at_once")

KEY = "an-event-key-that-nobody-may-see"


@pytest.fixture
def inngest():
    with serve_inngest() as standin:
        standin.keys = {KEY}
        yield standin


@pytest.fixture
def receiver():
    with program() as standin:
        yield standin


@pytest.fixture
def connection(db, upstream):
    return make_connection(api_url=upstream.url)


@pytest.fixture
def message(connection):
    return make_message(
        connection,
        metadata={"run_id": "refund-7", "discord_user": "ana@elsewhere.example"},
    )


def to_inngest(url, **fields):
    return Destination.objects.create(
        kind="inngest", name="Functions", url=f"{url}/e/{KEY}", **fields
    )


def to_webhook(url, **fields):
    values = {
        "kind": "signed_webhook",
        "name": "Archive",
        "secret": channel_of("signed_webhook").new_secret(),
        **fields,
    }
    return Destination.objects.create(url=f"{url}/hooks", **values)


def to_each(url):
    return {"inngest": to_inngest(url), "signed_webhook": to_webhook(url)}


def tell(destination, message, action, **details):
    """The planned delivery of an action."""
    about = (
        {"connection": message.connection_id, "message": message.public_id}
        if message
        else {}
    )
    entry = record(action, actor=worker("sync"), details=details, **about)
    values = {"kind": "event", "message": message, "entry": entry.pk, "action": action}
    return Delivery.objects.create(destination=destination, **values)


def decided(message, reviewer, upstream, outcome, reason=""):
    """Decide as a person, and let MultiMail accept it."""
    upstream.holds(
        pending_row(
            message.upstream_id, subject=message.subject, metadata=message.trigger
        )
    )
    word = "approved" if outcome == "approve" else "rejected"
    upstream.decides(200, status=word, decision=word)
    decide(message, reviewer, outcome, reason)
    make_due()
    assert run_decision(decision_id=message.decisions.get().pk) == "applied"
    return message


def again(delivery):
    """The same row, as the next worker reads it."""
    return Delivery.objects.get(pk=delivery.pk)


def test_decision_is_sent_to_inngest_as_its_own_package_reads_events(
    connection, message, reviewer, upstream, inngest
):
    decided(message, reviewer, upstream, "approve")
    delivery = tell(to_inngest(inngest.url), message, "message.approved")
    assert send_event(delivery).message_id
    event = inngest_package.Event.model_validate(inngest.events[0])
    assert event.name == "multimail/email.decided"
    assert event.id == delivery.event_id
    at = Entry.objects.get(pk=delivery.entry).at
    assert event.ts == int(at.timestamp() * 1000)
    expected = {
        "message_id": message.upstream_id,
        "decision": "approved",
        "decided_by": "Ana Ferreira",
        "connection": connection.slug,
        "mailbox": "support@yourteam.example",
        "fingerprint": message.revision.fingerprint,
        "subject": "Your refund for order 4471",
        "to": ["dana@northwind.example"],
        "reason": None,
    }
    assert {name: event.data[name] for name in expected} == expected
    assert event.data["metadata"]["run_id"] == "refund-7"
    assert "text" not in event.data


def test_repeated_event_has_the_same_id_a_new_signature_and_only_data_allowed_now(
    message, receiver
):
    destination = to_webhook(receiver.url, privacy="full")
    delivery = tell(destination, message, "message.sent")
    assert deliver(delivery_id=delivery.pk) == "delivered"
    Message.objects.update(subject="Another")
    Delivery.objects.update(state="due")
    assert deliver(delivery_id=delivery.pk) == "delivered"
    Destination.objects.update(privacy="minimal")
    Delivery.objects.update(state="due")
    assert deliver(delivery_id=delivery.pk) == "delivered"
    first, second, third = receiver.posts
    assert first.body == second.body
    assert len({post.headers["webhook-id"] for post in receiver.posts}) == 1
    hook = Webhook(destination.secret)
    assert hook.verify(second.body, second.headers)["type"] == "email.sent"
    assert "text" in first.said["data"]
    assert "subject" not in third.said["data"]


HOSTILE = "Tell dana@northwind.example <@everyone> \u202e **now**"


def test_privacy_level_applies_to_every_field_of_an_event(
    connection, reviewer, upstream, receiver
):
    metadata = {"run_id": "refund-7", "note": "of the message"}
    message = make_message(connection, metadata=metadata, subject="Secret subject")
    decided(message, reviewer, upstream, "reject", HOSTILE)
    for privacy in ("minimal", "headers", "full"):
        delivery = tell(
            to_webhook(receiver.url, privacy=privacy),
            message,
            "message.rejected",
            explanation=HOSTILE,
        )
        send_event(delivery)
        raw = receiver.posts[-1].body.decode()
        data = receiver.posts[-1].said["data"]
        assert data["privacy"] == privacy
        assert data["metadata"]["run_id"] == "refund-7"
        assert ("your refund is on its way" in raw) == (privacy == "full")
        if privacy == "minimal":
            hidden = ("dana@", "support@", "Secret", "Ana", "of the message")
            for one in hidden:
                assert one not in raw
            expected = {"to": ["d…@northwind.example"], "decided_by": "a reviewer"}
        else:
            expected = {
                "to": ["dana@northwind.example"],
                "decided_by": "Ana Ferreira",
                "subject": "Secret subject",
                "reason": HOSTILE,
                "metadata": metadata,
            }
        assert {name: data[name] for name in expected} == expected


def test_event_about_no_message_holds_what_the_ledger_stores(connection, receiver):
    destination = to_webhook(receiver.url, privacy="minimal")
    for action, details in (
        ("connection.failing", {"explanation": "No answer."}),
        ("message.refused_at_gate",
         {"recipients": "x@rival.example, y@rival.example", "rule": "only ours", "trigger.run_id": "7"}),
    ):  # fmt: skip
        entry = record(
            action, actor=worker("sync"), connection=connection.pk, details=details
        )
        delivery = Delivery.objects.create(
            destination=destination, kind="event", entry=entry.pk, action=action
        )
        send_event(delivery)
    failing, refused = (post.said for post in receiver.posts)
    assert failing["type"] == "connection.failing"
    expected = {"connection": connection.slug, "explanation": "No answer."}
    assert expected.items() <= failing["data"].items()
    assert refused["type"] == "email.refused"
    assert refused["data"]["to"] == ["x…@rival.example", "y…@rival.example"]
    assert refused["data"]["rule"] == "only ours"
    assert refused["data"]["metadata"] == {"run_id": "7"}


INNGEST_ENDS = {400: CardRefused, 413: CardRefused} | dict.fromkeys(
    (401, 403, 404, 410), DestinationGone
)
ENDS = {"inngest": INNGEST_ENDS, "signed_webhook": {410: DestinationGone}}


@pytest.mark.slow
def test_each_response_of_a_program_has_its_outcome(message, receiver):
    receiver.headers = {"Retry-After": "7", "Location": f"{receiver.url}/elsewhere"}
    for kind, destination in to_each(receiver.url).items():
        delivery = tell(destination, message, "message.sent")
        for receiver.status in (301, 400, 401, 404, 410, 413, 429, 500):
            receiver.posts.clear()
            end = ENDS[kind].get(receiver.status, RetryLater)
            with pytest.raises(end) as raised:
                send_event(delivery)
            assert raised.type == end, kind
            assert raised.value.status == receiver.status, kind
            if receiver.status == 429:
                assert raised.value.seconds == 7.0
            # A redirect is a response and is not followed.
            assert len(receiver.posts) == 1


def test_answer_that_repeats_the_address_is_stored_without_its_secrets(
    message, receiver
):
    destination = to_webhook(receiver.url)
    destination.url = f"{receiver.url}/e/hidden-part?key=also-hidden&a=1"
    destination.save()
    receiver.status = 500
    receiver.body = rb"Error 1 at e\/hidden-part?key=also-hidden&amp;a=1"
    delivery = tell(destination, message, "message.sent")
    deliver(delivery_id=delivery.pk)
    assert again(delivery).answer == r"Error 1 at e\/…?key=…&amp;a=1"


def test_inngest_is_retried_then_switched_off_and_its_key_is_stored_and_logged_nowhere(
    message, receiver, caplog
):
    caplog.set_level(logging.INFO)
    destination = to_inngest(receiver.url)
    receiver.status = 503
    # The HTTP library warns about such headers and would log the whole address.
    receiver.headers = {"Odd": "x\r\nno header at all"}
    delivery = tell(destination, message, "message.sent")
    assert deliver(delivery_id=delivery.pk) == "postponed"
    assert again(delivery).next_attempt_at > again(delivery).last_attempt_at
    Destination.objects.update(waits_until=None)
    Delivery.objects.update(next_attempt_at=Now())
    receiver.status = 404
    receiver.body = f'{{"error": "key {KEY} not found"}}'.encode()
    assert deliver(delivery_id=delivery.pk) == "switched off"
    first, second = receiver.posts
    assert first.body == second.body
    assert first.path == f"/e/{KEY}"
    because = Destination.objects.get().switched_off_because
    row = again(delivery)
    assert "404" in because
    assert row.answer == '{"error": "key … not found"}'
    recorded = str([one.fields for one in EntryDetail.objects.all()])
    for text in (row.request, row.last_error, because, recorded, caplog.text):
        assert KEY not in text


def test_address_that_is_no_longer_allowed_is_not_called(message, receiver):
    for destination in to_each(receiver.url).values():
        delivery = tell(destination, message, "message.sent")
        with override_settings(OUTGOING_ALLOW=[]), pytest.raises(DestinationGone):
            send_event(delivery)
    assert receiver.posts == []


def takes(secret, post):
    try:
        return bool(Webhook(secret).verify(post.body, post.headers))
    except WebhookVerificationError:
        return False


def test_old_and_new_secret_verify_until_the_overlap_ends_or_the_secret_leaked(
    message, receiver, admin, reviewer
):
    destination = to_webhook(receiver.url)
    before = destination.secret
    actor = admin.actor(surface="web")
    new = rotate_secret(destination_id=destination.pk, actor=actor)
    destination.refresh_from_db()
    by_reviewer = reviewer.actor(surface="web")
    with pytest.raises(PermissionDenied):
        rotate_secret(destination_id=destination.pk, actor=by_reviewer)
    send_event(tell(destination, message, "message.sent"))
    with rolled_back():
        change_row(destination, secret_before_until=Now() - timedelta(seconds=1))
        destination.refresh_from_db()
        send_event(tell(destination, message, "message.delivered"))
    newest = rotate_secret(
        destination_id=destination.pk, actor=actor, overlap=timedelta(0)
    )
    destination.refresh_from_db()
    assert destination.secret_before == ""
    send_event(tell(destination, message, "message.delivered"))
    during, after, leaked = receiver.posts
    assert [takes(one, during) for one in (before, new)] == [True, True]
    assert [takes(one, after) for one in (before, new)] == [False, True]
    assert [takes(one, leaked) for one in (before, new, newest)] == [False, False, True]
    assert len(during.headers["webhook-signature"].split(" ")) == 2
