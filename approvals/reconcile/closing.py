"""Applies what a read of MultiMail shows to the mirror and to this desk's decisions:
ends messages that are no longer held, reopens those that are, confirms or refutes what
webhooks reported, and settles decisions in doubt. It never calls `decide_email`.

In all functions `began` is when the read began, and `now` the time of the change.
"""

from collections.abc import Callable, Collection
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models.functions import Now

from approvals.decisions import settle
from approvals.errors import StaleDecision
from approvals.held_rows import FOUND_BY_READING, OPEN
from approvals.intake import ingest
from approvals.models import Decision
from common.actors import Actor, webhook
from common.postgres import atomic_with_retry, clock
from common.unique_keys import text_in
from mirror import store
from mirror.models import Connection, Message, WebhookEvent
from mirror.recording import details_of, outcome_of, record_about
from mirror.states import (
    LET_GO,
    READS_THAT_PROVE,
    UNREPORTED,
    DecisionEvent,
    DecisionState,
    MessageEvent,
    MessageState,
    contradicts,
    implied_event,
    reported_of,
)
from mirror.sync import reads
from mirror.sync.health import ACTOR
from mirror.sync.reads import UpstreamStatus
from upstream.events import mail_ids

# Longer than MultiMail may take to finish a call that timed out here: only then does
# "still held" prove anything.
SETTLE_TIME = timedelta(seconds=30)


@transaction.atomic
def close(
    message: Message,
    upstream: UpstreamStatus,
    now: datetime,
    began: datetime,
) -> str:
    """End a held message that MultiMail no longer holds: by what a read told
    (`upstream`); else by this desk's decision that took effect; else by what webhooks
    reported; else as gone. Return a text for the log.
    """
    locked = store.lock_current(message)
    if locked is None or not locked.is_held:
        return "closed meanwhile"
    read = ingest.TOLD if upstream.reported or upstream.later_events else ingest.ABSENT
    if read == ingest.ABSENT:
        decision = locked.decisions.order_by("-pk").first()
        in_doubt = decision and decision.state in (
            DecisionState.CALLING,
            DecisionState.UNKNOWN,
        )
        if in_doubt and not locked.reported:
            # The call of this decision may have ended the message. `execute` or
            # `resolve` finds that out.
            return "left to its decision"
        # What took effect before the message last changed counts no more.
        if (
            decision
            and decision.state == DecisionState.APPLIED
            and decision.changed_at >= locked.changed_at
        ):
            upstream = UpstreamStatus(reported=settle.report_expected(decision))
    _apply(locked, upstream, now)
    if locked.reported:
        ingest.apply_waiting(locked, read=read, before=_proves_until(locked, began))
    if locked.is_held:
        store.move(locked, event=MessageEvent.GONE, now=now, status=upstream.status)
        _record(locked, MessageEvent.GONE)
    return "closed"


@transaction.atomic
def catch_up(
    message: Message,
    upstream: UpstreamStatus,
    now: datetime,
    began: datetime,
) -> str:
    """Apply what a read told about a message that is no longer held. Return the events
    that were applied as a text for the log, or "nothing new".
    """
    locked = store.lock_current(message)
    if locked is None:
        return "gone"
    applied = _apply(locked, upstream, now)
    if locked.reported:
        is_told = upstream.reported or upstream.status == "scheduled"
        read = ingest.TOLD if is_told else ingest.ABSENT
        ingest.apply_waiting(locked, read=read, before=_proves_until(locked, began))
    agrees = not any(
        contradicts(locked.state, event) for event in _events_in(locked, upstream)
    )
    if upstream.reported and agrees and locked.asked_at:
        # MultiMail confirms what the mirror shows. So no person has to look at older
        # events that contradict it.
        WebhookEvent.objects.late_about(locked, until=locked.asked_at).update(
            handled_at=Now()
        )
    return ", ".join(applied) or "nothing new"


def _apply(locked: Message, upstream: UpstreamStatus, now: datetime) -> list[str]:
    # Applies MultiMail's answer to the message and its decisions, and records it.
    # Returns the events that moved the message.
    locked.mail_error = text_in(upstream.answer, "last_error", most=2000)
    locked.save(update_fields=["mail_error"])
    if locked.is_unnamed and upstream.answer.get("subject"):
        store.fill_from_event(locked, store.event_from_answer(upstream.answer))
        _record(locked, "named")
    if upstream.reported and upstream.reason + upstream.decided_by:
        locked.upstream_reason = upstream.reason
        locked.upstream_decided_by = store.fitting(
            "upstream_decided_by", upstream.decided_by
        )
        locked.upstream_ended_by = upstream.ended_by
        locked.save(
            update_fields=[
                "upstream_reason",
                "upstream_decided_by",
                "upstream_ended_by",
            ]
        )
    store.add_aliases(locked, *mail_ids(upstream.answer))
    state_before = locked.state
    applied = [
        event
        for event in _events_in(locked, upstream)
        if store.move(locked, event=event, now=now, status=upstream.status)
    ]
    if applied and (implied := implied_event(state_before, applied[0])):
        applied.insert(0, implied)
    if upstream.reported:
        settle.settle_by_report(
            locked,
            reported=upstream.reported,
            reason=upstream.reason,
            decided_by=upstream.decided_by,
            ended_by=upstream.ended_by,
            actor=ACTOR,
        )
    for event in applied:
        _record(locked, event)
    return applied


