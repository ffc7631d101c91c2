"""Passes: who signs them, what they send without a person, what they leave to people,
and what stops them before the call.
"""

import json
from dataclasses import replace
from datetime import timedelta
from functools import partial

import pytest
from django.db import DatabaseError, transaction
from django.db.models.functions import Now

from alerts.deliveries.event_bodies import _decision_data
from alerts.models import Destination
from approvals.decisions import by_rule, execute
from approvals.decisions.by_rule import apply_policy, give_to_people, to_stop
from approvals.decisions.execute import run_decision
from approvals.decisions.withdraw import undo_decision
from approvals.desk_messages import desk_messages
from approvals.models import Decision, Review
from common.postgres import clock
from gateway.models import Email
from mirror import store
from mirror.models import Message, Thread
from mirror.threads import freshen_thread
from people.second_admin.registry import SecondAdminNeeded
from policy.errors import PolicyRefused
from policy.kill_switch import pull
from policy.models import AllowEntry, Allowlist, PolicyVersion
from policy.rules.changes import policies
from policy.rules.conditions import Conditions
from policy.rules.facts import active_policy, signed_passes
from policy.rules.rules import Effects, PolicyRule
from tests.factories import (
    actor_of,
    change_list,
    change_row,
    make_list,
    make_message,
    pending_row,
    rolled_back,
    show_row,
)
from tests.integration.deciding import (
    at_once,
    decide,
    make_due,
    make_edit,
    needed,
)
from tests.integration.gateway.world import leave
from tests.integration.passing import activate, make_pass
from tests.integration.test_ways_round import sent_by_agent
from tests.ledger import latest_details
from tests.markup import words_of
from upstream.events import written_time

KEY = {"sent_by_key": "01KEY", "sent_by_key_name": "Refund bot", "metadata": {}}
TWO = PolicyRule("two", "Two", then=Effects({0: 2}))
MILD = PolicyRule("mild", "Mild", then=Effects(care=True))


# The kind of message for which tests sign passes.
REFUND = {
    "subject": "Your refund",
    "markdown": "Hello Dana,\n\nyour refund of 39.99 EUR for order 4471 is on its way.",
    **KEY,
}


def refund(connection, **fields):
    return make_message(connection, **{**REFUND, **fields})


@pytest.fixture
def sign(admin, second):
    """A function that makes two admins activate these rules and passes."""
    return partial(activate, admin, second)


@pytest.fixture
def one(connection, mailbox, sign):
    """A pass in force, signed by two admins; its recipient is no first contact."""
    ago = Now() - timedelta(days=1)
    change_row(refund(connection), state="sent", held_at=ago, changed_at=ago)
    made = make_pass(mailbox)
    sign(made)
    return made


def sent_by_pass(message):
    # On a busy machine a sweep may end before it reached all messages.
    while apply_policy():
        pass
    return Decision.objects.by_pass().filter(message=message).first()


def give_back(decision):
    """Give to people what may not be sent, as the sweep does; return its state."""
    for key in to_stop().values_list("pk", flat=True):
        give_to_people(decision_id=key)
    decision.refresh_from_db()
    return decision.state


def serve(upstream, message):
    """Let MultiMail hold the message as it was read, and take a decision now."""
    change_row(message.connection, api_url=upstream.url)
    upstream.holds(pending_row(message.upstream_id, **REFUND))
    upstream.decides(200, status="approved", id=message.upstream_id)
    make_due()


# --- who signs ------------------------------------------------------------------------


def test_two_people_sign_and_one_alone_cannot_whatever_is_set(
    mailbox, admin, second, sign
):
    one = make_pass(mailbox)
    fewer = replace(one, a_day=5)

    def needs_two(*parts):
        with pytest.raises(SecondAdminNeeded) as waits:
            activate(admin, None, *parts)
        return waits.value.asked.after

    assert "signed before: dana@northwind.example" in needs_two(one)
    sign(one)
    signatures = PolicyVersion.objects.active().get().signatures
    assert set(signatures["refunds"]) == {admin.pk, second.pk}
    # Whoever only tightens needs nobody else, and the signatures stay.
    activate(admin, None, fewer, TWO)
    # Without the rule it might send what two people had to approve.
    needs_two(fewer)
    activate(admin, None)
    # The second admin reads who came to its list while no pass named it.
    change_list(admin, "eve@evil.example")
    assert needs_two(fewer).endswith("signed before: eve@evil.example")
    # When one of the two is no admin of everything any more, it sends nothing.
    sign(one)
    assert signed_passes(active_policy())
    second.grants.all().delete()
    assert not signed_passes(active_policy())
    with pytest.raises(PolicyRefused):
        activate(admin, None, one)
    with pytest.raises(PolicyRefused):
        change_list(admin, "x@x.example")


