"""`hold_all`: while it is on, only mail approved after it is sent, and lifting it
releases the rest.
"""

import pytest
from django.db.models.functions import Now
from django.test import TestCase

from gateway import smtp, tasks
from gateway.models import Account, ApprovalRequest, AuditLogEntry, Email, Mailbox
from gateway.states import Mode, Status
from tests.integration.gateway.world import (
    add_key,
    add_sandbox_keys,
    catch_tasks,
    events_of,
    leave,
    make_world,
    status_of,
)


def hold(world, on=True):
    answer = world.patch("/v1/account", hold_all=on)
    assert answer.status_code == 200, answer.content
    return answer.json()


def hold_before_the_next_attempt(world, monkeypatch):
    """Set the switch after the worker has claimed an email and before it has contacted
    the mail server.
    """
    connect = smtp.hand_over

    def hold_first(*arguments, **options):
        monkeypatch.setattr(smtp, "hand_over", connect)
        hold(world)
        return connect(*arguments, **options)

    monkeypatch.setattr(smtp, "hand_over", hold_first)


@pytest.fixture
def free(db):
    """An account whose mail is sent without review."""
    return make_world("free", mode=Mode.AUTONOMOUS)


@pytest.mark.slow
def test_hold_all_holds_due_mail_that_nobody_decided(free, mail_server):
    free.listen("oversight.pending")
    email_id = free.held(send_at="2099-01-01T00:00:00Z")
    hold(free)
    Email.objects.update(due_at=Now())
    assert leave(email_id) == "asked"
    assert status_of(email_id) == Status.PENDING_SEND_APPROVAL
    assert events_of(email_id) == ["oversight.pending"]
    assert Email.objects.get(pk=email_id).gated
    # It stays held when `hold_all` ends, and is sent once somebody has approved it.
    hold(free, False)
    assert leave(email_id) == "not due"
    assert free.decide(email_id).status_code == 200
    Email.objects.update(due_at=Now())
    assert leave(email_id) == "sent"
    assert len(mail_server.taken) == 1


def test_hold_all_holds_back_earlier_approvals_until_it_is_lifted(
    world, other, mail_server, monkeypatch
):
    add_sandbox_keys(world)
    tried = world.held(key="tester")
    email = world.approved()
    assert world.decide(tried, key="test desk").status_code == 200
    assert hold(world)["hold_all"] is True
    assert world.get("/v1/account")["hold_all"] is True
    assert [leave(email), leave(tried)] == ["not due", "not due"]
    assert not Email.objects.in_outbox().exists()
    tasks.sweep()
    assert status_of(email) == Status.SCHEDULED
    assert mail_server.seen == 0
    assert leave(other.approved()) == "sent"

    sent = []
    catch_tasks(monkeypatch, sent.append)
    with TestCase.captureOnCommitCallbacks(execute=True):
        assert hold(world, False)["hold_all"] is False
    assert Account.objects.get(pk=world.account.pk).hold_all_at is None
    assert sorted(sent) == sorted(
        ("gateway.tasks.send_email", one) for one in (tried, email.pk)
    )
    assert [leave(email), leave(tried), mail_server.seen] == ["sent", "pretended", 2]
    noted = AuditLogEntry.objects.filter(
        action__startswith="account.hold_all"
    ).order_by("id")
    assert [entry.action for entry in noted] == [
        "account.hold_all_on",
        "account.hold_all_off",
    ]


def test_hold_all_sends_later_approvals_until_it_is_set_again(world, mail_server):
    hold(world)
    email = world.approved()
    later = world.approved()
    assert leave(email) == "sent"
    assert mail_server.seen == 1
    hold(world)
    assert leave(later) == "not due"
    assert mail_server.seen == 1
    assert (
        world.post(f"{world.base}/emails/{later.pk}/cancel").json()["status"]
        == "cancelled"
    )


def test_approved_mail_of_a_mailbox_that_became_read_only_waits(world, mail_server):
    email = world.approved()
    Mailbox.objects.update(oversight_mode=Mode.READ_ONLY)
    assert leave(email) == "not due"
    assert not Email.objects.in_outbox().exists()
    Mailbox.objects.update(oversight_mode=Mode.GATED_SEND)
    claimed = Email.objects.claim(email.pk)
    assert claimed is not None
    # The mode changed between the claim and the contact with the mail server.
    Mailbox.objects.update(oversight_mode=Mode.READ_ONLY)
    assert not Email.objects.held_by(claimed).may_leave().exists()
    Mailbox.objects.update(oversight_mode=Mode.GATED_SEND)
    assert Email.objects.held_by(claimed).may_leave().exists()


def test_hold_all_set_after_the_claim_still_holds_undecided_mail(
    world, free, mail_server, monkeypatch
):
    email = world.approved()
    undecided = free.held()
    hold_before_the_next_attempt(world, monkeypatch)
    assert leave(email) == "lease lost"
    assert status_of(email) == Status.SCHEDULED
    hold_before_the_next_attempt(free, monkeypatch)
    assert [leave(undecided), leave(undecided)] == ["lease lost", "asked"]
    assert mail_server.seen == 0
    hold(world, False)
    # It does not wait for the lease of the stopped attempt.
    assert leave(email) == "sent"


def test_sending_key_lifts_hold_all_only_with_an_operator_code(world):
    add_key(world, "both", ["send", "admin"])
    hold(world)
    lift = {"hold_all": False}
    assert world.patch("/v1/account", key="both", **lift).status_code == 202
    assert Account.objects.get().hold_all_at is not None
    lift |= {"approval_code": ApprovalRequest.objects.get().code}
    assert world.patch("/v1/account", key="both", **lift).json()["hold_all"] is False
