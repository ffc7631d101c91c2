"""A message past its expiry is rejected by rule and never sent, by the database's
clock.
"""

from datetime import timedelta

import pytest
from django.db.models.functions import Now

from approvals import tasks
from approvals.bulk.batch import decide_batch
from approvals.bulk.sheet import OnSheet, Sheet
from approvals.decisions.by_rule import expire_due
from approvals.decisions.execute import run_decision
from approvals.decisions.withdraw import undo_decision, withdraw_decision
from approvals.errors import VerdictNotAllowed
from approvals.models import Decision
from approvals.reconcile.reads import read_everything
from audit.models import Entry
from common.fingerprint import fingerprint
from common.postgres import clock
from mirror.models import Connection, Mailbox, Message
from mirror.store import content_of
from policy import kill_switch
from tests.factories import (
    actor_of,
    change_row,
    make_connection,
    make_message,
    pending_row,
    rolled_back,
    show_row,
)
from tests.integration.deciding import decide, expires, make_due, withdraw


@pytest.fixture
def message(upstream):
    """A message past its expiry."""
    message = make_message(make_connection(api_url=upstream.url))
    expires(minutes=-1)
    upstream.holds(pending_row(message.upstream_id))
    upstream.decides(200, status="rejected", decision="rejected")
    message.refresh_from_db()
    return message


def run():
    return run_decision(decision_id=Decision.objects.latest("pk").pk)


def approved(message, person, **fields):
    """An approval from before the expiry, with these fields; the message has expired
    since.
    """
    Message.objects.update(expires_at=None)
    decision = decide(message, person).decision
    change_row(decision, **fields or {"due_at": Now()})
    Message.objects.update(expires_at=Now())


def states():
    found = Decision.objects.order_by("pk").values_list("outcome", "rule", "state")
    return [
        f"{outcome} by {rule or 'a person'}: {state}" for outcome, rule, state in found
    ]


def test_overdue_message_is_found_by_the_sweep_and_rejected_upstream_once_with_that_reason(
    message, reviewer, upstream
):
    tasks.sweep()
    decision = Decision.objects.get()
    assert decision.outcome == "reject"
    assert decision.rule == "expiry"
    assert decision.given_by is None
    assert expire_due() == 0
    # Nobody can undo the rule's decision.
    for act in (undo_decision, withdraw_decision):
        with pytest.raises(VerdictNotAllowed, match="rule"):
            act(message=message.public_id, actor=actor_of(reviewer))
    assert run() == "applied"
    assert [(sent["action"], sent["reason"][:7]) for sent in upstream.decisions] == [
        ("reject", "Expired")
    ]
    recorded = Entry.objects.get(action="decision.recorded")
    assert recorded.actor_kind == "rule"
    assert recorded.detail.fields["rule"] == "expiry"


def test_relisted_overdue_message_is_rejected_too(message, reviewer):
    approved(message, reviewer)
    for state in ("applied", "superseded"):
        with rolled_back():
            Decision.objects.update(state=state, changed_at=Now())
            Message.objects.update(state="gone")
            read_everything(connection_id=message.connection_id, now=clock())
            assert expire_due() == 1
            assert states()[1] == "reject by expiry: recorded", state


def test_expiry_withdraws_refuses_or_leaves_an_approval_depending_on_its_state(
    message, reviewer
):
    approved(message, reviewer)
    left = {"attempt": 1, "may_have_left": True}
    for fields, after in (
        ({}, "refused"),
        ({"state": "recorded", **left}, "withdrawn"),
        ({"state": "unknown", **left}, "withdrawn"),
        *(
            ({"state": state}, None)
            for state in ("calling", "applied", "superseded", "unattributed")
        ),
    ):
        with rolled_back():
            Decision.objects.update(state=fields.pop("state", "recorded"), **fields)
            before = states()
            assert expire_due() == (1 if after else 0), fields
            rejected = [f"approve by a person: {after}", "reject by expiry: recorded"]
            assert states() == (rejected if after else before)
    Decision.objects.update(state="unknown", **left)
    withdraw(message, reviewer)
    expire_due()
    assert states() == ["approve by a person: withdrawn", "reject by expiry: recorded"]


