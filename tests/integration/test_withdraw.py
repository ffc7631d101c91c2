"""Once a call may have left: what a person can still do, and how a withdrawn decision ends all the same."""

import pytest
from django.db import connections
from django.db.models.functions import Now

from approvals.decide import undo_decision
from approvals.deciding.ending import end_with_success
from approvals.deciding.standing import shown_status
from approvals.deciding.withdraw import confirm_approval, settle_by_hand, withdraw_decision
from approvals.errors import AlreadyDecided, ContentChanged, VerdictNotAllowed
from approvals.execute import run_decision
from approvals.models import Connection, Decision, Message, Verdict
from approvals.reconcile import read_everything
from approvals.settle import ANOTHER_OF_OURS, LEFT_AFTER_ALL, WHICH_IS_NOT_TOLD
from audit.models import Entry
from common.postgres import clock
from tests.factories import NOW, event_body, make_connection, make_message, make_person, pending_row, post_event
from tests.factories import show_row as show
from tests.integration.deciding import carry_out, decide

pytestmark = pytest.mark.django_db


@pytest.fixture
def connection(db, upstream):
    return make_connection(api_url=upstream.url)


@pytest.fixture
def message(connection, upstream):
    message = make_message(connection)
    upstream.holds(pending_row(message.upstream_id))
    return message


def in_doubt(message, person, outcome="approve", **fields):
    """Make a decision whose call got no answer."""
    decision = decide(message, person, outcome).decision
    values = {"state": "unknown", "attempt": 1, "may_have_left": True, **fields}
    Decision.objects.filter(pk=decision.pk).update(**values)
    decision.refresh_from_db()
    return decision


def withdraw(message, person):
    return withdraw_decision(message=message.public_id, actor=person.actor(surface="web"), now=NOW)


def confirm(message, person):
    return confirm_approval(message=message.public_id, actor=person.actor(surface="web"), now=NOW)


def settle(message, person, took_effect):
    actor = person.actor(surface="web")
    return settle_by_hand(message=message.public_id, actor=actor, took_effect=took_effect, now=NOW)


def report(client, message, name, **fields):
    post_event(client, message.connection, event_body(name, email_id=message.upstream_id, **fields))


@pytest.mark.parametrize("state", ["recorded", "calling", "unknown"])
def test_decision_whose_call_may_have_left_is_withdrawn_and_never_undone(message, reviewer, state):
    decision = in_doubt(message, reviewer, state=state)
    with pytest.raises(AlreadyDecided, match="too late"):
        undo_decision(message=message.public_id, actor=reviewer.actor(surface="web"), now=NOW)
    withdrawn = withdraw(message, reviewer)
    assert (withdrawn.pk, withdrawn.state) == (decision.pk, "withdrawn")
    assert "Withdrawn by Ana Ferreira" in withdrawn.explanation
    assert Entry.objects.filter(action="decision.withdrawn").count() == 1


def test_withdrawing_what_has_not_left_undoes_it(message, reviewer):
    decide(message, reviewer)
    assert withdraw(message, reviewer).state == "undone"


def test_withdrawn_twice_is_refused(message, reviewer):
    in_doubt(message, reviewer)
    withdraw(message, reviewer)
    with pytest.raises(AlreadyDecided):
        withdraw(message, reviewer)


@pytest.mark.parametrize("act", [withdraw, confirm])
def test_only_a_reviewer_of_the_mailbox_acts(message, reviewer, auditor, act):
    in_doubt(message, reviewer, seen_held=2)
    with pytest.raises(VerdictNotAllowed):
        act(message, auditor)
    stranger = make_person("x@yourteam.example", "X", "reviewer", connection=make_connection("other"))
    with pytest.raises(VerdictNotAllowed):
        act(message, stranger)
    assert Decision.objects.get().state == "unknown"


