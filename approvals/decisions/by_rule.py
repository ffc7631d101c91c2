"""Decides messages without a person, as duties of the sweep. Expired messages are
rejected, the policy may reject messages or set an earlier expiry, and passes of the
policy, which two admins have signed, approve messages to which no rule applies.

Only passes approve. Our gateway is told when each message expires, so that it refuses
anybody's approval after that.
"""

import logging
import time
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import CharField, F, Subquery, Value
from django.db.models.functions import Cast, Coalesce, Concat, Now

from approvals.decisions import settle
from approvals.decisions.decide import decide_by_rule, make_decision, policy_details
from approvals.decisions.later import timing_of
from approvals.decisions.ruling import (
    contributors_of,
    demands_for,
    expiry_of,
    latest_end,
    lock_versions,
    ruling_of,
)
from approvals.desk_messages import DeskMessageQuerySet, desk_messages
from approvals.errors import VerdictNotAllowed
from approvals.examination import look_for_words
from approvals.models import Decision, Replacement, Review, Verdict
from approvals.models.decisions import DecisionQuerySet
from audit.models import Entry
from common.actors import Actor, Role, Scope, rule
from common.postgres import clock, take_lock
from mirror import store
from mirror.models import Message
from mirror.recording import record_about
from mirror.states import CAN_EXPIRE, DecisionEvent, DecisionState, Outcome
from mirror.sync import health, reads
from mirror.threads import conversation_of, enqueue_freshen
from policy.errors import RuleError
from policy.models import PolicyVersion
from policy.rules.demand import Demand
from policy.rules.facts import (
    active_policy,
    facts_of,
    leaving_of,
    lookups_for,
    names_for,
    signed_passes,
)
from policy.rules.rules import Misfit, Pass
from upstream import errors

log = logging.getLogger(__name__)

# The actors in the ledger.
_EXPIRY = rule("expiry")
_POLICY = rule("policy")
# How many messages one sweep takes of each kind, and for how many seconds: of a new
# version of the policy, the words may have to be looked for in each.
_BATCH = 200
_SECONDS = 5.0
# How long after it was held a message waits for its thread to be read. Those that wait
# are asked about in each sweep, before newer ones.
_THREAD_WAIT = timedelta(minutes=10)
# For how long a pass does not send the text of a message that somebody stopped.
_STOPS_FOR = timedelta(days=30)
_STOPPED = ("decision.undone", "decision.withdrawn")
# After these errors the gateway will never take an expiry: it does not hold the message
# any more, or this key may not decide it.
_FINAL = (errors.NotFound, errors.Conflict, errors.Rejected, errors.Forbidden)


def _do_due(
    due: Callable[[], DeskMessageQuerySet],
    do: Callable[[Message], bool],
    *,
    order: tuple[str, ...] = (),
) -> int:
    """Call `do` with each message that is due, up to _BATCH and for _SECONDS, each
    locked and in a transaction of its own. Return for how many it returned True.

    If it fails for a message, that is logged; the message stays due, and the others are
    still done.
    """
    done = 0
    until = time.monotonic() + _SECONDS
    for message in due().select_related("connection").order_by(*order)[:_BATCH]:
        if time.monotonic() > until:
            break
        try:
            with transaction.atomic():
                locked = store.lock_current(message)
                if locked is not None and due().filter(pk=locked.pk).exists():
                    done += do(locked)
        except Exception:
            about = {"email": message.upstream_id, "command": do.__name__}
            log.exception("not done by the sweep", extra=about)
    return done


def announce_expiring() -> int:
    """Record in the ledger, once for each held message, that it expires soon, so that
    alerts announce it; return how many.
    """
    return _do_due(desk_messages().nearly_over, _announce)


def _announce(locked: Message) -> bool:
    Review.objects.filter(pk=locked.pk).update(expiry_told_at=Now())
    ends = f"{locked.expires_at:%Y-%m-%d %H:%M} UTC"
    sentence = f"It is rejected at {ends} unless it is approved."
    record_about("message.expiring", locked, _EXPIRY, details={"explanation": sentence})
    return True


