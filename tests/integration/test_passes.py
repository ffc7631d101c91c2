"""Passes: who signs them, what they send without a person, what they leave to people,
and what stops them before the call.
"""

from dataclasses import replace
from datetime import timedelta

import pytest
from django.db import DatabaseError, transaction
from django.db.models.functions import Now
from django.utils import timezone

from alerts.deliveries.event_bodies import _decision_data
from alerts.models import Destination
from approvals.decisions import by_rule, execute
from approvals.decisions.by_rule import apply_policy, give_to_people, to_stop
from approvals.decisions.execute import run_decision
from approvals.desk_messages import desk_messages
from approvals.models import Decision, Replacement, Review, Verdict
from common.postgres import clock
from gateway.models import Email
from mirror import store
from mirror.models import Message, Thread
from mirror.threads import freshen_thread
from people.models import Grant
from people.second_admin.registry import SecondAdminNeeded
from policy.errors import PolicyRefused
from policy.kill_switch import pull
from policy.models import AllowEntry, Allowlist, PolicyVersion
from policy.rules.changes import policies
from policy.rules.conditions import from_json
from policy.rules.facts import active_policy, signed_passes
from policy.rules.rules import PolicyRule
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
from tests.integration.deciding import at_once, decide, decided, make_due, read_all
from tests.integration.gateway.world import leave
from tests.integration.passing import activate, make_pass
from tests.ledger import latest_details
from tests.markup import words_of
from tests.signing import resume
from upstream.events import written_time

KEY = {"sent_by_key": "01KEY", "sent_by_key_name": "Refund bot", "metadata": {}}
TWO = from_json(
    PolicyRule, {"id": "two", "name": "Two", "then": {"approvals": {"0": 2}}}
)
MILD = from_json(PolicyRule, {"id": "mild", "name": "Mild", "then": {"care": True}})


def refund(connection, amount="39.99", **fields):
    """Make a held message of the kind for which tests sign passes."""
    text = f"Hello Dana,\n\nyour refund of {amount} EUR for order 4471 is on its way."
    usual = {"subject": "Your refund", "markdown": text, **KEY}
    return make_message(connection, **{**usual, **fields})


@pytest.fixture
def one(connection, mailbox, reviewer, admin, second):
    """A pass in force, signed by two admins; its recipient is no first contact."""
    message = refund(connection)
    decide(message, reviewer)
    ago = Now() - timedelta(days=1)
    Decision.objects.update(state="applied", changed_at=ago)
    Verdict.objects.update(live=False)
    change_row(message, state="sent", held_at=ago, changed_at=ago)
    made = make_pass(mailbox)
    activate(admin, second, made)
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
    content = message.revision.content
    text = {name: content[name] for name in ("subject", "markdown")}
    upstream.holds(pending_row(message.upstream_id, **text, **KEY))
    upstream.decides(200, status="approved", id=message.upstream_id)
    make_due()


# --- who signs ------------------------------------------------------------------------


def test_two_people_sign_and_one_alone_cannot_whatever_is_set(mailbox, admin, second):
    one = make_pass(mailbox)
    fewer = replace(one, a_day=5)

    def needs_two(*parts):
        with pytest.raises(SecondAdminNeeded) as waits:
            activate(admin, None, *parts)
        return waits.value.asked.after

    assert "signed before: dana@northwind.example" in needs_two(one)
    activate(admin, second, one)
    signatures = PolicyVersion.objects.active().get().signatures
    assert set(signatures["refunds"]) == {admin.pk, second.pk}
    # Whoever only tightens needs nobody else, and the signatures stay.
    activate(admin, None, fewer, TWO)
    # Without the rule it might send what two people had to approve.
    needs_two(fewer)
    activate(admin, None)
    # The second admin reads who came to its list while no pass named it.
    change_list(admin, "eve@evil.example", at=Allowlist.objects.get())
    assert needs_two(fewer).endswith("signed before: eve@evil.example")
    # When one of the two is no admin of everything any more, it sends nothing.
    activate(admin, second, one)
    assert signed_passes(active_policy())
    Grant.objects.filter(person=second).delete()
    assert not signed_passes(active_policy())
    with pytest.raises(PolicyRefused):
        activate(admin, None, one)


def test_lists_that_a_pass_goes_by_take_two_admins(one, admin, second):
    named = make_list(connection=Message.objects.get().connection)
    vip = make_list("ana@x.example", name="VIP")
    about = {"when": {"lists": [vip.pk]}, "then": {"care": True}}
    activate(
        admin, second, one, from_json(PolicyRule, {"id": "r", "name": "R", **about})
    )
    change_list(admin, at=named, remove=["dana@northwind.example"])
    with pytest.raises(SecondAdminNeeded):
        change_list(admin, "eve@evil.example", at=named)
    # Nor does a rule apply to fewer messages beside a pass.
    with pytest.raises(SecondAdminNeeded):
        change_list(admin, at=vip, remove=["ana@x.example"])
    change_row(second, is_active=False)
    with pytest.raises(PolicyRefused):
        change_list(admin, "eve@evil.example", at=named)


