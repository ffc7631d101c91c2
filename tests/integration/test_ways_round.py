"""Ways round the policy that were tried and once let a message out. Each test names the
principle that it holds; who wrote words, recipients and links is in test_authorship.py.
"""

import json
from datetime import timedelta

import pytest
from django.db.models.functions import Now

from approvals.decisions.execute import run_decision
from approvals.editing.commands import replace_message
from approvals.editing.send import run_replacement
from approvals.models import Decision
from common.postgres import clock
from mirror.models import Message, Thread, ThreadMessage
from people.second_admin.registry import SecondAdminNeeded
from simple_form.data import rows
from tests.factories import actor_of, change_row, put_in_force, rolled_back
from tests.integration.deciding import (
    decide,
    make_due,
    make_edit,
    needed,
    post_verdict,
    read_all,
    ruling_of,
)
from tests.integration.gateway.world import add_key, undone
from tests.integration.test_second_admin import World, switch_on
from tests.variants import variants

TWO = {"approvals": {"0": 2}}


def sent_by_agent(account, **fields):
    """Let an agent send a message; return the desk's row."""
    account.send(**fields)
    read_all(account.connection)
    return Message.objects.latest("pk")


def sent_back(account, person, **fields):
    """Let an agent send a message, and request changes."""
    message = sent_by_agent(account, **fields)
    decide(message, person, "send_back", "Shorter, please")
    make_due()
    run_decision(decision_id=Decision.objects.latest("pk").pk)
    return message


def edit_of_it(message, person, number=0):
    """Edit a message; return the row of the edit, which is not sent yet."""
    return replace_message(
        message=message.public_id,
        actor=actor_of(person),
        fingerprint=message.fingerprint,
        reference=f"{number:010}",
        note="",
        links=(),
        content={
            "to": ["dana@northwind.example"],
            "cc": [],
            "bcc": [],
            "subject": "Refund",
            "markdown": f"Hello, and bye {number}.",
        },
    )


# Who edits a message does not lower what it needs; nor gives it more time: test_edit.py.
def test_edited_version_needs_what_its_first_version_needed(
    account, reviewer, second_reviewer
):
    account.connection.agent_key = add_key(account.world, "edits", ["send", "read"])
    account.connection.save()
    agent = account.world.key_id("agent")
    when = {"keys": [f"{account.connection.pk}:{agent}"], "only_these": True}
    # The second rule is about a word that the edit takes away.
    barring = {"when": {"words": ["bill"]}, "then": {"bar_editor": True}}
    put_in_force({"when": when, "then": TWO}, barring)
    message = sent_by_agent(account, body="Pay the bill.")
    for number in range(2):
        row = edit_of_it(message, reviewer, number)
        assert run_replacement(replacement_id=row.pk) == "done"
        read_all(account.connection)
        message = Message.objects.latest("pk")
        assert message.sent_by_key != agent
        assert needed(message, second_reviewer) == 2
        assert "edited" in ruling_of(message, reviewer).reasons[0]


# An agent cannot choose which rules apply to what it sends again.
BILL = "Please pay the whole bill by Friday."
# What is sent after this was sent back, and the number of its try. One template to
# different people, and another text to the same, are first tries.
SENT_AGAIN = """
{"metadata": {"run_id": "another"}}                             2
{"subject": "Refund."}                                          2
{"to": "dana+1@northwind.example"}                              2
{"key": "another", "body": "The bill of May."}                  2
{"key": "another", "subject": "Bill", "body": "Hello Dana, please pay the whole bill by Friday or on Monday."}  2
{"subject": "Bill", "html": "<p>Hello Dana, please pay the <b>whole</b> bill by Friday or on Monday.</p>"}      2
{"to": ["eve@x.example"], "cc": ["Dana@northwind.example"], "subject": "Bill"}  2
{"to": "bo@northwind.example", "cc": []}                        1
{"to": "bo@northwind.example"}                                  1
{"subject": "Bill", "body": "The whole bill of May is attached."}  1
"""
# A short text is compared as a whole; and one of a day ago, in hours, does not count.
SHORT_AGAIN = """
{"body": "Pay up.", "subject": "Bill"}      2
{"body": "Pay up.", "subject": "Bill"}      2  23
{"body": "Pay up.", "subject": "Bill"}      1  25
{"body": "Pay up now.", "subject": "Bill"}  1
"""


@pytest.mark.parametrize(
    ("first", "table"), variants([("Pay up!", SHORT_AGAIN), (BILL, SENT_AGAIN)], 1)
)
def test_only_the_same_words_to_the_same_people_are_another_try(
    account, reviewer, second_reviewer, first, table
):
    add_key(account.world, "another", ["send", "read"])
    put_in_force({"when": {"tries_from": 2}, "then": TWO})
    usual = {"body": first, "cc": ["team@acme.example"]}
    sent_back(account, reviewer, **usual)
    for number, (fields, tries, *hours) in enumerate(rows(table)):
        ago = timedelta(hours=sum(map(int, hours)))
        Decision.objects.update(recorded_at=Now() - ago)
        sent = {**usual, "idempotency_key": f"again-{number}", **json.loads(fields)}
        new = sent_by_agent(account, **sent)
        assert new.try_number == needed(new, second_reviewer) == int(tries), fields


# No other message that is sent back makes a try count less, nor an edit that its sender
# only claims.
def test_try_counts_from_the_latest_one_whatever_its_agent_claims(account, reviewer):
    for number in range(2):
        sent_back(account, reviewer, body=BILL, idempotency_key=f"first-{number}")
    other = {"subject": "Other", "body": "Other", "idempotency_key": "other"}
    decoy = sent_back(account, reviewer, **other, metadata={"run_id": "decoy"})
    # A refused edit of another message, whose reference is known.
    make_edit(decoy, reviewer, state="refused", to=["eve@x.example"])
    for claims in ({"run_id": "decoy"}, {"countersign_edit": "0123456789"}):
        with undone():
            third = sent_by_agent(
                account, body=BILL, idempotency_key="third", metadata=claims
            )
            assert third.try_number == 3


# With the second admin on, what the second admin reads cannot be changed by one.
def test_group_that_a_rule_names_gets_another_name_by_two_admins(admin, mailbox):
    world = World(admin, mailbox)
    group = world.regroup()
    switch_on()
    world.regroup(name="Interns")
    put_in_force({"approvals": {str(group.pk): 1}})
    with pytest.raises(SecondAdminNeeded):
        world.regroup(name="Other")


# An approval for later is for what its giver has read, whatever they say; and one that
# waited for long is for what the thread was.
def test_approval_is_refused_if_its_thread_moved_on_meanwhile(message, reviewer, desk):
    change_row(message, thread_id="T1")
    at = (clock() + timedelta(days=2)).strftime("%Y-%m-%dT%H:%M")
    later = {"later": "yes", "when": "time", "at": at, "zone": "UTC"}
    post_verdict(desk, message, **later, thread_read="9" * 18)
    waited = Now() - timedelta(minutes=11)
    read = {"upstream_id": "T1", "read_at": Now()}
    thread = Thread.objects.create(mailbox=message.mailbox, **read)
    new = {"upstream_id": "new", "direction": "inbound", "is_fact": True, "at": Now()}
    ThreadMessage.objects.create(thread=thread, **new)
    for times in ({"later_at": Now()}, {"later_at": None, "recorded_at": waited}):
        with rolled_back():
            change_row(Decision.objects.get(), due_at=Now(), **times)
            assert run_decision(decision_id=Decision.objects.get().pk) == "refused"