def expire_due() -> int:
    """Reject held messages that have expired by the database's clock; return how many.

    If this fails for a message, it stays overdue, and is listed under Needs attention.
    """
    return _do_due(desk_messages().past_expiry, _expire)


def _expire(locked: Message) -> bool:
    """Stop an approval that has not taken effect yet, then decide to reject the
    message; return whether that was done.

    Under a kill switch it is decided too, but the call to MultiMail waits.
    """
    expired_at = f"{locked.expires_at:%Y-%m-%d %H:%M} UTC"
    for decision in locked.decisions.live().under_lock():
        # A rejection, or a call that is being made, decides the message instead.
        if not decision.is_approval or decision.state not in CAN_EXPIRE:
            return False
        settle.advance(
            decision,
            DecisionEvent.WITHDRAW if decision.may_have_left else DecisionEvent.REFUSE,
            _EXPIRY,
            f"The time to approve this message was over at {expired_at}.",
            seen_held=0,
            seen_absent=0,
        )
    decide_by_rule(
        locked,
        rule="expiry",
        reason=f"Expired: it was not approved before {expired_at}.",
        actor=_EXPIRY,
    )
    return True


def tell_expiry(message_id: int) -> str:
    """Tell our gateway when one message expires; return what came of it as a word. If
    the gateway cannot be reached, the sweep tries again.
    """
    message = (
        Message.objects.expiry_to_tell()
        .select_related("connection")
        .filter(pk=message_id)
        .first()
    )
    if message is None or message.expires_at is None:
        return "nothing to tell"
    expires_at = message.expires_at
    outcome = "told"
    try:
        client = reads.oversight_client(message.connection)
        client.set_expiry(email_id=message.upstream_id, expires_at=expires_at)
    except _FINAL as error:
        outcome = "refused"
        log.warning(
            "expiry refused by the gateway",
            extra={"email": message.upstream_id, "reason": error.sentence},
        )
    except errors.Throttled as error:
        health.wait(message.connection, error)
        return "not now"
    except errors.UpstreamError as error:
        log.warning(
            "expiry not told",
            extra={"email": message.upstream_id, "reason": type(error).__name__},
        )
        return "not told"
    # Store this expiry, also if the gateway refused it for good, and not the current
    # one: that may have been extended in the meantime, and then is told again.
    message.row.update(gate_expires_at=expires_at)
    return outcome


def not_asked() -> DeskMessageQuerySet:
    """Return the held messages to which the active version of the policy was not
    applied yet.
    """
    return desk_messages().not_yet_under(
        PolicyVersion.objects.active().values("pk")[:1]
    )


def apply_policy() -> int:
    """Apply the active policy to messages to which it was not applied yet; return their
    number.

    If this fails for a message, the policy still counts when somebody approves it.
    """
    return _do_due(not_asked, _follow_policy, order=("pk",))


def _follow_policy(locked: Message) -> bool:
    """Set an earlier expiry for a message, and reject it, if the policy says so, or
    approve it by a pass; return whether the policy was applied.
    """
    active = PolicyVersion.objects.active().values_list("pk", flat=True).first()
    if active is None:
        return False
    # Before a rule may reject the message, because it may name a word in it.
    if look_for_words(locked):
        locked.review.save(update_fields=["policy_facts"])
    at = clock()
    # A file that is being read is not rejected for what it may be.
    contributors = contributors_of([locked])
    demands = demands_for(
        [locked], _POLICY, at, contributors=contributors, is_automatic=True
    )
    demand = demands[locked.pk]
    if demand.policy.unreadable or _use_pass(locked, demand, at) is None:
        return False
    expires_at = expiry_of(locked, demand.effects, contributors[locked.pk])
    locked.row.update(expires_at=expires_at)
    Review.objects.filter(pk=locked.pk).update(policy_applied=active)
    # What is in doubt is left to people, who cannot approve it meanwhile.
    rejecting = next(
        (
            one
            for one in demand.spoke
            if one.then.reject and one.when.certainly_apply_to(demand.facts)
        ),
        None,
    )
    if rejecting is not None:
        decide_by_rule(
            locked,
            rule=f"policy {demand.policy.number}: {rejecting.id}",
            reason=rejecting.then.reject,
            actor=_POLICY,
            policy=policy_details(demand, demand.progress),
        )
    return True


