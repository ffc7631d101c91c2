"""The ruling of many messages: authors, files, expiry, allowlists and kill switches."""

import pytest
from django.db.models.functions import Now

from approvals.decisions.ruling import rulings, stop_of
from approvals.models import CommandedMail
from common.postgres import clock
from mirror.models import AttachedFile, Mailbox, Message
from policy.models import KeyOwner, KillSwitch
from tests.factories import (
    actor_of,
    change_row,
    make_connection,
    make_list,
    make_message,
    reject_others,
    rolled_back,
)


def of(message, person):
    message.refresh_from_db()
    return rulings([message], actor_of(person), now=clock())[message.pk]


def test_author_of_a_message_by_interaction_may_not_approve_it_but_others_may(
    connection, reviewer, second_reviewer
):
    """By an API key or a command that names the message:
    test_every_way_to_approve.py.
    """
    message = make_message(connection)
    trigger = {"discord_interaction_id": "1" * 40}
    Message.objects.update(trigger=trigger)
    CommandedMail.objects.create(
        connection=connection, person=reviewer, interaction_id="1" * 32
    )
    assert of(message, reviewer).rule == "author"
    assert of(message, reviewer).may_reject
    assert of(message, second_reviewer).may_approve


@pytest.mark.slow
def test_key_that_hosted_multimail_names_or_another_connection_uses_proves_nothing(
    connection, reviewer
):
    hosted = make_connection("hosted", is_our_gateway=False)
    messages = [
        make_message(hosted, sent_by_key="key_7"),
        make_message(connection, sent_by_key="key_8"),
        make_message(connection, sent_by_key="key_9"),
    ]
    change_row(messages[2], direction="inbound")
    for where, key in (
        (hosted, "key_7"),
        (hosted, "key_8"),
        (connection, "key_9"),
    ):
        KeyOwner.objects.create(connection=where, upstream_key_id=key, person=reviewer)
    assert all(one.may_approve for one in consistent_rulings(messages, reviewer))


def consistent_rulings(messages, person):
    """Return the rulings of many messages, and check that each equals the ruling of
    that message alone.
    """
    for one in messages:
        one.refresh_from_db()
    at = clock()
    actor = actor_of(person)
    many = rulings(messages, actor, now=at)
    found = [many[one.pk] for one in messages]
    assert found == [rulings([one], actor, now=at)[one.pk] for one in messages]
    return found


@pytest.mark.slow
def test_rulings_of_many_messages_equal_those_of_each_message(connection, reviewer):
    files = [{"filename": "b.pdf", "content_type": "application/pdf", "size": 1}]
    messages = {
        "policy": make_message(connection, to_addresses=["a@acme.example"]),
        "fine": make_message(connection),
        "expired": make_message(connection),
        "files": make_message(connection, attachments=files),
        "ended": make_message(connection),
    }
    reject_others(make_list("northwind.example"))
    change_row(messages["expired"], expires_at=Now())
    change_row(messages["ended"], state="rejected")
    AttachedFile.objects.update(state="fetched", sha256="a" * 64, found_sha256="b" * 64)
    rulings = dict(
        zip(
            messages, consistent_rulings(list(messages.values()), reviewer), strict=True
        )
    )
    assert [one.rule for one in rulings.values()] == [
        "policy",
        "",
        "expired",
        "files",
        "",
    ]
    assert not rulings["ended"].may_reject


def test_switch_stops_what_is_in_its_scope_and_nothing_else(
    connection, reviewer, admin
):
    other = make_connection("other")
    second = Mailbox.objects.create(
        connection=connection, upstream_id="01B", address="b@yourteam.example"
    )
    here, there, unknown, elsewhere = messages = [
        make_message(one) for one in (*[connection] * 3, other)
    ]
    change_row(there, mailbox=second)
    change_row(unknown, mailbox=None)
    for scope, stopped in (
        ({"mailbox": here.mailbox}, [here, unknown]),
        ({"mailbox": elsewhere.mailbox}, [elsewhere]),
        ({"connection": connection}, [here, there, unknown]),
        ({}, messages),
    ):
        with rolled_back():
            switch = KillSwitch.objects.create(reason="Wait", pulled_by=admin, **scope)
            rulings = consistent_rulings(messages, reviewer)
            assert [one.rule for one in rulings] == [
                "stopped" if one in stopped else "" for one in messages
            ], scope
            assert [one for one in messages if stop_of(one) == switch] == stopped
