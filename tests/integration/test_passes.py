"""Passes: who signs them, what they send without a person, what they leave to people,
and what stops them before the call.
"""

from dataclasses import replace
from datetime import timedelta

import pytest
from django.db import DatabaseError, transaction
from django.db.models.functions import Now
from django.urls import reverse
from django.utils import timezone

from alerts.deliveries.event_bodies import _decision_data
from alerts.models import Destination
from approvals.decisions import execute
from approvals.decisions.by_rule import apply_policy, give_to_people, to_stop
from approvals.decisions.execute import run_decision
from approvals.decisions.withdraw import confirm_approval
from approvals.desk_messages import desk_messages
from approvals.models import Decision, Replacement, Review
from audit.models import Entry
from common.postgres import clock
from gateway.models import Email
from mirror.models import Mailbox, Message, Thread
from mirror.threads import freshen_thread
from people.models import Grant
from people.second_admin.registry import SecondAdminNeeded
from policy.errors import PolicyRefused
from policy.kill_switch import pull
from policy.models import AllowEntry, PolicyVersion
from policy.rules.changes import policies
from policy.rules.facts import active_policy, signed_passes
from policy.rules.rules import FIRST_RULE, PolicyRule
from tests.cards import embed_of
from tests.factories import (
    actor_of,
    change_list,
    change_row,
    make_list,
    pending_row,
    rolled_back,
    show_row,
)
from tests.integration.deciding import at_once, decide, decided, make_due, read_all
from tests.integration.gateway.world import leave
from tests.integration.passing import (
    KEY,
    activate,
    make_known,
    make_pass,
    make_refund,
)
from tests.integration.test_policy_pages import typed_in
from tests.markup import words_of
from tests.signing import resume
from upstream.events import written_time

TWO = PolicyRule.from_json(
    {"id": "two", "name": "Two", "then": {"approvals": {"0": 2}}}
)
BULK = PolicyRule.from_json({"id": "bulk", "name": "Singly", "then": {"care": True}})


@pytest.fixture
def one(connection, reviewer, admin, second):
    """A pass in force, signed by two admins."""
    make_known(connection, reviewer)
    one = make_pass(Mailbox.objects.get())
    activate(admin, second, one)
    return one


def sent_by_pass(message):
    apply_policy()
    return Decision.objects.by_pass().filter(message=message).first()


def give_back(decision):
    """Give to people what may not be sent, as the sweep does; return the decision."""
    for key in to_stop().values_list("pk", flat=True):
        give_to_people(decision_id=key)
    decision.refresh_from_db()
    return decision


def serve(upstream, connection, message):
    """Let MultiMail hold the message as it was read, and take a decision."""
    change_row(connection, api_url=upstream.url)
    content = message.revision.content
    upstream.holds(
        pending_row(
            message.upstream_id,
            subject=content["subject"],
            markdown=content["markdown"],
            **KEY,
        )
    )
    upstream.decides(200, status="approved", id=message.upstream_id)


def test_two_people_sign_and_one_alone_cannot_whatever_is_set(
    connection, admin, second
):
    box = Mailbox.objects.get()
    one = make_pass(box)
    with pytest.raises(SecondAdminNeeded) as needed:
        activate(admin, None, one)
    assert "are sent without a person; at most 50 a day" in needed.value.asked.after
    activate(admin, second, one)
    assert set(PolicyVersion.objects.active().get().signatures["refunds"]) == {
        admin.pk,
        second.pk,
    }
    # Whoever only tightens needs nobody else, and the signatures stay.
    fewer = replace(one, a_day=5)
    activate(admin, None, fewer, TWO)
    # Without the rule it might send what two people had to approve.
    with pytest.raises(SecondAdminNeeded):
        activate(admin, None, fewer)
    activate(admin, None)
    for more in (fewer, one, replace(one, name="Other")):
        with pytest.raises(SecondAdminNeeded):
            activate(admin, None, more)
    # When one of the two is no admin of everything any more, it sends nothing.
    activate(admin, second, one)
    assert signed_passes(active_policy())
    Grant.objects.filter(person=second).delete()
    assert not signed_passes(active_policy())
    with pytest.raises(PolicyRefused, match="two admins of everything"):
        activate(admin, None, one)


