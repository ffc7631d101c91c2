"""Stores the result of an attempt to carry out a decision: MultiMail's answer, an
error, or why no call was made. Each result leads to one event, as described in
docs/architecture.md, Decision states.

While the call ran, the row may have changed: a webhook settled the decision, a person
withdrew it, or its lease expired. The result still counts, unless a newer attempt has
claimed the row.
"""

from datetime import timedelta
from typing import Any

from django.db import transaction

from approvals import tasks
from approvals.decisions import settle
from approvals.models import Decision
from common.actors import Actor, worker
from common.postgres import clock
from mirror import store
from mirror.models import Message
from mirror.recording import record_about
from mirror.states import (
    IN_DOUBT,
    DecisionEvent,
    DecisionState,
    Ending,
    MessageEvent,
    MessageState,
    reported_of,
)
from mirror.sync import account, health
from outgoing.backoff import retry_after_attempt
from upstream import errors

# Seconds until the next attempt, by the number of the attempt, if nothing was sent.
NOT_SENT_BACKOFF = (2, 5, 10, 30, 60, 120, 300)
ACTOR = worker("decisions")
# The states in which the result of a call still counts for its decision.
_OPEN = (DecisionState.CALLING, *IN_DOUBT)


@transaction.atomic
def end_with_success(decision: Decision, *, window: float | None = None) -> Decision:
    """End a decision that MultiMail has carried out, and supersede the other open
    decisions on its message.

    `window` is how many seconds before the call the desk read and compared the content;
    None if MultiMail compared it itself.
    """
    message, current = _lock(decision)
    if current is None:
        return _refreshed(decision)
    ending = ""
    sentences = []
    refused_fields = decision.message.connection.refused_fields
    if not decision.is_approval and "reason" in refused_fields:
        ending = Ending.WITHOUT_REASON
        sentences.append(ending.label)
    if window is not None:
        sentences.append(f"Read and compared {window * 1000:.0f} ms before the call.")
    settled = _advance(
        current, DecisionEvent.SUCCEED, " ".join(sentences), ending=ending
    )
    settle.supersede_others(settled, message, ACTOR)
    return settled


@transaction.atomic
def end_with_error(
    decision: Decision, error: errors.UpstreamError, *, had_left: bool
) -> Decision:
    """Store that an attempt ended with an error: the decision is refused, tried again,
    in doubt or settled by what the error reports.

    `had_left` says whether the call of an earlier attempt may have left. Then some
    errors prove only that the call of this attempt had no effect.
    """
    message, current = _lock(decision)
    health.wait(message.connection, error)
    if isinstance(error, errors.KeyRefused):
        health.pause(message.connection, error.sentence, actor=ACTOR)
    if current is None:
        return _refreshed(decision)
    if isinstance(error, errors.Conflict) and (
        reported := reported_of(error.decision, error.message_status)
    ):
        # The message was decided before this call. So of our calls only an earlier one
        # can have decided it.
        Decision.objects.filter(pk=current.pk).update(may_have_left=had_left)
        settle.settle_by_report(
            message,
            reported=reported,
            reason=error.reason,
            decided_by=error.decided_by,
            ended_by=error.ended_by,
            actor=ACTOR,
        )
        settled = _refreshed(decision)
        if settled.state != DecisionState.CALLING:
            return settled
        return _advance(settled, DecisionEvent.DOUBT, error.sentence)
    if isinstance(error, errors.Conflict) and error.code == "content_changed":
        _enqueue_read(message)
    if current.state != DecisionState.CALLING:
        # It was withdrawn, or its lease expired.
        is_harmless = event_for(error, False) != DecisionEvent.DOUBT
        if current.state == DecisionState.WITHDRAWN and is_harmless and not had_left:
            sentence = f"It was withdrawn in time; nothing was sent: {error.sentence}"
            return _advance(current, DecisionEvent.REFUSE, sentence)
        # Otherwise it stays as it is; reconciliation finds the outcome.
        return current
    if isinstance(error, errors.FieldsRefused):
        # Try again at once, without the fields that this MultiMail does not take.
        account.note_refused(message.connection, error, actor=ACTOR)
        tasks.execute_decision.delay_on_commit(current.pk)
        return _postpone(current, error, had_left)
    if isinstance(error, errors.Unavailable) and message.connection.is_our_gateway:
        # It is asked before each further call what became of the message, and carries
        # out one decision at most.
        return _postpone(current, error, had_left=True)
    event = event_for(error, had_left)
    if event == DecisionEvent.POSTPONE:
        return _postpone(current, error, had_left)
    if event == DecisionEvent.REFUSE and isinstance(error, errors.NotFound):
        mark_gone(message, ACTOR)
    return _advance(current, event, error.sentence)