def test_refused_rule_waits_retries_and_rejects_even_changed_content(message, upstream):
    upstream.decides(403, error="This key may not decide.")
    expire_due()
    assert run() == "refused"
    assert expire_due() == 0
    Decision.objects.update(changed_at=Now() - timedelta(minutes=16))
    assert expire_due() == 1
    assert states() == ["reject by expiry: refused", "reject by expiry: recorded"]
    upstream.decides(200, status="rejected", decision="rejected")
    upstream.holds(pending_row(message.upstream_id, subject="Another"))
    show_row(message, subject="A third")
    assert run() == "applied"
    held = pending_row(message.upstream_id, subject="Another")
    # A rule judges no words: it names what is held now, because a mailbox may require
    # that of every decision.
    assert upstream.decisions[-1]["expected_fingerprint"] == fingerprint(
        content_of(held)
    )


def test_rule_rejects_at_hosted_multimail_what_the_desk_cannot_read(
    message, upstream, monkeypatch
):
    Connection.objects.update(is_our_gateway=False)
    upstream.headers = {}
    expire_due()
    # No fingerprint is sent there, so none is made of what is held now.
    monkeypatch.setattr("mirror.store.content_of", lambda row: row["no such field"])
    assert run() == "applied"


def test_rule_ignores_rejected_and_timely_messages_and_waits_for_kill_switch_and_pause(
    message, reviewer, upstream
):
    actor = actor_of(reviewer)
    for stop in (
        lambda: kill_switch.pull(actor=actor, reason="Stop"), lambda: Connection.objects.update(paused_at=Now())
    ):  # fmt: skip
        with rolled_back():
            stop()
            assert expire_due() == 1
            assert run() == "not due"
    with rolled_back():
        expires(seconds=60)
        assert expire_due() == 0
    decide(message, reviewer, "reject")
    assert expire_due() == 0
    assert upstream.decisions == []


def test_expired_message_is_sent_by_no_path(message, reviewer, upstream, signed_in):
    client = signed_in(reviewer)
    path = f"/queue/{message.public_id}/"
    approval = {"outcome": "approve", "fingerprint": message.revision.fingerprint}
    assert client.post(f"{path}verdict/", approval).status_code == 403
    sheet = Sheet([OnSheet(message.public_id, message.revision.fingerprint)])
    [refused] = decide_batch(
        sheet=sheet,
        ticked=sheet.items,
        outcome="approve",
        reason="",
        actor=actor_of(reviewer),
    )
    assert "time to approve" in refused.sentence
    with pytest.raises(VerdictNotAllowed, match="time to approve"):
        decide(message, reviewer, surface="discord")
    assert not Decision.objects.exists()
    # It can be rejected.
    with rolled_back():
        assert decide(message, reviewer, "reject").decision.state == "recorded"
    # Approved in time, but the worker is late; then sent again by somebody who does not
    # know that.
    approved(message, reviewer)
    assert run() == "refused"
    Decision.objects.update(state="unknown", attempt=1, may_have_left=True, seen_held=2)
    client.post(f"{path}send-again/")
    make_due()
    run()
    assert upstream.decisions == []


def test_expiry_counts_from_the_hold_time_and_not_by_the_host_clock(connection):
    Mailbox.objects.update(expire_after=timedelta(hours=1))
    at = clock()
    unread = make_message(connection, hydrated=False)
    minutes = timedelta(minutes=1)
    for received, sent_at, held, expected in (
        # MultiMail's time counts, however slow this host's clock.
        (at - 10 * minutes, None, at - 70 * minutes, 50 * minutes),
        # Without it the time of the first read counts, by the database's clock.
        (None, None, at - 60 * minutes, 60 * minutes),
        # It was never held in the future.
        (at + 300 * minutes, None, at, 60 * minutes),
        # A message that was scheduled before it was held does not expire at once.
        (
            at - timedelta(days=3),
            at - 5 * minutes,
            at - timedelta(days=3),
            55 * minutes,
        ),
    ):
        with rolled_back():
            Message.objects.update(held_at=held)
            unread.refresh_from_db()
            show_row(
                unread, received_at=received.isoformat() if received else None,
                send_at=sent_at.isoformat() if sent_at else None,
            )  # fmt: skip
            assert (
                abs(Message.objects.get().expires_at - at - expected) < 5 * minutes
            ), expected
    # It does not change with the content.
    message = show_row(unread, received_at=at.isoformat())
    before = Message.objects.get().expires_at
    show_row(message, subject="Another", received_at=(at + 180 * minutes).isoformat())
    assert Message.objects.get().expires_at == before
