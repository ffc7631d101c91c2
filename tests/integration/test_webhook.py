"""The webhook endpoint: what it stores, what it refuses, and that it says so."""

import json
from datetime import timedelta
from itertools import permutations

import pytest
from django.contrib.sessions.models import Session
from django.db import OperationalError
from django.utils import timezone
from psycopg.errors import DeadlockDetected

from alerts.models import Card, Delivery, Destination, Route
from approvals import mirror
from approvals.models import Message, WebhookEvent
from approvals.sync.fetching import mirror_row
from audit.models import Entry
from common.fingerprint import fingerprint
from tests.factories import event_body, make_connection, make_message, pending_row, post_event, show_row

pytestmark = pytest.mark.django_db


def only_message():
    return Message.objects.get()


def test_pending_event_stores_mirrors_records_and_plans_in_one_go(client, connection):
    destination = Destination.objects.create(name="#approvals", url="https://discord.com/api/webhooks/1/x")
    Route.objects.create(destination=destination, actions=["message.held"])
    answer = post_event(client, connection, event_body())
    assert (answer.status_code, answer.json()) == (200, {"result": "applied"})
    message = only_message()
    assert (message.state, message.subject, message.mailbox.address) == (
        "held", "Your refund for order 4471", "support@yourteam.example",
    )  # fmt: skip
    entry = Entry.objects.get(action="message.held")
    assert entry.message == message.public_id
    assert entry.detail.fields["trigger.discord_guild"] == "Acme"
    assert Delivery.objects.get(card__destination=destination).state == "due"


def test_same_body_twice_is_one_event_one_message_one_card(client, connection):
    Route.objects.create(
        destination=Destination.objects.create(name="d", url="https://discord.com/x"), actions=["message.held"]
    )
    body = event_body()
    answers = [post_event(client, connection, body).json()["result"] for _ in range(3)]
    assert answers == ["applied", "duplicate", "duplicate"]
    assert (WebhookEvent.objects.count(), Message.objects.count(), Card.objects.count(), Delivery.objects.count()) == (
        1,
        1,
        1,
        1,
    )


def test_same_event_id_in_another_body_is_a_duplicate(client, connection):
    payload = json.loads(event_body())
    post_event(client, connection, json.dumps(payload).encode())
    payload["timestamp"] = "2026-11-20T11:00:00Z"
    assert post_event(client, connection, json.dumps(payload).encode()).json()["result"] == "duplicate"


@pytest.mark.parametrize("signature", ["", "sha256=00", "sha1=" + "0" * 40, "кириллица"])
def test_bad_signature_is_401_and_stores_nothing(client, connection, signature):
    answer = post_event(client, connection, event_body(), **{"X-MultiMail-Signature": signature})
    assert answer.status_code == 401
    assert "signing secret" in answer.json()["error"]
    assert (WebhookEvent.objects.count(), Entry.objects.count()) == (0, 0)


def test_signature_of_another_connection_is_refused(client, connection):
    other = make_connection("other", webhook_secret="whsec_other")
    assert post_event(client, other, event_body()).status_code == 401


@pytest.mark.parametrize("guess", ["guess", "a%00b"])
def test_unknown_address_is_404_json(client, connection, guess):
    answer = client.post(f"/webhooks/multimail/{guess}/", b"{}", content_type="application/json")
    assert answer.status_code == 404
    assert answer.json()["error"]


def test_oversized_body_is_413_and_stores_nothing(client, connection):
    answer = post_event(client, connection, event_body(subject="x" * 300_000))
    assert answer.status_code == 413
    assert WebhookEvent.objects.count() == 0


def test_wrong_content_type_is_415(client, connection):
    answer = client.post(f"/webhooks/multimail/{connection.webhook_id}/", b"a=1", content_type="text/plain")
    assert answer.status_code == 415


def test_get_is_405(client, connection):
    assert client.get(f"/webhooks/multimail/{connection.webhook_id}/").status_code == 405


