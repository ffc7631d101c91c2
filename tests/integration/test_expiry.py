"""A message past its expiry is rejected by rule and never sent, by the database's
clock; and our gateway learns the expiry.
"""

from datetime import UTC, timedelta

import pytest
from django.db.models.functions import Now

from approvals import tasks
from approvals.bulk.batch import decide_batch
from approvals.bulk.sheet import OnSheet, Sheet
from approvals.decisions.by_rule import apply_policy, expire_due, tell_expiry
from approvals.decisions.execute import run_decision
from approvals.errors import VerdictNotAllowed
from approvals.models import Decision
from audit.models import Entry
from common.fingerprint import fingerprint
from common.postgres import clock
from common.sweeps import do_all, duty
from gateway.models import AuditLogEntry, Email
from mirror.models import Message
from mirror.store import content_of, held_since
from policy import kill_switch
from tests.factories import (
    actor_of,
    change_row,
    make_connection,
    make_message,
    pending_row,
    put_in_force,
    rolled_back,
    show_row,
)
from tests.integration.deciding import decide, expires, make_due, read_all, withdraw


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
    with pytest.raises(VerdictNotAllowed, match="rule"):
        withdraw(message, reviewer)
    assert run() == "applied"
    assert [(sent["action"], sent["reason"][:7]) for sent in upstream.decisions] == [
        ("reject", "Expired")
    ]
    assert Entry.objects.get(action="decision.recorded").actor_kind == "rule"


@pytest.mark.slow
def test_expiry_withdraws_refuses_or_leaves_an_approval_depending_on_its_state(
    message, reviewer
):
    approved(message, reviewer)
    left = {"attempt": 1, "may_have_left": True}
    for fields, after in (
        ({}, "refused"),
        ({"state": "recorded", **left}, "withdrawn"),
        ({"state": "unknown", **left}, "withdrawn"),
        *(({"state": state}, None) for state in ("calling", "applied", "unattributed")),
    ):
        with rolled_back():
            Decision.objects.update(state=fields.pop("state", "recorded"), **fields)
            before = states()
            assert expire_due() == (1 if after else 0), fields
            rejected = [f"approve by a person: {after}", "reject by expiry: recorded"]
            assert states() == (rejected if after else before)


@pytest.mark.slow
def test_refused_rule_waits_retries_and_rejects_even_changed_content(message, upstream):
    upstream.decides(403, error="This key may not decide.")
    expire_due()
    assert run() == "refused"
    assert expire_due() == 0
    Decision.objects.update(changed_at=Now() - timedelta(minutes=16))
    assert expire_due() == 1
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


def test_rule_ignores_rejected_and_timely_messages_and_waits_for_the_kill_switch(
    message, reviewer, upstream
):
    with rolled_back():
        kill_switch.pull(actor=actor_of(reviewer), reason="Stop")
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
    shown = OnSheet(message.public_id, message.revision.fingerprint)
    actor = actor_of(reviewer)
    [refused] = decide_batch(
        sheet=Sheet([shown]), ticked=[shown], outcome="approve", reason="", actor=actor
    )
    assert refused.decision is None
    with pytest.raises(VerdictNotAllowed, match="time to approve"):
        decide(message, reviewer, surface="discord")
    assert not Decision.objects.exists()
    # Approved in time, but the worker is late; then sent again by somebody who does not
    # know that.
    approved(message, reviewer)
    assert run() == "refused"
    Decision.objects.update(state="unknown", attempt=1, may_have_left=True, seen_held=2)
    client.post(f"{path}send-again/")
    make_due()
    run()
    assert upstream.decisions == []


