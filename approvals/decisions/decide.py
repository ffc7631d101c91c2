"""Commands that record verdicts and make decisions. A verdict is one person's answer to
the version of a message that they were shown, on the web or in Discord; when enough
people have approved, or one has rejected, a decision is made and enqueued.
"""

import secrets
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db.models import Q
from django.utils.text import capfirst

from approvals import tasks
from approvals.authorship import note_words
from approvals.decisions.forms import to_be_read
from approvals.decisions.later import LaterChoice, time_in_words, timing_of
from approvals.decisions.ruling import (
    check_content,
    lock_versions,
    lock_visible,
    ruling_of,
)
from approvals.decisions.shown import context_details, opened_parts, shown_context
from approvals.errors import (
    AlreadyDecided,
    ReauthenticationNeeded,
    RiskUnread,
    VerdictNotAllowed,
)
from approvals.models import Decision, Verdict
from audit.trail import first_at, last_of
from common.actors import Actor
from common.endings import EndedBy
from common.identifiers import crockford
from common.postgres import atomic_with_retry, clock
from common.time_zones import time_of_day
from mirror import store
from mirror.models import Message
from mirror.recording import origin_details, record_about
from mirror.states import DecisionState, MessageState, Outcome
from mirror.threads import conversation_of
from policy.rules.demand import Demand, Progress

# The length of a random reference, in bits.
REFERENCE_BITS = 50
# After a decision in one of these states the message may be decided again. A withdrawn
# decision may still take effect.
_OPEN_AGAIN = (DecisionState.UNDONE, DecisionState.REFUSED, DecisionState.WITHDRAWN)
# The ledger actions with which a decision ends.
_ENDED = (
    "decision.applied",
    "decision.superseded",
    "decision.without_effect",
    "decision.left_after_all",
)


@dataclass(frozen=True)
class VerdictResult:
    """A verdict with the decision that it led to. `decision` is None while more
    approvals are needed; `progress` counts them.
    """

    verdict: Verdict
    decision: Decision | None
    progress: Progress