def test_withdrawn_approve_takes_a_reject_by_the_same_person_but_no_approve(message, reviewer):
    in_doubt(message, reviewer)
    withdraw(message, reviewer)
    with pytest.raises(AlreadyDecided, match="was withdrawn, and its call may still arrive"):
        decide(message, reviewer, "approve")
    assert decide(message, reviewer, "reject").decision.state == "recorded"
    assert Verdict.objects.filter(live=True).count() == 1


def test_withdrawn_approve_can_be_given_anew_once_two_reads_show_the_message_held(message, reviewer):
    in_doubt(message, reviewer)
    withdrawn = withdraw(message, reviewer)
    assert withdrawn.seen_held == 0
    Decision.objects.update(seen_held=2)
    assert decide(message, reviewer, "approve").decision.state == "recorded"


def test_withdrawn_reject_leaves_every_verdict_open(message, reviewer):
    in_doubt(message, reviewer, "reject")
    withdraw(message, reviewer)
    assert decide(message, reviewer, "approve").decision.state == "recorded"


@pytest.mark.parametrize(
    ("event", "fields", "state"),
    [
        ("oversight.approved", {}, "applied"),
        ("oversight.approved", {"reason": "[countersign:SOMEBODYEL]"}, "superseded"),
        ("oversight.rejected", {}, "superseded"),
        ("message.cancelled", {}, "withdrawn"),
    ],
)
def test_withdrawn_approve_ends_by_what_multimail_reports(client, message, reviewer, event, fields, state):
    in_doubt(message, reviewer)
    withdraw(message, reviewer)
    report(client, message, event, **fields)
    assert Decision.objects.get().state == state


def test_withdrawn_approve_that_left_after_all_says_so_loudly(client, message, reviewer):
    decision = in_doubt(message, reviewer)
    withdraw(message, reviewer)
    report(client, message, "oversight.approved", reason=f"[countersign:{decision.reference}]")
    decision.refresh_from_db()
    assert (decision.state, decision.explanation) == ("applied", LEFT_AFTER_ALL)
    assert Entry.objects.filter(action="decision.left_after_all").count() == 1


@pytest.mark.parametrize(("approve", "reject", "event"), [
    ("applied", "superseded", "oversight.approved"), ("superseded", "applied", "oversight.rejected"),
])  # fmt: skip
def test_one_report_settles_the_withdrawn_approve_and_the_reject_after_it(
    client, message, reviewer, approve, reject, event
):
    in_doubt(message, reviewer)
    withdraw(message, reviewer)
    decide(message, reviewer, "reject")
    Decision.objects.filter(state="recorded").update(state="calling", attempt=1, may_have_left=True)
    report(client, message, event)
    assert list(Decision.objects.order_by("pk").values_list("state", flat=True)) == [approve, reject]


def test_report_without_reference_is_claimed_by_one_decision_only(client, message, reviewer):
    for _ in range(2):
        in_doubt(message, reviewer, "reject")
        withdraw(message, reviewer)
    report(client, message, "oversight.rejected")
    assert sorted(Decision.objects.values_list("state", flat=True)) == ["applied", "superseded"]


def two_approves(message, person, second_person, **fields):
    """Make an approve that was withdrawn, and one that was given when two reads had shown the message still held.

    At hosted MultiMail, whose reports need not carry a reason.
    """
    Connection.objects.update(is_our_gateway=False)
    in_doubt(message, person)
    withdraw(message, person)
    Decision.objects.update(seen_held=2)
    given = decide(message, second_person).decision
    Decision.objects.filter(pk=given.pk).update(**fields)


def test_report_that_names_neither_of_two_approves_is_of_the_one_whose_call_may_have_left(
    client, message, reviewer, second_reviewer
):
    two_approves(message, reviewer, second_reviewer)
    report(client, message, "oversight.approved", decided_by="The desk's key")
    ends = list(Decision.objects.order_by("pk").values_list("state", "explanation"))
    assert ends == [("applied", LEFT_AFTER_ALL), ("superseded", ANOTHER_OF_OURS)]
    shown = shown_status(Message.objects.get())
    assert (shown.word, shown.tone, shown.detail) == ("Approved", "rose", "Left after all, although it was withdrawn")