@pytest.mark.parametrize("body", [b"[1]", b"{broken", b'"\\ud800"', b"\xff"])
def test_signed_nonsense_is_kept_as_poison_and_answered_400(client, connection, body):
    answer = post_event(client, connection, body)
    assert answer.status_code == 400
    assert answer.json()["stored"] is True
    event = WebhookEvent.objects.get()
    assert (event.result, bytes(event.body)) == ("poison", body)
    assert post_event(client, connection, body).status_code == 400
    assert WebhookEvent.objects.count() == 1


def test_unknown_name_is_kept_and_answered_200(client, connection):
    answer = post_event(client, connection, event_body("message.teleported"))
    assert (answer.status_code, answer.json()["result"]) == (200, "unknown")
    assert Message.objects.count() == 0


@pytest.mark.parametrize("name", ["oversight.pending", "oversight.approved"])
def test_known_event_without_its_message_is_poison_and_answered_200(client, connection, name):
    body = event_body(name, email_id="")
    assert (post_event(client, connection, body).status_code, Message.objects.count()) == (200, 0)
    event = WebhookEvent.objects.to_look_at().get()
    assert (event.result, event.name, event.error) == (
        "poison", name, "The event does not say which message it is about.",
    )  # fmt: skip
    assert post_event(client, connection, body).json() == {"result": "duplicate"}


def test_received_mail_is_known_by_its_status_where_nothing_names_its_direction(client, connection):
    post_event(client, connection, event_body(direction="", status="pending_inbound_approval"))
    assert only_message().direction == "inbound"
    # A row that does not name it either takes nothing back, and one that does is believed.
    assert show_row(only_message(), direction=None, status="pending").direction == "inbound"
    assert show_row(only_message(), direction="outbound").direction == "outbound"
    assert show_row(only_message(), direction=None, status="pending_inbound_approval").direction == "inbound"


def test_event_that_cannot_be_applied_keeps_its_row_and_is_answered_200(client, connection, monkeypatch):
    def break_down(*args, **kwargs):
        raise RuntimeError("a bug of ours")

    monkeypatch.setattr("approvals.mirror.begin_message", break_down)
    answer = post_event(client, connection, event_body())
    assert (answer.status_code, answer.json()["result"]) == (200, "poison")
    assert WebhookEvent.objects.get().result == "poison"
    assert Entry.objects.filter(action="webhook.poison").exists()


def test_event_that_postgresql_could_not_take_now_is_sent_again(client, connection, monkeypatch):
    def break_down(*args, **kwargs):
        raise OperationalError("deadlock detected")

    with monkeypatch.context() as patched:
        patched.setattr("approvals.mirror.begin_message", break_down)
        body = event_body()
        answer = post_event(client, connection, body)
    assert (answer.status_code, answer["Retry-After"]) == (503, "10")
    assert "Send it again" in answer.json()["error"]
    assert WebhookEvent.objects.count() == 0
    assert post_event(client, connection, body).json()["result"] == "applied"


def test_alert_mistake_never_costs_the_webhook(client, connection, monkeypatch):
    def break_down(entry, **_):
        raise RuntimeError("a bug of ours")

    monkeypatch.setattr("alerts.outbox.Planned", break_down)
    assert post_event(client, connection, event_body()).json()["result"] == "applied"
    assert only_message().state == "held"


def test_events_out_of_order_end_where_ordered_ones_do(client, connection):
    for name in ("message.sent", "oversight.approved", "oversight.pending"):
        post_event(client, connection, event_body(name, email_id="01SAME"))
    assert only_message().state == "sent"
    assert list(WebhookEvent.objects.order_by("pk").values_list("result", flat=True)) == ["applied", "late", "late"]


