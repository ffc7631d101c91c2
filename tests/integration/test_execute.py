"""Carrying a decision out: every answer of MultiMail ends in the state that
docs/architecture.md names.
"""

import contextlib
from copy import copy
from datetime import timedelta

import pytest
from django.db import OperationalError, connections, transaction
from django.db.models.functions import Now

from approvals.decisions import execute
from approvals.decisions.execute import abandon, run_decision, upstream_reason
from approvals.decisions.forms import MAX_REASON, VerdictForm
from approvals.decisions.outcomes import end_with_error, end_with_success, event_for
from approvals.held_rows import store_revision
from approvals.models import Decision, Verdict
from approvals.models.decisions import DecisionQuerySet
from audit.models import Entry
from common.actors import worker
from common.postgres import clock
from gateway.api.oversight import DecideIn
from mirror import store
from mirror.models import Connection, Message
from people.models import Person
from tests.factories import (
    NOW,
    change_row,
    make_connection,
    make_message,
    pending_row,
    rolled_back,
    show_row,
)  # fmt: skip
from tests.integration.deciding import (
    at_once,
    decide,
    expires,
    in_thread,
    make_due,
    waiting_for_a_lock,
    withdraw,
)
from upstream import errors
from upstream.client import Client
from upstream.events import written_time

OURS = "(Ana Ferreira via Countersign, reference REFERENCE0)"
BY_ANA = {"decided_by": "Ana Ferreira via Countersign", "ended_by": "person"}


@pytest.fixture
def connection(db, upstream):
    return make_connection(api_url=upstream.url)


@pytest.fixture
def message(connection, upstream):
    message = make_message(connection)
    upstream.holds(pending_row(message.upstream_id))
    upstream.decides(200, status="approved_and_sent", decision="approved")
    return message


@pytest.fixture
def decision(message, reviewer):
    """An approval that is due."""
    decide(message, reviewer)
    Decision.objects.update(reference="REFERENCE0", due_at=Now())
    return Decision.objects.select_related("message__connection", "revision").get()


def run(decision, **fields):
    """Carry the decision out with these fields; return its final state."""
    if fields:
        change_row(decision, **fields)
    return run_decision(decision_id=decision.pk)


def is_our_gateway(is_ours):
    """Our gateway is asked for one message by id, hosted MultiMail for its whole
    pending list.
    """
    Connection.objects.update(is_our_gateway=is_ours)


def test_decision_is_carried_out_once_with_its_reference(message, decision, upstream):
    upstream.holds(pending_row("01OTHER"), pending_row(message.upstream_id))
    for is_ours in (True, False):
        is_our_gateway(is_ours)
        upstream.calls.clear()
        with rolled_back():
            assert run(decision, seen_held=1, seen_absent=1) == "applied"
            assert run(decision) == "not due"
            expected = {}
            if is_ours:
                expected = {
                    "expected_fingerprint": decision.revision.fingerprint,
                    "pressed_at": written_time(decision.recorded_at),
                }
            assert upstream.decisions == [
                {
                    "email_id": message.upstream_id,
                    "action": "approve",
                    "reason": OURS,
                    **BY_ANA,
                    **expected,
                }
            ]
            decision.refresh_from_db()
            assert decision.attempt == 1
            assert decision.seen_held == 0
            assert decision.seen_absent == 0
            compared = "" if is_ours else "Read and compared "
            assert decision.explanation[:18] == compared
            entries = Entry.objects.of_message(message.public_id).oldest_first()
            called, applied = list(entries)[-2:]
            assert called.action == "decision.calling"
            assert applied.action == "decision.applied"
            for entry in (called, applied):
                assert entry.fingerprint == decision.revision.fingerprint
                fields = entry.detail.fields
                assert fields["reference"] == "REFERENCE0"
                assert fields["attempt"] == "1"


