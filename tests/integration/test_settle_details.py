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

pytestmark = pytest.mark.django_db
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
    for report, end in (
        (("approved", ours, ""), ("applied", "")),
        # Cancelled after it was decided here: scheduled mail can be.
        (("cancelled", ours, ""), ("applied", "")),
        (
            ("cancelled", "", "Eve"),
            ("superseded", "The message was withdrawn by its sender first."),
        ),
        (
            ("rejected", ours, "Eve"),
            ("superseded", "The message was rejected by Eve outside this desk first."),
        ),
        (
            ("approved", "fine", ""),
            ("superseded", "The message was approved outside this desk first."),
        ),
    ):
        reported, reason, decided_by = report
        with rolled_back():
            assert (
                meet(decision, reported, reason=reason, decided_by=decided_by) == end
            ), report


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
    entry, message = (
        Entry.objects.get(action="decision.left_after_all"),
        decision.message,
    )
    assert (entry.connection, entry.message, entry.fingerprint) == (
        message.connection_id, message.public_id, decision.revision.fingerprint
    )  # fmt: skip
    assert entry.detail.fields["reference"] == decision.reference
    assert "'refund'" in entry.detail.words