def test_what_two_admins_signed_stays_as_it_is(one):
    for change in ({"passes": []}, {"signatures": {}}):
        with pytest.raises(DatabaseError), transaction.atomic():
            PolicyVersion.objects.update(**change)


def test_whom_a_pass_may_write_to_takes_two_admins_too(one, admin, connection):
    with pytest.raises(SecondAdminNeeded):
        change_list(admin, "eve@evil.example")
    change_list(admin, remove=["dana@northwind.example"])


def test_a_desk_with_one_admin_has_no_passes_and_says_so(connection, admin, signed_in):
    client = signed_in(admin)
    client.post("/policy/draft/begin/", {"from": "active"})
    make_refund(connection)
    page = words_of(client.get("/policy/"))
    assert "There can be no passes: two admins of everything sign each" in page
    answer = client.post("/policy/draft/passes/add/", typed(Mailbox.objects.get()))
    assert "There can be no passes" in words_of(answer)
    assert policies().drafted.parts == (FIRST_RULE,)


def typed(mailbox, **fields):
    end = f"{timezone.now() + timedelta(days=30):%Y-%m-%d}"
    usual = {
        "name": "Refunds",
        "keys": f"{mailbox.connection_id}:01KEY",
        "mailboxes": str(mailbox.pk),
        "lists": str(
            make_list("dana@northwind.example", connection=mailbox.connection).pk
        ),
        "most": "100",
        "currency": "eur",
        "a_day": "20",
        "ends_on": end,
        "owner": "",
        "edits": "0",
    }
    return {**usual, **fields}


def test_pass_goes_from_the_form_into_the_draft_and_two_admins_make_it_count(
    connection, reviewer, admin, second, signed_in
):
    make_known(connection, reviewer)
    client = signed_in(admin)
    box = Mailbox.objects.get()
    add = "/policy/draft/passes/add/"
    client.post("/policy/draft/begin/", {"from": "active"})
    for wrong, said in (
        ({"keys": "9:other"}, "Choose from the list."),
        ({"most": ""}, "Write an amount and its currency, or neither."),
        ({"link_domains": "*.gov"}, "name@domain, domain and *.domain"),
        ({"a_day": "1001"}, "whole number from 1 to 1,000"),
        ({"ends_on": "2020-01-01"}, "choose an end in the next 366 days"),
        ({"edits": "7"}, "Somebody changed the draft meanwhile."),
    ):
        assert said in words_of(client.post(add, typed(box, **wrong))), wrong
    client.post(add, typed(box, link_domains="shop.example"))
    [_, one] = policies().drafted.parts
    page = words_of(client.get("/policy/"))
    assert (
        "that name at most 100 EUR, have no finding, no attachment and links to" in page
    )
    form = f"/policy/draft/passes/{one.id}/"
    shown = client.get(form).context["form"]
    client.post(form, {**typed_in(shown), "a_day": "30"})
    one = replace(one, a_day=30)
    assert policies().drafted.parts[1] == one
    message = make_refund(connection)
    other = make_refund(connection, bcc=["eve@evil.example"])
    for tried, words in (
        (message, "Refunds sends it without a person, within its limit"),
        (other, "Refunds does not send it."),
        (other, "A recipient is on none of the lists."),
    ):
        asked = {"message": str(tried.public_id), "draft": "yes"}
        assert words in words_of(client.get("/policy/try/", asked))
    page = words_of(client.get("/policy/draft/activate/"))
    assert "“ Refunds ” would have sent 1 message without a person" in page
    assert "Sent without a person: 1" in page
    activate(admin, second, one)
    page = words_of(client.get("/policy/"))
    assert f"Signed by {admin} and {second}" in page
    assert "until" in words_of(client.get("/policy/versions/1/"))