@pytest.mark.slow
def test_field_that_a_host_does_not_take_is_left_out_from_then_on_and_the_call_made_again(
    message, decision, upstream
):
    fields = ["decided_by", "ended_by", "expected_fingerprint"]
    for number, field in enumerate(fields, start=1):
        # As our gateway of version 1.0.0 refuses a field.
        error = f"{field}: Extra inputs are not permitted"
        upstream.decides(422, error=error, field=field, code="unknown_field")
        assert run(decision) == "recorded"
        decision.refresh_from_db()
        # Nothing happened, so it can still be undone, and is due at once.
        assert decision.may_have_left is False
        assert decision.due_at <= clock()
        assert Connection.objects.get().refused_fields == fields[:number]
    assert Entry.objects.filter(action="connection.fields_refused").count() == 3
    upstream.decides(200, status="approved_and_sent", decision="approved")
    upstream.calls.clear()
    assert run(decision) == "applied"
    [sent] = upstream.decisions
    # Our gateway is always told when the person pressed.
    assert sent.pop("pressed_at") == written_time(decision.recorded_at)
    assert sent == {
        "email_id": message.upstream_id,
        "action": "approve",
        "reason": OURS,
    }
    # The content is read and compared right before the call, whether the host compares
    # it or not.
    assert upstream.paths[-2:] == [
        f"/v1/oversight/pending?email_id={message.upstream_id}",
        "/v1/oversight/decide",
    ]


def test_reject_and_request_for_changes_go_out_as_a_reject_also_past_the_expiry(
    message, reviewer, upstream
):
    for outcome in ("reject", "send_back"):
        with rolled_back():
            expires(minutes=-1)
            result = decide(message, reviewer, outcome, "Too early.")
            make_due()
            assert run(result.decision) == "applied"
            assert upstream.decisions[-1]["action"] == "reject"
            assert upstream.decisions[-1]["reason"].startswith(
                "Too early. (Ana Ferreira via Countersign, reference "
            )


def test_unreadable_pending_list_never_ends_a_decision(decision, upstream):
    # A key that may not even read is useless. Our gateway is asked for one message,
    # where a 404 is a valid response.
    for is_ours, status, paused in (
        (True, 401, 1),
        (True, 403, 1),
        (True, 500, 0),
        (False, 404, 0),
    ):
        upstream.answers["/v1/oversight/pending"] = (status, {"error": "because"})
        with rolled_back():
            is_our_gateway(is_ours)
            assert run(decision) == "recorded", status
            assert Message.objects.get().state == "held"
            assert Decision.objects.get().may_have_left is False
            assert Entry.objects.of_action("connection.paused").count() == paused

    is_our_gateway(False)
    upstream.holds({"subject": "which one is this?"})
    with rolled_back():
        assert run(decision) == "recorded"
    # A message can move between pages while a list is read.
    other = [pending_row("01OTHER")]
    upstream.pages = {
        "": {"pending": other, "cursor": "2"},
        "2": {"pending": other, "cursor": None},
    }
    assert run(decision) == "recorded"
    assert upstream.decisions == []


# The final state by response: for the only call, and after an earlier call that may
# have been received.
SENT = {"status": "sent", "decision": "approved"}
ANSWERS = [
    (200, SENT, "applied", "applied"),
    (409, SENT | {"reason": OURS}, "applied", "applied"),
    # Decided before our only call, and nothing shows that this decision did it.
    (409, SENT, "superseded", "applied"),
    (409, SENT | {"decided_by": "Ben"}, "superseded", "superseded"),
    (
        409,
        {"status": "rejected", "decision": "rejected", "decided_by": "Ben"},
        "superseded",
        "superseded",
    ),
]
# The effect of responses without a decision.
EVENTS = [
    (409, {"status": "sent", "decision": "teleported"}, "doubt", "doubt"),
    (
        409,
        {"status": "pending_send_approval", "code": "read_only"},
        "refuse",
        "withdraw",
    ),
    (409, {"code": "content_changed"}, "refuse", "withdraw"),
    (409, {}, "doubt", "doubt"),
    (401, {}, "postpone", "postpone"),
    (403, {}, "refuse", "withdraw"),
    # Unknown upstream: after an earlier call that may have been received, that proves
    # nothing.
    (404, {}, "refuse", "doubt"),
    (422, {}, "refuse", "withdraw"),
    (429, {}, "postpone", "postpone"),
    (500, {}, "doubt", "doubt"),
    (503, {}, "doubt", "doubt"),
]


