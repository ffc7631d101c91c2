"""Decides messages without a person, as duties of the sweep. Expired messages are
rejected, the policy may reject messages or set an earlier expiry, and standing
approvals, which two admins have signed, approve messages that fit them.

Only standing approvals approve. Of the messages that fit one, one in ten is left to
people as a sample, without telling them so. Our gateway is told when each message
expires, so that it refuses anybody's approval after that.
"""

import logging
import secrets
import time
from collections.abc import Callable
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Exists, F, OuterRef
from django.db.models.functions import Now

from approvals.decisions import settle
from approvals.decisions.decide import decide_by_rule, make_decision, policy_details
from approvals.decisions.ruling import (
    demands_for,
    expiry_of,
    lock_versions,
    rulings,
)
from approvals.desk_messages import DeskMessageQuerySet, desk_messages
from approvals.examination import look_for_words
from approvals.models import Decision, Replacement, Review, Verdict
from approvals.models.decisions import DecisionQuerySet
from common.actors import Actor, Role, Scope, rule
from common.fingerprint import FIELDS
from common.postgres import clock
from mirror import store
from mirror.models import Message
from mirror.recording import record_about
from mirror.states import DecisionEvent, Outcome
from mirror.sync import health, reads
from mirror.terms import CAN_EXPIRE
from mirror.threads import conversation_of, enqueue_freshen
from policy.models import SAMPLE_OF, PolicyVersion, StandingApproval, StandingUse
from policy.rules.demand import Demand
from policy.rules.facts import facts_of
from policy.standing import Draft, StandingScope
from upstream import errors

log = logging.getLogger(__name__)

# The actors in the ledger.
_EXPIRY = rule("expiry")
_POLICY = rule("policy")
# How many messages one sweep takes of each kind, and for how many seconds: of a new
# version of the policy, the words may have to be looked for in each.
_BATCH = 200
_SECONDS = 5.0
_HOUR = timedelta(hours=1)
# After these errors the gateway will never take an expiry: it does not hold the message
# any more, or this key may not decide it.
_FINAL = (errors.NotFound, errors.Conflict, errors.Rejected, errors.Forbidden)


def _do_due(
    due: Callable[[], DeskMessageQuerySet],
    do: Callable[[Message], bool],
    *,
    order: tuple[str, ...] = (),
    failure: str,
) -> int:
    """Call `do` with each message that is due, up to _BATCH and for _SECONDS, each
    locked and in a transaction of its own. Return for how many it returned True.

    If it fails for a message, that is logged as `failure`; the message stays due, and
    the others are still done.
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
            log.exception(failure, extra={"email": message.upstream_id})
    return done


def expiring() -> DeskMessageQuerySet:
    """Return the held messages that expire soon and whose expiry was not announced."""
    return desk_messages().nearly_over()


def announce_expiring() -> int:
    """Record in the ledger, once for each held message, that it expires soon, so that
    alerts announce it; return how many.
    """
    return _do_due(expiring, _announce, failure="expiry not announced")


def _announce(locked: Message) -> bool:
    Review.objects.filter(pk=locked.pk).update(expiry_told_at=Now())
    ends = f"{locked.expires_at:%Y-%m-%d %H:%M} UTC"
    sentence = f"It is rejected at {ends} unless it is approved."
    record_about(
        "message.expiring", locked, actor=_EXPIRY, details={"explanation": sentence}
    )
    return True


def expire_due() -> int:
    """Reject held messages that have expired by the database's clock; return how many.

    If this fails for a message, it stays overdue, and is listed under Needs attention.
    """
    return _do_due(expired, _expire, failure="message not expired")


def expired() -> DeskMessageQuerySet:
    """Return the held messages that have expired by the database's clock."""
    return desk_messages().past_expiry()


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
    Message.objects.filter(pk=message.pk).update(gate_expires_at=expires_at)
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
    return _do_due(
        not_asked, _follow_policy, order=("pk",), failure="policy not applied"
    )


