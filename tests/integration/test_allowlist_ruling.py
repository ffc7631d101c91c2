"""Allowlists and authors in the ruling: what they refuse on display, at the verdict and
before the call.
"""

from datetime import timedelta

import pytest
from django.db import connections
from django.db.models.functions import Now
from django.utils import timezone

from approvals.decisions.execute import run_decision
from approvals.decisions.ruling import rulings, stop_of
from approvals.decisions.withdraw import confirm_approval, undo_decision
from approvals.errors import VerdictNotAllowed
from approvals.models import CommandedMail, Decision
from common.postgres import clock
from mirror.models import (
    AttachedFile,
    Connection,
    KnownContact,
    Mailbox,
    Message,
    Revision,
)
from policy.models import AllowEntry, Allowlist, KeyOwner, KillSwitch
from tests.factories import (
    MAILBOX,
    actor_of,
    change_row,
    make_connection,
    make_list,
    make_message,
    pending_row,
    rolled_back,
    show_row,
)
from tests.integration.deciding import carry_out, decide, make_due


def of(message, person):
    message.refresh_from_db()
    return rulings([message], actor_of(person), now=clock())[message.pk]


def outsiders(message, person):
    """The recipients of the message that the lists refuse."""
    message.refresh_from_db()
    return of(message, person).judged.refused


def test_off_list_recipient_cannot_be_approved_and_can_be_rejected(
    connection, reviewer
):
    message = make_message(connection, to_addresses=["dana@northwind.example"])
    make_list("acme.example")
    ruling = of(message, reviewer)
    assert ruling.may_approve is False
    assert ruling.may_reject is True
    assert ruling.rule == "allowlist"
    with pytest.raises(VerdictNotAllowed, match="is on no allowlist"):
        decide(message, reviewer)


def test_entries_of_all_applicable_lists_are_combined_and_others_are_ignored(
    connection, reviewer
):
    message = make_message(connection)
    other = make_connection("other")
    make_list(connection=other)
    make_list(mailbox=other.mailboxes.get())
    assert of(message, reviewer).may_approve

    lists = [
        make_list(),
        make_list(connection=connection),
        make_list(mailbox=message.mailbox),
    ]
    assert not of(message, reviewer).may_approve
    entry = AllowEntry.objects.create(allowlist=lists[0], pattern="northwind.example")
    for one in lists:
        change_row(entry, allowlist=one)
        assert of(message, reviewer).may_approve, one


def test_strictest_mode_applies_and_a_list_that_is_off_neither_refuses_nor_allows(
    connection, reviewer
):
    message = make_message(connection)
    make_list("northwind.example", mode="off")
    assert len(of(message, reviewer).reasons) == 1
    with rolled_back():
        make_list(connection=connection)
        assert not of(message, reviewer).may_approve
    AllowEntry.objects.all().delete()
    make_list("acme.example", mode="monitor")
    ruling = of(message, reviewer)
    assert ruling.may_approve is True
    assert "Monitor" in ruling.reasons[1]
    # Recipients in a field that the key does not show are on no list.
    make_list("northwind.example")
    Revision.objects.update(coverage=["to", "cc", "subject", "markdown", "html"])
    Allowlist.objects.update(mode="enforce")
    assert "Bcc (not visible" in of(message, reviewer).reasons[0]


def test_message_of_an_unknown_mailbox_is_subject_to_every_list_of_its_connection(
    connection, reviewer
):
    message = make_message(connection)
    make_list("northwind.example", mailbox=message.mailbox)
    Message.objects.update(mailbox=None)
    assert not of(message, reviewer).may_approve
    make_list("northwind.example", connection=connection)
    assert of(message, reviewer).may_approve


def test_received_mail_is_under_no_list_and_sandbox_mail_is(connection, reviewer):
    received = make_message(
        connection,
        direction="inbound",
        status="pending_inbound_approval",
        to_addresses=[MAILBOX["address"]],
    )
    sandbox = make_message(connection, sandbox=True)
    make_list()
    assert [of(one, reviewer).may_approve for one in (received, sandbox)] == [
        True,
        False,
    ]


def test_contacts_mode_allows_known_contacts_and_says_when_they_could_not_be_read(
    connection, reviewer
):
    message = make_message(connection)
    make_list(mode="contacts")
    assert "contacts could not be read" in of(message, reviewer).reasons[0]
    KnownContact.objects.create(
        connection=make_connection("other"), address="dana@northwind.example"
    )
    Connection.objects.update(contacts_read_at=Now())
    refused = of(message, reviewer)
    assert refused.may_approve is False
    assert "contacts could not" not in refused.reasons[0]
    KnownContact.objects.create(connection=connection, address="dana@northwind.example")
    assert of(message, reviewer).may_approve