def call(url):
    """Call for a decision as a worker does; return the response or error, and the
    number of last checks.
    """
    asked = []
    client = Client(base_url=url, key="mm_live_oversight")
    decided = {
        "email_id": "01E",
        "action": "approve",
        "reason": "",
        "decided_by": "",
        "ended_by": "person",
        "expected_fingerprint": None,
    }
    try:
        answer = client.decide_email(**decided, before_write=lambda: asked.append(url))
    except errors.UpstreamError as error:
        answer = error
    return answer, len(asked)


def test_response_without_a_decision_refuses_postpones_or_leaves_it_unconfirmed(
    upstream,
):
    # The last check comes after connecting: without a connection nothing can have been
    # sent.
    answer, asked = call("http://127.0.0.1:1")
    assert type(answer) is errors.NotSent
    assert asked == 0
    assert event_for(answer, had_left=False) == "postpone"
    wrong = []
    for status, body, *events in EVENTS:
        upstream.decides(status, error="because", **body)
        answer, asked = call(upstream.url)
        found = [event_for(answer, had_left=left) for left in (False, True)]
        if (found, asked) != (events, 1):
            wrong.append((status, body, found, asked))
    assert wrong == []


def test_response_with_a_decision_ends_this_one_as_applied_or_superseded(
    decision, upstream
):
    Decision.objects.update(state="calling", attempt=1, may_have_left=True)
    wrong = []
    for status, body, *states in ANSWERS:
        upstream.decides(status, error="because", **body)
        answer, asked = call(upstream.url)
        assert asked == 1
        for had_left, state in zip((False, True), states, strict=True):
            attempt = Decision.objects.select_related("message__connection").get()
            with rolled_back():
                if isinstance(answer, errors.UpstreamError):
                    end = end_with_error(attempt, answer, had_left=had_left)
                else:
                    end = end_with_success(attempt)
                found = (end.state, end.may_have_left, Verdict.objects.get().live)
            # A later call does not settle what an earlier one left unconfirmed.
            if found != (state, had_left or status == 200, state == "applied"):
                wrong.append((status, body, had_left, found))
    assert wrong == []


def test_message_missing_from_a_read_was_decided_elsewhere_unless_our_call_may_have_done_it(
    decision, upstream
):
    for is_ours, upstream_fields, left, state, mirrored in (
        (True, SENT | {"reason": OURS}, False, "applied", "held"),
        (
            True,
            {"status": "rejected", "decision": "rejected"},
            False,
            "superseded",
            "held",
        ),
        # The reason is unknown.
        (True, {}, False, "superseded", "gone"),
        (False, {}, False, "superseded", "gone"),
        (False, {}, True, "unknown", "held"),
    ):
        is_our_gateway(is_ours)
        upstream.holds(**upstream_fields)
        with rolled_back():
            assert run(decision, may_have_left=left) == state, (
                is_ours,
                upstream_fields,
                left,
            )
            assert Message.objects.get().state == mirrored, (
                is_ours,
                upstream_fields,
                left,
            )
    assert upstream.decisions == []


def test_gateway_that_cannot_work_is_called_again_once_it_said_what_became_of_the_call(
    decision, upstream
):
    # It may have carried the first call out, and then its database was away.
    upstream.decides(503, error="The database cannot be reached.")
    assert run(decision) == "recorded"
    assert Decision.objects.get().may_have_left
    make_due()
    with rolled_back():
        upstream.decides(200, status="sent", decision="approved")
        assert run(decision) == "applied"
        assert len(upstream.decisions) == 2
    upstream.holds(**SENT, reason=OURS)
    assert run(decision) == "applied"
    assert len(upstream.decisions) == 2


