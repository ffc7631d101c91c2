"""Decides messages without a person: rejects what has expired, follows the policy, and
approves by standing approvals that two admins signed.

Expiry and policy never approve. Our gateway is told until when a message may be
approved, so that it refuses a late approval by anybody. Of what fits a standing
approval, one in ten is given to people as a sample, and they are not told that it is
one.
"""

import logging
import secrets
from collections.abc import Callable
from datetime import timedelta

from django.db import transaction
from django.db.models import Exists, F, OuterRef
from django.db.models.functions import Now

from approvals.decisions import settle
from approvals.decisions.decide import decide_by_rule, make_decision, policy_details
from approvals.decisions.ruling import demands_for, rulings
from approvals.desk_messages import DeskMessageQuerySet, desk_messages
from approvals.models import Decision, Review, Verdict
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
from policy.rules.facts import facts_of
from policy.standing import Draft, StandingScope
from upstream import errors

log = logging.getLogger(__name__)

_EXPIRY = rule("expiry")
_POLICY = rule("policy")
_BATCH = 200
_HOUR = timedelta(hours=1)
# The gateway will never take it: the message is not held there any more, or is not to
# be decided with this key.
_FINAL = (errors.NotFound, errors.Conflict, errors.Rejected, errors.Forbidden)


def _do_due(
    due: Callable[[], DeskMessageQuerySet],
    do: Callable[[Message], bool],
    *,
    order: tuple[str, ...] = (),
    failure: str,
) -> int:
    """Lock some of the messages that are due, one by one, and call `do` with each that
    still is; return how many times it did something.

    One that fails keeps no other waiting: it is logged, and stays due.
    """
    done = 0
    for message in due().select_related("connection").order_by(*order)[:_BATCH]:
        try:
            with transaction.atomic():
                locked = store.lock_current(message)
                if locked is not None and due().filter(pk=locked.pk).exists():
                    done += do(locked)
        except Exception:
            log.exception(failure, extra={"email": message.upstream_id})
    return done


def expiring() -> DeskMessageQuerySet:
    """Return the held messages that are about to expire, which was not announced yet."""
    return desk_messages().nearly_over()


def announce_expiring() -> int:
    """Record once for each held message that it is about to expire; return how many."""
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
    """Reject every held message that is expired by the database's clock; return how
    many were processed.

    A message for which this fails stays overdue, and is listed as stuck.
    """
    return _do_due(expired, _expire, failure="message not expired")


def expired() -> DeskMessageQuerySet:
    """Return the held messages that are expired by the database's clock."""
    return desk_messages().past_expiry()


def _expire(locked: Message) -> bool:
    """Stop what would still send the message, then reject it. Under the kill switch the
    reject waits.
    """
    over = f"{locked.expires_at:%Y-%m-%d %H:%M} UTC"
    for decision in locked.decisions.live().under_lock():
        # Leave it to a call that is running, or to a rejection that was decided.
        if not decision.is_approval or decision.state not in CAN_EXPIRE:
            return False
        settle.advance(
            decision,
            DecisionEvent.WITHDRAW if decision.may_have_left else DecisionEvent.REFUSE,
            _EXPIRY,
            f"The time to approve this message was over at {over}.",
            seen_held=0,
            seen_absent=0,
        )
    decide_by_rule(
        locked,
        rule="expiry",
        reason=f"Expired: it was not approved before {over}.",
        actor=_EXPIRY,
    )
    return True