def latest_expiry(message: Message, actor: Actor, now: datetime) -> datetime | None:
    """Return until when the policy lets a message wait, at most; None for any time."""
    ruling = ruling_of(message, actor, now=now)
    if ruling.demand.policy.unreadable:
        return message.expires_at
    return latest_end(message, ruling.demand.effects, ruling.contributors)


def _use_pass(locked: Message, demand: Demand, at: datetime) -> bool | None:
    """Approve a message without a person, if no rule applies to it, a pass admits it,
    and nobody gave a verdict, edited it or decided it before. Return whether that was
    done; None if it cannot be known yet.
    """
    policy = active_policy()
    key = f"{locked.connection_id}:{locked.sent_by_key}"
    signed = [
        (one, names)
        for one, names in signed_passes(policy, at).values()
        if key in one.keys and locked.mailbox_id in one.mailboxes
    ]
    # A refused edit is as if nobody had edited it.
    edits = Replacement.objects.exclude(state="refused")
    people = (Verdict.objects.all(), edits, Decision.objects.all())
    if (
        demand.spoke
        or not signed
        or any(rows.filter(message=locked).exists() for rows in people)
    ):
        return False
    is_new = at - locked.held_at < _THREAD_WAIT
    if is_new and conversation_of(locked).is_being_read:
        # Normally the thread is read when somebody opens the message. If it cannot be
        # read for so long, the message is left to people.
        enqueue_freshen(locked)
        return None
    lock_versions(locked)
    reasons = why_not(locked, [one for one, _ in signed])
    for (one, signatories), reason in zip(signed, reasons, strict=True):
        if reason:
            continue
        # Until this is committed, no other worker counts for the same pass.
        take_lock(f"policy.pass.{one.id}")
        at = clock()
        window = locked.mailbox.undo_window if locked.mailbox else timedelta(0)
        try:
            timing = timing_of(None, locked, at, window, thread_read=0)
        except VerdictNotAllowed:
            # It expires before its time: nobody could approve it either.
            return False
        # Those that leave within a day of it, whenever they were decided.
        leaves_at, day = timing.get("later_at") or at, timedelta(hours=24)
        others = Decision.objects.by_pass().annotate(
            leaves_at=Coalesce("later_at", "recorded_at")
        )
        sent = others.filter(
            pass_id=one.id,
            leaves_at__gt=leaves_at - day,
            leaves_at__lt=leaves_at + day,
        )
        if sent.count() >= one.a_day:
            continue
        rule_id = f"pass {one.id} version {policy.number}"
        make_decision(
            locked,
            _actor_for(locked, rule_id, f"the pass “{one.name}”"),
            at,
            {"pass": one.sentence(names_for()), "signed_by": signatories},
            outcome=Outcome.APPROVE,
            rule=rule_id,
            pass_id=one.id,
            pass_name=one.name,
            pass_ends_at=one.ends_at,
            signed_by=signatories[:400],
            **timing,
        )
        return True
    return False


def _actor_for(message: Message, rule_id: str, label: str) -> Actor:
    """Return the actor that decides for a pass. It has the role of a reviewer of the
    mailbox, but is no person, and so neither an author nor in a group.
    """
    scope = Scope(
        Role.REVIEWER, connection=message.connection_id, mailbox=message.mailbox_id
    )
    return Actor(
        kind="rule", id=rule_id, label=label, surface="worker", scopes=(scope,)
    )


