"""Verdicts and decisions: the first valid verdict wins, and only the version that was
shown can be decided.
"""

import re
from datetime import timedelta

import pytest
from django.db import IntegrityError, transaction
from django.db import connection as database

from approvals.decisions.settle import advance
from approvals.errors import (
    AlreadyDecided,
    ContentChanged,
    StaleDecision,
    VerdictNotAllowed,
)
from approvals.intake import ingest
from approvals.models import Decision, Verdict
from audit.models import Entry
from audit.recording import record
from common.actors import worker
from mirror.models import Message
from tests.factories import (
    event_body,
    make_message,
    rolled_back,
    show_row,
)
from tests.integration.deciding import (
    at_once,
    decide,
    in_thread,
    make_decision,
    undo,
    waiting_for_a_lock,
)


def details(action, **which):
    return Entry.objects.get(action=action, **which).detail.fields


def test_verdict_creates_one_decision_about_the_shown_version_and_both_are_in_the_ledger(
    message, reviewer
):
    result = decide(message, reviewer, "reject", "Not to them")
    verdict = result.verdict
    decision = result.decision
    assert decision.state == "recorded"
    assert decision.revision == message.revision
    assert decision.given_by == reviewer
    assert decision.reason == "Not to them"
    assert re.fullmatch(r"[0-9A-HJKMNP-TV-Z]{10}", decision.reference)
    assert decision.due_at - decision.recorded_at == timedelta(seconds=5)
    assert verdict.live is True
    assert verdict.surface == "web"
    # Empty values are left out of the ledger.
    recorded = details(
        "verdict.given",
        fingerprint=message.revision.fingerprint,
        message=message.public_id,
    )
    assert recorded["verdict"] == str(verdict.pk)
    assert not {"sheet", "seconds_shown"} & set(recorded)
    recorded = details(
        "decision.recorded",
        fingerprint=message.revision.fingerprint,
        connection=message.connection_id,
    )
    assert recorded["reason"] == "Not to them"
    assert recorded["reference"] == decision.reference


@pytest.mark.slow
def test_relisted_message_accepts_a_verdict_but_no_second_approval(message, reviewer):
    decide(message, reviewer)
    about = {"connection": message.connection_id, "message": message.public_id}
    for state, acts, accepted, refused in (
        ("applied", ("decision.applied", "message.held"), ("reject",), ("approve",)),
        ("superseded", ("decision.superseded", "message.held"), ("approve",), ()),
        ("applied", ("message.held", "decision.applied"), (), ("reject",)),
        ("calling", ("message.held",), (), ("reject",)),
    ):
        for outcome in (*accepted, *refused):
            with rolled_back():
                Decision.objects.update(state=state)
                for act in acts:
                    record(act, actor=worker("sync"), **about)
                if outcome in accepted:
                    assert (
                        decide(message, reviewer, outcome, "no").decision.state
                        == "recorded"
                    ), (state, outcome)
                else:
                    with pytest.raises(
                        AlreadyDecided, match="approved this message first"
                    ):
                        decide(message, reviewer, outcome, "no")


def test_verdict_on_changed_or_unfetched_content_is_refused_with_the_current_version(
    connection, message, reviewer
):
    shown = message.revision
    now = show_row(message, bcc=["eve@evil.example"]).revision
    with pytest.raises(ContentChanged) as caught:
        decide(message, reviewer, fingerprint=shown.fingerprint)
    assert shown.short_fingerprint in caught.value.sentence
    assert now.short_fingerprint in caught.value.sentence
    with pytest.raises(VerdictNotAllowed, match="still being fetched"):
        decide(make_message(connection, hydrated=False), reviewer, fingerprint="0" * 64)
    assert not Decision.objects.exists()


def test_only_what_is_held_is_decided_and_received_mail_is_not_sent_back(
    message, reviewer
):
    Message.objects.update(state="gone")
    with pytest.raises(AlreadyDecided, match="decided elsewhere"):
        decide(message, reviewer)
    assert not Decision.objects.exists()

    # Received mail is released or rejected; changes cannot be requested.
    Message.objects.update(direction="inbound", state="held")
    with pytest.raises(VerdictNotAllowed, match="cannot be changed"):
        decide(message, reviewer, "send_back", "no")
    assert decide(message, reviewer).decision.outcome == "approve"