def test_database_keeps_what_two_admins_signed(one, connection):
    sent_by_pass(refund(connection))
    versions = PolicyVersion.objects
    for change in ({"rules": [1]}, {"passes": []}, {"signatures": {}}, {"number": 9}):
        with pytest.raises(DatabaseError), transaction.atomic():
            versions.update(**change)
    for work in (versions.all().delete, lambda: Decision.objects.update(signed_by="")):
        with pytest.raises(DatabaseError), transaction.atomic():
            work()


# --- what it sends --------------------------------------------------------------------


def test_pass_sends_end_to_end_and_names_who_signed_it(
    one, connection, upstream, admin, second, signed_in
):
    message = refund(connection)
    page = signed_in(admin).get("/policy/try/", {"message": message.upstream_id})
    assert page.context["passes"] == [(one, ())]
    decision = sent_by_pass(message)
    assert (decision.outcome, decision.given_by) == ("approve", None)
    assert decision.rule == f"pass refunds version {policies().in_force.number}"
    assert decision.due_at - decision.recorded_at == timedelta(seconds=5)
    assert latest_details("decision.recorded")["signed_by"] == f"{admin} and {second}"
    assert message not in desk_messages().in_queue()
    # A new version that still has the pass does not stop it.
    activate(admin, second, replace(one, a_day=40))
    assert give_back(decision) == "recorded"
    serve(upstream, message)
    assert run_decision(decision_id=decision.pk) == "applied"
    [sent] = upstream.decisions
    assert sent["action"] == "approve"
    assert sent["expected_fingerprint"] == message.revision.fingerprint
    # Our gateway is told until when it may leave.
    assert sent["leave_by"] == written_time(one.ends_at)
    assert apply_policy() == 0


def test_scheduled_message_leaves_at_its_time_by_what_holds_then(
    one, connection, admin, second
):
    at = (clock() + timedelta(hours=2)).replace(microsecond=0)
    decision = sent_by_pass(refund(connection, send_at=written_time(at)))
    assert decision.due_at == decision.later_at == at
    assert run_decision(decision_id=decision.pk) == "not due"
    activate(admin, second, one, TWO)
    assert give_back(decision) == "undone"


OUTSIDE = {
    "another key": {"sent_by_key": "02KEY"},
    "a hidden copy": {"bcc": ["eve@evil.example"]},
    "a larger sum": {"amount": "100.01"},
    "another currency": {"markdown": "Hello Dana, we owe you 5 USD."},
    "an unclear sum": {"markdown": "Hello Dana, we owe you 5000 Danish crowns."},
    "a link": {"markdown": "Hello Dana, see https://shop.example/a"},
    "a path in prose": {"markdown": "Hello Dana, see pay.sh/login for more"},
    "a host over a tag": {
        "markdown": None,
        "html_body": "<p>Hello Dana, see <b>shop</b>.com</p>",
    },
    "a Discord command": {"metadata": {"discord_user": "ana#1"}},
    "a late time": {"send_at": "2099-01-01T10:00:00Z"},
}


def test_what_its_sentence_does_not_say_is_left_to_people(one, connection):
    messages = {name: refund(connection, **it) for name, it in OUTSIDE.items()}
    fits = refund(connection)
    assert sent_by_pass(fits)
    assert [one.message for one in Decision.objects.by_pass()] == [fits]
    assert {*messages.values()} <= {*desk_messages().in_queue()}


@pytest.mark.slow
def test_limit_of_a_day_holds_with_thirty_threads(
    transactional_db, connection, one, admin, second
):
    activate(admin, second, replace(one, a_day=3))
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
    change_row(thread, read_at=timezone.now(), wanted=False)
    assert sent_by_pass(message)


# --- what stops it --------------------------------------------------------------------


def put_in(passed):
    """Put a pass into a new version, as if it had been signed like this."""
    active = PolicyVersion.objects.active().get()
    PolicyVersion.objects.active().update(state="retired", retired_at=Now())
    active.pk = None
    active.number += 100
    active.passes = [passed.as_json()]
    active.save(force_insert=True)