@pytest.mark.parametrize(
    "order", list(permutations(("oversight.pending", "oversight.approved", "message.sent"))), ids="-".join
)
def test_each_webhook_twice_in_any_order_is_one_message_and_one_card(client, connection, order):
    destination = Destination.objects.create(name="d", url="https://discord.com/x")
    Route.objects.create(destination=destination, actions=["message.held", "message.approved", "message.sent"])
    for body in [event_body(name, email_id="01SAME") for name in order]:
        assert post_event(client, connection, body).status_code == 200
        assert post_event(client, connection, body).json() == {"result": "duplicate"}
    assert only_message().state == "sent"
    assert (Card.objects.count(), WebhookEvent.objects.count()) == (1, 3)


def test_late_pending_never_reopens_a_rejected_message(client, connection):
    post_event(client, connection, event_body("oversight.rejected", email_id="01SAME", reason="no"))
    post_event(client, connection, event_body("oversight.pending", email_id="01SAME"))
    assert only_message().state == "rejected"


# By what each leads to: the spellings of the contract (6.2).
SPELLINGS = {
    "held": ("oversight.pending", "message.pending_approval", "email.pending", "message.pending_send_approval"),
    "approved": ("oversight.approved", "message.approved", "email.approved", "email.decided"),
    "rejected": ("oversight.rejected", "message.rejected", "email.rejected", "email.decided"),
    "sent": ("message.sent", "email.sent"),
    "delivered": ("message.delivered", "email.delivered", "delivery"),
    "bounced": ("message.bounced", "email.bounced", "bounce"),
    "complained": ("message.complained", "email.complained", "complaint"),
    "received": ("message.received", "email.received", "inbound"),
}


def spelled(name, upstream_id, state):
    """The same event in each of the contract's envelopes (6.3), with its fields as each of them names these."""
    box, to, at = "support@yourteam.example", "dana@northwind.example", timezone.now()
    told = {"subject": "Hi", "mailbox_id": "01MAILBOX", "metadata": {"run_id": "7"}}
    verbs = {"approved": "approve", "rejected": "reject"}
    yield {
        "event": name, "timestamp": at.isoformat(),
        "data": {"email_id": upstream_id, "from": box, "to": [to], "decision": state, **told},
    }  # fmt: skip
    yield {"type": name, "data": {"message_id": upstream_id, "sender": box, "to": to, "decision": state, **told}}
    yield {"type": f"multimail/{name}", "id": upstream_id, "from": box, "to_addresses": [to], "decision": state, **told}
    yield {
        "event_type": name, "timestamp": at.timestamp(), "message_id": upstream_id, "from_address": box, "to": [to],
        "action": verbs.get(state), **told,
    }  # fmt: skip


@pytest.mark.proves("case 20")
@pytest.mark.parametrize("state", SPELLINGS)
def test_every_spelling_of_an_event_and_its_fields_gives_the_same_stored_state(client, connection, state):
    stored = {}
    for name in SPELLINGS[state]:
        for number in range(4):
            upstream_id = f"01{name}{number}"
            (*_, payload) = [one for at, one in enumerate(spelled(name, upstream_id, state)) if at <= number]
            post_event(client, connection, json.dumps(payload).encode())
            one = Message.objects.get(upstream_id=upstream_id)
            stored[f"{name} in envelope {number}"] = (
                one.state, one.sender, one.recipients, one.subject, one.trigger, one.mailbox.upstream_id, one.direction,
            )  # fmt: skip
    direction = "inbound" if state == "received" else "outbound"
    expected = (
        state, "support@yourteam.example", ["dana@northwind.example"], "Hi", {"run_id": "7"}, "01MAILBOX", direction,
    )  # fmt: skip
    assert {name: found for name, found in stored.items() if found != expected} == {}


