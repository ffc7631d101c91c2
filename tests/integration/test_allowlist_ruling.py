"""Rules on recipients who are on no list: what they keep from being approved, what they
reject by themselves, and what an entry that ends does before the call.
"""

from datetime import timedelta

import pytest
from django.db import connections
from django.db.models.functions import Now
from django.utils import timezone

from approvals.decisions.by_rule import apply_policy
from approvals.decisions.execute import run_decision
from approvals.decisions.ruling import rulings
from approvals.decisions.withdraw import confirm_approval, undo_decision
from approvals.errors import VerdictNotAllowed
from approvals.models import Decision
from common.postgres import clock
from mirror.models import Connection, KnownContact, Message
from policy.models import AllowEntry
from tests.allow_cases import CASES
from tests.factories import (
    MAILBOX,
    actor_of,
    make_connection,
    make_list,
    make_message,
    pending_row,
    reject_others,
    rolled_back,
    show_row,
)
from tests.integration.deciding import carry_out, decide, make_due

DANA = "dana@northwind.example"


def of(message, person, now=None):
    message.refresh_from_db()
    return rulings([message], actor_of(person), now=now or clock())[message.pk]


def outsiders(message, person):
    """The recipients of the message because of whom a rule rejects it."""
    return [
        one for _, passages in of(message, person).demand.because for one in passages
    ]


def test_message_to_somebody_on_no_list_cannot_be_approved_and_is_rejected(
    connection, reviewer
):
    message = make_message(connection)
    reject_others(make_list("acme.example"), make_list("x.example", name="Other"))
    ruling = of(message, reviewer)
    assert (ruling.may_approve, ruling.may_reject, ruling.rule) == (
        False,
        True,
        "policy",
    )
    assert any(DANA in one for one in ruling.reasons), ruling.reasons
    with pytest.raises(VerdictNotAllowed, match="Nobody else may be written to"):
        decide(message, reviewer)
    apply_policy()
    decision = Decision.objects.get()
    assert decision.outcome == "reject"
    assert "Nobody else may be written to" in decision.reason


def test_each_recipient_has_to_be_on_one_of_the_lists(connection, reviewer):
    message = make_message(connection)
    reject_others(make_list("acme.com"), make_list("bücher.example", name="Other"))
    for field in ("to_addresses", "cc", "bcc"):
        several = [
            "ANA@acme.com.",
            "a@xn--bcher-kva.example",
            "eve@evil.io",
            "a@acme.com@evil.io",
        ]
        show_row(message, **{"to_addresses": ["ana@acme.com"], field: several})
        assert not of(message, reviewer).may_approve, field
        show_row(message, **{"to_addresses": ["ana@acme.com"], field: several[:3]})
        assert outsiders(message, reviewer) == ["eve@evil.io"], field
    for name in ("auto_cc", "auto_bcc"):
        show_row(
            message,
            to_addresses=["ana@acme.com"],
            additions={name: "boss@acme.com, eve@evil.io"},
        )
        assert outsiders(message, reviewer) == ["eve@evil.io"], name
    show_row(message, to_addresses=["ana@acme.com"])
    assert of(message, reviewer).may_approve


@pytest.mark.slow
def test_rule_allows_whom_the_table_of_cases_allows(connection, reviewer):
    Connection.objects.update(contacts_read_at=Now())
    for name, case in CASES.items():
        if case.mode not in ("enforce", "contacts"):
            continue
        with rolled_back():
            at = make_list(*case.entries)
            for pattern, seconds in case.ends.items():
                ends = timezone.now() + timedelta(seconds=seconds)
                at.entries.filter(pattern=pattern).update(expires_at=ends)
            for address in case.contacts:
                KnownContact.objects.create(connection=connection, address=address)
            reject_others(at, contacts_count=case.mode == "contacts")
            message = make_message(connection, to_addresses=list(case.recipients))
            assert of(message, reviewer).may_approve == (not case.refused), name


def test_contacts_count_if_the_rule_says_so_and_in_doubt_nothing_is_rejected(
    connection, reviewer
):
    message = make_message(connection)
    reject_others(make_list(), contacts_count=True)
    with rolled_back():
        # Where all are on the list, it does not matter who is a contact.
        make_list("northwind.example")
        assert of(message, reviewer).may_approve
    assert not of(message, reviewer).may_approve
    apply_policy()
    assert not Decision.objects.exists()
    other = make_connection("other")
    KnownContact.objects.create(connection=other, address=DANA)
    Connection.objects.update(contacts_read_at=Now())
    assert not of(message, reviewer).may_approve
    KnownContact.objects.create(connection=connection, address=DANA)
    assert of(message, reviewer).may_approve


def test_recipients_that_the_key_does_not_show_are_nobody_knows_who(
    connection, reviewer
):
    message = make_message(connection)
    hidden = ["to", "cc", "subject", "markdown", "html"]
    reject_others(make_list("northwind.example"))
    assert of(message, reviewer).may_approve
    Message.objects.update(written_to=[DANA, "Bcc (not visible with this key)"])
    assert not of(message, reviewer).may_approve, hidden
    apply_policy()
    assert not Decision.objects.exists()


def test_received_mail_goes_to_nobody_and_sandbox_mail_does(connection, reviewer):
    received = make_message(
        connection,
        direction="inbound",
        status="pending_inbound_approval",
        to_addresses=[MAILBOX["address"]],
    )
    sandbox = make_message(connection, sandbox=True)
    reject_others(make_list())
    found = [of(one, reviewer).may_approve for one in (received, sandbox)]
    assert found == [True, False]


def test_entry_ends_exactly_at_its_time(connection, reviewer):
    message = make_message(connection)
    at = clock()
    reject_others(make_list("northwind.example"))
    AllowEntry.objects.update(expires_at=at)
    before = at - timedelta(microseconds=1)
    found = [of(message, reviewer, now).rule for now in (before, at)]
    assert found == ["", "policy"]


def test_many_entries_cost_no_more_queries(
    connection, reviewer, django_assert_max_num_queries
):
    at = make_list()
    AllowEntry.objects.bulk_create(
        [AllowEntry(allowlist=at, pattern=f"p{one}@x.example") for one in range(10_000)]
    )
    reject_others(at)
    messages = [make_message(connection, subject=f"{one}") for one in range(3)]
    with django_assert_max_num_queries(25):
        rulings(messages, actor_of(reviewer), now=clock())


@pytest.fixture
def approved(upstream, reviewer):
    """A message to a listed recipient that MultiMail holds and would send."""
    message = make_message(make_connection(api_url=upstream.url))
    upstream.holds(pending_row(message.upstream_id))
    upstream.decides(200, decision="approved")
    reject_others(make_list("northwind.example"))
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
    assert DANA in decision.explanation
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
    assert DANA in decision.explanation


@pytest.mark.slow
def test_list_does_not_block_undo_and_unconfirmed_approvals_are_not_repeated(
    connection, reviewer
):
    message = make_message(connection)
    actor = actor_of(reviewer)
    decide(message, reviewer)
    at = make_list()
    reject_others(at)
    with rolled_back():
        assert undo_decision(message=message.public_id, actor=actor).state == "undone"
    Decision.objects.update(state="unknown", attempt=1, may_have_left=True, seen_held=2)
    with pytest.raises(VerdictNotAllowed):
        confirm_approval(message=message.public_id, actor=actor)
    make_list("northwind.example")
    assert confirm_approval(message=message.public_id, actor=actor).state == "recorded"