def tell_expiry(message_id: int) -> str:
    """Tell the gateway the expiry of one message. Where it cannot be reached the sweep
    tries again.
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
    # What was told, or refused for good: the expiry may have been extended meanwhile.
    Message.objects.filter(pk=message.pk).update(gate_expires_at=expires_at)
    return outcome


def not_asked() -> DeskMessageQuerySet:
    """Return the held messages that the active version of the policy was not asked
    about yet.
    """
    return desk_messages().not_asked_by(PolicyVersion.objects.active().values("pk")[:1])


def apply_policy() -> int:
    """Apply the active policy to some of these messages; return how many were
    processed.

    Where this fails for a message, the policy is asked when somebody approves it.
    """
    return _do_due(
        not_asked, _follow_policy, order=("pk",), failure="policy not applied"
    )


def _follow_policy(locked: Message) -> bool:
    """Shorten the time of a message as the policy says, and reject it if a rule does."""
    active = PolicyVersion.objects.active().values_list("pk", flat=True).first()
    if active is None:
        return False
    now = clock()
    demand = demands_for([locked], _POLICY, now).get(locked.pk)
    if demand is None or not demand.is_readable:
        return False
    effects = demand.effects
    ends = locked.expires_at
    if effects.expire_minutes is not None:
        sooner = locked.held_at + timedelta(minutes=effects.expire_minutes)
        ends = sooner if ends is None else min(ends, sooner)
    Message.objects.filter(pk=locked.pk).update(expires_at=ends)
    Review.objects.filter(pk=locked.pk).update(policy_applied=active)
    if effects.reject:
        spoke = next(one for one in demand.requirement.spoke if one.then.reject)
        name = f"policy {demand.requirement.version}: {spoke.id}"
        policy = policy_details(demand, demand.progress)
        decide_by_rule(
            locked, rule=name, reason=effects.reject, actor=_POLICY, policy=policy
        )
    return True


def not_met() -> DeskMessageQuerySet:
    """Return the held messages with the mailbox, key and text of a standing approval
    that it was not asked about yet.

    Fast by the index review_alike. A message with a verdict or an earlier decision is
    left to people.
    """
    in_force = StandingApproval.objects.in_force()
    same = in_force.filter(
        mailbox=OuterRef("mailbox"),
        sent_by_key=OuterRef("sent_by_key"),
        shape=OuterRef("shape"),
    )
    held = (
        desk_messages()
        .real()
        .filter(review__is_held=True, review__shape__in=in_force.values("shape"))
    )
    held = held.filter(standing_use=None)
    fetched = held.exclude(hydrated_at=None).filter(
        Exists(same), connection__is_our_gateway=True
    )
    has_verdict = Exists(Verdict.objects.filter(message=OuterRef("pk")))
    return fetched.exclude(has_verdict).exclude(
        Exists(Decision.objects.filter(message=OuterRef("pk")))
    )


def approve_due() -> int:
    """Let standing approvals decide some of these messages; return for how many one was
    found.

    A message for which this fails is left to people as if there were no standing
    approval.
    """
    return _do_due(
        not_met, _meet_standing, order=("pk",), failure="standing approval not applied"
    )


def _meet_standing(locked: Message) -> bool:
    """Approve one message, send it to a person as a sample, or leave it to people."""
    if conversation_of(locked).is_being_read:
        # Threads are read when somebody opens a message. One that cannot be read is
        # left to people.
        enqueue_freshen(locked)
        return False
    same = StandingApproval.objects.in_force().filter(
        mailbox=locked.mailbox, sent_by_key=locked.sent_by_key, shape=locked.shape
    )
    # Locked, so that the cap and the sample count each message once.
    found = list(
        same.select_related("asked_by", "accepted_by")
        .select_for_update(of=("self",))
        .order_by("pk")
    )
    kinds = StandingUse.Kind
    for standing in found:
        why = why_not(standing, locked)
        if why:
            continue
        if standing.uses.approved_within(_HOUR).count() >= standing.cap_an_hour:
            kind = kinds.OVER_CAP
        else:
            place = standing.met % SAMPLE_OF
            if place == 0:
                # Drawn for each ten, so that no agent can tell which message no
                # person sees.
                standing.sample_at = secrets.randbelow(SAMPLE_OF)
            standing.met += 1
            standing.save(update_fields=["met", "sample_at"])
            is_sample = place == standing.sample_at
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
    if found:
        StandingUse.objects.create(
            standing=standing, message=locked, kind=kinds.LEFT, why=why[:500]
        )
    return bool(found)


def actor_of(standing: StandingApproval, message: Message) -> Actor:
    """Return the actor of a standing approval's decision: not a person, so no message
    is its own, and it is in no group.
    """
    scope = Scope(
        Role.REVIEWER, connection=message.connection_id, mailbox=message.mailbox_id
    )
    name = f"{standing}, version {standing.version}"
    return Actor(
        kind="rule", id=standing.rule, label=name, surface="worker", scopes=(scope,)
    )


def why_not(standing: StandingApproval, message: Message) -> str:
    """Return why a standing approval does not approve a message now, as sentences;
    empty where it does.

    By the database's clock, from what is stored now. Everything that would keep a
    person from approving counts too.
    """
    now = clock()
    ruling = rulings([message], actor_of(standing, message), now=now)[message.pk]
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
    known = facts_of(message, message.review, now=now, key_owners=owners)
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
        return " ".join(StandingScope.from_json(standing.scope).misfits(known, draft))
    except ValueError as error:
        return str(error)


def why_no_longer(decision: Decision) -> str:
    """Return why a standing approval no longer carries its decision; empty where it
    does. Asked before each call.
    """
    standing = StandingApproval.objects.in_force().filter(decisions=decision).first()
    if standing is None:
        return "The standing approval has ended, is switched off, or its end date has passed."
    if decision.message.verdicts.filter(live=True).exists():
        return "A reviewer has already given a verdict."
    return why_not(standing, decision.message)


def to_stop() -> DecisionQuerySet:
    """Return the decisions not yet sent whose standing approval has ended, that the kill
    switch holds back, or whose message has changed.
    """
    mine = Decision.objects.filter(
        standing__isnull=False, state="recorded", may_have_left=False
    )
    lives = StandingApproval.objects.in_force().filter(pk=OuterRef("standing"))
    return (
        mine.filter(~Exists(lives))
        | mine.held_back_by_switch()
        | mine.exclude(revision=F("message__revision"))
    )


@transaction.atomic
def give_to_people(decision_id: int) -> None:
    """Undo a decision that is to be stopped, so that people decide the message."""
    found = Decision.objects.select_related("message__connection").get(pk=decision_id)
    locked = store.lock_current(found.message)
    decision = to_stop().filter(pk=decision_id).select_for_update(of=("self",)).first()
    if locked is None or decision is None:
        return
    decision.message = locked
    sentence = why_no_longer(decision) or "A person has to decide it."
    settle.advance(decision, DecisionEvent.UNDO, rule("standing approval"), sentence)