@atomic_with_retry
def give_verdict(
    *,
    message: UUID,
    actor: Actor,
    outcome: str,
    fingerprint: str,
    reason: str,
    thread_read: int = 0,
    risk_read: Collection[str] = (),
    sheet: str | None = None,
    longer: timedelta = timedelta(0),
    feedback: Mapping[str, Any] | None = None,
    later: LaterChoice | None = None,
    is_reauthenticated: bool = False,
    pressed_at: datetime | None = None,
    is_carried_out_next: bool = False,
) -> VerdictResult:
    """Record one person's verdict on the revision that they were shown, and make the
    decision if it is complete.

    One rejection or request for changes is enough. An approval makes a decision if it
    is the last one that the rules ask for.

    - `fingerprint`: of the revision that the person was shown
    - `thread_read`: the newest message of the thread that they say they have read;
      asked for if messages came after the draft
    - `risk_read`: the rules whose findings they ticked on the page for it; asked for if
      the risk is high, or a rule of the policy asks for care
    - `sheet`: the bulk sheet on which they decided many messages at once, if they did
    - `longer`: how much longer than usual the decision can be undone
    - `feedback`: what the agent gets as data besides the reason of a rejection
    - `later`: the time chosen for an approval
    - `is_reauthenticated`: whether the person has just confirmed who they are
    - `pressed_at`: when the desk received the press, if that was earlier: what was
      stopped since does not leave
    - `is_carried_out_next`: whether the caller carries the decision out after the
      commit; it then has no undo window, and no task is sent

    The message is locked: of two people at once the first valid verdict counts, and the
    second gets AlreadyDecided with that decision. Raises VerdictNotAllowed if the
    ruling refuses, ReauthenticationNeeded, ContentChanged, ThreadMovedOn if newer
    messages of the thread were not read, and RiskUnread if serious findings were not
    ticked.
    """
    locked = lock_visible(message, actor)
    is_approval = outcome == Outcome.APPROVE
    if is_approval:
        lock_versions(locked)
    now = clock()
    _refuse_if_decided(locked, outcome)
    window = locked.mailbox.undo_window if locked.mailbox else timedelta(seconds=5)
    if is_carried_out_next:
        window = timedelta(0)
    elif window:
        window += longer
    timing: dict[str, Any] = {"due_at": now + window}
    conversation = conversation_of(locked)
    # Nobody has read what is not there yet.
    thread_read = min(thread_read, conversation.late_id)
    if is_approval:
        timing = timing_of(later, locked, now, window, thread_read)
    # What counts is what is asked when the message leaves.
    leaves_at = timing.get("later_at") or now
    ruling = ruling_of(locked, actor, now=leaves_at)
    if not (ruling.may_approve if is_approval else ruling.may_reject):
        raise VerdictNotAllowed(ruling.reasons[0])
    # A received message comes from an outsider, who never sees a request for changes.
    if outcome == Outcome.SEND_BACK and locked.is_inbound:
        raise VerdictNotAllowed(
            "Received messages cannot be changed: release or reject it."
        )
    check_content(locked, fingerprint)
    demand = ruling.demand
    reached = demand.progress
    if is_approval:
        reached = demand.after()
        conversation.check_read(upto=thread_read)
        if sheet is not None and (why := why_not_in_bulk(locked, demand)):
            raise VerdictNotAllowed(why)
        if later is not None and not demand.is_last:
            raise VerdictNotAllowed(
                f"The time is chosen with the last approval; yours would be {reached}. Approve it now."
            )
        for one in to_be_read(locked, demand.effects):
            if one.rule not in risk_read:
                raise RiskUnread(
                    f"This message is approved on a page of its own. {one.sentence}"
                )
        if demand.effects.care and not is_reauthenticated:
            raise ReauthenticationNeeded(
                "A rule asks the people who approve this message to sign in again first."
            )
        # The hours of a rule are those of approving, too.
        if closed := replace(demand, leaves_at=now).closed():
            raise VerdictNotAllowed(closed)
    seen = shown_context(
        locked, ruling, conversation, opened_parts(locked, actor), risk_read=risk_read
    )
    seen["approvals"] = str(reached)
    seen["needed"] = reached.needed
    opened_at = first_at(
        message=locked.public_id,
        action="message.opened",
        actor_id=actor.id,
        fingerprint=fingerprint,
    )
    seconds_shown = (
        max(0, int((now - opened_at).total_seconds())) if opened_at else None
    )
    policy = policy_details(demand, reached)
    verdict = _add_verdict(
        locked,
        actor,
        sheet=sheet or "",
        later=time_in_words(timing.get("later_at"), timing.get("later_zone", "")),
        policy=policy,
        outcome=outcome,
        reason=reason,
        seen=seen,
        seconds_shown=seconds_shown,
        with_care=is_reauthenticated and sheet is None and bool(risk_read),
        awaits_others=is_approval and not reached.is_complete,
        given_at=pressed_at or now,
    )
    note_words(actor, reason, about=locked)
    if verdict.awaits_others:
        return VerdictResult(verdict, None, reached)
    decision = make_decision(
        locked,
        actor,
        now,
        policy,
        outcome=outcome,
        reason=reason,
        feedback=feedback or {},
        given_by_id=verdict.person_id,
        **timing,
    )
    # A decision for later is left to the sweep: a task would stay in the queue for
    # days, and could be lost there.
    if decision.later_at is None and not is_carried_out_next:
        # Both times come from the database: this host's clock may be wrong.
        seconds = (decision.due_at - now).total_seconds()
        tasks.execute_decision.apply_async_on_commit(
            (decision.pk,), countdown=seconds + 0.05 if seconds > 0 else None
        )
    return VerdictResult(verdict, decision, reached)