def event_for(error: errors.UpstreamError, had_left: bool) -> DecisionEvent:
    """Return the event for an error that does not report how the message was decided.

    `had_left` says whether the call of an earlier attempt may have left.
    """
    if isinstance(error, errors.Throttled | errors.KeyRefused | errors.NotSent):
        return DecisionEvent.POSTPONE
    if isinstance(error, errors.NotFound):
        # MultiMail does not know the message any more. If an earlier call may have
        # left, that proves nothing about the decision.
        return DecisionEvent.DOUBT if had_left else DecisionEvent.REFUSE
    is_still_held = isinstance(error, errors.Conflict) and (
        error.code == "content_changed" or error.message_status.startswith("pending")
    )
    if isinstance(error, errors.Forbidden | errors.Rejected) or is_still_held:
        return _stopping_event(had_left)
    return DecisionEvent.DOUBT


def _stopping_event(had_left: bool) -> DecisionEvent:
    # A refusal is about this call only. If an earlier call may still be under way,
    # "refused" could turn out false, and trying again could go on for ever. "Withdrawn"
    # is true in any case, and lets a person reject the message.
    return DecisionEvent.WITHDRAW if had_left else DecisionEvent.REFUSE


def refuse(decision: Decision, sentence: str) -> Decision:
    """End a locked decision that is no longer allowed, in the caller's transaction."""
    had_left = decision.may_have_left
    if had_left:
        sentence += " An earlier call may still arrive."
    return _advance(decision, _stopping_event(had_left), sentence)


def end_after_close(decision: Decision) -> Decision:
    """End a locked decision whose message is no longer held, in the caller's
    transaction.
    """
    if decision.may_have_left:
        # An earlier call of ours may have ended it; reconciliation finds out.
        return _advance(
            decision,
            DecisionEvent.DOUBT,
            "MultiMail no longer holds the message.",
            seen_held=0,
            seen_absent=0,
        )
    state = MessageState(decision.message.state).label.lower()
    return _advance(decision, DecisionEvent.LOSE, f"The message is now {state}.")


@transaction.atomic
def end_without_call(decision: Decision, sentence: str) -> Decision:
    """End an attempt that made no call, because MultiMail holds other content than was
    decided on, or the decision is no longer allowed. The sentence says which.
    """
    message, current = _lock(decision)
    _enqueue_read(message)
    if current is None or current.state != DecisionState.CALLING:
        return _refreshed(decision)
    return refuse(current, sentence)


@transaction.atomic
def settle_missing_upstream(decision: Decision) -> Decision:
    """End an attempt that made no call, because MultiMail no longer holds the message
    and does not say how it was decided.
    """
    message, current = _lock(decision)
    if current is None or current.state != DecisionState.CALLING:
        return _refreshed(decision)
    sentence = "MultiMail no longer holds this message."
    if current.may_have_left:
        return _advance(current, DecisionEvent.DOUBT, sentence)
    mark_gone(message, ACTOR)
    return _advance(
        current,
        DecisionEvent.LOSE,
        f"{sentence} It was decided elsewhere; this desk had sent nothing.",
    )


def _lock(decision: Decision) -> tuple[Message, Decision | None]:
    """Lock the message, then the decision, and return both. The decision is None if it
    has ended, or a newer attempt has claimed it.

    Webhooks and people lock in the same order, so that no transactions deadlock.
    """
    # The advisory lock of `store.lock_message` is not needed: it is for ids of messages
    # that are not stored yet, and whoever takes it locks the message's row too.
    # PostgreSQL locks the two rows in the order of `of`, and returns both as they are
    # once it has the locks.
    locked = Decision.objects.select_for_update(of=("message", "self"), no_key=True)
    current = locked.select_related("message").get(pk=decision.pk)
    # These never change, so they need not be loaded again.
    current.revision = decision.revision
    current.given_by = decision.given_by
    is_ours = current.attempt == decision.attempt and current.state in _OPEN
    return current.message, current if is_ours else None


def _refreshed(decision: Decision) -> Decision:
    decision.refresh_from_db()
    return decision


def _advance(decision: Decision, event: str, sentence: str, **fields: Any) -> Decision:
    return settle.advance(decision, event, ACTOR, sentence, **fields)


def _postpone(
    decision: Decision, error: errors.UpstreamError, had_left: bool
) -> Decision:
    # If this call had no effect, `may_have_left` is again what it was before it.
    seconds = 0.0
    if isinstance(error, errors.Throttled):
        seconds = error.retry_after
    elif isinstance(error, errors.NotSent | errors.Unavailable):
        seconds = (
            retry_after_attempt(decision.attempt, schedule=NOT_SENT_BACKOFF, jitter=0.2)
            or 300
        )
    return _advance(
        decision,
        DecisionEvent.POSTPONE,
        error.sentence,
        due_at=clock() + timedelta(seconds=seconds),
        may_have_left=had_left,
    )


def _enqueue_read(message: Message) -> None:
    """Enqueue a read of the message, because MultiMail holds other content than the
    mirror.
    """
    if message.connection.is_our_gateway:
        tasks.ask_about.delay_on_commit(message.pk)
    else:
        # Hosted MultiMail shows contents only in its list of all held messages.
        tasks.read_connection.delay_on_commit(message.connection_id)


def mark_gone(message: Message, actor: Actor) -> None:
    """Close a locked message that MultiMail does not hold any more. If a read lists it
    again, it is reopened.
    """
    if store.move(message, event=MessageEvent.GONE, now=clock()):
        record_about("message.gone", message, actor)