def test_entry_and_message_expire_exactly_at_their_time(connection, reviewer):
    message = make_message(connection)
    at = clock()
    make_list("northwind.example")
    actor = actor_of(reviewer)
    before = at - timedelta(microseconds=1)
    for rows, rule in ((AllowEntry.objects, "allowlist"), (Message.objects, "expired")):
        rows.update(expires_at=at)
        message.refresh_from_db()
        assert [
            rulings([message], actor, now=now)[message.pk].rule for now in (before, at)
        ] == ["", rule]
        rows.update(expires_at=None)


def test_every_recipient_is_judged_right_in_to_cc_and_bcc_and_what_the_mailbox_adds(
    connection, reviewer
):
    # Which addresses an entry names is a table of the unit tests.
    make_list("acme.com", "bücher.example")
    message = make_message(connection)
    for field in ("to_addresses", "cc", "bcc"):
        several = [
            "ANA@acme.com.",
            "a@xn--bcher-kva.example",
            "eve@evil.io",
            "a@acme.com@evil.io",
        ]
        show_row(message, **{"to_addresses": ["ana@acme.com"], field: several})
        assert outsiders(message, reviewer) == ("eve@evil.io", "a@acme.com@evil.io")
    show_row(message, to_addresses=["a@acme.com@evil.io"])
    assert "No allowlist entry can match it" in of(message, reviewer).reasons[0]
    for name in ("auto_cc", "auto_bcc"):
        show_row(
            message,
            to_addresses=["ana@acme.com"],
            additions={name: "boss@acme.com, eve@evil.io"},
        )
        assert outsiders(message, reviewer) == ("eve@evil.io",)


@pytest.fixture
def approved(upstream, reviewer):
    """A message to a listed recipient that MultiMail holds and would send."""
    message = make_message(make_connection(api_url=upstream.url))
    upstream.holds(pending_row(message.upstream_id))
    upstream.decides(200, decision="approved")
    make_list("northwind.example")
    AllowEntry.objects.update(expires_at=timezone.now() + timedelta(days=1))
    return message


def test_entry_that_still_lives_lets_the_mail_leave_and_one_that_ends_before_sending_refuses_it(
    approved, reviewer, upstream
):
    decision = decide(approved, reviewer).decision
    make_due()
    with rolled_back():
        assert run_decision(decision_id=decision.pk) == "applied"
        assert len(upstream.decisions) == 1
    upstream.calls.clear()
    AllowEntry.objects.update(expires_at=Now())
    assert run_decision(decision_id=decision.pk) == "refused"
    decision.refresh_from_db()
    assert "dana@northwind.example is on no allowlist" in decision.explanation
    assert upstream.decisions == []


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_entry_that_ends_while_a_worker_reads_is_met_before_its_call(
    approved, reviewer, upstream
):
    def meanwhile():
        AllowEntry.objects.update(expires_at=Now())
        connections.close_all()

    upstream.meanwhile["GET"] = meanwhile
    assert carry_out(approved, reviewer) == "refused"
    decision = Decision.objects.get()
    assert upstream.decisions == []
    assert decision.may_have_left is False
    assert "is on no allowlist" in decision.explanation


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
        "allowlist": make_message(connection, to_addresses=["a@acme.example"]),
        "fine": make_message(connection),
        "expired": make_message(connection),
        "files": make_message(connection, attachments=files),
        "ended": make_message(connection),
    }
    make_list("northwind.example")
    AllowEntry.objects.update(expires_at=timezone.now() + timedelta(days=1))
    change_row(messages["expired"], expires_at=Now())
    change_row(messages["ended"], state="rejected")
    AttachedFile.objects.update(state="fetched", sha256="a" * 64, found_sha256="b" * 64)
    rulings = dict(
        zip(
            messages, consistent_rulings(list(messages.values()), reviewer), strict=True
        )
    )
    assert [one.rule for one in rulings.values()] == [
        "allowlist",
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


def test_finding_names_recipients_off_the_list_when_the_message_was_read(
    connection, reviewer
):
    make_list("acme.com")
    message = make_message(
        connection, to_addresses=["bo@acme.com"], cc=["Dana <dana@northwind.example>"]
    )
    assert message.review.rules == ["off_allowlist"]
    assert message.review.risk_level == "high"
    [found] = message.revision.findings
    assert found["detail"] == "dana@northwind.example."
    fine = make_message(connection, to_addresses=["bo@acme.com"], subject="fine")
    assert fine.review.rules == []


@pytest.mark.slow
def test_list_does_not_block_undo_and_unconfirmed_approvals_are_not_repeated(
    connection, reviewer
):
    message = make_message(connection)
    actor = actor_of(reviewer)
    decide(message, reviewer)
    make_list()
    with rolled_back():
        assert undo_decision(message=message.public_id, actor=actor).state == "undone"
    Decision.objects.update(state="unknown", attempt=1, may_have_left=True, seen_held=2)
    with pytest.raises(VerdictNotAllowed):
        confirm_approval(message=message.public_id, actor=actor)
    make_list("northwind.example")
    assert confirm_approval(message=message.public_id, actor=actor).state == "recorded"
