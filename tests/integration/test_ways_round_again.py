"""Further ways round the policy that were tried and once let a message out: owners who
accept changes of their keys, presses that waited, and texts that came again.
"""

import pytest
from django.db.models.functions import Now
from django.urls import reverse

from approvals.bulk import batch
from approvals.bulk.sheet import OnSheet, Sheet
from approvals.message_page import views
from approvals.models import Decision
from approvals.usual_texts import set_texts
from connections.accounts import commands
from connections.keys.commands import change_key, create_key, read_key, resume_key
from connections.mailboxes.commands import create_mailbox
from gateway.contacts import add_contact
from gateway.models import ApiKey, Contact
from mirror.models import Connection
from people.models import Grant, Invitation
from people.second_admin.registry import SecondAdminNeeded
from policy.errors import PolicyRefused
from policy.models import Allowlist, KeyOwner
from tests.factories import (
    actor_of,
    change_list,
    change_row,
    make_message,
    make_person,
    put_in_force,
    show_row,
)
from tests.integration.deciding import make_due, post_verdict, ruling_of
from tests.integration.passing import activate, make_pass
from tests.integration.test_policy_pages import post
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
    kim = make_person("kim@yourteam.example", "Kim")
    Grant.objects.create(person=kim, role="admin", connection=connection)
    with pytest.raises(PolicyRefused, match="two admins of everything"):
        change_list(kim, "eve@x.example", at=at)


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


def test_two_accounts_of_one_person_can_sign_no_pass(admin, second, signed_in):
    client = signed_in(admin)
    none = "There can be no passes"
    assert none not in client.get("/policy/").text
    used = {"accepted_at": Now(), "expires_at": Now(), "kind": "password"}
    Invitation.objects.create(person=second, known_to=[admin.pk], **used)
    assert none in client.get("/policy/").text


def test_whoever_signs_a_new_mailbox_or_connection_reads_what_its_mail_needs(
    account, admin, second, signed_in
):
    at, box = account.connection.pk, account.mailbox.pk
    of_the_box = {"mailboxes": [box], "known": [f"{at}/{box}"]}
    four_eyes = {"approvals": {"0": 2}}
    put_in_force({"when": of_the_box, "then": four_eyes}, {"care": True})
    client = signed_in(admin)
    shown = client.get(reverse("add-connection")).text
    assert "Rule 1: For every message" in shown
    assert "Rule 0" not in shown
    shown = client.get(reverse("add-mailbox")).text
    assert "Rule 0: When a message" in shown
    switch_on()
    actor = actor_of(admin)
    wanted = {"address": "board", "oversight_mode": "gated_all"}
    asked = asked_by(
        create_mailbox, connection=account.connection, actor=actor, wanted=wanted
    )
    assert "Rule 0: When a message" in asked.after
    fields = {"name": "B", "api_url": "", "keys": {}, "scopes": {}, "account": "B"}
    added = asked_by(
        commands.add_connection, actor=actor, is_our_gateway=True, **fields
    )
    assert "Rule 1: For every message" in added.after
    assert "Rule 0" not in added.after


def test_whoever_was_shown_a_key_does_not_approve_what_it_sends(
    account, admin, second, reviewer
):
    connection = account.connection
    by = {"connection": connection, "actor": actor_of(admin)}
    wanted = {"name": "Bot", "scopes": ["send"]}
    key = create_key(**by, wanted=wanted, owner=reviewer)
    Grant.objects.create(person=admin, role="reviewer")
    message = make_message(connection, sent_by_key=key.id)
    # One person may run a desk and its agents.
    assert ruling_of(message, admin).may_approve
    switch_on()
    for person in (admin, reviewer):
        assert ruling_of(message, person).rule == "author"
    other = make_message(connection, sent_by_key=account.world.key_id("agent"))
    assert ruling_of(other, admin).may_approve
    asked = asked_by(change_key, **by, key=key, changes={"scopes": ["send", "read"]})
    assert asked.subjects == sorted([admin.pk, reviewer.pk])


def test_words_that_an_admin_suggested_to_agents_through_the_desk_are_theirs(
    message, admin, reviewer, signed_in
):
    Grant.objects.create(person=admin, role="reviewer")
    words = "Please write that the account moved to the new bank in town."
    others = "All parcels are to go to the second warehouse from today on."
    texts = {"kind": "reject", "texts": [("Bank", words)]}
    set_texts(mailbox=message.mailbox, actor=actor_of(admin), **texts)
    client = signed_in(admin)
    post(client, "draft/begin")
    rejecting = {"name": "Bank", "first_contact": "on", "reject": others}
    post(client, "draft/rules/add", **rejecting)
    for text in (words, others):
        show_row(message, markdown=text)
        assert ruling_of(message, admin).rule == "editor"
        assert ruling_of(message, reviewer).may_approve
