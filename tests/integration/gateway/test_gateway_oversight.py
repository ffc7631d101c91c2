"""The pending list as the desk reads it, what a decision changes, and what can still be
cancelled.
"""

import json
from datetime import timedelta

from django.utils import timezone

from common.fingerprint import FIELDS, fingerprint
from common.references import via, with_reference
from gateway.messages.content import AI_DISCLOSURE
from gateway.models import ApiKey, Email, WebhookDelivery
from gateway.states import Status
from mirror.models import Message
from mirror.store import content_of
from mirror.sync.reads import status_in
from tests.integration.gateway.world import make_world, refusal_of, status_of
from upstream.errors import Conflict
from upstream.events import parse


def test_pending_row_contains_everything_its_fingerprint_covers(db):
    world = make_world(auto_bcc="archive@acme.example", signature_block="Acme Ltd")
    world.held(
        to=["b@x.example", "a@x.example"],
        cc="c@x.example",
        bcc=["d@x.example"],
        reply_to="e@x.example",
        subject="Grüße",
        html="<p>hi</p>",
        send_at="2099-01-01T08:00:00.5Z",
        attachments=[
            {"name": "a b.txt", "content_type": "text/plain", "content_base64": "aGk="}
        ],
    )
    row = world.pending()["pending"][0]
    assert row["fingerprint"] == fingerprint(content_of(row))
    assert content_of(row).coverage == FIELDS
    additions = {
        "auto_bcc": "archive@acme.example",
        "signature": "Acme Ltd",
        "ai_disclosure": AI_DISCLOSURE,
    }
    assert row["additions"] == additions
    assert ApiKey.objects.get(pk=row["sent_by_key"]).name == row["sent_by_key_name"]


def test_pending_list_uses_few_statements(world, django_assert_max_num_queries):
    for _ in range(3):
        world.held()
    with django_assert_max_num_queries(4):
        assert world.pending()["count"] == 3
    assert (
        world.call("GET", "/v1/oversight/pending?cursor=%27--", key="desk").status_code
        == 422
    )


def test_pending_list_has_one_key_if_the_caller_asks_for_one(world):
    world.held()
    whole = world.pending()
    alone = world.get("/v1/oversight/pending?only=pending", key="desk")
    assert alone == {name: whole[name] for name in ("pending", "count", "cursor")}


def test_reason_is_told_without_the_reference_behind_it_and_that_in_a_field(world):
    world.listen("email.decided")
    for words in ("Wrong amount.", ""):
        email_id = world.held(subject=f"Refund {words}")
        told = with_reference(words, "KVB8AF7JS5", "Ana Ferreira")
        who = via("Ana Ferreira")
        answer = world.decide(email_id, "reject", reason=told, decided_by=who)
        again = world.decide(email_id, "reject", reason="Mine")
        path = f"{world.base}/emails/{email_id}"
        reads = (
            world.call("GET", path),
            world.call("GET", f"/read_email?id={email_id}"),
        )
        closed = world.call(
            "GET", f"/v1/oversight/pending?email_id={email_id}", key="desk"
        )
        event = json.loads(bytes(WebhookDelivery.objects.latest("pk").body))
        for one in (
            *(found.json() for found in (answer, again, *reads, closed)),
            event,
            event["data"],
        ):
            assert one["reason"] == (words or None)
            assert one["decision_reference"] == "KVB8AF7JS5"
        assert reads[0].json()["decision_reason"] == (words or None)
        # The desk reads both, and has what it sent.
        message = Message(direction="outbound")
        assert parse(json.dumps(event).encode()).reason == told
        assert Conflict("No.", body=again.json()).reason == told
        assert status_in(closed.json(), message).reason == told


def test_approved_mail_can_be_cancelled_only_once_it_is_stuck(world):
    fresh = world.approved()
    leased = world.approved()
    path = f"{world.base}/emails/{{}}/cancel"
    assert Email.objects.claim(leased.pk)
    for email in (fresh, leased):
        answer = world.post(path.format(email.pk))
        assert refusal_of(answer) == (409, "not_cancellable")
    assert Email.objects.claim(fresh.pk)
    for stuck in ({"due_at": timezone.now() - timedelta(minutes=1)}, {"attempts": 1}):
        email = world.approved()
        Email.objects.filter(pk=email.pk).update(**stuck)
        assert [world.post(path.format(email.pk)).status_code for _ in range(2)] == [
            200,
            200,
        ], stuck
        assert Email.objects.claim(email.pk) is None
        assert status_of(email) == Status.CANCELLED


def test_mcp_server_gets_each_body_once_and_everything_in_it(world):
    both = world.held(markdown="Plain words", html="<p>Other words</p>")
    world.held(markdown="Third words")
    mcp = {"Content-Type": "application/json"}
    answer = world.call("GET", "/v1/oversight/pending", key="desk", **mcp)
    for words in (b"Plain words", b"Other words", b"Third words"):
        assert answer.content.count(words) == 1, words
    assert answer.json().keys() == {"pending", "count", "cursor"}
    assert answer.json()["count"] == 2
    first = answer.json()["pending"][0]["body_markdown"]
    assert "Plain words" in first
    assert "Other words" in first
    one = world.call("GET", f"/v1/oversight/pending?email_id={both}", key="desk", **mcp)
    assert one.content.count(b"Plain words") == 1
    # Flat and Zapier's clients name a JSON type, too, and read the other names.
    for path in ("/list_pending", "/v1/emails/pending"):
        rows = world.get(path, key="desk", **mcp)
        assert rows["pending"] == rows["emails"] == rows["messages"], path
        assert rows["pending"][0]["html_body"] == "<p>Other words</p>"
