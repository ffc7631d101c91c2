"""Further ways round the policy that were tried and once let a message out: owners who
accept changes of their keys, presses that waited, and texts that came again.
"""

from datetime import timedelta

import pytest
from django.db.models.functions import Now

from approvals.bulk import batch
from approvals.bulk.sheet import OnSheet, Sheet
from approvals.decisions.execute import run_decision
from approvals.message_page import views
from approvals.models import Decision
from connections.accounts import commands
from connections.keys.commands import change_key, read_key, resume_key
from gateway.contacts import add_contact
from gateway.models import ApiKey, Contact
from mirror.models import Connection, Thread, ThreadMessage
from people.models import ChatAccount
from people.second_admin.registry import SecondAdminNeeded
from policy.models import Allowlist, KeyOwner
from tests.factories import actor_of, change_list, change_row, make_message
from tests.integration.deciding import decide, make_due, post_verdict, ruling_of
from tests.integration.passing import activate, make_pass
from tests.integration.test_second_admin import switch_on
from tests.integration.test_stops import held, hold_all, work


def asked_by(work, *parts, **named):
    """Do what has to wait, and return the change that is asked for."""
    with pytest.raises(SecondAdminNeeded) as waits:
        work(*parts, **named)
    return waits.value.asked


def test_owner_of_a_key_accepts_no_change_of_what_it_may_send(account, admin, second):
    switch_on()
    connection = account.connection
    by = {"connection": connection, "actor": actor_of(admin)}
    key = account.world.key_id("agent")
    KeyOwner.objects.create(connection=connection, upstream_key_id=key, person=second)
    read = read_key(connection, key, actor=actor_of(admin))
    wider = {"scopes": ["read", "send", "oversight_read"]}
    mailbox = connection.mailboxes.get()
    named = make_pass(mailbox, keys=frozenset({f"{connection.pk}:{key}"}))
    for asked in (
        asked_by(change_key, **by, key=read, changes=wider),
        asked_by(resume_key, **by, key=read, code=""),
        asked_by(activate, admin, None, named),
    ):
        assert asked.subjects == [second.pk], asked.title
    # What a pass sends is accepted by those who may sign passes.
    activate(second, admin, named)
    at = Allowlist.objects.get()
    assert asked_by(change_list, admin, "eve@x.example", at=at).connection is None


@pytest.mark.parametrize("where", [batch, views])
def test_press_counts_from_when_the_desk_received_it(
    account, desk, reviewer, mail_server, monkeypatch, where
):
    messages = held(account, 2)
    give_verdict = where.give_verdict

    def stopped_meanwhile(**fields):
        hold_all(account)
        return give_verdict(**fields)

    monkeypatch.setattr(where, "give_verdict", stopped_meanwhile)
    if where is batch:
        items = [OnSheet(one.public_id, one.revision.fingerprint) for one in messages]
        batch.decide_batch(
            sheet=Sheet(items),
            ticked=items,
            outcome="approve",
            reason="",
            actor=actor_of(reviewer),
        )
    else:
        for one in messages:
            post_verdict(desk, one)
    assert Decision.objects.count() == 2
    make_due()
    work()
    assert mail_server.taken == []


def test_approval_that_waited_long_is_refused_if_the_thread_moved_on(
    message, reviewer, upstream
):
    change_row(message, thread_id="T1")
    decide(message, reviewer)
    read = {"upstream_id": "T1", "read_at": Now()}
    thread = Thread.objects.create(mailbox=message.mailbox, **read)
    ThreadMessage.objects.create(
        thread=thread, upstream_id="new", direction="inbound", is_fact=True, at=Now()
    )
    decision = Decision.objects.get()
    ago = Now() - timedelta(minutes=11)
    change_row(decision, recorded_at=ago, due_at=Now())
    assert run_decision(decision_id=decision.pk) == "refused"


def test_person_whom_a_chat_names_as_the_sender_does_not_approve(
    connection, reviewer, second_reviewer
):
    ChatAccount.objects.create(service="discord", account_id="42", person=reviewer)
    message = make_message(connection, metadata={"discord_user_id": "42"})
    assert not ruling_of(message, reviewer).may_approve
    assert ruling_of(message, second_reviewer).may_approve


def test_contact_of_a_test_key_is_added_by_a_sender(account):
    key = ApiKey.objects.get(pk=account.world.key_id("admin"))
    for is_test in (True, False):
        key.sandbox = is_test
        contact = Contact(email=f"{is_test}@x.example", name="")
        assert add_contact(key, contact).by_sender is is_test


def test_account_that_comes_back_is_the_connection_that_rules_name(connection, admin):
    change_row(connection, account_id="A1")
    actor = actor_of(admin)
    commands.remove_connection(
        connection=connection, typed_name=connection.name, actor=actor
    )
    again = commands.add_connection(
        actor=actor,
        name="Another name",
        api_url=connection.api_url,
        keys={"oversight": "mm_live_again"},
        scopes={},
        is_our_gateway=True,
        account="A1",
    )
    assert again.pk == connection.pk
    assert list(Connection.objects.at_work()) == [again]
    assert again.paused_at is None
