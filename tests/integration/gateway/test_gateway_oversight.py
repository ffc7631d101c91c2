"""What waits, as the desk reads it; what a decision changes; and what can still be taken back."""

from datetime import timedelta
from typing import Any

from django.utils import timezone

from common.fingerprint import Attachment, Content, fingerprint
from gateway.models import ApiKey, AuditLogEntry, Email, Mailbox
from gateway.modes import Mode
from gateway.states import Status
from tests.integration.gateway.world import World, add_sandbox_keys, events_of, leave, make_world, status_of


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


def test_pending_row_carries_all_that_its_fingerprint_covers(db: None):
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


def test_pending_list_walks_all_rows_at_the_same_few_statements(world: World, django_assert_max_num_queries: Any):
    ids = [world.held() for _ in range(5)]
    with django_assert_max_num_queries(4):
        assert world.pending()["count"] == 5
    assert [row["id"] for row in world.walk("/v1/oversight/pending", "pending", key="desk")] == ids
    assert world.call("GET", "/v1/oversight/pending?cursor=%27--", key="desk").status_code == 422


def test_reason_of_a_rejection_is_kept_for_the_agent_and_for_whoever_asks_for_the_closed_one(world: World):
    email_id = world.held()
    assert world.decide(email_id, "reject", reason="Wrong price").json()["status"] == "rejected"
    read = world.call("GET", f"{world.base}/emails/{email_id}").json()
    assert (read["status"], read["decision"], read["approved_at"]) == ("rejected", "rejected", None)
    assert read["decision_reason"] == read["reason"] == "Wrong price"
    told = world.pending(email_id=email_id)
    assert (told["pending"], told["status"], told["decision"]) == ([], "rejected", "rejected")
    assert (told["reason"], told["decided_by"]) == ("Wrong price", "Key desk")


def test_approve_puts_the_message_into_the_outbox_and_announces_it(world: World):
    world.listen("oversight.pending", "oversight.approved")
    email_id = world.held()
    answer = world.decide(email_id, reason="fine D-7F3A")
    told = answer.json()
    assert (answer.status_code, told["status"], told["decision"]) == (200, "approved_and_sent", "approved")
    assert (told["action"], told["reason"], told["decided_by"]) == ("approve", "fine D-7F3A", "Key desk")
    email = Email.objects.get(pk=email_id)
    assert (email.status, email.decision, email.due_at is not None) == (Status.SCHEDULED, "approved", True)
    assert events_of(email_id) == ["oversight.pending", "oversight.approved"]
    assert AuditLogEntry.objects.filter(action="email.approved", resource_id=email_id).count() == 1


def test_second_decision_is_409_with_the_first(world: World):
    email_id = world.held()
    first = world.decide(email_id, "reject", reason="no").json()
    answer = world.decide(email_id, "approve")
    told = answer.json()
    assert (answer.status_code, told["code"]) == (409, "not_pending")
    assert (told["status"], told["decision"], told["reason"]) == ("rejected", "rejected", "no")
    assert (told["decided_at"], told["decided_by"]) == (first["decided_at"], "Key desk")


def test_decision_by_the_key_that_wrote_it_or_of_the_other_kind_is_refused(world: World):
    email_id = world.held()
    Email.objects.filter(pk=email_id).update(sent_by_key=world.key_id("desk"))
    answer = world.decide(email_id)
    assert (answer.status_code, answer.json()["code"]) == (403, "own_message")
    add_sandbox_keys(world)
    tried = world.held(key="tester")
    assert [row["id"] for row in world.pending()["pending"]] == [email_id]
    assert [world.decide(tried, key=key).status_code for key in ("desk", "test desk")] == [404, 200]


def test_decide_other_fingerprint_is_409_and_changes_nothing(world: World):
    email_id = world.held()
    seen = world.pending()["pending"][0]["fingerprint"]
    Mailbox.objects.update(signature_block="New footer", auto_bcc="archive@acme.example")
    answer = world.decide(email_id, expected_fingerprint=seen)
    assert (answer.status_code, answer.json()["code"]) == (409, "content_changed")
    row = world.pending()["pending"][0]
    assert row["fingerprint"] == answer.json()["fingerprint"] != seen
    assert world.decide(email_id, expected_fingerprint=row["fingerprint"]).status_code == 200
    # The approval fixes what the mailbox adds.
    Mailbox.objects.update(auto_bcc="evil@x.example")
    additions = {"auto_bcc": "archive@acme.example", "signature": "New footer"}
    assert Email.objects.get(pk=email_id).additions == row["additions"] == additions


def test_approve_in_a_mailbox_now_read_only_is_409(world: World):
    email_id = world.held()
    Mailbox.objects.update(oversight_mode=Mode.READ_ONLY)
    assert world.decide(email_id).status_code == 409
    assert world.decide(email_id, "reject").status_code == 200


def test_approve_before_send_at_waits_for_it(world: World):
    email_id = world.held(send_at="2099-01-01T08:00:00Z")
    assert world.decide(email_id).json()["status"] == "approved"
    email = Email.objects.get(pk=email_id)
    assert (email.status, email.due_at) == (Status.SCHEDULED, email.send_at)


def test_cancel_of_what_is_approved_is_possible_only_once_it_is_stuck(world: World):
    fresh, taken = world.approved(), world.approved()
    path = f"{world.base}/emails/{{}}/cancel"
    assert Email.objects.claim(taken.pk)
    for email in (fresh, taken):
        answer = world.call("POST", path.format(email.pk))
        assert (answer.status_code, answer.json()["code"]) == (409, "not_cancellable")
    assert Email.objects.claim(fresh.pk)
    for stuck in ({"due_at": timezone.now() - timedelta(minutes=1)}, {"attempts": 1}):
        email = world.approved()
        Email.objects.filter(pk=email.pk).update(**stuck)
        assert [world.call("POST", path.format(email.pk)).status_code for _ in range(2)] == [200, 200], stuck
        assert (Email.objects.claim(email.pk), status_of(email)) == (None, Status.CANCELLED)


def test_schedule_first_is_asked_about_when_its_time_has_come(world: World):
    world.listen("oversight.pending")
    email_id = world.held(send_at="2099-01-01T08:00:00Z", gate_timing="schedule_first")
    assert world.pending()["count"] == 0
    Email.objects.filter(pk=email_id).update(due_at=timezone.now())
    assert leave(email_id) == "asked"
    assert (world.pending()["count"], events_of(email_id)) == (1, ["oversight.pending"])
