"""Carries out decisions at MultiMail: the only caller of `decide_email`.

`run_decision` takes several transactions. It claims the decision's row and commits;
reads once more what MultiMail holds, and compares it with what was decided; calls
MultiMail while it holds no database lock; and stores the result, unless the row has
changed meanwhile. If the worker dies at any point, the sweep finds the row when its
lease has expired.
"""

import logging
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from django.db import close_old_connections, transaction
from django.db.models import Min

from approvals import examination, tasks
from approvals.decisions import outcomes, settle
from approvals.decisions.by_rule import why_no_longer
from approvals.decisions.forms import with_suggestion
from approvals.decisions.later import delay_in_words
from approvals.decisions.outcomes import ACTOR
from approvals.decisions.ruling import closing_of, ruling_of, stop_of
from approvals.held_rows import mirror_row
from approvals.models import Decision
from common.endings import EndedBy
from common.fingerprint import Content, fingerprint, within
from common.logs import traced
from common.postgres import AWAY, clock, limit_waits, take_lock
from common.references import via, with_reference
from mirror import store
from mirror.errors import ThreadMovedOn
from mirror.models import Message
from mirror.states import DecisionEvent, DecisionState, upstream_action
from mirror.sync import reads
from mirror.threads import conversation_of
from policy.kill_switch import LOCK as STOP_LOCK
from upstream import errors
from upstream.client import Client
from upstream.events import written_time

log = logging.getLogger(__name__)

# Longer than the calls of one attempt usually take (30 s to read, 20 s to decide). If it
# expires although its worker lives, that worker makes no call any more (`mark`).
LEASE = timedelta(seconds=60)
# Seconds. If a worker pauses for longer between its last check and the call, the check
# may be out of date.
FRESH_FOR = 1.0
# An approval that waited longer than this, as while a connection was paused, is refused
# if the thread has moved on since.
_SOON = timedelta(minutes=10)
# Seconds between tries to store the result while PostgreSQL is away; together far less
# than LEASE.
_PAUSES = (0.1, 0.5, 2.0)
# If the content that was decided on has one of these fields, and MultiMail does not
# show the field now, the two are not compared.
_ESSENTIAL = {"to", "subject", "markdown", "html"}


def on_released(**_: Any) -> None:
    """Enqueue the decisions that a kill switch held back; it is released in this
    transaction.
    """
    tasks.execute_due.delay_on_commit()


def run_decision(decision_id: int) -> str:
    """Carry out one due decision. Return its state afterwards, or "not due"."""
    decision = _claim(decision_id)
    if decision is None:
        return "not due"
    if decision.state != DecisionState.CALLING:
        return decision.state
    had_left = decision.may_have_left
    with traced(decision.message.trace):
        # Each `store_result` stores the result of the call, and returns the decision as
        # it is then.
        try:
            seconds_before = _call(decision)
        except errors.UpstreamError as error:
            store_result = partial(
                outcomes.end_with_error, decision, error, had_left=had_left
            )
        except _DecisionOutdated as reason:
            store_result = partial(outcomes.end_without_call, decision, str(reason))
        except _NotPendingUpstream:
            store_result = partial(outcomes.settle_missing_upstream, decision)
        else:
            store_result = partial(
                outcomes.end_with_success, decision, window=seconds_before
            )
        decision = _store_with_retry(store_result)
        log.info(
            "decision carried out",
            extra={"decision": decision.reference, "state": decision.state},
        )
    return decision.state


def _store_with_retry(store_result: Callable[[], Decision]) -> Decision:
    """Call `store_result`, and again if PostgreSQL restarts or reports a deadlock;
    return the decision. The call to MultiMail is not repeated.

    If storing fails for good, the lease expires, and reconciliation finds the outcome.
    """
    for pause in _PAUSES:
        try:
            return store_result()
        except AWAY as error:
            log.warning(
                "end not written at once", extra={"reason": type(error).__name__}
            )
            close_old_connections()
            time.sleep(pause)
    return store_result()


class _DecisionOutdated(Exception):
    """The decision must not be carried out: MultiMail holds other content than was
    decided on, or the decision is no longer allowed. The text says why.
    """


