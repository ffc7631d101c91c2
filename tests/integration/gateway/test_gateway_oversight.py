"""What waits, as the desk reads it; deciding it over HTTP; and what everybody else is told."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from common.fingerprint import Attachment, Content, fingerprint
from gateway.models import ApiKey, AuditLogEntry, Email, Mailbox
from gateway.modes import Mode
from gateway.states import Status
from tests.integration.gateway.world import World, add_key, events_of, make_inbound, make_world


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


def test_pending_list_costs_the_same_queries_for_more_rows(world: World, django_assert_max_num_queries: Any):
    for _ in range(5):
        world.held()
    with django_assert_max_num_queries(4):
        assert world.pending()["count"] == 5


@pytest.mark.parametrize("path", ["/v1/oversight/pending", "/list_pending", "/v1/list_pending"])
@pytest.mark.parametrize("key", ["desk", "watcher"])
def test_pending_lists_the_same_rows_under_three_names(world: World, path: str, key: str):
    first, second = world.held(), world.held()
    told = world.call("GET", path, key=key).json()
    assert [row["id"] for row in told["pending"]] == [first, second]
    assert told["pending"] == told["emails"] == told["messages"]
    assert told["count"] == 2
    flat = path.endswith("list_pending")
    assert isinstance(told["messages"][0]["to"], str if flat else list)


def test_pending_is_empty_but_whole_on_an_empty_account(world: World):
    assert world.pending() == {"pending": [], "emails": [], "messages": [], "count": 0, "cursor": None}


def test_pending_pages_walk_all_rows_once(world: World):
    ids = [world.held() for _ in range(5)]
    seen, cursor = [], ""
    while cursor is not None:
        page = world.pending(limit="2", cursor=cursor)
        seen += [row["id"] for row in page["pending"]]
        cursor = page["cursor"]
    assert seen == ids


def test_pending_by_id_of_a_closed_one_says_what_became_of_it(world: World):
    email_id = world.held()
    world.decide(email_id, "reject", reason="wrong price")
    told = world.pending(email_id=email_id)
    assert told["pending"] == []
    assert (told["status"], told["decision"], told["reason"]) == ("rejected", "rejected", "wrong price")
    assert told["decided_by"] == "Key desk"


def test_pending_bad_cursor_is_422(world: World):
    assert world.call("GET", "/v1/oversight/pending?cursor=%27--", key="desk").status_code == 422


def test_approve_puts_the_message_into_the_outbox_and_announces_it(world: World):
    world.listen("oversight.pending", "oversight.approved")
    email_id = world.held()
    answer = world.decide(email_id, reason="fine D-7F3A")
    told = answer.json()
    assert (answer.status_code, told["status"], told["decision"]) == (200, "approved_and_sent", "approved")
    assert (told["action"], told["reason"], told["decided_by"]) == ("approve", "fine D-7F3A", "Key desk")
    email = Email.objects.get(pk=email_id)
    assert (email.status, email.decision) == (Status.SCHEDULED, "approved")
    assert email.due_at is not None
    assert events_of(email_id) == ["oversight.pending", "oversight.approved"]
    assert AuditLogEntry.objects.filter(action="email.approved", resource_id=email_id).exists()


def test_reject_keeps_the_reason_for_the_agent(world: World):
    email_id = world.held()
    assert world.decide(email_id, "reject", reason="Wrong price").json()["status"] == "rejected"
    read = world.call("GET", f"{world.base}/emails/{email_id}").json()
    assert (read["status"], read["decision"]) == ("rejected", "rejected")
    assert read["decision_reason"] == read["reason"] == "Wrong price"
    assert read["approved_at"] is None


@pytest.mark.parametrize("path", ["/decide_email", "/v1/decide_email"])
@pytest.mark.parametrize(("word", "status"), [("Approve", "approved"), ("rejected", "rejected")])
def test_decide_flat_takes_other_words_and_answers_plainly(world: World, path: str, word: str, status: str):
    body = {"message_id": world.held(), "decision": word}
    assert world.call("POST", path, key="desk", json=body).json()["status"] == status


@pytest.mark.parametrize(
    "body",
    [{"action": "maybe"}, {}, {"action": "approve", "decision": "reject"}, {"action": "approve", "email_id": ""}],
)
def test_decide_unclear_is_422(world: World, body: dict[str, str]):
    answer = world.call("POST", "/v1/oversight/decide", key="desk", json={"email_id": world.held()} | body)
    assert answer.status_code == 422


def test_second_decision_is_409_with_the_first(world: World):
    email_id = world.held()
    first = world.decide(email_id, "reject", reason="no").json()
    answer = world.decide(email_id, "approve")
    told = answer.json()
    assert answer.status_code == 409
    assert (told["status"], told["decision"], told["reason"]) == ("rejected", "rejected", "no")
    assert (told["decided_at"], told["decided_by"]) == (first["decided_at"], "Key desk")
    assert told["code"] == "not_pending"


def test_decide_unknown_and_foreign_is_404(world: World, other: World):
    email_id = world.held()
    assert other.decide(email_id).status_code == 404
    assert world.decide("01XXXXXXXXXXXXXXXXXXXXXXXX").status_code == 404


@pytest.mark.parametrize("key", ["agent", "reader", "watcher", "admin"])
def test_decide_needs_the_oversight_scope(world: World, key: str):
    assert world.decide(world.held(), key=key).status_code == 403


def test_decide_by_the_key_that_wrote_it_is_403(world: World):
    email_id = world.held()
    Email.objects.filter(pk=email_id).update(sent_by_key=ApiKey.objects.get(name="Key desk"))
    answer = world.decide(email_id)
    assert (answer.status_code, answer.json()["code"]) == (403, "own_message")


def test_decide_other_fingerprint_is_409_and_changes_nothing(world: World):
    email_id = world.held()
    seen = world.pending()["pending"][0]["fingerprint"]
    Mailbox.objects.filter(pk=world.mailbox.pk).update(signature_block="New footer")
    answer = world.decide(email_id, expected_fingerprint=seen)
    assert (answer.status_code, answer.json()["code"]) == (409, "content_changed")
    row = world.pending()["pending"][0]
    assert row["fingerprint"] == answer.json()["fingerprint"] != seen
    assert world.decide(email_id, expected_fingerprint=row["fingerprint"]).status_code == 200


def test_approval_fixes_what_the_mailbox_adds(db: None):
    world = make_world(auto_bcc="archive@acme.example")
    email = world.approved()
    Mailbox.objects.filter(pk=world.mailbox.pk).update(auto_bcc="evil@x.example")
    email.refresh_from_db()
    assert email.additions == {"auto_bcc": "archive@acme.example"}


def test_approve_in_a_mailbox_now_read_only_is_409(world: World):
    email_id = world.held()
    Mailbox.objects.filter(pk=world.mailbox.pk).update(oversight_mode=Mode.READ_ONLY)
    assert world.decide(email_id).status_code == 409
    assert world.decide(email_id, "reject").status_code == 200


def test_approve_before_send_at_waits_for_it(world: World):
    email_id = world.held(send_at="2099-01-01T08:00:00Z")
    assert world.decide(email_id).json()["status"] == "approved"
    email = Email.objects.get(pk=email_id)
    assert (email.status, email.due_at) == (Status.SCHEDULED, email.send_at)


def test_approve_inbound_makes_it_readable(world: World):
    email = make_inbound(world, status=Status.PENDING_INBOUND_APPROVAL)
    path = f"{world.base}/emails/{email.pk}"
    assert world.call("GET", path).status_code == 403
    assert world.decide(email.pk).json()["status"] == "approved"
    assert world.call("GET", path).json()["status"] == "read"


def test_sandbox_and_live_do_not_see_each_other(world: World):
    add_key(world, "tester", ["read", "send"], prefix="mm_test_")
    add_key(world, "test desk", ["oversight"], prefix="mm_test_")
    email_id = world.send(key="tester").json()["id"]
    assert world.pending()["count"] == 0
    assert world.decide(email_id).status_code == 404
    assert world.decide(email_id, key="test desk").status_code == 200


def test_cancel_twice_is_fine_and_after_a_decision_it_is_409(world: World):
    email_id, decided = world.held(), world.held()
    path = f"{world.base}/emails/{email_id}/cancel"
    assert [world.call("POST", path).json()["status"] for _ in range(2)] == ["cancelled", "cancelled"]
    assert world.decide(email_id).status_code == 409
    world.decide(decided, "reject")
    answer = world.call("POST", "/v1/cancel_message", json={"id": decided})
    assert (answer.status_code, answer.json()["status"]) == (409, "rejected")


def test_cancel_right_after_an_approval_is_409(world: World):
    email = world.approved()
    answer = world.call("POST", f"{world.base}/emails/{email.pk}/cancel")
    assert (answer.status_code, answer.json()["code"]) == (409, "not_cancellable")
    assert Email.objects.claim(email.pk)


@pytest.mark.parametrize("stuck", [{"due_at": timezone.now() - timedelta(minutes=1)}, {"attempts": 1}])
def test_cancel_approved_mail_that_is_stuck_is_possible(world: World, stuck: dict[str, Any]):
    email = world.approved()
    Email.objects.filter(pk=email.pk).update(**stuck)
    assert world.call("POST", f"{world.base}/emails/{email.pk}/cancel").status_code == 200
    assert Email.objects.claim(email.pk) is None


def test_cancel_while_a_worker_holds_it_is_409(world: World):
    email = world.approved()
    assert Email.objects.claim(email.pk)
    assert world.call("POST", f"{world.base}/emails/{email.pk}/cancel").status_code == 409


def test_schedule_first_is_asked_about_when_its_time_has_come(world: World):
    from gateway import outbox

    world.listen("oversight.pending")
    email_id = world.held(send_at="2099-01-01T08:00:00Z", gate_timing="schedule_first")
    assert world.pending()["count"] == 0
    Email.objects.filter(pk=email_id).update(due_at=timezone.now())
    assert outbox.send_due(email_id=email_id, now=timezone.now()) == "asked"
    assert (world.pending()["count"], events_of(email_id)) == (1, ["oversight.pending"])