def _add_verdict(
    message: Message,
    actor: Actor,
    *,
    sheet: str,
    later: str,
    policy: Mapping[str, str],
    **fields: Any,
) -> Verdict:
    """Store a verdict on a locked message, and record it in the ledger. Verdicts on
    earlier versions, and an earlier one of this person, count no more.

    If this verdict decides the message, earlier approvals no longer wait for others.
    """
    if message.verdicts.filter(live=True).exists():
        outdated = ~Q(revision=message.revision) | Q(person=actor.person_id)
        message.verdicts.filter(outdated).void()
        if not fields["awaits_others"]:
            message.verdicts.filter(awaits_others=True).update(awaits_others=False)
    assert message.revision is not None, (
        "nobody gives a verdict on what was not fetched"
    )
    verdict = Verdict.objects.create(
        message=message,
        revision=message.revision,
        person_id=actor.person_id,
        surface=actor.surface,
        parts_unread=len(fields["seen"]["unread"]),
        **fields,
    )
    seconds = verdict.seconds_shown
    if verdict.awaits_others:
        _name_by(message, actor)
    record_about(
        "verdict.given",
        message,
        actor,
        fingerprint=message.revision.fingerprint,
        details={
            "outcome": verdict.outcome,
            "reason": verdict.reason,
            "seconds_shown": "" if seconds is None else str(seconds),
            "sheet": sheet,
            "later": later,
            "verdict": str(verdict.pk),
            **policy,
            **context_details(verdict.seen),
            **origin_details(message),
        },
        outcome=verdict.outcome,
    )
    if verdict.awaits_others:
        record_about(
            "approval.recorded",
            message,
            actor,
            fingerprint=message.revision.fingerprint,
            details={"subject": message.subject, "reason": verdict.reason, **policy},
        )
    return verdict


def why_not_in_bulk(message: Message, demand: Demand) -> str:
    """Return why a message cannot be approved together with others, as sentences; empty
    if it can.
    """
    if "looks_different" in message.review.rules:
        return "Its recipient may see it differently. Open it to approve it."
    if demand.effects.care:
        return "A rule asks to approve it with care, on a page of its own. Open it to approve it."
    return ""


def policy_details(demand: Demand, reached: Progress) -> dict[str, str]:
    """Return as details of a ledger entry the version of the policy, the rules that
    applied, and how many approvals there are. Empty without an active policy.
    """
    if not demand.policy.number:
        return {}
    return {
        "policy": f"version {demand.policy.number}",
        "rules": "\n".join(f"{one.name} ({one.id})" for one in demand.spoke),
        "approvals": str(reached),
    }


def _refuse_if_decided(message: Message, outcome: str) -> None:
    # Raises AlreadyDecided if the message can get no further verdict with this outcome.
    decision = None
    # Asked first: to find the newest of none, PostgreSQL may read the whole table.
    if message.decisions.exists():
        decision = message.decisions.last()
    if decision is not None and decision.state not in _OPEN_AGAIN:
        if not came_back(message):
            raise AlreadyDecided(who_was_first(decision), decision=decision)
        # The earlier verdicts have had their effect; those since it came back count.
        message.verdicts.filter(given_at__lte=decision.changed_at).void()
    if not message.is_held:
        raise AlreadyDecided(why_not_held(message))
    if decision is None or outcome != Outcome.APPROVE:
        return
    # MultiMail may have sent it already, also if it came back.
    if applied := message.decisions.applied_as(Outcome.APPROVE).first():
        raise AlreadyDecided(who_was_first(applied), decision=applied)
    if withdrawn := message.decisions.may_still_take_effect().first():
        raise AlreadyDecided(
            "An approval of this message was withdrawn and may still take effect. Reject it, request changes, or wait "
            "until two reads show that MultiMail still holds it.",
            decision=withdrawn,
        )