def test_pass_sends_end_to_end_and_names_who_signed_it(
    one, connection, upstream, admin, second
):
    message = make_refund(connection)
    decision = sent_by_pass(message)
    assert (decision.outcome, decision.given_by) == ("approve", None)
    assert decision.rule == f"pass refunds version {policies().active_number}"
    assert decision.due_at - decision.recorded_at == timedelta(seconds=5)
    said = Entry.objects.filter(action="decision.recorded").latest("pk").detail.fields
    assert said["signed_by"] == f"{admin} and {second}"
    assert "are sent without a person" in said["pass"]
    assert message not in desk_messages().in_queue()
    make_due()
    serve(upstream, connection, message)
    assert run_decision(decision_id=decision.pk) == "applied"
    [sent] = upstream.decisions
    assert sent["action"] == "approve"
    assert sent["expected_fingerprint"] == message.revision.fingerprint
    assert "pass Refunds" in sent["decided_by"]
    # Our gateway is told until when it may leave.
    assert sent["leave_by"] == written_time(one.ends_at)
    assert apply_policy() == 0


def test_pass_sends_through_our_gateway_and_the_rest_waits_for_people(
    account, mail_server, reviewer, admin, second
):
    def send(text):
        account.send(body=text)
        read_all(account.connection)
        return Message.objects.latest("pk")

    # A person approves the first one, so that the second is no first contact.
    decided(send("Hello."), reviewer, state="applied")
    change_row(Message.objects.get(), state="sent")
    first = Message.objects.get()
    when = replace(
        make_pass(account.mailbox).when,
        keys=frozenset({f"{account.connection.pk}:{first.sent_by_key}"}),
    )
    activate(admin, second, make_pass(account.mailbox, when=when))
    fits = send("Your refund of 39.99 EUR is on its way.")
    wider = send("Your refund of 100.01 EUR is on its way.")
    assert sent_by_pass(fits) is None, "its thread was not read yet"
    change_row(account.connection, read_key=account.world.keys["reader"])
    for one in (fits, wider):
        assert freshen_thread(one.pk) == "read"
    decision = sent_by_pass(fits)
    assert sent_by_pass(wider) is None
    make_due()
    assert run_decision(decision_id=decision.pk) == "applied"
    assert leave(Email.objects.get(pk=fits.upstream_id)) == "sent"
    [envelope] = mail_server.taken
    assert b"39.99 EUR" in envelope.content
    assert Email.objects.get(pk=wider.upstream_id).status == "pending_send_approval"


def test_scheduled_message_leaves_at_its_time_by_what_holds_then(
    one, connection, admin, second
):
    at = (clock() + timedelta(hours=2)).replace(microsecond=0)
    decision = sent_by_pass(make_refund(connection, send_at=written_time(at)))
    assert decision.due_at == decision.later_at == at
    assert run_decision(decision_id=decision.pk) == "not due"
    activate(admin, second, one, TWO)
    assert give_back(decision).state == "undone"


OUTSIDE = {
    "another key": {"sent_by_key": "02KEY"},
    "a hidden copy": {"bcc": ["eve@evil.example"]},
    "a larger sum": {"amount": "100.01"},
    "another currency": {"markdown": "Hello Dana, we owe you 5 USD."},
    "an unclear sum": {"markdown": "Hello Dana, we owe you 5000 Danish crowns."},
    "a link": {"markdown": "Hello Dana, see https://shop.example/a"},
    "a host in prose": {"markdown": "Hello Dana, see shop.com for more"},
    "a host over a tag": {
        "markdown": None,
        "html_body": "<p>Hello Dana, see <b>shop</b>.com</p>",
    },
    "a Discord command": {"metadata": {"discord_user": "ana#1"}},
    "a late time": {"send_at": "2099-01-01T10:00:00Z"},
    "a time that is none": {"send_at": "later"},
}


@pytest.mark.parametrize("what", OUTSIDE)
def test_what_its_sentence_does_not_say_is_left_to_people(one, connection, what):
    assert sent_by_pass(make_refund(connection))
    message = make_refund(connection, **OUTSIDE[what])
    assert sent_by_pass(message) is None
    assert message in desk_messages().in_queue()