def _follow_policy(locked: Message) -> bool:
    """Set an earlier expiry for a message, and reject it, if the policy says so; return
    whether the policy was applied.
    """
    active = PolicyVersion.objects.active().values_list("pk", flat=True).first()
    if active is None:
        return False
    # Before a rule may reject the message, because it may name a word in it.
    if look_for_words(locked):
        locked.review.save(update_fields=["policy_facts"])
    # A file that is being read is not rejected for what it may be.
    demands = demands_for([locked], _POLICY, clock(), is_automatic=True)
    demand = demands.get(locked.pk)
    if demand is None or not demand.is_readable:
        return False
    effects = demand.effects
    expires_at = expiry_of(locked, effects)
    Message.objects.filter(pk=locked.pk).update(expires_at=expires_at)
    Review.objects.filter(pk=locked.pk).update(policy_applied=active)
    if effects.reject:
        rejecting = next(one for one in demand.requirement.spoke if one.then.reject)
        name = f"policy {demand.requirement.version}: {rejecting.id}"
        policy = policy_details(demand, demand.progress)
        decide_by_rule(
            locked, rule=name, reason=effects.reject, actor=_POLICY, policy=policy
        )
    return True


def latest_expiry(message: Message, actor: Actor, now: datetime) -> datetime | None:
    """Return until when the policy and the mailbox let a message wait, at most; None for
    any time. An edit gives it no more time than the version that was held first.
    """
    first = message
    if edit := Replacement.objects.that_made([message]).first():
        first = edit.root
    demand = demands_for([message], actor, now).get(message.pk, Demand())
    if not demand.is_readable:
        return message.expires_at
    spans = []
    if demand.effects.expire_minutes is not None:
        spans.append(timedelta(minutes=demand.effects.expire_minutes))
    if message.mailbox and message.mailbox.expire_after:
        spans.append(message.mailbox.expire_after)
    return min((first.held_at + span for span in spans), default=None)


def not_met() -> DeskMessageQuerySet:
    """Return the held messages to which no standing approval was applied yet, although
    one has their mailbox, API key and text (uses the index review_alike).

    A message with a verdict, an edit or an earlier decision is left to people.
    """
    in_force = StandingApproval.objects.in_force()
    fitting = in_force.filter(
        mailbox=OuterRef("mailbox"),
        sent_by_key=OuterRef("sent_by_key"),
        shape=OuterRef("shape"),
    )
    alike = desk_messages().filter(
        review__is_held=True, review__shape__in=in_force.values("shape")
    )
    alike = alike.filter(standing_use=None)
    fetched = alike.exclude(hydrated_at=None).filter(
        Exists(fitting), connection__is_our_gateway=True
    )
    # A refused edit is as if nobody had edited it.
    edits = Replacement.objects.exclude(state="refused")
    for acts in (Verdict.objects.all(), edits, Decision.objects.all()):
        fetched = fetched.exclude(Exists(acts.filter(message=OuterRef("pk"))))
    return fetched


def approve_due() -> int:
    """Apply standing approvals to messages that may fit one; return their number.

    If this fails for a message, people decide it, as without a standing approval.
    """
    return _do_due(
        not_met, _meet_standing, order=("pk",), failure="standing approval not applied"
    )


def _meet_standing(locked: Message) -> bool:
    """Apply standing approvals to a locked message, and store what came of it as a
    StandingUse: approved, left to people as a sample, or left to people because the cap
    is reached or no standing approval fits. Return whether that was stored.
    """
    if conversation_of(locked).is_being_read:
        # Normally the thread is read when somebody opens the message. If it cannot be
        # read, the message is left to people.
        enqueue_freshen(locked)
        return False
    lock_versions(locked)
    with_same_text = StandingApproval.objects.in_force().filter(
        mailbox=locked.mailbox, sent_by_key=locked.sent_by_key, shape=locked.shape
    )
    # Locked, so that two workers count neither cap nor samples at the same time.
    candidates = list(
        with_same_text.select_related("asked_by", "accepted_by")
        .select_for_update(of=("self",))
        .order_by("pk")
    )
    kinds = StandingUse.Kind
    for standing in candidates:
        why = why_not(standing, locked)
        if why:
            continue
        in_hour = StandingUse.objects.approved_by(standing, within=_HOUR).count()
        if in_hour >= standing.cap_an_hour:
            kind = kinds.OVER_CAP
        else:
            number_in_ten = standing.met % SAMPLE_OF
            if number_in_ten == 0:
                # Drawn again for every ten messages, so that no agent can tell which of
                # them no person sees.
                standing.sample_at = secrets.randbelow(SAMPLE_OF)
            standing.met += 1
            standing.save(update_fields=["met", "sample_at"])
            is_sample = number_in_ten == standing.sample_at
            kind = kinds.SAMPLED if is_sample else kinds.APPROVED
        StandingUse.objects.create(standing=standing, message=locked, kind=kind)
        if kind == kinds.APPROVED:
            at = clock()
            policy = {"standing": standing.sentence, "signed_by": standing.signatories}
            make_decision(
                locked,
                actor_of(standing, locked),
                at,
                policy,
                outcome=Outcome.APPROVE,
                rule=standing.rule,
                standing=standing,
                signed_by=standing.signatories[:400],
                due_at=at + standing.delay,
            )
        return True
    if candidates:
        StandingUse.objects.create(
            standing=standing, message=locked, kind=kinds.LEFT, why=why[:500]
        )
    return bool(candidates)