class _NotPendingUpstream(Exception):
    """A complete list of what MultiMail holds lacks the message, and MultiMail does not
    say what became of it.
    """


@transaction.atomic
def _claim(decision_id: int) -> Decision | None:
    """Claim a due decision for one attempt, and return it. If it is no longer allowed,
    it is ended instead, and returned in its new state.

    Return None if it is not due, or another worker has it.
    """
    due = Decision.objects.due().select_for_update(of=("self",), skip_locked=True)
    decision = due.select_related("given_by").filter(pk=decision_id).first()
    if decision is None:
        return None
    message = (
        Message.objects.with_content()
        .select_related("connection")
        .get(pk=decision.message_id)
    )
    decision.message = message
    if message.revision and message.revision_id == decision.revision_id:
        decision.revision = message.revision
    if not message.is_held:
        return outcomes.end_after_close(decision)
    now = clock()
    if refusal := _refusal(decision, now):
        return outcomes.refuse(decision, refusal)
    claimed = settle.advance(
        decision,
        DecisionEvent.TAKE,
        ACTOR,
        at=now,
        explanation=delay_in_words(decision, now),
        attempt=decision.attempt + 1,
        lease_until=now + LEASE,
        seen_held=0,
        seen_absent=0,
    )
    log.info(
        "decision taken",
        extra={"decision": claimed.reference, "attempt": claimed.attempt},
    )
    return claimed


def _refusal(decision: Decision, now: datetime) -> str:
    """Return why the decision is no longer allowed, as a sentence; empty if it is. What
    a person decided is ruled again, with their current roles; what a pass decided, by
    its own conditions.
    """
    message = decision.message
    person = decision.given_by
    if not decision.judges_content:
        return ""
    if message.revision_id != decision.revision_id:
        return "The content changed after the decision."
    if decision.pass_id:
        return why_no_longer(decision)
    if person is None:
        return "No person is recorded for this decision."
    if decision.later_at or now - decision.recorded_at > _SOON:
        try:
            conversation_of(message).check_read(upto=decision.thread_read)
        except ThreadMovedOn as error:
            return error.sentence
    giver = person.actor(surface="worker", scopes=person.current_scopes())
    ruling = ruling_of(message, giver, now=now, is_decided=True)
    is_refused = decision.is_approval and not ruling.may_approve
    if is_refused and examination.look_for_words(message):
        # A rule of a new version counted, because its words were not looked for yet.
        ruling = ruling_of(message, giver, now=now, is_decided=True)
    if ruling.may_approve if decision.is_approval else ruling.may_reject:
        return ""
    # These rules are about all who approved, so the sentence names no single person.
    if ruling.rule in ("policy", "hours", "approvals"):
        return ruling.reasons[0]
    return f"{person} may no longer decide this: {ruling.reasons[0]}"


def _call(decision: Decision) -> float | None:
    """Read the message at MultiMail once more, compare, then call `decide_email`. Of
    the decision only `may_have_left` is set, just before the call.

    Return how many seconds before the call the reading began; None if MultiMail itself
    compared the content, or the content did not matter.
    """
    message = decision.message
    connection = message.connection
    began = time.monotonic()
    called = began

    def mark() -> None:
        nonlocal called
        _mark(decision)
        called = time.monotonic()

    client = reads.oversight_client(connection)
    row = _read_row(client, message)
    if decision.judges_content:
        _compare(decision, row)
        # Checked again, since for instance an allowlist entry may have expired during a
        # slow read.
        try:
            refusal = _refusal(decision, clock())
        except AWAY:
            raise errors.NotSent(
                "The desk's database did not answer before the call."
            ) from None
        if refusal:
            raise _DecisionOutdated(refusal)
        if (
            connection.is_our_gateway
            and message.gate_expires_at
            and message.expires_at
            and message.gate_expires_at < message.expires_at
        ):
            # The expiry was extended, and our gateway does not know that yet: it would
            # refuse an approval after the old expiry.
            tasks.tell_expiry.delay_on_commit(message.pk)
            raise errors.NotSent(
                "The gateway does not know of the extended expiry yet."
            )
    expected_fingerprint = None
    if connection.is_our_gateway and decision.judges_content:
        expected_fingerprint = decision.revision.fingerprint
    elif connection.is_our_gateway:
        # A rule that rejects whatever the message says, as expiry does, rejects the
        # content that is held now.
        expected_fingerprint = fingerprint(store.content_of(row))
    client.decide_email(
        email_id=message.upstream_id,
        action=upstream_action(decision.outcome),
        reason=upstream_reason(decision),
        decided_by=via(_who(decision)),
        ended_by=decision.ended_by,
        expected_fingerprint=expected_fingerprint,
        feedback=_for_our_gateway(decision) if connection.is_our_gateway else {},
        without=connection.refused_fields,
        before_write=mark,
    )
    is_compared_there = (
        connection.is_our_gateway
        and "expected_fingerprint" not in connection.refused_fields
    )
    if is_compared_there or not decision.judges_content:
        return None
    return called - began


