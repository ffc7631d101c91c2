"""Carries decisions out: the only caller of decide_email.

`run_decision` spans several transactions: it claims the row, commits, calls MultiMail
with no database lock held, and ends the row by compare-and-set. A crash at any point
leaves a row that the sweep finds.
"""

import logging
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from django.db import (
    InterfaceError,
    OperationalError,
    close_old_connections,
    transaction,
)

from approvals import examination, tasks
from approvals.decisions import outcomes, settle
from approvals.decisions.by_rule import why_no_longer
from approvals.decisions.forms import with_suggestion
from approvals.decisions.later import delay_in_words
from approvals.decisions.outcomes import ACTOR
from approvals.decisions.ruling import rulings, stop_of
from approvals.models import Decision
from common.fingerprint import Content, fingerprint, within
from common.logs import traced
from common.postgres import clock
from common.references import via, with_reference
from mirror import store
from mirror.errors import ThreadMovedOn
from mirror.models import Message
from mirror.states import DecisionEvent, DecisionState, upstream_action
from mirror.sync import reads
from mirror.sync.rows import mirror_row
from mirror.threads import conversation_of
from policy.models import standing_words
from upstream import errors
from upstream.client import Client, Pending

log = logging.getLogger(__name__)

# Above all that one attempt may take on the wire (30 s to read, 20 s to decide), so
# that a lease expires only when its worker is dead or stopped.
LEASE = timedelta(seconds=60)
# After a longer pause the answer of the last check may be out of date.
FRESH_FOR = 1.0
# Seconds between tries to store the result while PostgreSQL is away; in total far below
# a lease.
_PAUSES = (0.1, 0.5, 2.0)
# A row without these fields says too little to be compared.
_ESSENTIAL = {"to", "subject", "markdown", "html"}


def on_released(**_: Any) -> None:
    """Have carried out what waited for a kill switch, which is released in this
    transaction.
    """
    tasks.execute_due.delay_on_commit()


def run_decision(decision_id: int) -> str:
    """Carry one due decision out and return the state it ended in, or why there was
    nothing to do.
    """
    decision = _claim(decision_id)
    if decision is None:
        return "not due"
    if decision.state != DecisionState.CALLING:
        return decision.state
    had_left = decision.may_have_left
    with traced(decision.message.trace):
        # What stores the result.
        end: Callable[[], Decision]
        try:
            answer, window = _call(decision)
        except errors.UpstreamError as error:
            end = partial(outcomes.end_with_error, decision, error, had_left=had_left)
        except _DecisionOutdated as reason:
            end = partial(outcomes.end_without_call, decision, str(reason))
        except _NotPendingUpstream:
            end = partial(outcomes.settle_missing_upstream, decision)
        else:
            end = partial(outcomes.end_with_success, decision, answer, window=window)
        decision = _written(end)
        log.info(
            "decision carried out",
            extra={"decision": decision.reference, "state": decision.state},
        )
    return decision.state


def _written(end: Callable[[], Decision]) -> Decision:
    """Store a result, and retry after a PostgreSQL restart or a deadlock; the call
    itself is made once.

    If storing fails for good, the lease expires and reconciliation finds the outcome.
    """
    for pause in _PAUSES:
        try:
            return end()
        except (OperationalError, InterfaceError) as error:
            log.warning(
                "end not written at once", extra={"reason": type(error).__name__}
            )
            close_old_connections()
            time.sleep(pause)
    return end()


class _DecisionOutdated(Exception):
    """What is held is not what was decided; the text says how they differ."""


class _NotPendingUpstream(Exception):
    """A complete read lacks the message, and nothing says why."""