def test_report_that_names_neither_of_two_approves_that_may_have_left_says_that_it_does_not_tell(
    client, message, reviewer, second_reviewer
):
    two_approves(message, reviewer, second_reviewer, state="unknown", attempt=1, may_have_left=True)
    report(client, message, "oversight.approved")
    ends = list(Decision.objects.order_by("pk").values_list("state", "explanation"))
    assert ends == [("superseded", WHICH_IS_NOT_TOLD), ("applied", WHICH_IS_NOT_TOLD)]
    assert not Entry.objects.filter(action="decision.left_after_all").exists()
    said = "Approved by Ben Okafor, the newest of several: which one, MultiMail does not say"
    assert shown_status(Message.objects.get()).detail == said


def test_report_that_names_an_undone_approve_does_not_tell_the_next_one_of_somebody_outside(
    client, message, reviewer, second_reviewer
):
    undone = decide(message, reviewer).decision
    undo_decision(message=message.public_id, actor=reviewer.actor(surface="web"), now=NOW)
    decide(message, second_reviewer)
    report(client, message, "oversight.approved", reason=f"[countersign:{undone.reference}]")
    newer = Decision.objects.exclude(pk=undone.pk).get()
    assert (newer.state, newer.explanation) == ("superseded", ANOTHER_OF_OURS)


def test_reject_that_wins_ends_the_withdrawn_approve(message, reviewer, upstream):
    in_doubt(message, reviewer)
    withdraw(message, reviewer)
    upstream.decides(200, status="rejected", decision="rejected")
    assert carry_out(message, reviewer, "reject") == "applied"
    assert list(Decision.objects.order_by("pk").values_list("state", flat=True)) == ["superseded", "applied"]


def test_conflict_that_meets_the_reject_settles_the_approve_that_won(message, reviewer, upstream):
    approve = in_doubt(message, reviewer)
    withdraw(message, reviewer)
    reason = f"[countersign:{approve.reference}]"
    upstream.decides(409, status="sent", decision="approved", reason=reason, error="decided")
    assert carry_out(message, reviewer, "reject") == "superseded"
    approve.refresh_from_db()
    assert (approve.state, approve.explanation) == ("applied", LEFT_AFTER_ALL)


def test_reading_settles_a_withdrawn_decision_whose_webhook_was_lost(message, reviewer, upstream, connection):
    in_doubt(message, reviewer)
    withdraw(message, reviewer)
    upstream.holds(status="sent", decision="approved")
    read_everything(connection_id=connection.pk, now=NOW.replace(year=2030))
    assert Decision.objects.get().state == "applied"
    assert Message.objects.get().state == "sent"


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("status", "body", "state"),
    [
        (200, {"decision": "approved"}, "applied"),
        (409, {"status": "rejected", "decision": "rejected"}, "superseded"),
        (429, {}, "refused"),
        (500, {}, "withdrawn"),
    ],
)
def test_answer_that_comes_after_the_withdrawal_still_counts(upstream, status, body, state):
    ana = make_person("ana@yourteam.example", "Ana Ferreira", "reviewer")
    message = make_message(make_connection(api_url=upstream.url))
    upstream.holds(pending_row(message.upstream_id))
    upstream.decides(status, **body, error="because")

    def meanwhile():
        withdraw(message, ana)
        connections.close_all()

    upstream.meanwhile["POST"] = meanwhile
    assert carry_out(message, ana) == state
    events = list(Decision.objects.get().attempts.order_by("pk").values_list("event", flat=True))
    assert events[:2] == ["take", "withdraw"]


def test_approval_of_unknown_outcome_goes_out_again_when_a_person_confirms(message, reviewer, upstream):
    decision = in_doubt(message, reviewer, seen_held=2)
    confirmed = confirm(message, reviewer)
    assert (confirmed.pk, confirmed.state, confirmed.attempt) == (decision.pk, "recorded", 1)
    assert Entry.objects.filter(action="decision.confirmed").count() == 1
    upstream.decides(200, decision="approved")
    assert run_decision(decision_id=decision.pk, now=NOW) == "applied"
    decision.refresh_from_db()
    assert decision.attempt == 2