def actor_of(standing: StandingApproval, message: Message) -> Actor:
    """Return the actor that decides for a standing approval. It has the role of a
    reviewer of the mailbox, but is no person, and so neither an author nor in a group.
    """
    scope = Scope(
        Role.REVIEWER, connection=message.connection_id, mailbox=message.mailbox_id
    )
    name = f"{standing}, version {standing.version}"
    return Actor(
        kind="rule", id=standing.rule, label=name, surface="worker", scopes=(scope,)
    )


def why_not(standing: StandingApproval, message: Message) -> str:
    """Return why a standing approval may not approve a message now, as sentences; empty
    if it may.

    Whatever would keep a person from approving the message counts too. Times are
    compared with the database's clock.
    """
    ruling = rulings([message], actor_of(standing, message))[message.pk]
    if not ruling.may_approve or ruling.rule:
        return ruling.reasons[0]
    if ruling.judged.would_be_refused:
        return "A recipient is on no allowlist."
    # The policy asks for more than a single approval by any reviewer.
    then = ruling.demand.effects
    if (
        ruling.demand.asks_people
        or ruling.demand.approvals
        or then.reauthenticate
        or then.never_in_bulk
        or then.high_risk_page
        or then.bar_editor
    ):
        return "A rule of the policy asks for people."
    owners = ruling.facts.contributors.key_owners
    if (
        owners != set(standing.key_owners)
        or message.sent_by_key_name != standing.key_name
    ):
        return "The API key's name or owner has changed since the standing approval was signed."
    facts = facts_of(message, message.review, key_owners=owners)
    assert message.revision is not None, "only what was fetched is asked about"
    content = store.stored_content(message.revision)
    conversation = conversation_of(message)
    is_whole = set(content.coverage) >= set(FIELDS)
    is_read = not conversation.has_thread or not (
        conversation.is_being_read or conversation.words
    )
    draft = Draft(
        shape=message.shape if is_whole else "",
        sender_name=content.sender_name,
        reply_to=content.reply_to or "",
        is_sandbox=message.sandbox,
        is_scheduled=bool(content.send_at),
        is_apart=message.review.is_apart,
        is_followed=bool(conversation.late) or not is_read,
    )
    try:
        return " ".join(StandingScope.from_json(standing.scope).misfits(facts, draft))
    except ValueError as error:
        return str(error)


def why_no_longer(decision: Decision) -> str:
    """Return why a decision of a standing approval may no longer be carried out, as a
    sentence; empty if it may. Asked before each call.
    """
    standing = StandingApproval.objects.in_force().filter(decisions=decision).first()
    if standing is None:
        return "The standing approval has ended, is switched off, or its end date has passed."
    if decision.message.verdicts.filter(live=True).exists():
        return "A reviewer has already given a verdict."
    return why_not(standing, decision.message)


def to_stop() -> DecisionQuerySet:
    """Return decisions of standing approvals that must not be carried out: their call
    was not made yet, and the standing approval has ended, a kill switch stops them, or
    the message has changed.
    """
    waiting = Decision.objects.filter(
        standing__isnull=False, state="recorded", may_have_left=False
    )
    in_force = StandingApproval.objects.in_force().filter(pk=OuterRef("standing"))
    return (
        waiting.filter(~Exists(in_force))
        | waiting.held_back_by_switch()
        | waiting.exclude(revision=F("message__revision"))
    )


@transaction.atomic
def give_to_people(decision_id: int) -> None:
    """Undo a decision of a standing approval, if `to_stop` returns it, so that people
    decide the message.
    """
    unlocked = Decision.objects.select_related("message__connection").get(
        pk=decision_id
    )
    locked = store.lock_current(unlocked.message)
    decision = to_stop().filter(pk=decision_id).select_for_update(of=("self",)).first()
    if locked is None or decision is None:
        return
    decision.message = locked
    sentence = why_no_longer(decision) or "A person has to decide it."
    settle.advance(decision, DecisionEvent.UNDO, rule("standing approval"), sentence)
