"""The kill switch: who may pull and release it, what it stops, and that what it stops
can still be undone.
"""

from datetime import timedelta

import pytest
from django.db import connection as db
from django.db import transaction
from django.db.models.functions import Now

from approvals.decisions import execute
from approvals.decisions.execute import run_decision
from approvals.models import Decision
from audit.models import Entry
from mirror.errors import ActNotAllowed
from mirror.models import Connection, Message
from policy import kill_switch
from tests.factories import (
    actor_of,
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
    undo,
    waiting_for_a_lock,
)
from tests.standin import multimail


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


def test_pulled_switch_stops_every_call_of_its_scope_until_it_is_released(
    message, reviewer, admin, upstream
):
    for scope, outcome in (
        ({}, "reject"),
        ({"connection": message.connection}, "send_back"),
        ({"mailbox": message.mailbox}, "approve"),
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
    pulled, released = Entry.objects.filter(
        action__startswith="kill_switch."
    ).oldest_first()
    assert (pulled.actor_id, released.actor_id) == (str(reviewer.pk), str(admin.pk))


@pytest.mark.slow
def test_message_of_unknown_mailbox_is_stopped_by_each_switch_of_its_connection(
    message, reviewer
):
    mailbox = message.mailbox
    other = make_connection("other")
    Message.objects.update(mailbox=None)
    message.refresh_from_db()
    pull(reviewer, mailbox=other.mailboxes.get())
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
    with pytest.raises(ActNotAllowed):
        pull(auditor)
    with pytest.raises(ActNotAllowed, match="Give a reason"):
        kill_switch.pull(actor=actor_of(reviewer), reason="  ")
    first = pull(second_reviewer)
    # Pulled again, it still belongs to the first person.
    assert pull(reviewer) == first
    with pytest.raises(ActNotAllowed):
        release(first, reviewer)
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
    assert len(refused) == 1
    assert decision.state == "undone"
    assert decision.may_have_left is False


@pytest.fixture
def gateway(connection):
    """The gateway of this connection, with a status that tests can set."""
    with multimail() as standin:
        standin.answers["/v1/account"] = (200, {"id": "1", "hold_all": False})
        Connection.objects.update(api_url=standin.url, admin_key="mm_live_admin")
        yield standin


@pytest.mark.slow
def test_pulled_switch_is_shown_with_person_time_scope_and_reason(
    signed_in, admin, auditor
):
    """That every page has the banner: test_permissions.py."""
    switch = pull(admin)
    page = signed_in(auditor).get("/queue/").text
    banner = page.partition('id="stopped"')[2].partition("rail")[0]
    banner = banner.partition("</div></div>")[0]
    for words in (
        "Ida Lindqvist",
        f"{switch.pulled_at:%H:%M:%S}",
        "Wrong price in every letter",
    ):
        assert words in banner, words


def test_switch_is_shown_only_to_people_it_affects(signed_in, admin, connection):
    mine = connection.mailboxes.get()
    other = connection.mailboxes.create(
        upstream_id="02", address="board@yourteam.example"
    )
    person = make_person(
        "x@yourteam.example", "X", "reviewer", connection=connection, mailbox=mine
    )
    client = signed_in(person)
    theirs = pull(admin, mailbox=other)
    pull(admin, connection=make_connection("other"))
    page = client.get("/stop/").text
    assert "Wrong price" not in page
    assert "board@yourteam.example" not in page
    assert client.post(f"/stop/{theirs.pk}/release/").status_code == 404
    pull(admin, connection=connection)
    fragment = client.get("/stop/banner/").text
    assert fragment.count("Wrong price") == 1
    assert "<html" not in fragment


@pytest.mark.slow
def test_only_our_gateway_is_asked_to_hold_all_and_only_for_its_admins(
    signed_in, admin, connection, gateway
):
    path = f"/stop/gateway/{connection.pk}/"
    gateway.answers["/v1/account"] = (200, {"id": "1", "hold_all": True})
    assert signed_in(admin).post(path, {"hold": "on"}).status_code == 302
    assert ("PATCH", "/v1/account", {"hold_all": True}) in gateway.calls
    gateway.calls.clear()
    client = signed_in(make_person("x@yourteam.example", "X", "reviewer"))
    assert client.post(path, {"hold": "on"}).status_code == 403
    # Hosted MultiMail does not offer it.
    Connection.objects.update(is_our_gateway=False)
    client = signed_in(admin)
    assert b"Hold all mail at" not in client.get("/stop/").content
    assert client.post(path, {"hold": "on"}).status_code == 403
    assert gateway.calls == []