def test_confirmed_approval_that_the_gateway_answers_as_decided_by_our_first_call_is_applied(
    message, reviewer, upstream
):
    decision = in_doubt(message, reviewer, seen_held=2)
    confirm(message, reviewer)
    reason = f"[countersign:{decision.reference}]"
    upstream.decides(409, status="sent", decision="approved", reason=reason, error="decided")
    assert run_decision(decision_id=decision.pk, now=NOW) == "applied"


@pytest.mark.parametrize(
    ("fields", "outcome", "error"),
    [
        ({"seen_held": 1}, "approve", VerdictNotAllowed),
        ({"seen_held": 2, "state": "calling"}, "approve", AlreadyDecided),
        ({"seen_held": 2}, "reject", AlreadyDecided),
    ],
)
def test_approval_is_not_confirmed_before_its_time(message, reviewer, fields, outcome, error):
    in_doubt(message, reviewer, outcome, **fields)
    with pytest.raises(error):
        confirm(message, reviewer)


def test_approval_of_changed_content_is_not_confirmed(message, reviewer):
    in_doubt(message, reviewer, seen_held=2)
    show(message, subject="Another")
    with pytest.raises(ContentChanged):
        confirm(message, reviewer)


def test_expired_approval_is_not_confirmed(message, reviewer):
    in_doubt(message, reviewer, seen_held=2)
    Message.objects.update(expires_at=Now())
    with pytest.raises(VerdictNotAllowed, match="time to approve"):
        confirm(message, reviewer)


@pytest.mark.parametrize(("took_effect", "state"), [(True, "applied"), (False, "superseded")])
@pytest.mark.parametrize("role", ["reviewer", "admin"])
def test_unattributed_decision_ends_as_a_person_says(message, reviewer, role, took_effect, state):
    in_doubt(message, reviewer, state="unattributed")
    person = make_person("x@yourteam.example", "Xenia", role)
    settled = settle(message, person, took_effect)
    assert settled.state == state
    assert "Xenia says that it" in settled.explanation
    action = "decision.applied" if took_effect else "decision.without_effect"
    assert Entry.objects.filter(action__startswith="decision.").latest("pk").action == action


@pytest.mark.parametrize(
    ("outcome", "took_effect", "word", "tone"),
    [
        ("approve", True, "Approved", "green"),
        ("reject", True, "Rejected", "rose"),
        ("send_back", True, "Sent back", "rose"),
        ("approve", False, "Not carried out", "violet"),
        ("reject", False, "Not carried out", "violet"),
    ],
)
def test_word_of_a_person_is_shown_as_such_until_multimail_tells(
    client, message, reviewer, outcome, took_effect, word, tone
):
    in_doubt(message, reviewer, outcome, state="unattributed")
    settled = settle(message, reviewer, took_effect)
    shown = shown_status(Message.objects.get())
    assert (shown.word, shown.tone, shown.detail) == (word, tone, settled.explanation)
    if not took_effect:
        report(client, message, "oversight.rejected", decided_by="Eve")
        shown = shown_status(Message.objects.get())
        assert (shown.word, shown.detail) == ("Rejected", "Decided outside this desk by Eve")


def test_withdrawn_approval_of_which_a_person_says_that_it_left_is_shown_as_approved(message, reviewer):
    in_doubt(message, reviewer)
    withdraw(message, reviewer)
    Message.objects.update(state="gone")
    settle(message, reviewer, took_effect=True)
    assert shown_status(Message.objects.get()).word == "Approved"


def test_withdrawn_decision_is_settled_by_hand_only_when_the_message_is_gone(message, reviewer):
    in_doubt(message, reviewer)
    withdraw(message, reviewer)
    with pytest.raises(AlreadyDecided):
        settle(message, reviewer, took_effect=True)
    Message.objects.update(state="gone")
    assert settle(message, reviewer, took_effect=True).state == "applied"


