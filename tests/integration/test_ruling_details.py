"""Rulings for a list of messages equal the rulings of each message alone."""

from datetime import timedelta

from approvals.decisions.ruling import rulings, stop_of
from approvals.models import CommandedMail
from common.postgres import clock
from mirror.models import Mailbox, Message
from policy.models import AllowEntry, KillSwitch
from tests.factories import (
    actor_of,
    make_connection,
    make_list,
    make_message,
    make_person,
    rolled_back,
)


def test_switch_stops_the_same_messages_in_a_list_as_alone(connection, reviewer, admin):
    elsewhere = make_connection("other")
    second = Mailbox.objects.create(
        connection=connection, upstream_id="01SECOND", address="sales@yourteam.example"
    )
    messages = {
        name: make_message(connection) for name in ("first", "second", "unknown")
    }
    messages["elsewhere"] = make_message(elsewhere)
    Message.objects.filter(pk=messages["second"].pk).update(mailbox=second)
    Message.objects.filter(pk=messages["unknown"].pk).update(mailbox=None)
    for one in messages.values():
        one.refresh_from_db()

    for scope, stopped in (
        ({}, {"first", "second", "unknown", "elsewhere"}),
        ({"connection": connection}, {"first", "second", "unknown"}),
        # Where the mailbox of a message is not known, it may be any of its connection.
        ({"mailbox": second}, {"second", "unknown"}),
        ({"mailbox": elsewhere.mailboxes.get()}, {"elsewhere"}),
    ):
        with rolled_back():
            switch = KillSwitch.objects.create(pulled_by=admin, reason="Wait", **scope)
            many = rulings(list(messages.values()), actor_of(reviewer), now=clock())
            assert {
                name for name, one in messages.items() if many[one.pk].rule == "stopped"
            } == stopped, scope
            assert {
                name for name, one in messages.items() if stop_of(one) == switch
            } == stopped, scope


def test_list_is_judged_at_a_time(connection, reviewer):
    message = make_message(connection)
    make_list("northwind.example")
    AllowEntry.objects.update(expires_at=clock() + timedelta(hours=1))
    actor = actor_of(reviewer)
    later = clock() + timedelta(hours=2)
    found = [
        rulings([message], actor, now=now)[message.pk].rule for now in (clock(), later)
    ]
    assert found == ["", "allowlist"]


def test_command_that_names_the_message_keeps_its_author_from_approving_it_in_a_list(
    connection, reviewer
):
    message = make_message(connection)
    Message.objects.update(trigger={"discord_interaction_id": "5"})
    message.refresh_from_db()
    named = {"upstream_id": message.upstream_id, "interaction_id": "7"}
    CommandedMail.objects.create(connection=connection, person=reviewer, **named)
    actor = actor_of(reviewer)
    now = clock()
    assert rulings([message], actor, now=now)[message.pk].rule == "author"


def test_reviewer_of_one_connection_decides_there_and_nowhere_else(connection, admin):
    near = make_person(
        "near@yourteam.example", "Near", "reviewer", connection=connection
    )
    for message, may in (
        (make_message(connection), True),
        (make_message(make_connection("other")), False),
    ):
        actor = actor_of(near)
        now = clock()
        assert rulings([message], actor, now=now)[message.pk].may_approve == may