def test_lists_that_a_pass_goes_by_take_two_admins(one, admin, sign):
    named, vip = Allowlist.objects.get(), make_list("ana@x.example", name="VIP")
    about = Conditions(lists=frozenset({vip.pk}))
    sign(one, replace(MILD, when=about))
    change_list(admin, at=named, remove=["dana@northwind.example"])
    with pytest.raises(SecondAdminNeeded):
        change_list(admin, "eve@evil.example", at=named)
    # Nor does a rule apply to fewer messages beside a pass.
    with pytest.raises(SecondAdminNeeded):
        change_list(admin, at=vip, remove=["ana@x.example"])


SIGNED = json.loads(
    '[{"rules": [1]}, {"passes": []}, {"signatures": {}}, {"number": 9}]'
)


def test_database_keeps_what_two_admins_signed(one, connection):
    sent_by_pass(refund(connection))
    versions = PolicyVersion.objects
    for work in (
        *(partial(versions.update, **fields) for fields in SIGNED),
        versions.all().delete,
        partial(Decision.objects.update, signed_by=""),
    ):
        with pytest.raises(DatabaseError), transaction.atomic():
            work()


# --- what it sends --------------------------------------------------------------------


def test_pass_sends_end_to_end_and_names_who_signed_it(
    account, mail_server, admin, second, sign, signed_in
):
    # So that the next one is no first contact.
    change_row(make_message(account.connection), state="sent")
    key = f"{account.connection.pk}:{account.world.key_id('agent')}"
    one = make_pass(account.mailbox, keys=frozenset({key}))
    sign(one)
    message = sent_by_agent(account, body=REFUND["markdown"])
    change_row(account.connection, read_key=account.world.keys["reader"])
    assert freshen_thread(message.pk) == "read"
    page = signed_in(admin).get("/policy/try/", {"message": message.upstream_id})
    assert page.context["passes"] == [(one, ())]
    decision = sent_by_pass(message)
    assert (decision.outcome, decision.given_by) == ("approve", None)
    assert decision.rule == f"pass refunds version {policies().in_force.number}"
    assert decision.due_at == decision.recorded_at + account.mailbox.undo_window
    assert latest_details("decision.recorded")["signed_by"] == f"{admin} and {second}"
    assert message not in desk_messages().in_queue()
    # A new version that still has the pass does not stop it.
    sign(replace(one, a_day=40))
    assert give_back(decision) == "recorded"
    make_due()
    assert run_decision(decision_id=decision.pk) == "applied"
    email = Email.objects.get(pk=message.upstream_id)
    # Our gateway is told until when it may leave.
    assert email.leave_by == one.ends_at
    assert leave(email) == "sent"
    [envelope] = mail_server.taken
    assert b"39.99 EUR" in envelope.content
    assert apply_policy() == 0


def test_scheduled_message_leaves_at_its_time_by_what_holds_then(one, connection, sign):
    at = (clock() + timedelta(hours=2)).replace(microsecond=0)
    decision = sent_by_pass(refund(connection, send_at=written_time(at)))
    assert decision.due_at == decision.later_at == at
    assert run_decision(decision_id=decision.pk) == "not due"
    sign(one, TWO)
    assert give_back(decision) == "undone"


# Other facts: tests/unit/test_policy_rules.py.
OUTSIDE = """
{"sent_by_key": "02KEY"}
{"bcc": ["eve@evil.example"]}
{"markdown": "Hello Dana, we owe you 5 USD."}
{"markdown": "Hello Dana, we owe you 5000 Danish crowns."}
{"markdown": "Hello Dana, see https://shop.example/a"}
{"markdown": "Hello Dana, see pay.sh/login for more"}
{"markdown": null, "html_body": "<p>Hello Dana, see <b>shop</b>.com</p>"}
{"metadata": {"discord_user": "ana#1"}}
{"send_at": "2099-01-01T10:00:00Z"}
{"markdown": "![](data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7)"}
"""


def test_what_its_sentence_does_not_say_is_left_to_people(one, connection):
    for fields in OUTSIDE.strip().splitlines():
        message = refund(connection, **json.loads(fields))
        assert sent_by_pass(message) is None, fields
        assert message in desk_messages().in_queue()
    assert sent_by_pass(refund(connection))


def test_limit_of_a_day_counts_when_messages_leave(one, connection, sign):
    sign(replace(one, a_day=1))
    tomorrow = (clock() + timedelta(hours=30)).isoformat()
    assert sent_by_pass(refund(connection, send_at=tomorrow))
    assert not sent_by_pass(refund(connection, send_at=tomorrow))
    assert sent_by_pass(refund(connection))


@pytest.mark.slow
def test_limit_of_a_day_holds_with_thirty_threads(
    transactional_db, connection, one, sign
):
    sign(replace(one, a_day=3))
    messages = [refund(connection) for _ in range(6)]

    # Each thread begins with another message: in one order they wait for one another.
    @transaction.atomic
    def follow(message):
        by_rule._follow_policy(store.lock_current(message))

    at_once(*(lambda it=it: follow(it) for it in messages * 5))
    assert Decision.objects.by_pass().count() == 3
    # A day later it sends again, but not what it left to people.
    Decision.objects.update(recorded_at=Now() - timedelta(hours=25))
    assert sent_by_pass(refund(connection))
    assert Decision.objects.by_pass().count() == 4