@transaction.atomic
def _claim(decision_id: int) -> Decision | None:
    """Claim a due decision in a transaction of its own, after checking once more that
    it is still allowed.
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
    if message.revision is not None and message.revision.pk == decision.revision_id:
        decision.revision = message.revision
    if not message.is_held:
        return outcomes.end_after_close(decision)
    now = clock()
    if refusal := _refusal(decision, now=now):
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


def _refusal(decision: Decision, *, now: datetime) -> str:
    """Return why the decision is no longer allowed, or an empty text: the ruling is
    evaluated again before the call.
    """
    message = decision.message
    person = decision.given_by
    if not decision.judges_content:
        return ""
    if message.revision_id != decision.revision_id:
        return "The content changed after the decision."
    if decision.standing_id is not None:
        return why_no_longer(decision)
    if person is None:
        return "No active person stands behind this decision."
    if decision.later_at:
        try:
            conversation_of(message).check_read(upto=decision.thread_read)
        except ThreadMovedOn as error:
            return error.sentence
    giver = person.actor(surface="worker", scopes=person.current_scopes())
    ruling = rulings([message], giver, now=now, is_decided=True)[message.pk]
    if ruling.may_approve if decision.is_approval else ruling.may_reject:
        return ""
    # Of the rules of the policy, several people stand behind it.
    if ruling.rule in ("policy", "hours", "approvals"):
        return ruling.reasons[0]
    return f"{person} may no longer decide this: {ruling.reasons[0]}"


def _call(decision: Decision) -> tuple[dict[str, Any], float | None]:
    """Read the content once more, then call. The decision's row changes only by the
    mark before the call.

    Returns the answer, and the seconds from that read to the call where MultiMail
    itself compares nothing.
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
    pending = _read_pending(client, message)
    row = next(
        (row for row in pending.rows if str(row["id"]) == message.upstream_id), None
    )
    if row is None:
        if pending.closed:
            raise errors.Conflict(
                "MultiMail no longer holds this message.", body=pending.closed
            )
        if pending.unreadable or pending.pages > 1:
            raise errors.NotSent(
                "MultiMail's list of held messages could not be read completely."
            )
        raise _NotPendingUpstream
    if decision.judges_content:
        _compare(decision, row)
        # During a slow read an allowlist entry may have expired.
        try:
            refusal = _refusal(decision, now=clock())
        except (OperationalError, InterfaceError):
            raise errors.NotSent(
                "The desk's database did not answer before the call."
            ) from None
        if refusal:
            raise _DecisionOutdated(refusal)
        told = message.gate_expires_at
        expires_at = message.expires_at
        if told is not None and expires_at is not None and told < expires_at:
            # The expiry was extended: until our gateway knows, it refuses an approval
            # after the old one.
            tasks.tell_expiry.delay_on_commit(message.pk)
            raise errors.NotSent(
                "The gateway does not know of the extended expiry yet."
            )
    expected = None
    if connection.is_our_gateway and decision.judges_content:
        expected = decision.revision.fingerprint
    elif connection.is_our_gateway:
        # A rule that looks at no words rejects what is held now.
        expected = fingerprint(store.content_of(row))
    answer = client.decide_email(
        email_id=message.upstream_id,
        action=upstream_action(decision.outcome),
        reason=upstream_reason(decision),
        decided_by=via(_who(decision)),
        expected_fingerprint=expected,
        feedback=decision.feedback if connection.is_our_gateway else {},
        without=connection.refused_fields,
        before_write=mark,
    )
    is_compared_there = (
        connection.is_our_gateway
        and "expected_fingerprint" not in connection.refused_fields
    )
    if is_compared_there or not decision.judges_content:
        return answer, None
    return answer, called - began


def _read_pending(client: Client, message: Message) -> Pending:
    """Read the content once more. A read has no effect, so an error in it never ends
    the decision.

    Our gateway is asked for this one message; hosted MultiMail for the whole list,
    shared with other callers. Raises errors about the key, the rate or this message as
    they are, and all others as NotSent.
    """
    connection = message.connection
    try:
        if not connection.is_our_gateway:
            return reads.read_all(connection)
        pending = client.list_pending(email_id=message.upstream_id)
    except errors.Forbidden as error:
        # A key that may not read is as useless as no key.
        raise errors.KeyRefused(error.sentence, status=error.status) from error
    except (errors.Conflict, errors.Rejected, errors.OutcomeUnknown) as error:
        raise errors.NotSent(error.sentence, status=error.status) from error
    except errors.NotFound as error:
        if connection.is_our_gateway:
            raise
        # The list itself is missing: a wrong address or a proxy; that says nothing
        # about the message.
        raise errors.NotSent(error.sentence, status=error.status) from error
    if not pending.is_our_gateway:
        # Another MultiMail answers at this address now, which does not support this
        # query.
        raise errors.NotSent("MultiMail did not answer for this message.")
    return pending