def what_stops(one, admin, second, message):
    """What keeps a pass from sending, by a word; the first ones are swept, too."""
    return {
        "switch": lambda: pull(actor=actor_of(admin), reason="Stop"),
        "rule": lambda: activate(admin, second, one, MILD),
        "gone": lambda: activate(admin, second),
        "ended": lambda: put_in(replace(one, ends_at=one.ends_at.replace(year=2020))),
        "content": lambda: show_row(message, subject="Your refund for order 1", **KEY),
        "signatory": lambda: Grant.objects.filter(person=second).delete(),
        "list": lambda: AllowEntry.objects.all().delete(),
        "apart": lambda: Review.objects.update(is_apart=True),
        "finding": lambda: Review.objects.update(rules=["x"]),
        "thread": lambda: Message.objects.update(thread_id="01THREAD"),
    }


def test_whatever_speaks_against_it_stops_it_in_the_undo_window(
    one, connection, admin, second, upstream
):
    message = refund(connection)
    stops = what_stops(one, admin, second, message)
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


def test_what_people_did_with_a_message_leaves_it_to_them(
    one, connection, admin, second, reviewer
):
    message = refund(connection)
    activate(admin, second, one, TWO)
    with rolled_back():
        decide(message, reviewer)
        activate(admin, second, one)
        assert sent_by_pass(message) is None
    activate(admin, second, one)
    edit = Replacement.objects.create(
        message=message,
        root=message,
        revision=message.revision,
        connection=connection,
        person=reviewer,
        to=["dana@northwind.example"],
        reference="EDIT",
    )
    with rolled_back():
        assert sent_by_pass(message) is None
    change_row(edit, state="refused")
    assert sent_by_pass(message)


def test_it_is_removed_during_the_last_read_and_no_call_leaves(
    one, connection, admin, second, upstream, monkeypatch
):
    message = refund(connection)
    decision = sent_by_pass(message)
    serve(upstream, message)
    real = execute.upstream_reason

    def read_then_remove(*asked):
        result = real(*asked)
        activate(admin, second)
        return result

    monkeypatch.setattr(execute, "upstream_reason", read_then_remove)
    run_decision(decision_id=decision.pk)
    assert upstream.decisions == []


def test_end_of_a_pass_is_asked_by_the_sweep_and_in_the_statement_that_marks_the_call(
    one, connection
):
    decision = sent_by_pass(refund(connection))
    with rolled_back():
        change_row(decision, pass_ends_at=Now())
        assert give_back(decision) == "undone"
    change_row(decision, state="calling", lease_until=Now() + timedelta(minutes=1))
    decision = Decision.objects.select_related("message__connection").latest("pk")
    for ends_at, is_allowed in ((one.ends_at, True), (Now(), False)):
        change_row(decision, pass_ends_at=ends_at)
        assert Decision.objects.still_allowed(decision).exists() == is_allowed


def test_everybody_sees_who_signed_it_and_stops_it_and_others_learn_no_names(
    client, one, connection, auditor, admin, second
):
    message = refund(connection)
    change_row(sent_by_pass(message), due_at=Now() + timedelta(minutes=10))
    message = Message.objects.get(pk=message.pk)
    path = f"/queue/{message.public_id}/"
    shown = words_of(resume(client, auditor).get(path))
    assert f"{admin} and {second}" in shown
    with rolled_back():
        Decision.objects.update(state="applied")
        event = _decision_data(
            "message.approved", message, Destination(privacy="minimal")
        )
        assert event["decided_by"] == "a pass"
    client.post(f"{path}undo/")
    assert sent_by_pass(message).state == "undone"
    assert message in desk_messages().in_queue()


@pytest.mark.slow
def test_pass_sends_through_our_gateway_and_the_rest_waits_for_people(
    account, mail_server, reviewer, admin, second
):
    def send(text):
        account.send(body=text)
        read_all(account.connection)
        return Message.objects.latest("pk")

    # A person approves the first one, so that the second is no first contact.
    first = send("Hello.")
    decided(first, reviewer, state="applied")
    change_row(first, state="sent")
    usual = make_pass(account.mailbox)
    keys = frozenset({f"{account.connection.pk}:{first.sent_by_key}"})
    activate(admin, second, replace(usual, keys=keys))
    fits = send("Your refund of 39.99 EUR is on its way.")
    wider = send("Your refund of 100.01 EUR is on its way.")
    assert sent_by_pass(fits) is None, "its thread was not read yet"
    change_row(account.connection, read_key=account.world.keys["reader"])
    for each in (fits, wider):
        assert freshen_thread(each.pk) == "read"
    decision = sent_by_pass(fits)
    assert sent_by_pass(wider) is None
    make_due()
    assert run_decision(decision_id=decision.pk) == "applied"
    assert leave(Email.objects.get(pk=fits.upstream_id)) == "sent"
    [envelope] = mail_server.taken
    assert b"39.99 EUR" in envelope.content
    assert Email.objects.get(pk=wider.upstream_id).status == "pending_send_approval"