def test_thread_is_read_first_and_the_message_waits_for_that(
    one, connection, mailbox, sent_tasks
):
    message = refund(connection)
    change_row(message, thread_id="01THREAD")
    sent_tasks.clear()
    assert sent_by_pass(message) is None
    assert [name for name, *_ in sent_tasks] == ["mirror.tasks.freshen_thread"]
    with rolled_back():
        change_row(message, held_at=Now() - timedelta(minutes=11))
        assert apply_policy() == 1
        assert sent_by_pass(message) is None
    thread = Thread.objects.create(mailbox=mailbox, upstream_id="01THREAD")
    assert sent_by_pass(message) is None
    change_row(thread, read_at=Now(), wanted=False)
    assert sent_by_pass(message)


# --- what stops it --------------------------------------------------------------------


def test_whatever_speaks_against_it_stops_it_in_the_undo_window_and_until_the_call(
    one, connection, sign, second, upstream, monkeypatch
):
    message = refund(connection)
    # What keeps a pass from sending; the first ones are swept, too.
    stops = {
        "switch": lambda: pull(actor=actor_of(second), reason="Stop"),
        "rule": lambda: sign(one, MILD),
        "gone": sign,
        "ended": lambda: Decision.objects.update(pass_ends_at=Now()),
        "content": lambda: show_row(message, subject="Your refund for order 1", **KEY),
        "signatory": second.grants.all().delete,
        "list": AllowEntry.objects.all().delete,
        "apart": lambda: Review.objects.update(is_apart=True),
        "finding": lambda: Review.objects.update(rules=["x"]),
        "thread": lambda: Message.objects.update(thread_id="01THREAD"),
    }
    decision = sent_by_pass(message)
    serve(upstream, message)
    for number, (what, happens) in enumerate(stops.items()):
        with rolled_back():
            happens()
            if number < 5:
                assert give_back(decision) == "undone", what
            run_decision(decision_id=decision.pk)
            assert give_back(decision) in ("refused", "undone"), what
            assert upstream.decisions == [], what
            assert desk_messages().filter(pk=message.pk).awaiting_review(), what
            apply_policy()
            assert message.decisions.count() == 1, "it stays with people"
    # It goes, or ends, after the last read.
    reason_of = execute.upstream_reason
    for what in ("gone", "ended"):
        with rolled_back(), monkeypatch.context() as patch:
            patch.setattr(
                execute,
                "upstream_reason",
                lambda decision, what=what: (stops[what](), reason_of(decision))[1],
            )
            run_decision(decision_id=decision.pk)
            assert upstream.decisions == [], what


def test_what_people_did_with_a_message_leaves_it_to_them(
    one, connection, sign, reviewer
):
    message = refund(connection)
    sign(one, TWO)
    with rolled_back():
        decide(message, reviewer)
        sign(one)
        assert sent_by_pass(message) is None
    sign(one)
    edit = make_edit(message, reviewer)
    with rolled_back():
        assert sent_by_pass(message) is None
    change_row(edit, state="refused")
    assert sent_by_pass(message)


def test_everybody_sees_who_signed_it_and_stops_it_and_others_learn_no_names(
    one, connection, auditor, signed_in, admin, second
):
    message = refund(connection)
    change_row(sent_by_pass(message), due_at=Now() + timedelta(minutes=10))
    client = signed_in(auditor)
    path = f"/queue/{message.public_id}/"
    assert f"{admin} and {second}" in words_of(client.get(path))
    with rolled_back():
        Decision.objects.update(state="applied")
        minimal = Destination(privacy="minimal")
        event = _decision_data("message.approved", message, minimal)
        assert event["decided_by"] == "a pass"
    client.post(f"{path}undo/")
    assert sent_by_pass(message).state == "undone"
    assert message in desk_messages().in_queue()


def test_what_somebody_stopped_is_sent_again_only_after_a_person_approved_it(
    one, connection, reviewer
):
    first = refund(connection)
    assert sent_by_pass(first)
    undo_decision(message=first.public_id, actor=actor_of(reviewer))
    assert not sent_by_pass(refund(connection))
    decide(refund(connection), reviewer)
    assert sent_by_pass(refund(connection))


def test_link_in_the_signature_of_a_mailbox_counts(one, connection, reviewer, sign):
    signed = refund(connection, additions={"signature": "See www.evil.example"})
    assert not sent_by_pass(signed)
    assert sent_by_pass(refund(connection))
    elsewhere = Conditions(links_except=frozenset({"ok.example"}))
    sign(replace(TWO, when=elsewhere))
    assert needed(signed, reviewer) == 2
    assert needed(refund(connection), reviewer) == 1