def _events_in(message: Message, upstream: UpstreamStatus) -> list[str]:
    """Return MultiMail's answer as events of the message, in their order."""
    event = upstream.reported
    if event == MessageEvent.APPROVED and message.is_inbound:
        event = MessageEvent.RELEASED
    return [*filter(None, [event]), *upstream.later_events]


def _record(message: Message, event: str) -> None:
    found = FOUND_BY_READING
    if message.reported == event:
        found = "by reading, as a webhook had reported"
    actor = webhook(message.connection.slug, surface="worker")
    reason = message.upstream_reason if event in settle.WITH_REASON else ""
    record_about(
        f"message.{event}",
        message,
        actor,
        details=details_of(message, found=found, reason=reason),
        outcome=outcome_of(message, event),
    )
    settle.note_elsewhere(message, event, actor)


@transaction.atomic
def refute_reports(message: Message, began: datetime) -> None:
    """Refute what webhooks reported about the end of a message, because a read found it
    still held.
    """
    locked = store.lock_current(message)
    if locked is None or not locked.is_held or not locked.reported:
        return
    locked.row.update(missing_since=None)
    ingest.refute(locked, before=_proves_until(locked, began))


def _proves_until(message: Message, began: datetime) -> datetime:
    """Return the time before which webhooks must have come to be refuted by a read."""
    # Hosted MultiMail may be a little behind, and list a message that it no longer
    # holds.
    return began if message.connection.is_our_gateway else began - SETTLE_TIME


@transaction.atomic
def apply_reports(message: Message) -> bool:
    """Apply those events about a message that is not held that waited for a read and no
    longer need one. Return whether others still need a read.
    """
    locked = store.lock_current(message)
    if locked is None or not locked.reported or locked.is_held:
        return False
    ingest.apply_waiting(locked, read=ingest.NO_READ)
    return bool(locked.reported)


@transaction.atomic
def reopen(
    connection: Connection, upstream_id: str, began: datetime, now: datetime
) -> None:
    """Hold a message again that a read found held, although its end had been reported.
    Nothing is done if the message or its decision changed after the read began.
    """
    locked = store.lock_message(connection, upstream_id=upstream_id)
    if locked is None or locked.state in OPEN or locked.connection.removed_at:
        return
    applied = locked.decisions.filter(
        state=DecisionState.APPLIED, changed_at__gte=began - SETTLE_TIME
    )
    if locked.changed_at >= began or applied.exists():
        return
    state_before = MessageState(locked.state).label.lower()
    store.move(locked, event=MessageEvent.FOUND, now=now)
    details = details_of(
        locked, found=f"by reading, although it had been reported as {state_before}"
    )
    record_about("message.held", locked, ACTOR, details=details)
    ingest.overrule(locked)


@transaction.atomic
def hold_again(
    connection: Connection, upstream_id: str, began: datetime, now: datetime
) -> None:
    """Let a message await review again that a whole read lists as held, although
    MultiMail had answered that it carried out our decision: that answer was wrong.
    """
    locked = store.lock_message(connection, upstream_id=upstream_id)
    if locked is None or not locked.is_held or locked.changed_at >= began:
        return
    # A decision that took effect before the message last changed counts no more.
    locked.changed_at = now
    locked.save(update_fields=["changed_at"])
    record_about(
        "message.held",
        locked,
        ACTOR,
        details=details_of(
            locked,
            found="by reading, although MultiMail had answered that the decision was carried out",
        ),
    )


@atomic_with_retry
def leave_behind(message: Message, now: datetime) -> str:
    """Take a message out of the queue that came in while its connection was being
    removed. Return a text for the log.
    """
    locked = store.lock_current(message)
    if locked is not None and locked.is_held:
        leave_queue(locked, ACTOR, now)
    return "left behind"


def leave_queue(message: Message, actor: Actor, now: datetime) -> None:
    # Closes a locked message whose connection was removed: the desk cannot decide it.
    store.move(message, event=MessageEvent.GONE, now=now)
    record_about(
        "message.left_behind",
        message,
        actor,
        details={"subject": message.subject},
    )


def resolve(decision_id: int) -> str:
    """Find out by a read what became of a decision in doubt. Return its state, or why
    nothing was found out.
    """
    doubtful = Decision.objects.to_resolve().select_related(
        "message__connection", "message__mailbox"
    )
    decision = doubtful.filter(pk=decision_id).first()
    if decision is None:
        return "nothing to resolve"
    # The database's time, like the times that it is compared with.
    began = clock()
    upstream = _ask_upstream(decision.message)
    if upstream is None:
        # Do not go by the mirror yet: MultiMail may report who decided once it answers.
        return "not known"
    return _apply_answer(decision, upstream, began)