def what_stops(one, admin, second, message):
    """What keeps a pass from sending, by a word."""
    return {
        "switch": lambda: pull(actor=actor_of(admin), reason="Stop"),
        "rule": lambda: activate(admin, second, one, TWO),
        "a mild rule": lambda: activate(admin, second, one, BULK),
        "gone": lambda: activate(admin, second),
        "ended": lambda: force(replace(one, ends_at=one.ends_at.replace(year=2020))),
        "signatory": lambda: Grant.objects.filter(person=second).delete(),
        "list": lambda: AllowEntry.objects.all().delete(),
        "apart": lambda: Review.objects.filter(pk=message.pk).update(is_apart=True),
        "finding": lambda: Review.objects.filter(pk=message.pk).update(rules=["x"]),
        "thread": lambda: Message.objects.update(thread_id="01THREAD"),
    }


def force(*passes):
    """Put passes into the active version, as if they had been signed like this."""
    active = PolicyVersion.objects.active().get()
    PolicyVersion.objects.active().update(state="retired", retired_at=Now())
    active.pk = None
    active.number += 100
    active.passes = [one.as_json() for one in passes]
    active.save(force_insert=True)


def test_whatever_speaks_against_it_stops_it_before_and_within_the_undo_window(
    one, connection, admin, second, reviewer, upstream
):
    message = make_refund(connection)
    stops = what_stops(one, admin, second, message)

    def give_one_of_two():
        activate(admin, second, one, TWO)
        decide(message, reviewer)
        activate(admin, second, one)

    for what, happens in {**stops, "verdict": give_one_of_two}.items():
        with rolled_back():
            happens()
            assert sent_by_pass(message) is None, what
    decision = sent_by_pass(message)
    serve(upstream, connection, message)
    make_due()

    def change_content():
        show_row(message, subject="Your refund for order 1", **KEY)

    for what, happens in {**stops, "content": change_content}.items():
        for is_swept in (False, True):
            with rolled_back():
                happens()
                if is_swept:
                    give_back(decision)
                run_decision(decision_id=decision.pk)
                assert give_back(decision).state in ("refused", "undone"), what
                assert upstream.decisions == [], what
                assert message.decisions.count() == 1
                assert desk_messages().filter(pk=message.pk).awaiting_review(), what
                assert apply_policy() in (0, 1)
                assert message.decisions.count() == 1, "it stays with people"


def test_a_new_version_that_still_has_the_pass_does_not_stop_it(
    one, connection, admin, second, upstream
):
    message = make_refund(connection)
    decision = sent_by_pass(message)
    activate(admin, second, replace(one, a_day=40))
    assert give_back(decision).state == "recorded"
    make_due()
    serve(upstream, connection, message)
    assert run_decision(decision_id=decision.pk) == "applied"


def test_it_is_removed_during_the_last_read_and_no_call_leaves(
    one, connection, admin, second, upstream, monkeypatch
):
    message = make_refund(connection)
    decision = sent_by_pass(message)
    serve(upstream, connection, message)
    make_due()
    real = execute.upstream_reason

    def read_then_remove(*asked):
        result = real(*asked)
        activate(admin, second)
        return result

    monkeypatch.setattr(execute, "upstream_reason", read_then_remove)
    run_decision(decision_id=decision.pk)
    assert upstream.decisions == []
    monkeypatch.undo()
    assert give_back(decision).state in ("refused", "undone")


def test_end_date_is_asked_in_the_statement_that_marks_the_call(one, connection):
    decision = sent_by_pass(make_refund(connection))
    change_row(decision, state="calling", lease_until=Now() + timedelta(minutes=1))
    decision = Decision.objects.select_related("message__connection").latest("pk")
    assert Decision.objects.still_allowed(decision).exists()
    change_row(decision, pass_ends_at=Now())
    assert not Decision.objects.still_allowed(decision).exists()