def test_longest_reason_that_the_form_takes_fits_with_our_reference():
    form = VerdictForm(
        {
            "outcome": "reject",
            "fingerprint": "0" * 64,
            "reason": "a\r\n" * (MAX_REASON // 2),
        }
    )
    assert form.is_valid(), form.errors
    ana = Person(name="x" * 80)
    sent = upstream_reason(
        Decision(reason="x" * MAX_REASON, reference="0123456789", given_by=ana)
    )
    DecideIn(email_id="01E", action="reject", reason=sent)


@pytest.mark.django_db(transaction=True)
def test_many_workers_at_once_make_one_call(decision, upstream):
    ends = at_once(*[lambda: run(decision)] * 6)
    assert sorted(ends) == ["applied"] + ["not due"] * 5
    assert len(upstream.decisions) == 1


def nobody():
    # PostgreSQL takes no approval without a person.
    Decision.objects.update(given_by=None, outcome="reject")


def test_permission_and_content_are_checked_again_before_the_call(
    message, decision, reviewer, upstream, monkeypatch
):
    changed = "The content changed after the decision."
    no_more = "Ana Ferreira may no longer decide this"
    causes = [
        (False, "No person is recorded for this decision.", nobody),
        (True, changed, lambda: show_row(message, subject="Another")),
        (True, no_more, lambda: reviewer.grants.all().delete()),
    ]
    for left, words, cause in causes:
        with rolled_back():
            cause()
            assert run(decision, attempt=1, may_have_left=left) == (
                "withdrawn" if left else "refused"
            ), words
            explanation = Decision.objects.get().explanation
            assert words in explanation
            assert ("An earlier call may still arrive." in explanation) == left
    assert upstream.calls == []

    def read_while_a_grant_ends(*asked, _read=execute._read_row):
        reviewer.grants.all().delete()
        return _read(*asked)

    monkeypatch.setattr(execute, "_read_row", read_while_a_grant_ends)
    assert run(decision) == "refused"
    assert (
        "Ana Ferreira may no longer decide this" in Decision.objects.get().explanation
    )
    assert upstream.decisions == []


@pytest.fixture
def hosted(upstream):
    """A message whose bcc and attachments hosted MultiMail does not show."""
    upstream.headers = {}
    connection = make_connection(api_url=upstream.url, is_our_gateway=False)
    message = make_message(connection, hydrated=False)
    with transaction.atomic():
        locked = store.lock_message(connection, upstream_id=message.upstream_id)
        row = bare(message)
        store_revision(
            locked,
            row=row,
            examined=store.examined_content(locked, store.content_of(row)),
            actor=worker("sync"),
            now=NOW,
        )
    upstream.decides(200, decision="approved")
    return Message.objects.get(pk=message.pk)


def bare(message, *without, **fields):
    """Return a row of hosted MultiMail's list, without some fields."""
    row = pending_row(message.upstream_id, **fields)
    return {
        name: value
        for name, value in row.items()
        if name not in ("bcc", "attachments", *without)
    }


def test_content_is_compared_within_what_both_show(hosted, reviewer, upstream):
    decision = decide(hosted, reviewer).decision
    make_due()

    for row, state in (
        # The fields that both show are equal; the reviewer saw that the rest is not
        # visible.
        (bare(hosted, "cc", "from_name"), "applied"),
        (bare(hosted, subject="Another"), "refused"),
        # Content that nobody could read is not sent when the list shows it later.
        (bare(hosted) | {"bcc": ["eve@evil.example"]}, "refused"),
        (bare(hosted, "markdown"), "recorded"),
    ):
        upstream.holds(row)
        upstream.calls.clear()
        with rolled_back():
            assert run(decision) == state, row
            assert len(upstream.decisions) == (state == "applied"), row


def test_only_the_attempt_with_the_lease_calls_and_expired_leases_are_claimed_again(
    message, decision
):
    Decision.objects.update(
        state="calling", attempt=1, lease_until=Now() + timedelta(minutes=1)
    )
    attempt = Decision.objects.select_related("message__connection").get()
    over = Now() - timedelta(seconds=1)
    for model, fields, marked in (
        (Decision, {}, True),
        (Decision, {"attempt": 2}, False),
        (Decision, {"state": "unknown"}, False),
        (Decision, {"lease_until": over}, False),
        (Connection, {"wait_until": Now() + timedelta(seconds=30)}, False),
        (Connection, {"api_url": "http://elsewhere.example"}, False),
        (Person, {"is_active": False}, False),
    ):
        with rolled_back():
            model.objects.update(**fields)
            with contextlib.nullcontext() if marked else pytest.raises(errors.NotSent):
                execute._mark(attempt)
            assert Decision.objects.get().may_have_left == marked, fields

    abandon(decision_id=decision.pk)
    assert Decision.objects.get().state == "calling"
    for left, state in ((False, "recorded"), (True, "unknown")):
        with rolled_back():
            Decision.objects.update(may_have_left=left, lease_until=over)
            abandon(decision_id=decision.pk)
            assert Decision.objects.get().state == state

    # The late response of an abandoned attempt counts for that attempt, never for a
    # newer one.
    Decision.objects.update(attempt=2, may_have_left=True, lease_until=over)
    zombie = Decision.objects.select_related("message__connection").get()
    zombie.attempt = 1
    end_with_success(copy(zombie))
    end_with_error(copy(zombie), errors.Rejected("no"), had_left=False)
    assert Decision.objects.values_list("state", "attempt", "may_have_left").get() == (
        "calling",
        2,
        True,
    )
    Decision.objects.update(attempt=1)
    abandon(decision_id=zombie.pk)
    ended = end_with_success(zombie)
    assert (ended.state, ended.lease_until) == ("applied", None)


def test_call_is_not_made_if_its_last_check_fails_or_is_late(
    decision, upstream, monkeypatch
):
    def fail(*_):
        raise OperationalError("away")

    def refusal_but_once(decision, now, _asked=[], _refusal=execute._refusal):  # noqa: B006 - it counts its calls
        _asked.append(decision)
        return _refusal(decision, now) if len(_asked) == 1 else fail()

    silent = "The desk's database did not answer"
    for target, name, wrong, words in (
        (execute, "_refusal", refusal_but_once, f"{silent} before the call."),
        (DecisionQuerySet, "still_allowed", fail, f"{silent} just before the call."),
        (execute, "FRESH_FOR", -1.0, "This worker was suspended before its call."),
        (
            DecisionQuerySet,
            "still_allowed",
            lambda rows, _: rows.none(),
            "This attempt was abandoned before its call.",
        ),
    ):
        with rolled_back(), monkeypatch.context() as patched:
            patched.setattr(target, name, wrong)
            assert run(decision) == "recorded", words
            row = Decision.objects.get()
            assert row.explanation == words
            assert row.may_have_left is False
            assert not Decision.objects.due().exists(), words
    assert upstream.decisions == []


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_end_sees_a_withdrawal_that_it_waited_for(message, decision, reviewer):
    Decision.objects.update(state="calling", attempt=1, may_have_left=True)
    decision.refresh_from_db()
    with transaction.atomic():
        withdraw(message, reviewer)
        worker, ended = in_thread(lambda: end_with_success(decision))
        waiting_for_a_lock(connections["default"])
    worker.join()
    assert [(one.state, one.ending) for one in ended] == [("applied", "left_after_all")]


@pytest.mark.django_db(transaction=True)
def test_outcome_is_stored_although_postgresql_closed_the_connection_during_the_call(
    decision, upstream
):
    def cut_every_link():
        with connections["default"].cursor() as cursor:
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
            )
        connections.close_all()

    upstream.meanwhile["POST"] = cut_every_link
    assert run(decision) == "applied"
    assert len(upstream.decisions) == 1
