"""The kill switch: who may pull and release it, what it stops, and that what it stops
can still be undone.
"""

from datetime import timedelta

import pytest
from django.db import connection as db
from django.db import transaction
from django.db.models import ProtectedError
from django.db.models.functions import Now

from approvals.decisions import execute
from approvals.decisions.execute import run_decision
from approvals.decisions.withdraw import undo_decision
from approvals.models import Decision
from audit.models import Entry
from mirror.errors import ActNotAllowed
from mirror.models import Message
from policy import kill_switch
from policy.models import KillSwitch
from tests.factories import (
    actor_of,
    make_connection,
    make_message,
    pending_row,
    rolled_back,
)
from tests.integration.deciding import (
    carry_out,
    decide,
    in_thread,
    make_due,
    waiting_for_a_lock,
)


@pytest.fixture
def message(upstream):
    message = make_message(make_connection(api_url=upstream.url))
    upstream.holds(pending_row(message.upstream_id))
    upstream.decides(200, decision="approved")
    return message


def pull(person, **scope):
    return kill_switch.pull(
        actor=actor_of(person), reason="Wrong price in every letter", **scope
    )


def release(switch, person):
    kill_switch.release(switch_id=switch.pk, actor=actor_of(person))


def undo(message, person):
    return undo_decision(message=message.public_id, actor=actor_of(person))


def test_pulled_switch_stops_every_call_of_its_scope_until_it_is_released(
    message, reviewer, admin, upstream
):
    connection = {"connection": message.connection}
    mailbox = {"mailbox": message.mailbox}
    for scope, outcome in (
        ({}, "approve"),
        ({}, "reject"),
        (connection, "send_back"),
        (mailbox, "approve"),
    ):
        with rolled_back():
            switch = pull(reviewer, **scope)
            assert carry_out(message, reviewer, outcome=outcome) == "not due", scope
            decision = Decision.objects.get()
            assert decision.state == "recorded", scope
            assert upstream.decisions == [], scope
            # A stopped decision can still be undone, long after the undo window.
            with rolled_back():
                assert undo(message, reviewer).state == "undone"
            if outcome == "approve":
                release(switch, admin)
                assert run_decision(decision_id=decision.pk) == "applied"
                assert len(upstream.decisions) == 1
                upstream.calls.clear()


def test_switch_is_itself_in_the_ledger_and_its_release_wakes_a_worker(
    message, reviewer, admin, sent_tasks
):
    release(pull(reviewer), admin)
    assert sent_tasks == [("approvals.tasks.execute_due",)]
    acts = Entry.objects.filter(action__startswith="kill_switch.").oldest_first()
    reason = "Wrong price in every letter"
    assert [(entry.action, entry.actor_id, entry.detail.fields["reason"]) for entry in acts] == [
        ("kill_switch.pulled", str(reviewer.pk), reason), ("kill_switch.released", str(admin.pk), reason)
    ]  # fmt: skip
    assert acts[0].detail.fields["scope"] == "everything"


def test_message_of_unknown_mailbox_is_stopped_by_each_switch_of_its_connection(
    message, reviewer
):
    mailbox = message.mailbox
    other = make_connection("other")
    Message.objects.update(mailbox=None)
    message.refresh_from_db()
    switch = pull(reviewer, mailbox=other.mailboxes.get())
    assert (
        KillSwitch.objects.stopping(
            connection=message.connection_id, mailbox=None
        ).count()
        == 0
    )
    assert (
        KillSwitch.objects.stopping(connection=other.pk, mailbox=None).get() == switch
    )
    with rolled_back():
        decide(message, reviewer)
        make_due()
        assert Decision.objects.due().count() == 1
        pull(reviewer, mailbox=mailbox)
        assert Decision.objects.due().count() == 0
    assert carry_out(message, reviewer) == "applied"


def test_pull_and_release_ask_for_the_role_and_a_reason_and_are_done_once(
    reviewer, second_reviewer, auditor, admin
):
    with pytest.raises(ActNotAllowed, match="Only a reviewer or an admin"):
        pull(auditor)
    with pytest.raises(ActNotAllowed, match="Give a reason"):
        kill_switch.pull(actor=actor_of(reviewer), reason="  ")
    first = pull(second_reviewer)
    # Pulled again, it still belongs to the first person.
    assert pull(reviewer) == first
    assert Entry.objects.filter(action="kill_switch.pulled").count() == 1
    with pytest.raises(ActNotAllowed, match="Only an admin"):
        release(first, reviewer)
    assert KillSwitch.objects.pulled().get() == first
    release(first, admin)
    with pytest.raises(ActNotAllowed, match="no longer pulled"):
        release(first, admin)
    assert pull(reviewer) != first


@pytest.mark.django_db(transaction=True)
def test_switch_pulled_while_a_worker_reads_stops_its_call(message, reviewer, upstream):
    """The switch is pulled after the decision was claimed: the last check before the
    call stops it.
    """
    # The stand-in answers in a thread, with its own session.
    upstream.meanwhile["GET"] = lambda: in_thread(lambda: pull(reviewer))[0].join()
    assert carry_out(message, reviewer) == "recorded"
    decision = Decision.objects.get()
    assert upstream.decisions == []
    assert decision.may_have_left is False
    assert "Ana Ferreira pulled the kill switch before the call" in decision.explanation


@pytest.mark.django_db(transaction=True)
def test_undo_that_holds_the_row_is_seen_by_the_worker_that_waits_for_it(
    message, reviewer
):
    """The update checks the row again; with its conditions in a joined subquery it
    would call anyway.
    """
    decision = decide(message, reviewer).decision
    Decision.objects.update(
        state="calling", attempt=1, lease_until=Now() + timedelta(minutes=10)
    )
    decision.refresh_from_db()
    with transaction.atomic():
        undo(message, reviewer)
        worker, refused = in_thread(lambda: execute._mark(decision))
        waiting_for_a_lock(db)
    worker.join()
    decision.refresh_from_db()
    assert [str(one) for one in refused] == [
        "This attempt was abandoned before its call."
    ]
    assert decision.state == "undone"
    assert decision.may_have_left is False


def test_stopped_decisions_are_not_deleted_with_their_switch(message, admin):
    Message.objects.update(revision=None)
    for scope, rows in (
        ("connection", (message.connection,)),
        ("mailbox", (message.mailbox, message.connection)),
    ):
        with rolled_back():
            switch = pull(admin, **{scope: rows[0]})
            for is_released in (False, True):
                if is_released:
                    release(switch, admin)
                for row in rows:
                    with pytest.raises(ProtectedError):
                        row.delete()
            assert KillSwitch.objects.filter(pk=switch.pk).exists()