def test_expiry_by_a_rule_counts_from_when_a_scheduled_message_was_held(connection):
    put_in_force({"expire_minutes": 60})
    at = clock()
    hour = timedelta(hours=1)
    made = (at - 15 * hour).isoformat()
    row = {"received_at": made, "send_at": at.isoformat()}
    unread = make_message(connection, hydrated=False)
    for before, fields, expected in (
        # The event named when the message was made; it waited for its time since.
        (15 * hour, row, hour),
        # It was held at once, before its time.
        (15 * hour, {**row, "gate_timing": "gate_first"}, -14 * hour),
        # It was never held in the future.
        (15 * hour, {**row, "received_at": (at + 3 * hour).isoformat()}, hour),
        (hour / 2, {"received_at": at.isoformat()}, hour / 2),
    ):
        with rolled_back():
            change_row(unread, held_at=at - before)
            show_row(unread, **fields)
            apply_policy()
            expires_at = Message.objects.get().expires_at
            assert abs(expires_at - at - expected) < timedelta(minutes=5), fields
            # It does not change with the content.
            show_row(unread, **{**fields, "subject": "B", "send_at": at.isoformat()})
            apply_policy()
            assert Message.objects.get().expires_at == expires_at
    assert held_since(row, at + hour) == at
    assert held_since({**row, "gate_timing": "gate_first"}, at) == at - 15 * hour


def test_message_from_before_a_rule_gets_its_expiry_when_the_version_is_applied(
    connection,
):
    change_row(make_message(connection), held_at=clock() - timedelta(minutes=90))
    assert apply_policy() == 0
    put_in_force({"expire_minutes": 60})
    apply_policy()
    assert expire_due() == 1
    assert states() == ["reject by expiry: recorded"]


@pytest.fixture
def gated(account):
    account.send()
    read_all(account.connection)
    return Message.objects.get()


def answer_to(account, gated, action="approve"):
    body = {"email_id": gated.upstream_id, "action": action}
    return account.ask("POST", "/v1/oversight/decide", key="desk", json=body)


def test_gateway_refuses_an_approval_after_the_expiry_that_the_desk_told_it(
    account, gated, reviewer
):
    expires(hours=1)
    assert list(Message.objects.expiry_to_tell()) == [gated]
    assert tell_expiry(message_id=gated.pk) == "told"
    assert tell_expiry(message_id=gated.pk) == "nothing to tell"
    # An hour later.
    Email.objects.update(expires_at=Now() - timedelta(seconds=1))
    refused = answer_to(account, gated)
    assert refused.status_code == 409
    assert refused.json()["code"] == "approval_expired"
    assert Email.objects.get().decision == ""
    assert answer_to(account, gated, "reject").json()["decision"] == "rejected"
    assert AuditLogEntry.objects.filter(action="email.expiry_set").count() == 1


def test_expiry_call_needs_an_oversight_key_and_a_held_message_and_is_refused_once(
    account, gated
):
    moment = (
        (clock() + timedelta(hours=1)).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    )
    body = {"email_id": gated.upstream_id, "expires_at": moment}

    def told_by(key):
        return account.ask("POST", "/v1/oversight/expiry", key=key, json=body)

    assert told_by("agent").status_code == 403
    assert told_by("desk").json()["expires_at"][:19] == moment[:19]
    answer_to(account, gated, "reject")
    assert told_by("desk").status_code == 409
    # What it will never take is not told again and again.
    expires(hours=1)
    assert tell_expiry(message_id=gated.pk) == "refused"
    assert not Message.objects.expiry_to_tell().exists()


# --- sweeps do what there is to do, whatever becomes of other duties ---


def fail(_):
    raise ValueError


def test_duty_that_fails_and_question_that_fails_keep_no_other_from_its_work(
    connection,
):
    first = make_message(connection)
    second = make_message(connection)
    rows = Message.objects.order_by("pk")
    done = []
    duties = {
        "none": duty(rows.none, done.append),
        "failing": duty(rows.all, fail),
        "bad": duty(lambda: rows.extra(where=["no_such_column"]), done.append),
        "some": duty(rows.all, lambda keys: keys, most=2),
    }
    result = do_all(duties)
    assert done == []
    assert result.done == {"some": [first.pk, second.pk]}
    assert result.failed == ["failing", "bad"]