def why_not_held(message: Message) -> str:
    """Return as a sentence who decided a message that is not held, or its state."""
    newest = message.decisions.select_related("given_by").last()
    if newest is not None and newest.state not in _OPEN_AGAIN:
        return who_was_first(newest)
    what = MessageState(message.state).label.lower()
    return f"This message is no longer held: it is {what}."


def who_was_first(decision: Decision) -> str:
    """Return as a sentence who decided a message and when, as far as it is known."""
    if decision.state == DecisionState.SUPERSEDED and decision.explanation:
        return decision.explanation
    if decision.ended_by == EndedBy.EXPIRY:
        at = time_of_day(decision.recorded_at)
        return f"This message expired at {at}, before anybody decided it."
    later = ""
    if decision.is_for_later:
        later = f", to be sent {time_in_words(decision.later_at, decision.later_zone)}"
    return (
        f"{capfirst(decision.giver)} {decision.word} this message first, "
        f"at {time_of_day(decision.recorded_at)}{later}."
    )


def came_back(message: Message) -> bool:
    """Whether a message that was decided is held again, by a read after its decision
    had ended.
    """
    newest = last_of(message=message.public_id, actions=("message.held", *_ENDED))
    return newest == "message.held" and not message.decisions.live().exists()


def decide_by_rule(
    message: Message,
    *,
    rule: str,
    reason: str,
    actor: Actor,
    policy: Mapping[str, str] = {},
) -> Decision:
    """Reject a locked message because of a rule, in the caller's transaction; such a
    rule never approves.

    `policy` are the details of `policy_details` for the ledger.
    """
    at = clock()
    decision = make_decision(
        message,
        actor,
        at,
        policy,
        outcome=Outcome.REJECT,
        reason=reason,
        rule=rule,
        due_at=at,
    )
    tasks.execute_decision.delay_on_commit(decision.pk)
    return decision


def _name_by(message: Message, actor: Actor, *ids: str) -> None:
    # Searches find the message by who decided it, and what Discord signed about that.
    store.add_aliases(message, actor.label, *dict(actor.proof).values(), *ids)


def new_reference() -> str:
    """Return a new random reference for a decision or an edit."""
    return crockford(secrets.randbits(REFERENCE_BITS), REFERENCE_BITS // 5)


def make_decision(
    message: Message,
    actor: Actor,
    at: datetime,
    policy: Mapping[str, str],
    **fields: Any,
) -> Decision:
    """Store a decision on the current version of a locked message, and record it in the
    ledger.

    `at` is the database's time; `policy` are details for the ledger about the rules or
    the pass on which the decision rests; `fields` are columns of its row.
    """
    assert message.revision is not None, "only what was fetched is decided"
    decision = Decision.objects.create(
        message=message,
        revision=message.revision,
        reference=new_reference(),
        recorded_at=at,
        changed_at=at,
        **fields,
    )
    _name_by(message, actor, decision.reference)
    record_about(
        "decision.recorded",
        message,
        actor,
        fingerprint=message.revision.fingerprint,
        details={
            "outcome": decision.outcome,
            "reason": decision.reason,
            "reference": decision.reference,
            "subject": message.subject,
            "rule": decision.rule,
            "suggestion": decision.suggestion,
            "later": time_in_words(decision.later_at, decision.later_zone),
            **policy,
            **origin_details(message),
        },
        about=decision,
        outcome=decision.outcome,
    )
    return decision


@atomic_with_retry
def note_refusal(
    message: Message,
    *,
    actor: Actor,
    sentence: str,
    outcome: str = "",
    act: str = "",
    **words: str,
) -> None:
    """Record in the ledger that a verdict with this outcome, or another act, was
    refused: the sentence says why, and `words` are what the person typed with it.
    """
    details = {"outcome": outcome, "act": act, "explanation": sentence, **words}
    record_about(
        "verdict.refused" if outcome else "act.refused",
        message,
        actor,
        fingerprint=message.fingerprint,
        details=details,
    )