def why_not(message: Message, passes: Sequence[Pass]) -> list[str]:
    """Return for each of these passes why it may not send a message now, as sentences;
    empty if it may.

    Whatever would keep a person from approving the message counts too. Times are
    compared with the database's clock.
    """
    now = clock()
    ruling = ruling_of(message, _actor_for(message, "pass", "a pass"))
    if not ruling.may_approve or ruling.rule:
        return [ruling.reasons[0]] * len(passes)
    if _was_stopped_before(message):
        return [str(Misfit.STOPPED.label)] * len(passes)
    thread = conversation_of(message)
    is_unread = thread.has_thread and (thread.is_being_read or thread.words)
    leaving = leaving_of(message, now, is_followed=bool(thread.late or is_unread))
    facts = facts_of(message, lookups_for(passes, now, [message]))
    is_asked = bool(ruling.demand.spoke)
    misfits = [one.misfits(facts, *leaving, is_asked=is_asked) for one in passes]
    return [" ".join(str(code.label) for code in codes) for codes in misfits]


def _was_stopped_before(message: Message) -> bool:
    """Whether a pass had approved another message with this text, somebody stopped
    that, and no person has approved such a message since.
    """
    alike = Decision.objects.filter(
        message__shape=message.shape, message__mailbox=message.mailbox_id
    ).exclude(message=message)
    stopped = alike.by_pass().filter(
        state__in=(DecisionState.UNDONE, DecisionState.WITHDRAWN),
        changed_at__gt=Now() - _STOPS_FOR,
    )
    times = dict(stopped.values_list("message__public_id", "changed_at"))
    # Not by the desk itself, as when the pass had ended.
    by_people = Entry.objects.filter(
        message__in=times, action__in=_STOPPED, actor_kind="person"
    )
    stopped_by_people = set(by_people.values_list("message", flat=True))
    latest = max(
        (at for key, at in times.items() if key in stopped_by_people), default=None
    )
    if latest is None:
        return False
    approved_since = alike.filter(
        given_by__isnull=False, outcome=Outcome.APPROVE, recorded_at__gt=latest
    )
    return not approved_since.exists()


def why_no_longer(decision: Decision) -> str:
    """Return why a decision of a pass may no longer be carried out, as a sentence;
    empty if it may. Asked before each call, of the version that is active then.
    """
    message = decision.message
    try:
        policy = active_policy()
    except RuleError as error:
        return error.sentence
    now = clock()
    one, _ = signed_passes(policy, now).get(decision.pass_id, (None, ""))
    if one is None or decision.pass_ends_at is None or decision.pass_ends_at <= now:
        return str(Misfit.GONE.label)
    if message.revision_id != decision.revision_id:
        return "The content changed after the decision."
    if message.verdicts.filter(live=True).exists():
        return "A reviewer has already given a verdict."
    return why_not(message, [one])[0]


def to_stop() -> DecisionQuerySet:
    """Return decisions of passes whose call was not made yet, and that perhaps must not
    be carried out: another version of the policy is active, the pass has ended, a kill
    switch stops them, or the message has changed.
    """
    waiting = Decision.objects.by_pass().filter(state="recorded", may_have_left=False)
    version = PolicyVersion.objects.active().values("number")
    of_active = Concat(Value(" version "), Cast(Subquery(version), CharField()))
    return (
        waiting.exclude(rule__endswith=of_active)
        | waiting.filter(pass_ends_at__lte=Now())
        | waiting.held_back_by_switch()
        | waiting.exclude(revision=F("message__revision"))
    )


@transaction.atomic
def give_to_people(decision_id: int) -> None:
    """Undo a decision of a pass that must not be carried out, so that people decide the
    message.
    """
    unlocked = Decision.objects.select_related("message__connection").get(
        pk=decision_id
    )
    locked = store.lock_current(unlocked.message)
    decision = to_stop().filter(pk=decision_id).select_for_update(of=("self",)).first()
    if locked is None or decision is None:
        return
    decision.message = locked
    if sentence := why_no_longer(decision):
        settle.advance(decision, DecisionEvent.UNDO, rule("pass"), sentence)