def resolve_unlisted(
    connection: Connection, listed: Collection[str], must_stop: Callable[[], bool]
) -> None:
    """Count, for the decisions in doubt whose messages a whole read did not list, that
    they are held no more, unless MultiMail answers something else about them. Those for
    which no time is left are left to the next read.
    """
    began = connection.whole_read_began
    assert began is not None, "a whole read is under way"
    for decision in (
        Decision.objects.to_resolve()
        .filter(message__connection=connection)
        .select_related("message__connection", "message__mailbox")
    ):
        message = decision.message
        if message.upstream_id not in listed:
            if must_stop() or not connection.row.rested().exists():
                return
            upstream = reads.ask_status(message)
            if upstream is None and not reads.can_ask(message):
                upstream = UpstreamStatus()
            if upstream is not None:
                _apply_answer(decision, upstream, began)


def _apply_answer(decision: Decision, upstream: UpstreamStatus, began: datetime) -> str:
    """Settle a decision in doubt by what MultiMail answered about its message, or count
    the read. Return its state, or what is missing.
    """
    if upstream.reported:
        catch_up(decision.message, upstream, clock(), began)
        decision.refresh_from_db()
        return decision.state
    if decision.message.state not in UNREPORTED:
        return _follow_the_mirror(decision)
    try:
        return _count_read(decision, upstream.held, began)
    except StaleDecision:
        return "settled meanwhile"


@transaction.atomic
def _follow_the_mirror(decision: Decision) -> str:
    """Settle a decision by the state of its message, which later webhooks have moved,
    because MultiMail reports no outcome. Return the decision's state.
    """
    message = store.lock_current(decision.message)
    assert message is not None, "a decision keeps its message"
    reported = reported_of("", message.state)
    if message.state in LET_GO:
        reported = "approved"
    reason = message.upstream_reason
    who = message.upstream_decided_by
    is_nameless = message.connection.is_our_gateway and not reason + who
    if reported and is_nameless and reported == settle.report_expected(decision):
        # Our gateway no longer knows the message, so only people can say who decided
        # it.
        locked = (
            Decision.objects.to_resolve()
            .filter(pk=decision.pk, state=DecisionState.UNKNOWN)
            .under_lock()
            .first()
        )
        if locked is not None:
            settle.advance(
                locked,
                DecisionEvent.SEEN_ABSENT,
                ACTOR,
                "MultiMail reports this outcome, but no longer says whether it was by this decision.",
            )
    elif reported:
        settle.settle_by_report(
            message,
            reported=reported,
            reason=reason,
            decided_by=who,
            ended_by=message.upstream_ended_by,
            actor=ACTOR,
        )
    decision.refresh_from_db()
    return decision.state


def _ask_upstream(message: Message) -> UpstreamStatus | None:
    """Return MultiMail's answer about the message; None if it proves nothing. Hosted
    MultiMail is asked for the message where a key can read it, and for the pages of its
    list on which it is likely to be. If a whole list disagrees, neither is proof.
    """
    upstream = reads.ask_status(message)
    if message.connection.is_our_gateway or (upstream and upstream.reported):
        return upstream
    row, is_whole = reads.look_for(message)
    is_held = upstream is not None and upstream.held
    if row or (is_held and not is_whole):
        return UpstreamStatus(held=True)
    if not is_whole or (upstream is None and reads.can_ask(message)):
        # A whole read finds out (`resolve_unlisted`).
        return None
    return None if is_held else UpstreamStatus()


@transaction.atomic
def _count_read(decision: Decision, held: bool, began: datetime) -> str:
    """Count a complete read that found the message `held` or not. Two such reads in a
    row, a settle time apart, settle the decision. Return its state, or what is missing.

    A read that began before the decision last changed does not count: another call may
    have been made since.
    """
    store.lock_current(decision.message)
    locked = (
        Decision.objects.to_resolve()
        .filter(pk=decision.pk, changed_at__lt=began)
        .under_lock()
        .first()
    )
    if locked is None:
        return "settled meanwhile"
    # How many reads in a row have found this. Reads less than a settle time apart count
    # once: for a decision in doubt, `due_at` is the time from which a further read
    # counts.
    count = locked.seen_held if held else locked.seen_absent
    if not count or locked.due_at <= began:
        count = min(count + 1, READS_THAT_PROVE)
        Decision.objects.filter(pk=locked.pk).update(
            seen_held=count if held else 0,
            seen_absent=0 if held else count,
            due_at=Now() + SETTLE_TIME,
        )
    if count < READS_THAT_PROVE:
        return "read once"
    if locked.state == DecisionState.WITHDRAWN:
        # If the message is absent, the next whole read closes it. If it is held, people
        # now see that it was not sent so far.
        return "still withdrawn"
    if not held:
        return settle.advance(
            locked,
            DecisionEvent.SEEN_ABSENT,
            ACTOR,
            "MultiMail no longer holds it, and what happened is not known.",
        ).state
    if locked.is_approval and not decision.message.connection.repeats_unknown_approvals:
        # Sending again is left to a person: the first call might still arrive.
        return "still held, a person must confirm"
    return settle.advance(
        locked,
        DecisionEvent.SEEN_HELD,
        ACTOR,
        "Two reads show that MultiMail still holds it: the call had no effect.",
        due_at=clock(),
    ).state
