"""Rules on recipients who are on no list: what they keep from being approved, what they
reject by themselves, and what an entry that ends does before the call.
"""

from datetime import timedelta

import pytest
from django.db.models.functions import Now

from approvals.decisions.by_rule import apply_policy
from approvals.decisions.execute import run_decision
from approvals.decisions.withdraw import confirm_approval
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
from tests.integration.deciding import decide, make_due, ruling_of
from tests.ledger import latest_details

DANA = "dana@northwind.example"


def may(message, person, now=None):
    return ruling_of(message, person, now).may_approve


def test_message_to_somebody_on_no_list_cannot_be_approved_and_is_rejected(
    message, reviewer
):
    reject_others(make_list("acme.example"), make_list("x.example", name="Other"))
    ruling = ruling_of(message, reviewer)
    assert (ruling.may_reject, ruling.rule) == (True, "policy")
    assert ruling.demand.passages == [DANA]
    with pytest.raises(VerdictNotAllowed):
        decide(message, reviewer)
    assert apply_policy() == 1
    decision = Decision.objects.get()
    assert (decision.outcome, decision.rule) == ("reject", "policy 1: r0")
    assert decision.reason == "Nobody else may be written to."
    assert latest_details("decision.recorded")["policy"] == "version 1"
    assert apply_policy() == 0


def test_each_recipient_has_to_be_on_one_of_the_lists(message, reviewer):
    reject_others(make_list("acme.com"), make_list("bücher.example", name="Other"))
    ana, eve = ["ana@acme.com"], "eve@evil.io"
    several = ["ANA@acme.com.", "a@xn--bcher-kva.example", eve]
    added = f"boss@acme.com, {eve}"
    for fields in (
        {"to_addresses": several},
        {"cc": several},
        {"bcc": several},
        {"additions": {"auto_cc": added}},
        {"additions": {"auto_bcc": added}},
    ):
        show_row(message, **{"to_addresses": ana, **fields})
        assert ruling_of(message, reviewer).demand.passages == [eve], fields


@pytest.mark.slow
def test_rule_allows_whom_the_table_of_cases_allows(connection, reviewer):
    Connection.objects.update(contacts_read_at=Now())
    for name, case in CASES.items():
        if case.mode not in ("enforce", "contacts"):
            continue
        with rolled_back():
            at = make_list(*case.entries)
            at.entries.filter(pattern__in=case.ends).update(expires_at=Now())
            for address in case.contacts:
                KnownContact.objects.create(connection=connection, address=address)
            reject_others(at, contacts_count=case.mode == "contacts")
            message = make_message(connection, to_addresses=list(case.recipients))
            assert may(message, reviewer) == (not case.refused), name


def test_contacts_count_if_the_rule_says_so_and_in_doubt_nothing_is_rejected(
    message, reviewer
):
    reject_others(make_list(), contacts_count=True)
    with rolled_back():
        # Where all are on the list, it does not matter who is a contact.
        make_list("northwind.example")
        assert may(message, reviewer)
        # Whom the key does not show may be anybody.
        Message.objects.update(written_to=[DANA, "Bcc (not visible with this key)"])
        assert not may(message, reviewer)
    assert not may(message, reviewer)
    apply_policy()
    assert not Decision.objects.exists()
    Connection.objects.update(contacts_read_at=Now())
    for whose, is_theirs in ((make_connection("b"), False), (message.connection, True)):
        KnownContact.objects.create(connection=whose, address=DANA)
        assert may(message, reviewer) is is_theirs


def test_received_mail_goes_to_nobody_and_sandbox_mail_does(connection, reviewer):
    held = {"direction": "inbound", "status": "pending_inbound_approval"}
    received = make_message(connection, to_addresses=[MAILBOX["address"]], **held)
    sandbox = make_message(connection, sandbox=True)
    reject_others(make_list())
    assert [may(one, reviewer) for one in (received, sandbox)] == [True, False]


def test_entry_that_still_lives_lets_the_mail_leave_and_one_that_ends_before_sending_refuses_it(
    reviewer, upstream
):
    message = make_message(make_connection(api_url=upstream.url))
    upstream.holds(pending_row(message.upstream_id))
    upstream.decides(200, decision="approved")
    reject_others(make_list("northwind.example"))
    ends = clock() + timedelta(days=1)
    AllowEntry.objects.update(expires_at=ends)
    before = ends - timedelta(microseconds=1)
    assert [may(message, reviewer, now) for now in (before, ends)] == [True, False]
    decision = decide(message, reviewer).decision
    make_due()
    with rolled_back():
        assert run_decision(decision_id=decision.pk) == "applied"
    upstream.calls.clear()
    AllowEntry.objects.update(expires_at=Now())
    assert run_decision(decision_id=decision.pk) == "refused"
    assert upstream.decisions == []
    # Nor is one sent again whose answer was lost.
    Decision.objects.update(state="unknown", attempt=1, may_have_left=True, seen_held=2)
    with pytest.raises(VerdictNotAllowed):
        confirm_approval(message=message.public_id, actor=actor_of(reviewer))
