"""A stop beats what was pressed before it: hold all and the kill switch, against our own
gateway with a mail server.
"""

import threading
import time
from datetime import timedelta

import pytest
from django.db import connection as db
from django.db import transaction
from django.test import Client
from django.utils import timezone

from approvals.decisions import execute
from approvals.decisions.execute import run_decision
from approvals.models import Decision
from gateway.models import Email
from mirror.models import Connection, Message
from policy import kill_switch
from policy.models import KillSwitch
from tests.factories import actor_of, change_row, make_message, put_in_force
from tests.integration.deciding import (
    at_once,
    decide,
    in_thread,
    make_due,
    read_all,
    waiting_for_a_lock,
)
from tests.integration.gateway.world import leave, status_of
from tests.integration.gateway_served import make_account, served_gateway
from tests.signing import resume
from upstream import errors

AT_ONCE = 4


def held(account, number=1):
    """Let the agent send so many messages; return the desk's."""
    for one in range(number):
        account.send(subject=f"Order {one}", body=f"Hello, it is order {one}.")
    read_all(account.connection)
    return list(Message.objects.order_by("pk"))


def work(decisions=None):
    """Do the workers' due work."""
    for decision in decisions or Decision.objects.due():
        run_decision(decision_id=decision.pk)
        if leave(decision.message.upstream_id) == "lease lost":
            leave(decision.message.upstream_id)


def hold_all(account, on=True):
    answer = account.ask("PATCH", "/v1/account", json={"hold_all": on})
    assert answer.status_code == 200, answer.text


def stop(client):
    answer = client.post("/stop/pull/", {"scope": "all", "reason": "Wrong price"})
    assert answer.status_code == 302


def release(client):
    switch = KillSwitch.objects.pulled().get()
    assert client.post(f"/stop/{switch.pk}/release/").status_code == 302


@pytest.mark.parametrize(
    "who_waits", ["nobody", pytest.param("one of two", marks=pytest.mark.slow)]
)
def test_approval_that_was_pressed_before_hold_all_needs_another_one(
    account, reviewer, second_reviewer, mail_server, who_waits
):
    if who_waits == "one of two":
        put_in_force({"approvals": {"0": 2}})
    (message,) = held(account)
    decide(message, reviewer)
    if who_waits == "nobody":
        make_due()
    hold_all(account)
    if who_waits == "one of two":
        decide(message, second_reviewer)
        make_due()
    work()
    assert mail_server.taken == []
    decision = Decision.objects.get()
    assert decision.state == "refused"
    assert "after this was approved" in decision.explanation
    decide(message, reviewer)
    if who_waits == "one of two":
        decide(message, second_reviewer)
    make_due()
    work()
    assert len(mail_server.taken) == 1


def test_kill_switch_stops_what_the_gateway_has_not_sent_and_its_release_sends_it(
    account, reviewer, signed_in, admin, mail_server
):
    first, second = held(account, 2)
    decide(first, reviewer)
    make_due()
    for decision in Decision.objects.all():
        assert run_decision(decision_id=decision.pk) == "applied"
    client = signed_in(admin)
    stop(client)
    decide(second, reviewer)
    make_due()
    work(Decision.objects.all())
    assert mail_server.taken == []
    assert status_of(first.upstream_id) == "scheduled"
    assert status_of(second.upstream_id) == "pending_send_approval"
    release(client)
    work(Decision.objects.all())
    assert len(mail_server.taken) == 2
    assert not Connection.objects.get().is_gate_stopped


def test_gateway_that_did_not_hear_of_a_stop_is_named_and_told_by_the_sweep(
    account, signed_in, admin
):
    account.gateway.spoiled["PUT", "/stopped"] = (503, b"{}")
    client = signed_in(admin)
    stop(client)
    assert "Not known yet to the gateway of" in client.get("/stop/").text
    account.gateway.spoiled.clear()
    (connection,) = kill_switch.to_tell()
    assert kill_switch.tell_gateway(connection_id=connection.pk) == ""
    account.world.mailbox.refresh_from_db()
    assert account.world.mailbox.is_stopped
    # Released while the gateway is away, it is still to be told.
    account.gateway.spoiled["PUT", "/stopped"] = (503, b"{}")
    release(client)
    account.gateway.spoiled.clear()
    assert kill_switch.tell_gateway(connection_id=connection.pk) == ""
    account.world.mailbox.refresh_from_db()
    assert not account.world.mailbox.is_stopped
    assert not kill_switch.to_tell().exists()


@pytest.mark.django_db(transaction=True)
def test_no_call_begins_while_a_switch_is_being_pulled(connection, reviewer):
    message = make_message(connection)
    decision = decide(message, reviewer).decision
    soon = timezone.now() + timedelta(minutes=10)
    change_row(decision, state="calling", attempt=1, lease_until=soon)
    decision.refresh_from_db()
    with transaction.atomic():
        kill_switch.pull(actor=actor_of(reviewer), reason="Stop")
        worker, results = in_thread(lambda: execute._mark(decision))
        waiting_for_a_lock(db)
    worker.join()
    assert isinstance(results[0], errors.NotSent)
    decision.refresh_from_db()
    assert decision.may_have_left is False


@pytest.mark.parametrize(
    "press", ["hold all", pytest.param("kill switch", marks=pytest.mark.slow)]
)
@pytest.mark.django_db(transaction=True)
def test_nothing_begins_to_leave_after_a_stop(reviewer, admin, mail_server, press):
    with served_gateway(at_once=True) as gateway:
        account = make_account(gateway)
        messages = held(account, 12)
        decisions = [decide(message, reviewer).decision for message in messages]
        make_due()
        some_left = threading.Event()
        stopped_at = []

        def carry_out(share):
            for decision in share:
                work([decision])
                if len(mail_server.taken) >= AT_ONCE:
                    some_left.set()

        def press_stop():
            client = resume(Client(), admin)
            some_left.wait(60)
            if press == "hold all":
                hold_all(account)
            else:
                stop(client)
            stopped_at.append(time.monotonic())

        shares = [decisions[one::AT_ONCE] for one in range(AT_ONCE)]
        at_once(*(lambda one=one: carry_out(one) for one in shares), press_stop)
        # And whatever workers still find.
        work(decisions)
        assert max(one.began for one in mail_server.taken) < stopped_at[0]
        left = len(mail_server.taken)
        assert AT_ONCE <= left < 12
        assert Email.objects.filter(status="sent").count() == left
        states = set(Decision.objects.values_list("state", flat=True))
        assert states <= {"applied", "recorded", "refused"}