def _compare(decision: Decision, row: dict[str, Any]) -> None:
    """Compare what was decided with what is held now, in the fields that both show; new
    fields must be empty.

    Also what only the read key shows. As above, an error in reading has no effect.
    """
    connection = decision.message.connection
    try:
        whole = reads.completed(connection, row)
    except errors.Throttled:
        raise
    except errors.UpstreamError as error:
        raise errors.NotSent(error.sentence, status=error.status) from error
    shown = store.stored_content(decision.revision)
    held = store.content_of(whole)
    if _ESSENTIAL & (set(shown.coverage) - set(held.coverage)):
        raise errors.NotSent(
            "MultiMail shows too little of the message to compare it with the version that was read."
        )
    unread = set(held.coverage) - set(shown.coverage)
    if fingerprint(within(shown, held.coverage)) != fingerprint(
        within(held, shown.coverage)
    ):
        difference = "The content at MultiMail is no longer the one that was read."
    elif fingerprint(within(held, unread)) != fingerprint(within(Content(), unread)):
        # A hidden recipient may be old or new; either way nobody has read it.
        difference = "MultiMail shows more of the message now than what was read."
    else:
        return
    if whole is not row:
        # The list does not show what differs, so the next read of it would not find
        # that.
        mirror_row(connection, whole, clock(), examination)
    raise _DecisionOutdated(difference)


def _mark(decision: Decision) -> None:
    """Mark that the call may have left: the last step before its first byte, and the
    last chance to stop it.
    """
    began = time.monotonic()
    message = decision.message
    try:
        is_marked = Decision.objects.still_allowed(decision).update(may_have_left=True)
    except (OperationalError, InterfaceError):
        raise errors.NotSent(
            "The desk's database did not answer just before the call."
        ) from None
    if not is_marked:
        if stop := stop_of(message):
            raise errors.NotSent(
                f"{stop.pulled_by} pulled the kill switch before the call: {stop.reason}"
            )
        # The lease expired, or another worker was faster: this call must not happen.
        raise errors.NotSent("This attempt was abandoned before its call.")
    if time.monotonic() - began > FRESH_FOR:
        raise errors.NotSent("This worker was suspended before its call.")


def upstream_reason(decision: Decision) -> str:
    """Return the reason as it goes upstream: the reviewer's words, then who they are
    and our reference.
    """
    heading = (
        "Corrected text" if decision.feedback.get("replaced_by") else "Suggested text"
    )
    words = with_suggestion(decision.reason, decision.suggestion, heading)
    return with_reference(words, decision.reference, _who(decision))


def _who(decision: Decision) -> str:
    return str(decision.given_by or standing_words(decision.rule) or "A rule")


@transaction.atomic
def refuse_outdated(decision_id: int) -> None:
    """Refuse an approval for later whose time will be too late, so that a person learns
    of it before that time.
    """
    decision = (
        Decision.objects.outdated_for_later()
        .select_for_update(of=("self",), skip_locked=True)
        .select_related("message__connection", "revision")
        .filter(pk=decision_id)
        .first()
    )
    if decision is None:
        return
    expiry = decision.message.expires_at
    sentence = "The content changed after the decision."
    if decision.message.revision_id == decision.revision_id and expiry:
        sentence = f"The message now expires before the chosen time, on {expiry:%-d %b at %H:%M} UTC."
    outcomes.refuse(decision, sentence)


@transaction.atomic
def abandon(decision_id: int) -> None:
    """Put a decision whose worker died in doubt: its call may have left."""
    decision = (
        Decision.objects.abandoned()
        .select_for_update(of=("self",), skip_locked=True)
        .select_related("message", "revision")
        .filter(pk=decision_id)
        .first()
    )
    if decision is None:
        return
    settle.advance(
        decision,
        DecisionEvent.DOUBT if decision.may_have_left else DecisionEvent.POSTPONE,
        ACTOR,
        "The worker that carried it out stopped responding.",
    )