def test_limit_of_a_day_holds_with_thirty_threads(
    transactional_db, connection, reviewer, admin, second
):
    make_known(connection, reviewer)
    activate(admin, second, make_pass(Mailbox.objects.get(), a_day=3))
    made = [make_refund(connection) for _ in range(8)]
    at_once(*[apply_policy] * 30)
    assert Decision.objects.by_pass().count() == 3
    assert Review.objects.filter(policy_applied=0, message__in=made).count() == 0
    # A day later it sends again, but not what it left to people.
    Decision.objects.update(recorded_at=Now() - timedelta(hours=25))
    apply_policy()
    assert Decision.objects.by_pass().count() == 3
    assert sent_by_pass(make_refund(connection))


def test_thread_is_read_first_and_the_message_waits_for_that(
    one, connection, monkeypatch
):
    asked = []
    monkeypatch.setattr("approvals.decisions.by_rule.enqueue_freshen", asked.append)
    message = make_refund(connection)
    change_row(message, thread_id="01THREAD")
    assert sent_by_pass(message) is None
    assert asked == [message]
    with rolled_back():
        change_row(message, held_at=Now() - timedelta(minutes=11))
        assert apply_policy() == 1
        assert not Decision.objects.filter(message=message).exists()
    thread = Thread.objects.create(mailbox=message.mailbox, upstream_id="01THREAD")
    assert sent_by_pass(message) is None
    change_row(thread, read_at=timezone.now(), wanted=False)
    assert sent_by_pass(message)


def test_message_that_somebody_edits_is_left_to_people(one, connection, reviewer):
    message = make_refund(connection)
    Replacement.objects.create(
        message=message,
        root=message,
        revision=message.revision,
        connection=connection,
        person=reviewer,
        to=["dana@northwind.example"],
        markdown="Hello",
        reference="EDIT",
    )
    with rolled_back():
        assert sent_by_pass(message) is None
    Replacement.objects.update(state="refused")
    assert sent_by_pass(message)


def test_lost_approval_of_a_pass_can_be_sent_again(one, connection, reviewer):
    message = make_refund(connection)
    decision = sent_by_pass(message)
    change_row(decision, state="unknown", attempt=1, may_have_left=True, seen_held=2)
    confirmed = confirm_approval(message=message.public_id, actor=actor_of(reviewer))
    assert confirmed.state == "recorded"


def page_of(client, person, path, **query):
    resume(client, person)
    answer = client.get(path, query)
    assert answer.status_code == 200
    return words_of(answer)


def test_who_signed_it_shows_wherever_its_decision_does_and_anybody_stops_it(
    client, one, connection, auditor, admin, second
):
    message = make_refund(connection)
    decision = sent_by_pass(message)
    # Long enough to be stopped by hand.
    change_row(decision, due_at=Now() + timedelta(minutes=10))
    message = Message.objects.get(pk=message.pk)
    named = f"the pass “Refunds” (signed by {admin} and {second})"
    card = embed_of(message, Destination(privacy="headers"))["description"]
    assert f"by {named}. Leaves " in card.replace("\\", "")
    page = reverse("message", args=[message.public_id])
    assert f"Approved by {named}." in page_of(client, auditor, page)
    listed = page_of(client, auditor, "/queue/", tab="leaving", passed="yes")
    assert "Leaves by a pass" in listed
    trail = page_of(client, auditor, f"/audit/trace/{message.public_id}/")
    assert f"by the pass “Refunds” , signed by {admin} and {second}" in trail
    with rolled_back():
        change_row(decision, state="applied")
        message = Message.objects.get(pk=message.pk)
        event = _decision_data("message.approved", message, "headers")
        assert event["decided_by"] == named
        # A minimal destination learns no names.
        event = _decision_data("message.approved", message, "minimal")
        assert event["decided_by"] == "a pass"
    undone = client.post(f"/queue/{message.public_id}/undo/", follow=True)
    assert f"Undone by {auditor}." in words_of(undone)
    assert sent_by_pass(message).state == "undone"
    assert message in desk_messages().in_queue()


def test_without_its_signatures_no_approval_is_stored(one, connection):
    sent_by_pass(make_refund(connection))
    with pytest.raises(DatabaseError), transaction.atomic():
        Decision.objects.update(signed_by="")
