"""How reports settle decisions, and their ledger entries: the pairs that other tests
leave out.
"""

import pytest
from django.db import transaction

from approvals.decisions.settle import settle_by_report
from approvals.models import Decision, Verdict
from audit.models import Entry
from common.actors import worker
from common.postgres import clock
from tests.factories import make_message, rolled_back
from tests.integration.deciding import decide

ACTOR = worker("sync")


@pytest.fixture
def decision(connection, reviewer):
    """Return an approval whose call may have been sent."""
    made = decide(make_message(connection), reviewer).decision
    Decision.objects.update(state="calling", attempt=1, may_have_left=True)
    made.refresh_from_db()
    return made


def meet(decision, reported, *, reason="", decided_by=""):
    """Settle the message by the report; return the resulting decision."""
    with transaction.atomic():
        settle_by_report(
            decision.message,
            reported=reported,
            reason=reason,
            decided_by=decided_by,
            actor=ACTOR,
        )
    decision.refresh_from_db()
    return decision.state, decision.explanation


def test_report_ends_a_decision_with_the_reason_that_people_read(decision):
    ours = f"[countersign:{decision.reference}]"
    gateway = (True,)
    hosted = (False,)
    both = (True, False)
    for where, reported, reason, who, lost in (
        (both, "approved", ours, "key_desk", ""),
        # A webhook without reason and name was shortened, whoever sent it.
        (gateway, "approved", "", "", ""),
        # Our gateway reports every reason, and each of our calls has one; hosted
        # MultiMail may drop it.
        (gateway, "approved", "", "key_other", "approved by key_other outside"),
        (hosted, "approved", "", "key_other", ""),
        (gateway, "approved", "Fine by me", "", "approved outside this desk first."),
        (hosted, "approved", "Fine by me", "", ""),
        (hosted, "approved", "[countersign:SOMEBODYEL]", "", "approved outside"),
        # Cancelled after it was decided here: scheduled mail can be.
        (both, "cancelled", ours, "", ""),
        (both, "cancelled", "", "Eve", "withdrawn by its sender first."),
        (both, "rejected", ours, "Eve", "rejected by Eve outside this desk first."),
        (hosted, "rejected", "", "", "rejected outside this desk first."),
    ):
        for is_our_gateway in where:
            with rolled_back():
                decision.message.connection.is_our_gateway = is_our_gateway
                end = meet(decision, reported, reason=reason, decided_by=who)
                expected = ("superseded", f"The message was {lost}")
                found = (end[0], end[1][: len(expected[1])])
                assert (found if lost else end) == (
                    expected if lost else ("applied", "")
                ), (is_our_gateway, reported, reason, who)


def test_end_of_a_decision_voids_the_verdicts_on_its_message_alone_and_ends_its_lease(
    decision, reviewer
):
    other = decide(make_message(decision.message.connection), reviewer).verdict
    Decision.objects.update(lease_until=clock())
    with rolled_back():
        assert meet(decision, "rejected")[0] == "superseded"
        assert [one.live for one in Verdict.objects.order_by("pk")] == [False, True]
    assert (
        meet(decision, "approved", reason=f"[countersign:{decision.reference}]")[0]
        == "applied"
    )
    assert decision.lease_until is None
    other.refresh_from_db()
    assert other.live


def test_late_effect_of_a_decision_is_recorded_in_full_and_only_of_an_approval(
    decision,
):
    Decision.objects.update(state="undone")
    decision.refresh_from_db()
    ours = f"[countersign:{decision.reference}]"
    meet(decision, "rejected", reason=ours)
    assert not Entry.objects.filter(action="decision.left_after_all").exists()
    meet(decision, "approved", reason=ours)
    entry = Entry.objects.get(action="decision.left_after_all")
    message = decision.message
    assert entry.connection == message.connection_id
    assert entry.message == message.public_id
    assert entry.fingerprint == decision.revision.fingerprint
    assert entry.detail.fields["reference"] == decision.reference
    assert "'refund'" in entry.detail.words
