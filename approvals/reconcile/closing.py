"""Updates the mirror and our decisions from MultiMail's answer: no webhook has come, or
one that needs a read.
"""

from datetime import datetime, timedelta

from django.db import transaction
from django.db.models.functions import Now

from approvals.decisions import settle
from approvals.intake import unconfirmed
from approvals.models import Decision
from common.actors import Actor
from common.postgres.retry import atomic_with_retry
from mirror import store
from mirror.models import Connection, Message, WebhookEvent
from mirror.recording import details_of, record_about
from mirror.states import DecisionState, MessageEvent, MessageState, contradicts
from mirror.sync.health import ACTOR
from mirror.sync.reads import UpstreamStatus
from mirror.sync.rows import FOUND_BY_READING

# Longer than MultiMail may take to finish a call that timed out here: only then does
# "still held" prove anything.
SETTLE_TIME = timedelta(seconds=30)
# What a row of the list says of itself anyway; `gone` is reopened where the row is
# stored.
AS_LISTED = (MessageState.HELD, MessageState.SCHEDULED, MessageState.GONE)
# MultiMail's word for mail that waits for its time, before review or after.
_SCHEDULED = "scheduled"
_EVENTS = {
    "approved": MessageEvent.APPROVED,
    "rejected": MessageEvent.REJECTED,
    "cancelled": MessageEvent.CANCELLED,
}


@transaction.atomic
def close(
    message: Message,
    upstream: UpstreamStatus,
    now: datetime,
    *,
    began: datetime | None = None,
) -> str:
    """End a held message by what a read that began then tells, else by our decision or
    by webhooks, else as gone.
    """
    locked = store.lock_current(message)
    if locked is None or not locked.is_held or locked.is_local:
        return "closed meanwhile"
    read = (
        unconfirmed.TOLD
        if upstream.reported or upstream.later_events
        else unconfirmed.ABSENT
    )
    if read == unconfirmed.ABSENT:
        decision = locked.decisions.order_by("-pk").first()
        in_doubt = decision and decision.state in (
            DecisionState.CALLING,
            DecisionState.UNKNOWN,
        )
        if in_doubt and not locked.reported:
            # Our own call may have ended it; `execute` or `resolve` will know more.
            return "left to its decision"
        if decision and decision.state == DecisionState.APPLIED:
            upstream = UpstreamStatus(reported=settle.report_expected(decision))
    _apply(locked, upstream, now)
    if locked.reported:
        unconfirmed.apply_waiting(
            locked, read=read, before=_proves_until(locked, began)
        )
    if locked.is_held:
        store.move(locked, event=MessageEvent.GONE, now=now, status=upstream.status)
        _record(locked, MessageEvent.GONE)
    return "closed"


@transaction.atomic
def catch_up(
    message: Message,
    upstream: UpstreamStatus,
    now: datetime,
    *,
    began: datetime | None = None,
) -> str:
    """Apply what a read that began then tells of a message that is not held; "nothing
    new" where all is known.
    """
    locked = store.lock_current(message)
    if locked is None or locked.is_local:
        return "gone"
    applied = _apply(locked, upstream, now)
    if locked.reported:
        is_told = upstream.reported or upstream.status == _SCHEDULED
        read = unconfirmed.TOLD if is_told else unconfirmed.ABSENT
        unconfirmed.apply_waiting(
            locked, read=read, before=_proves_until(locked, began)
        )
    agrees = not any(
        contradicts(locked.state, event) for event in _events_in(locked, upstream)
    )
    if upstream.reported and agrees and locked.asked_at:
        # MultiMail confirms what the mirror shows, so older contradicting events need
        # no person.
        WebhookEvent.objects.late_about(locked, until=locked.asked_at).update(
            handled_at=Now()
        )
    return ", ".join(applied) or "nothing new"


def _apply(locked: Message, upstream: UpstreamStatus, now: datetime) -> list[str]:
    if locked.is_unnamed and upstream.answer.get("subject"):
        store.fill_from_event(locked, store.event_from_answer(upstream.answer))
        _record(locked, "named")
    if upstream.reported and upstream.reason + upstream.decided_by:
        locked.upstream_reason = upstream.reason
        locked.upstream_decided_by = store.fitting(
            "upstream_decided_by", upstream.decided_by
        )
        locked.save(update_fields=["upstream_reason", "upstream_decided_by"])
    applied = [
        event
        for event in _events_in(locked, upstream)
        if store.move(locked, event=event, now=now, status=upstream.status)
    ]
    if upstream.reported:
        settle.settle_by_report(
            locked,
            reported=upstream.reported,
            reason=upstream.reason,
            decided_by=upstream.decided_by,
            actor=ACTOR,
        )
    for event in applied:
        _record(locked, event)
    return [str(event) for event in applied]