def _for_our_gateway(decision: Decision) -> dict[str, Any]:
    """Return what our gateway is told of a decision beside its outcome: of an approval,
    when the first of those who gave it pressed, and until when the message may leave.
    """
    if not decision.is_approval:
        return dict(decision.feedback)
    message = decision.message
    given = message.verdicts.filter(live=True).aggregate(at=Min("given_at"))["at"]
    ends = (message.expires_at, closing_of(message, clock()), decision.pass_ends_at)
    times = {
        "pressed_at": min(filter(None, (given, decision.recorded_at))),
        "leave_by": min(filter(None, ends), default=None),
    }
    return {name: written_time(at) for name, at in times.items() if at}


def _read_row(client: Client, message: Message) -> dict[str, Any]:
    """Return the row of the message as MultiMail holds it now. Hosted MultiMail shows
    it on a page of its list, which other callers may share, or by its id to a read key.

    Errors about the rate limit are raised as they are, errors about the key as
    KeyRefused, and that our gateway does not have the message as NotFound. All others
    are raised as NotSent: since a read has no effect, the decision can be tried again.
    If MultiMail says what became of the message, raises Conflict; if its list proves
    that it is not held, _NotPendingUpstream.
    """
    connection = message.connection
    try:
        if not connection.is_our_gateway:
            return _find_row(message)
        pending = client.read_pending(email_id=message.upstream_id)
    except errors.Forbidden as error:
        # A key that may not read is as useless as no key.
        raise errors.KeyRefused(error.sentence, status=error.status) from error
    except (errors.Rejected, errors.OutcomeUnknown, errors.NotFound) as error:
        # Elsewhere the list itself was not found, perhaps because of a wrong address or
        # a proxy. That says nothing about the message.
        if isinstance(error, errors.NotFound) and connection.is_our_gateway:
            raise
        raise errors.NotSent(error.sentence, status=error.status) from error
    if not pending.is_our_gateway:
        # Our gateway answered at this address before; now it is a MultiMail that does
        # not support asking for one message.
        raise errors.NotSent("MultiMail did not answer for this message.")
    if pending.row is None:
        if pending.closed:
            raise _closed(pending.closed)
        raise _NotPendingUpstream
    return pending.row


def _find_row(message: Message) -> dict[str, Any]:
    row, is_whole = reads.find_listed(message)
    if row:
        return row
    if is_whole:
        raise _NotPendingUpstream
    # The list is long, and the message is not where it was.
    status = reads.ask_status(message)
    if status and status.held:
        return {**status.answer, "id": message.upstream_id}
    if status and status.reported:
        raise _closed({**status.answer, "decision": status.reported})
    raise errors.NotSent(
        "The message was not found in MultiMail's list of held messages yet."
    )


def _closed(answer: dict[str, Any]) -> errors.Conflict:
    return errors.Conflict("MultiMail no longer holds this message.", body=answer)


