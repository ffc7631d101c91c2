"""The pending list as the desk reads it, what a decision changes, and what can still be cancelled."""

from datetime import timedelta
from typing import Any

from django.utils import timezone

from common.fingerprint import Attachment, Content, fingerprint
from gateway.models import ApiKey, AuditLogEntry, Email
from gateway.states import Status
from tests.integration.gateway.world import World, events_of, make_world, status_of


def content_of_row(row: dict[str, Any]) -> Content:
    """Build the content from a pending row, as the desk does."""
    files = [Attachment(a["name"], a["content_type"], a["size"], a["sha256"]) for a in row["attachments"]]
    return Content(
        sender=row["from"],
        sender_name=row["from_name"],
        reply_to=row["reply_to"],
        to=tuple(row["to_addresses"]),
        cc=tuple(row["cc"]),
        bcc=tuple(row["bcc"]),
        subject=row["subject"],
        markdown=row["markdown"],
        html=row["html_body"],
        in_reply_to=row["in_reply_to"],
        attachments=tuple(files),
        additions=row["additions"],
        send_at=row["send_at"],
    )


def test_pending_row_contains_everything_its_fingerprint_covers(db: None):
    world = make_world(auto_bcc="archive@acme.example", signature_block="Acme Ltd")
    world.held(
        to=["b@x.example", "a@x.example"],
        cc="c@x.example",
        bcc=["d@x.example"],
        reply_to="e@x.example",
        subject="Grüße",
        html="<p>hi</p>",
        send_at="2099-01-01T08:00:00.5Z",
        attachments=[{"name": "a b.txt", "content_type": "text/plain", "content_base64": "aGk="}],
    )
    row = world.pending()["pending"][0]
    assert row["fingerprint"] == fingerprint(content_of_row(row))
    assert row["additions"] == {"auto_bcc": "archive@acme.example", "signature": "Acme Ltd"}
    assert ApiKey.objects.get(pk=row["sent_by_key"]).name == row["sent_by_key_name"]


def test_pending_list_uses_few_statements(world: World, django_assert_max_num_queries: Any):
    for _ in range(3):
        world.held()
    with django_assert_max_num_queries(4):
        assert world.pending()["count"] == 3
    assert world.call("GET", "/v1/oversight/pending?cursor=%27--", key="desk").status_code == 422


def test_pending_list_has_one_key_if_the_caller_asks_for_one(world: World):
    world.held()
    whole = world.pending()
    assert whole["pending"] == whole["emails"] == whole["messages"]
    alone = world.call("GET", "/v1/oversight/pending?only=pending", key="desk").json()
    assert alone == {name: whole[name] for name in ("pending", "count", "cursor")}


def test_approve_puts_the_message_into_the_outbox_and_announces_it(world: World):
    world.listen("oversight.pending", "oversight.approved")
    email_id = world.held()
    answer = world.decide(email_id, reason="fine D-7F3A")
    body = answer.json()
    assert (answer.status_code, body["status"], body["decision"]) == (200, "approved_and_sent", "approved")
    assert (body["action"], body["reason"], body["decided_by"]) == ("approve", "fine D-7F3A", "Key desk")
    email = Email.objects.get(pk=email_id)
    assert (email.status, email.decision, email.due_at is not None) == (Status.SCHEDULED, "approved", True)
    assert events_of(email_id) == ["oversight.pending", "oversight.approved"]
    assert AuditLogEntry.objects.filter(action="email.approved", resource_id=email_id).count() == 1


def test_approved_mail_can_be_cancelled_only_once_it_is_stuck(world: World):
    fresh, leased = world.approved(), world.approved()
    path = f"{world.base}/emails/{{}}/cancel"
    assert Email.objects.claim(leased.pk)
    for email in (fresh, leased):
        answer = world.call("POST", path.format(email.pk))
        assert (answer.status_code, answer.json()["code"]) == (409, "not_cancellable")
    assert Email.objects.claim(fresh.pk)
    for stuck in ({"due_at": timezone.now() - timedelta(minutes=1)}, {"attempts": 1}):
        email = world.approved()
        Email.objects.filter(pk=email.pk).update(**stuck)
        assert [world.call("POST", path.format(email.pk)).status_code for _ in range(2)] == [200, 200], stuck
        assert (Email.objects.claim(email.pk), status_of(email)) == (None, Status.CANCELLED)
