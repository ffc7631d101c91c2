"""The kill switch: who may pull and release it, what it stops, and that what it stops
can still be undone.
"""

from datetime import timedelta
from itertools import product

import pytest
from django.db import connection as db
from django.db import transaction
from django.db.models.functions import Now

from approvals.decisions import execute
from approvals.decisions.execute import run_decision
from approvals.decisions.ruling import stop_of
from approvals.models import Decision
from audit.models import Entry
from common.actors import Actor, Role, Scope
from mirror.errors import ActNotAllowed
from mirror.models import Connection, Mailbox
from policy import kill_switch
from policy.models import KillSwitch
from tests.factories import (
    actor_of,
    change_row,
    make_connection,
    make_message,
    make_person,
    pending_row,
    rolled_back,
)
from tests.integration.deciding import (
    carry_out,
    decide,
    in_thread,
    make_due,
    ruling_of,
    undo,
    waiting_for_a_lock,
)
from tests.variants import variants

REASON = "Wrong price in every letter"


@pytest.fixture
def message(upstream):
    message = make_message(make_connection(api_url=upstream.url))
    upstream.holds(pending_row(message.upstream_id))
    upstream.decides(200, decision="approved")
    return message


def pull(person, **scope):
    return kill_switch.pull(actor=actor_of(person), reason=REASON, **scope)


def release(switch, person):
    kill_switch.release(switch_id=switch.pk, actor=actor_of(person))


def test_switch_is_pulled_and_released_within_the_reach_of_a_role():
    here = Connection(pk=1)
    scopes = ({}, {"connection": here}, {"mailbox": Mailbox(pk=10, connection=here)})
    # How far a role reaches, and how many of the scopes lie within.
    reaches = (
        ({}, 3),
        ({"connection": 1}, 2),
        ({"connection": 1, "mailbox": 10}, 1),
        ({"connection": 2}, 0),
        ({"connection": 1, "mailbox": 11}, 0),
    )
    for role, (reach, within), scope in product(Role, reaches, scopes):
        of_role = (Scope(role, **reach),)
        actor = Actor(kind="person", id="1", label="X", surface="web", scopes=of_role)
        may = scope in scopes[3 - within :]
        found = (
            kill_switch.may_pull(actor, **scope),
            KillSwitch(**scope).is_within(actor, Role.ADMIN),
        )
        may_pull = may and role in (Role.REVIEWER, Role.ADMIN)
        assert found == (may_pull, may and role == Role.ADMIN), (role, reach, scope)


def test_pull_and_release_ask_for_the_role_and_a_reason_and_are_done_once(
    reviewer, second_reviewer, auditor, admin, sent_tasks
):
    with pytest.raises(ActNotAllowed):
        pull(auditor)
    with pytest.raises(ActNotAllowed):
        kill_switch.pull(actor=actor_of(reviewer), reason="  ")
    first = pull(second_reviewer)
    # Pulled again, it still belongs to the first person.
    assert pull(reviewer) == first
    with pytest.raises(ActNotAllowed):
        release(first, reviewer)
    release(first, admin)
    assert sent_tasks == [("approvals.tasks.execute_due",)]
    with pytest.raises(ActNotAllowed):
        release(first, admin)
    assert pull(reviewer) != first
    acts = Entry.objects.filter(action__startswith="kill_switch.").oldest_first()
    people = [str(one.pk) for one in (second_reviewer, admin, reviewer)]
    assert [one.actor_id for one in acts] == people


@pytest.mark.parametrize("outcome", variants(["approve", "reject", "send_back"], 1))
def test_pulled_switch_stops_every_call_until_it_is_released(
    message, reviewer, admin, upstream, outcome
):
    switch = pull(reviewer)
    assert carry_out(message, reviewer, outcome=outcome) == "not due"
    decision = Decision.objects.get()
    assert (decision.state, upstream.decisions) == ("recorded", [])
    # A stopped decision can still be undone, long after the undo window.
    with rolled_back():
        assert undo(message, reviewer).state == "undone"
    release(switch, admin)
    run_decision(decision_id=decision.pk)
    assert len(upstream.decisions) == 1


def test_switch_stops_what_is_in_its_scope_and_nothing_else(
    connection, reviewer, admin
):
    second = connection.mailboxes.create(upstream_id="01B", address="b@x.example")
    places = [connection] * 3 + [make_connection("other")]
    here, there, unknown, elsewhere = messages = [make_message(one) for one in places]
    change_row(there, mailbox=second)
    # It may be in any mailbox of its connection.
    change_row(unknown, mailbox=None)
    for one in messages:
        decide(one, reviewer)
    make_due()
    for scope, stopped in (
        ({"mailbox": here.mailbox}, [here, unknown]),
        ({"mailbox": elsewhere.mailbox}, [elsewhere]),
        ({"connection": connection}, [here, there, unknown]),
        ({}, messages),
    ):
        with rolled_back():
            pull(admin, **scope)
            due = {one.message_id for one in Decision.objects.due()}
            for one in messages:
                one.refresh_from_db()
                assert (one.pk not in due) == (one in stopped), scope
                assert bool(stop_of(one)) == (one in stopped), scope
                assert bool(ruling_of(one, reviewer).stopped_by) == (one in stopped)


@pytest.mark.django_db(transaction=True)
def test_undo_that_holds_the_row_is_seen_by_the_worker_that_waits_for_it(
    message, reviewer
):
    """The update checks the row again; with its conditions in a joined subquery it
    would call anyway.
    """
    decision = decide(message, reviewer).decision
    lease = Now() + timedelta(minutes=10)
    change_row(decision, state="calling", attempt=1, lease_until=lease)
    decision.refresh_from_db()
    with transaction.atomic():
        undo(message, reviewer)
        worker, refused = in_thread(lambda: execute._mark(decision))
        waiting_for_a_lock(db)
    worker.join()
    decision.refresh_from_db()
    assert len(refused) == 1
    assert (decision.state, decision.may_have_left) == ("undone", False)


def test_switch_is_shown_only_to_people_it_affects(signed_in, admin, mailbox):
    connection = mailbox.connection
    other = connection.mailboxes.create(upstream_id="02", address="board@x.example")
    scope = {"connection": connection, "mailbox": mailbox}
    client = signed_in(make_person("x@x.example", "X", "reviewer", **scope))
    theirs = pull(admin, mailbox=other)
    pull(admin, connection=make_connection("other"))
    page = client.get("/stop/").text
    assert REASON not in page
    assert other.address not in page
    assert client.post(f"/stop/{theirs.pk}/release/").status_code == 404
    pull(admin, connection=connection)
    assert client.get("/queue/pulse/").json()["html"].count(REASON) == 1


def test_hosted_multimail_is_not_asked_to_hold_all(signed_in, admin, upstream):
    connection = make_connection(api_url=upstream.url, is_our_gateway=False)
    path = f"/stop/gateway/{connection.pk}/"
    assert signed_in(admin).post(path, {"hold": "on"}).status_code == 403
    assert upstream.calls == []