def _compare(decision: Decision, row: dict[str, Any]) -> None:
    """Compare the content that was decided on with what MultiMail holds now (`row`),
    and raise _DecisionOutdated if they differ.

    Fields that the decided content and MultiMail both have must be equal, and fields
    that only MultiMail has now must be empty. Fields that only the read key shows are
    read first.
    """
    connection = decision.message.connection
    try:
        complete_row = reads.completed(connection, row)
    except errors.Throttled:
        raise
    except errors.UpstreamError as error:
        raise errors.NotSent(error.sentence, status=error.status) from error
    decided = store.stored_content(decision.revision)
    held = store.content_of(complete_row)
    if _ESSENTIAL & (set(decided.coverage) - set(held.coverage)):
        raise errors.NotSent(
            "MultiMail shows too little of the message to compare it with the version that was read."
        )
    new_fields = set(held.coverage) - set(decided.coverage)
    if fingerprint(within(decided, held.coverage)) != fingerprint(
        within(held, decided.coverage)
    ):
        difference = "The content at MultiMail is no longer the one that was read."
    elif fingerprint(within(held, new_fields)) != fingerprint(
        within(Content(), new_fields)
    ):
        # For instance a bcc that was hidden before: nobody has read it.
        difference = "MultiMail shows more of the message now than what was read."
    else:
        return
    if complete_row is not row:
        # Mirror it now: if the list does not show the difference, the next read of the
        # list would not find it.
        mirror_row(connection, complete_row, clock())
    raise _DecisionOutdated(difference)


def _mark(decision: Decision) -> None:
    """Mark the decision as `may_have_left`, just before the first byte of the call is
    sent. Raise NotSent if the call must not be made any more: this is the last check.
    """
    began = time.monotonic()
    try:
        with transaction.atomic():
            # Whoever pulls the switch waits no longer for this than it may take.
            limit_waits(1000)
            take_lock(STOP_LOCK, shared=True)
            allowed = Decision.objects.still_allowed(decision)
            is_marked = allowed.update(may_have_left=True)
    except AWAY:
        raise errors.NotSent(
            "The desk's database did not answer just before the call."
        ) from None
    if not is_marked:
        if stop := stop_of(decision.message):
            raise errors.NotSent(
                f"{stop.pulled_by} pulled the kill switch before the call: {stop.reason}"
            )
        # The lease expired, another worker was faster, or the decision is no longer
        # allowed: this call must not happen.
        raise errors.NotSent("This attempt was abandoned before its call.")
    if time.monotonic() - began > FRESH_FOR:
        raise errors.NotSent("This worker was suspended before its call.")


def upstream_reason(decision: Decision) -> str:
    """Return the reason that is sent to MultiMail: the reviewer's words, a suggested
    text, then who decided and the reference of the decision.
    """
    heading = "Edited text" if decision.is_edit else "Suggested text"
    words = with_suggestion(decision.reason, decision.suggestion, heading)
    return with_reference(words, decision.reference, _who(decision))


def _who(decision: Decision) -> str:
    if decision.given_by:
        return str(decision.given_by)
    if decision.pass_id:
        return f"pass {decision.pass_name}"
    return "Nobody" if decision.ended_by == EndedBy.EXPIRY else "A rule"


@transaction.atomic
def refuse_outdated(decision_id: int) -> None:
    """End an approval for later that cannot be carried out at its time, so that people
    learn of it now: the message is held no more, its content has changed, or it
    expires earlier.
    """
    decision = Decision.objects.outdated_for_later().lock_free(decision_id)
    if decision is None:
        return
    if not decision.message.is_held:
        outcomes.end_after_close(decision)
        return
    expiry = decision.message.expires_at
    sentence = "The content changed after the decision."
    if decision.message.revision_id == decision.revision_id and expiry:
        sentence = f"The message now expires before the chosen time, on {expiry:%-d %b at %H:%M} UTC."
    outcomes.refuse(decision, sentence)


@transaction.atomic
def abandon(decision_id: int) -> None:
    """End an attempt whose lease has expired: the decision is in doubt if its call may
    have left, else it is tried again.
    """
    decision = Decision.objects.abandoned().lock_free(decision_id)
    if decision is None:
        return
    settle.advance(
        decision,
        DecisionEvent.DOUBT if decision.may_have_left else DecisionEvent.POSTPONE,
        ACTOR,
        "The worker that carried it out stopped responding.",
    )