def test_auditor_settles_nothing(message, reviewer, auditor):
    in_doubt(message, reviewer, state="unattributed")
    with pytest.raises(VerdictNotAllowed):
        settle(message, auditor, took_effect=True)


def test_word_of_multimail_ends_what_was_unattributed_before_anybody_says(client, message, reviewer):
    in_doubt(message, reviewer, state="unattributed")
    report(client, message, "oversight.rejected")
    assert Decision.objects.get().state == "superseded"


def test_message_that_came_back_takes_a_new_verdict_but_is_not_approved_twice(message, reviewer, upstream, connection):
    in_doubt(message, reviewer, state="unattributed")
    Message.objects.update(state="gone")
    settle(message, reviewer, took_effect=True)
    upstream.holds(pending_row(message.upstream_id))
    assert Message.objects.awaiting_review().count() == 0
    read_everything(connection_id=connection.pk, now=clock())
    assert Message.objects.get().state == "held"
    # Whoever opens the queue must see that it waits again.
    assert (Message.objects.awaiting_review().count(), Message.objects.leaving().count()) == (1, 0)
    assert shown_status(Message.objects.get()).detail == "Held again, although it was approved by Ana Ferreira"
    with pytest.raises(AlreadyDecided):
        decide(message, reviewer, "approve")
    assert decide(message, reviewer, "reject").decision.state == "recorded"


@pytest.mark.parametrize("took_effect", [True, False])
def test_message_that_was_settled_before_a_read_closed_it_comes_back_when_it_is_listed(
    message, reviewer, upstream, connection, took_effect
):
    in_doubt(message, reviewer, state="unattributed")
    settle(message, reviewer, took_effect)
    upstream.holds(pending_row(message.upstream_id))
    read_everything(connection_id=connection.pk, now=clock())
    assert Message.objects.awaiting_review().count() == 1
    assert decide(message, reviewer, "reject").decision.state == "recorded"


def test_effect_of_a_decision_that_had_ended_is_told_loudly_once(client, message, reviewer):
    decision = decide(message, reviewer).decision
    undo_decision(message=message.public_id, actor=reviewer.actor(surface="web"), now=NOW)
    for name in ("oversight.approved", "email.approved"):
        report(client, message, name, reason=f"[countersign:{decision.reference}]")
    told = Entry.objects.get(action="decision.left_after_all")
    assert "undone" in told.detail.fields["explanation"]
    decision.refresh_from_db()
    assert decision.state == "undone"


def test_person_who_says_that_one_took_effect_ends_the_others(message, reviewer):
    in_doubt(message, reviewer)
    withdraw(message, reviewer)
    in_doubt(message, reviewer, "reject", state="unattributed")
    Message.objects.update(state="gone")
    assert settle(message, reviewer, took_effect=True).outcome == "reject"
    assert list(Decision.objects.order_by("pk").values_list("state", flat=True)) == ["superseded", "applied"]


def test_person_who_says_that_one_had_no_effect_leaves_the_others_open(message, reviewer):
    in_doubt(message, reviewer)
    withdraw(message, reviewer)
    in_doubt(message, reviewer, "reject", state="unattributed")
    Message.objects.update(state="gone")
    settle(message, reviewer, took_effect=False)
    assert list(Decision.objects.order_by("pk").values_list("state", flat=True)) == ["withdrawn", "superseded"]
    assert settle(message, reviewer, took_effect=True).outcome == "approve"


def test_message_whose_withdrawn_approval_took_effect_takes_no_verdict_while_its_webhook_is_late(message, reviewer):
    decision = in_doubt(message, reviewer, state="calling")
    withdraw(message, reviewer)
    assert end_with_success(decision, {"decision": "approved"}).state == "applied"
    assert Message.objects.get().state == "held"
    with pytest.raises(AlreadyDecided, match="approved this message first"):
        decide(message, reviewer, "reject")