def test_undo_returns_the_message_to_the_queue(message, reviewer):
    decide(message, reviewer)
    # Also a decision that a worker has claimed, before its call.
    for state in ("recorded", "calling"):
        with rolled_back():
            Decision.objects.update(state=state)
            assert undo(message, reviewer).state == "undone", state
    # Verdicts on other messages stay.
    other = decide(make_message(message.connection), reviewer).verdict
    undo(message, reviewer)
    assert Verdict.objects.get(live=True) == other
    assert decide(message, reviewer, "reject", "no").decision.state == "recorded"


def test_undo_is_refused_to_others_for_rules_and_once_it_is_too_late(
    message, reviewer, admin
):
    with pytest.raises(AlreadyDecided):
        undo(message, reviewer)
    decision = decide(message, reviewer).decision
    with pytest.raises(VerdictNotAllowed, match="Only a reviewer"):
        undo(message, admin)
    by_rule = {"rule": "expiry", "given_by": None, "outcome": "reject"}
    for fields, error in (
        (by_rule, VerdictNotAllowed),
        ({"state": "calling", "attempt": 1, "may_have_left": True}, AlreadyDecided),
        ({"state": "unattributed"}, AlreadyDecided),
    ):
        with rolled_back():
            Decision.objects.update(**fields)
            with pytest.raises(error) as caught:
                undo(message, reviewer)
            assert error is VerdictNotAllowed or caught.value.decision == decision


def test_database_allows_one_live_decision_per_message_and_no_late_overwrite(
    message, reviewer
):
    decide(message, reviewer)
    with pytest.raises(IntegrityError), transaction.atomic():
        make_decision(message, reviewer, outcome="reject")
    Decision.objects.update(state="calling", attempt=1)
    zombie = Decision.objects.get()
    Decision.objects.update(attempt=2)
    with pytest.raises(StaleDecision):
        advance(zombie, event="succeed", actor=worker("decisions"))


@pytest.mark.django_db(transaction=True)
def test_two_people_at_once_one_decides_and_the_other_is_told(
    message, reviewer, second_reviewer
):
    found = at_once(
        *(
            lambda person=person: decide(message, person)
            for person in (reviewer, second_reviewer)
        )
    )
    [refused] = [one for one in found if isinstance(one, AlreadyDecided)]
    [decision] = Decision.objects.all()
    assert f"{decision.given_by} approved this message first" in refused.sentence


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_webhook_that_comes_while_the_answer_is_written_is_not_lost(
    connection, message, reviewer
):
    decision = decide(message, reviewer).decision
    Decision.objects.update(state="calling", attempt=1, may_have_left=True)
    decision.refresh_from_db()
    body = event_body(
        "oversight.approved",
        email_id=message.upstream_id,
        reason=f"[countersign:{decision.reference}]",
    )
    with transaction.atomic():
        advance(decision, event="succeed", actor=worker("decisions"))
        thread, results = in_thread(
            lambda: (
                ingest.receive_webhook(
                    connection=connection, body=body, secret_used="current"
                ).result
            )
        )
        waiting_for_a_lock(database)
    thread.join(60)
    message.refresh_from_db()
    assert results == ["applied"]
    assert message.state == "approved"
    assert Decision.objects.get().state == "applied"


@pytest.mark.slow
def test_unfinished_or_effective_decision_allows_no_other_decision(
    message, reviewer, second_reviewer
):
    decide(message, reviewer)
    for state, fields, sentence in (
        *((state, {}, "Ana Ferreira approved this message first, at") for state in (
            "recorded", "calling", "unknown", "unattributed", "applied", "superseded",
        )),
        ("recorded", {"given_by": None, "rule": "expiry", "outcome": "reject"}, "This message expired at "),
        ("superseded", {"explanation": "Rejected by key_other."}, "Rejected by key_other."),
    ):  # fmt: skip
        with rolled_back():
            Decision.objects.update(state=state, **fields)
            record(f"decision.{state}", actor=worker("sync"), message=message.public_id)
            with pytest.raises(AlreadyDecided) as caught:
                decide(message, second_reviewer)
            assert caught.value.sentence.startswith(sentence), state


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_verdict_that_waits_while_new_content_is_stored_is_refused_with_the_new_content(
    message, reviewer
):
    with transaction.atomic():
        show_row(message, subject="Another one")
        thread, results = in_thread(lambda: decide(message, reviewer))
        waiting_for_a_lock(database)
    thread.join(60)
    message.refresh_from_db()
    [error] = results
    assert isinstance(error, ContentChanged)
    assert message.revision.short_fingerprint in error.sentence