def _events_in(message: Message, upstream: UpstreamStatus) -> list[str]:
    """Return MultiMail's report as events of the message, in order."""
    events = [str(_EVENTS[upstream.reported])] if upstream.reported else []
    if events == [MessageEvent.APPROVED] and message.is_inbound:
        events = [MessageEvent.RELEASED]
    return [*events, *upstream.later_events]


def _record(message: Message, event: str) -> None:
    record_about(
        f"message.{event}",
        message,
        actor=ACTOR,
        details=details_of(
            message,
            found="by reading, as a webhook had reported"
            if message.reported
            else FOUND_BY_READING,
            reason=message.upstream_reason,
        ),
    )


@transaction.atomic
def refute_reports(message: Message, *, began: datetime) -> None:
    """Note that a read which began at that time found a message held, whatever webhooks
    had reported of it.
    """
    locked = store.lock_current(message)
    if locked is None or not locked.is_held or not locked.reported:
        return
    Message.objects.filter(pk=locked.pk).update(missing_since=None)
    unconfirmed.refute(locked, before=_proves_until(locked, began) or began)


def _proves_until(message: Message, began: datetime | None) -> datetime | None:
    """Return until when the webhooks came that a read which began then can refute."""
    # Hosted MultiMail may be a moment behind, for instance list a message that it holds
    # no longer.
    return (
        began - SETTLE_TIME
        if began and not message.connection.is_our_gateway
        else began
    )


@transaction.atomic
def apply_reports(message: Message) -> bool:
    """Apply what no longer needs a read, of a message that is not held; return whether
    a read must come.
    """
    locked = store.lock_current(message)
    if locked is None or not locked.reported or locked.is_held:
        return False
    unconfirmed.apply_waiting(locked, read=unconfirmed.NO_READ)
    return bool(locked.reported)


@transaction.atomic
def reopen(
    connection: Connection, *, upstream_id: str, began: datetime, now: datetime
) -> None:
    """Hold a message again that a read which began at that time lists, although its end
    had been reported.

    The queue has to be complete.
    """
    locked = store.lock_message(connection, upstream_id=upstream_id)
    if (
        locked is None
        or locked.state in AS_LISTED
        or locked.is_local
        or locked.connection.removed_at
    ):
        return
    ours = Decision.objects.filter(message=locked, state=DecisionState.APPLIED)
    if (
        locked.changed_at >= began
        or ours.filter(changed_at__gte=began - SETTLE_TIME).exists()
    ):
        return
    was = MessageState(locked.state).label.lower()
    store.move(locked, event=MessageEvent.FOUND, now=now)
    details = details_of(
        locked, found=f"by reading, although it had been reported as {was}"
    )
    record_about("message.held", locked, actor=ACTOR, details=details)
    unconfirmed.overrule(locked)


@transaction.atomic
def hold_again(
    connection: Connection, *, upstream_id: str, began: datetime, now: datetime
) -> None:
    """Let a message await review again that a read which began then lists, although our
    decision on it was answered with success: that answer was wrong.
    """
    locked = store.lock_message(connection, upstream_id=upstream_id)
    if locked is None or not locked.is_held or locked.changed_at >= began:
        return
    # A decision counts only since the message last changed.
    locked.changed_at = now
    locked.save(update_fields=["changed_at"])
    record_about(
        "message.held",
        locked,
        actor=ACTOR,
        details=details_of(
            locked,
            found="by reading, although MultiMail had answered that the decision was carried out",
        ),
    )


@atomic_with_retry
def leave_behind(message: Message, *, actor: Actor, now: datetime) -> str:
    """Remove a message from the queue that came in while its connection was being
    removed.
    """
    locked = store.lock_current(message)
    if locked is not None and locked.is_held:
        leave_queue(locked, actor, now)
    return "left behind"


def leave_queue(message: Message, actor: Actor, now: datetime) -> None:
    store.move(message, event=MessageEvent.GONE, now=now)
    record_about(
        "message.left_behind",
        message,
        actor=actor,
        details={"subject": message.subject},
    )
