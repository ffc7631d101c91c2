"""Finds out by reading what became of a decision in doubt. It never calls decide_email."""

from datetime import datetime

from django.db import transaction
from django.db.models.functions import Now

from approvals.decisions import settle
from approvals.errors import StaleDecision
from approvals.models import Decision
from approvals.reconcile import closing
from approvals.reconcile.closing import SETTLE_TIME
from common.postgres import clock
from mirror import store
from mirror.models import Message
from mirror.states import DecisionEvent, DecisionState, MessageState
from mirror.sync import reads
from mirror.sync.health import ACTOR
from mirror.sync.reads import UpstreamStatus
from mirror.terms import LET_GO, READS_THAT_PROVE


def resolve(*, decision_id: int) -> str:
    """Find out by reading what became of a decision in doubt; it never calls
    decide_email.
    """
    doubtful = Decision.objects.to_resolve().select_related(
        "message__connection", "message__mailbox"
    )
    decision = doubtful.filter(pk=decision_id).first()
    if decision is None:
        return "nothing to resolve"
    # By the database's clock, as all the times that it is compared with.
    began = clock()
    upstream = _ask(decision.message)
    if upstream is not None and upstream.reported:
        closing.catch_up(decision.message, upstream, clock(), began=began)
        decision.refresh_from_db()
        return decision.state
    if upstream is None:
        # MultiMail may say who decided once it answers, so do not guess from the mirror
        # before.
        return "not known"
    if decision.message.state not in (MessageState.HELD, MessageState.GONE):
        return _follow_the_mirror(decision)
    try:
        return _weigh(decision, held=upstream.held, began=began)
    except StaleDecision:
        return "settled meanwhile"


@transaction.atomic
def _follow_the_mirror(decision: Decision) -> str:
    """End it by the mirror's state from later webhooks, where the one about the
    decision itself did not come.
    """
    message = store.lock_current(decision.message)
    assert message is not None, "a decision keeps its message"
    ended = {MessageState.REJECTED: "rejected", MessageState.CANCELLED: "cancelled"}
    reported = (
        "approved"
        if message.state in LET_GO
        else ended.get(MessageState(message.state), "")
    )
    reason = message.upstream_reason
    who = message.upstream_decided_by
    is_nameless = message.connection.is_our_gateway and not reason + who
    if reported and is_nameless and reported == settle.report_expected(decision):
        # Our gateway has forgotten the message, so only people can say who decided.
        locked = (
            Decision.objects.to_resolve()
            .filter(pk=decision.pk, state=DecisionState.UNKNOWN)
            .under_lock()
            .first()
        )
        if locked is not None:
            settle.advance(
                locked,
                event=DecisionEvent.SEEN_ABSENT,
                actor=ACTOR,
                explanation="MultiMail reports this outcome, but no longer says whether it was by this decision.",
            )
    elif reported:
        settle.settle_by_report(
            message, reported=reported, reason=reason, decided_by=who, actor=ACTOR
        )
    decision.refresh_from_db()
    return decision.state


def _ask(message: Message) -> UpstreamStatus | None:
    """Return MultiMail's answer about the message; None where it proves nothing."""
    connection = message.connection
    if connection.is_our_gateway:
        return reads.ask_status(message)
    pending = reads.ask(connection)
    if pending is None:
        return None
    if any(str(row["id"]) == message.upstream_id for row in pending.rows):
        return UpstreamStatus(held=True)
    if pending.unreadable or pending.pages > 1:
        return None
    if not connection.read_key or message.is_inbound:
        # This connection can only show absence.
        return UpstreamStatus()
    upstream = reads.ask_status(message)
    # One source lacks it and the other says that it is held: neither counts as proof.
    return None if upstream is None or upstream.held else upstream


@transaction.atomic
def _weigh(decision: Decision, *, held: bool, began: datetime) -> str:
    """Count one complete read; two that agree, a settle time apart, settle the
    decision.

    A read that `began` before the doubt does not count: the decision was called once
    more meanwhile.
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
    # How many reads in a row have shown this. Reads less than a settle time apart count
    # once: of a decision in doubt, due_at is when a further read counts.
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
        # Absent, it is closed by the next read of everything; held, people know now
        # that it has not left until now.
        return "still withdrawn"
    if not held:
        return settle.advance(
            locked,
            event=DecisionEvent.SEEN_ABSENT,
            actor=ACTOR,
            explanation="MultiMail no longer holds it, and what happened is not known.",
        ).state
    if locked.is_approval and not decision.message.connection.repeats_unknown_approvals:
        # Sending again is left to a person: the first call might still arrive.
        return "still held, a person must confirm"
    return settle.advance(
        locked,
        event=DecisionEvent.SEEN_HELD,
        actor=ACTOR,
        explanation="Two reads show that MultiMail still holds it: the call had no effect.",
        due_at=clock(),
    ).state