@pytest.mark.proves("case 20")
@pytest.mark.parametrize("body", ["markdown", "body_markdown", "text_body", "body", "text"])
@pytest.mark.parametrize(("to", "sender"), [("to_addresses", "from"), ("to", "from_address")])
def test_every_spelling_of_a_pending_rows_fields_has_the_same_fingerprint(connection, body, to, sender):
    message = make_message(connection)
    row = pending_row(message.upstream_id)
    spelled_so = {**row, body: row.pop("markdown"), to: row.pop("to_addresses"), sender: row.pop("from")}
    for name in ("markdown", "to_addresses", "from"):
        if name not in (body, to, sender):
            del spelled_so[name]
    assert fingerprint(mirror.content_of(spelled_so)) == message.revision.fingerprint


def test_nul_and_bidi_in_a_subject_are_stored_without_harm(client, connection):
    post_event(client, connection, event_body(subject="a\0b\u202ec"))
    assert only_message().subject == "a\ufffdb\u202ec"


def test_cookies_change_nothing_and_no_session_is_made(client, connection):
    client.cookies["session-8000"] = "k" * 32
    assert post_event(client, connection, event_body()).status_code == 200
    assert Session.objects.count() == 0


def test_held_at_is_the_time_the_event_tells(client, connection):
    told = timezone.now() - timedelta(minutes=10)
    post_event(client, connection, event_body(timestamp=told.isoformat()))
    assert only_message().held_at == told


def test_old_pending_of_an_unknown_message_is_held_and_announced_once_a_read_lists_it(client, connection):
    told = (timezone.now() - timedelta(days=1)).isoformat()
    post_event(client, connection, event_body(email_id="01OLD", timestamp=told))
    assert only_message().state == "gone"
    assert mirror_row(connection, pending_row("01OLD"), timezone.now())
    assert only_message().state == "held"
    assert Entry.objects.filter(action="message.held").count() == 1


@pytest.mark.parametrize("name", ["oversight.approved", "message.sent", "oversight.rejected"])
def test_late_pending_fills_what_a_later_event_did_not_tell(client, connection, name):
    bare = {"type": name, "data": {"message_id": "01SAME"}}
    post_event(client, connection, json.dumps(bare).encode())
    began = only_message()
    assert (began.subject, began.sender, began.recipients, began.mailbox) == ("", "", [], None)
    told = timezone.now() - timedelta(minutes=10)
    full = event_body(email_id="01SAME", thread_id="01THREAD", timestamp=told.isoformat())
    assert post_event(client, connection, full).json() == {"result": "late"}
    filled = only_message()
    assert (filled.state, filled.held_at, filled.thread_id) == (began.state, told, "01THREAD")
    assert (filled.subject, filled.sender) == ("Your refund for order 4471", "support@yourteam.example")
    assert (filled.recipients, filled.trigger["discord_guild"]) == (["dana@northwind.example"], "Acme")
    assert filled.mailbox.address == "support@yourteam.example"
    assert not Entry.objects.filter(action="message.held").exists()


def test_late_event_does_not_overwrite_what_a_read_brought(client, connection):
    message = make_message(connection, subject="As it was read", to=["kim@northwind.example"])
    post_event(client, connection, event_body("oversight.approved", email_id=message.upstream_id))
    post_event(client, connection, event_body(email_id=message.upstream_id, subject="Something else"))
    assert (only_message().subject, only_message().state) == ("As it was read", "approved")


@pytest.mark.django_db(transaction=True)
def test_event_of_a_deadlock_is_taken_in_by_the_next_try(client, monkeypatch):
    connection = make_connection()
    tries = []
    real = mirror.begin_message

    def break_down_once(*args, **kwargs):
        tries.append(1)
        if len(tries) == 1:
            raise OperationalError("deadlock detected") from DeadlockDetected()
        return real(*args, **kwargs)

    monkeypatch.setattr("approvals.mirror.begin_message", break_down_once)
    assert post_event(client, connection, event_body()).json() == {"result": "applied"}
    assert (len(tries), Message.objects.count(), WebhookEvent.objects.count()) == (2, 1, 1)
