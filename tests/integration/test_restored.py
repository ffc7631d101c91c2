"""After a restore to an older state nothing leaves a second time: not by the desk, and
not by the gateway's outbox.

A restore is what a transaction that is rolled back leaves: the database is as it was,
and the mail server remembers.
"""

from datetime import timedelta

import pytest
from django.core.management import call_command
from django.db.models.functions import Now

from approvals.decisions.execute import run_decision
from approvals.models import Decision
from approvals.reconcile.closing import resolve
from connections.accounts.commands import resume
from dashboard.management.commands.hold_back import hold_back
from gateway.models import Email
from mirror.models import Connection, Message
from tests.factories import (
    NOW,
    actor_of,
    change_row,
    make_connection,
    make_message,
    pending_row,
    rolled_back,
)
from tests.integration.deciding import decide, make_due, read_all
from tests.integration.gateway.world import leave, status_of


@pytest.fixture
def held(account):
    """A message that the gateway holds and the desk shows."""
    send(account)
    read_all(account.connection)
    return Message.objects.get()


def send(account, **fields):
    """Send a message through the gateway, which holds it; return its id."""
    message_fields = {
        "to": ["dana@northwind.example"],
        "subject": f"Order {fields}",
        "markdown": "Hello",
        **fields,
    }
    return account.ask(
        "POST", f"{account.world.base}/send", key="agent", json=message_fields
    ).json()["id"]


def approved(account, **fields):
    """The same, approved past the desk, as it waits in the outbox."""
    decision = {"email_id": send(account, **fields), "action": "approve"}
    assert (
        account.ask(
            "POST", "/v1/oversight/decide", key="desk", json=decision
        ).status_code
        == 200
    )
    return Email.objects.get(pk=decision["email_id"])


def restore(admin):
    """Do what `./run restore` does before anything starts, and continue as an admin.

    Return how many decisions, messages and connections were held back.
    """
    call_command("gateway_restored", "--made-at", NOW.isoformat())
    held = hold_back(NOW)
    for connection in Connection.objects.all():
        assert connection.paused_by_hand
        resume(connection=connection, actor=actor_of(admin))
    return held


def carry_out_all():
    """Do the workers' due work."""
    for decision in Decision.objects.due():
        run_decision(decision_id=decision.pk)
    for email in Email.objects.in_outbox():
        leave(email)


def look_twice(decision):
    """Read twice, a settle time apart; return both results."""
    found = []
    for _ in range(2):
        Decision.objects.update(
            due_at=Now() - timedelta(seconds=1), changed_at=Now() - timedelta(seconds=3)
        )
        found.append(resolve(decision_id=decision.pk))
    return found


def test_decision_that_was_carried_out_since_is_not_carried_out_again_where_the_gateway_was_restored_too(
    account, held, reviewer, admin, mail_server
):
    decision = decide(held, reviewer).decision
    Decision.objects.update(due_at=Now())
    with rolled_back():
        carry_out_all()
        carry_out_all()
        assert len(mail_server.taken) == 1
    assert restore(admin)[0] == 1
    carry_out_all()
    assert look_twice(decision) == ["read once", "still held, a person must confirm"]
    carry_out_all()
    assert len(mail_server.taken) == 1
    assert status_of(held.upstream_id) == "pending_send_approval"
    decision.refresh_from_db()
    assert "when the backup of 2026-11-20 10:00:00 UTC was made" in decision.explanation


def test_message_that_was_approved_and_sent_since_is_marked_before_anybody_approves_it_again(
    held, reviewer, admin, mail_server
):
    assert restore(admin)[1] == 1
    held.refresh_from_db()
    assert held.review.risk_level == "high"
    assert "restored" in held.review.rules


def test_gateway_that_was_restored_alone_marks_what_the_desk_already_had(account, held):
    call_command("gateway_restored", "--made-at", NOW.isoformat())
    read_all(account.connection)
    held.refresh_from_db()
    assert "restored" in held.review.rules


def test_approved_mail_that_left_since_is_not_sent_again(account, mail_server, admin):
    with_time = approved(account, send_at="2099-01-01T00:00:00Z")
    due = approved(account)
    with rolled_back():
        assert leave(due) == "sent"
    restore(admin)
    for _ in range(2):
        carry_out_all()
        # Scheduled messages may have been cancelled since.
        change_row(with_time, due_at=Now())
    assert len(mail_server.taken) == 1
    assert leave(with_time) == "not due"
    due.refresh_from_db()
    assert due.status == "sent"
    assert due.fate_unknown is True
    assert due.due_at is None
    assert "Restored from the backup" in due.last_error
    answer = account.ask("PATCH", "/v1/account", json={"hold_all": False})
    assert answer.status_code == 200
    assert leave(with_time) == "sent"
    assert len(mail_server.taken) == 2


@pytest.mark.slow
def test_hosted_multimail_that_was_not_restored_reports_the_outcome(
    upstream, reviewer, admin
):
    upstream.headers = {}
    connection = make_connection(
        api_url=upstream.url, is_our_gateway=False, read_key="mm_live_read"
    )
    decided, held = (make_message(connection) for _ in range(2))
    upstream.holds(pending_row(decided.upstream_id), pending_row(held.upstream_id))
    upstream.decides(200, status="approved_and_sent", decision="approved")
    before = decide(decided, reviewer).decision
    make_due()
    with rolled_back():
        carry_out_all()
    # It no longer holds the decided one, and names our decision.
    upstream.holds(pending_row(held.upstream_id))
    reason = upstream.decisions[0]["reason"]
    told = {"status": "sent", "decision": "approved", "decision_reason": reason}
    upstream.answers[f"/v1/mailboxes/01MAILBOX/emails/{decided.upstream_id}"] = (
        200,
        {"id": decided.upstream_id, **told},
    )
    found = restore(admin)
    # What it still holds has not left.
    assert found[:2] == (1, 0)
    assert look_twice(before) == ["applied", "nothing to resolve"]
    carry_out_all()
    assert len(upstream.decisions) == 1
