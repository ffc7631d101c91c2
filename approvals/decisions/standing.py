"""Approves messages by standing approvals that two admins signed: records the decision,
and asks again before a call.

Each held message is met once. What does not fit in every respect is left to people; so
is one of every ten that fit, and nobody who decides it is told.
"""

import secrets
from datetime import timedelta

from django.db import transaction
from django.db.models import Exists, F, OuterRef

from approvals.decisions import settle
from approvals.decisions.decide import make_decision
from approvals.decisions.due import do_due
from approvals.decisions.ruling import rulings
from approvals.desk_messages import DeskMessageQuerySet, desk_messages
from approvals.models import Decision, Verdict
from approvals.models.decisions import DecisionQuerySet
from common.actors import Actor, Role, Scope, rule
from common.fingerprint import FIELDS
from common.postgres import clock
from mirror import store
from mirror.models import Message
from mirror.states import DecisionEvent, Outcome
from mirror.threads import conversation_of, enqueue_freshen
from policy.models import SAMPLE_OF, StandingApproval, StandingUse
from policy.rules.facts import facts_of
from policy.standing import Draft, StandingScope

_ACTOR = rule("standing approval")
_HOUR = timedelta(hours=1)


def due() -> DeskMessageQuerySet:
    """Return the held messages that have the mailbox, key and text of a standing
    approval, and were not met yet.

    Relies on review_alike. What anybody has given a verdict on, or was decided before,
    is left to people.
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
    """Let the standing approvals look at some of them; return how many were met.

    One of which this fails is left to people, who are not in doubt.
    """
    return do_due(due, _apply, order=("pk",), failure="standing approval not applied")


def _apply(locked: Message) -> bool:
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
    for standing in found:
        why = why_not(standing, locked)
        if not why:
            _approve_or_sample(standing, locked)
            return True
    if found:
        StandingUse.objects.create(
            standing=found[0], message=locked, kind=StandingUse.Kind.LEFT, why=why[:500]
        )
    return bool(found)


def _approve_or_sample(standing: StandingApproval, message: Message) -> None:
    kinds = StandingUse.Kind
    if standing.uses.approved_within(_HOUR).count() >= standing.cap_an_hour:
        kind = kinds.OVER_CAP
    else:
        place = standing.met % SAMPLE_OF
        if place == 0:
            # Drawn, so that no agent can count which message goes unseen.
            standing.sample_at = secrets.randbelow(SAMPLE_OF)
        standing.met += 1
        standing.save(update_fields=["met", "sample_at"])
        is_sample = place == standing.sample_at
        kind = kinds.SAMPLED if is_sample else kinds.APPROVED
    StandingUse.objects.create(standing=standing, message=message, kind=kind)
    if kind == kinds.APPROVED:
        at = clock()
        make_decision(
            message,
            actor_of(standing, message),
            at=at,
            policy={
                "standing": standing.sentence,
                "signed_by": standing.signatories,
            },
            outcome=Outcome.APPROVE,
            rule=standing.rule,
            standing=standing,
            signed_by=standing.signatories[:400],
            due_at=at + standing.delay,
        )


def actor_of(standing: StandingApproval, message: Message) -> Actor:
    """Return the actor of a standing approval's decision: no person, so nobody's own
    message, and no group's member.
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
    # The rules of the policy ask for more than one approval of any reviewer.
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
        return "The API key has another name or owner than when this was signed."
    known = facts_of(message, message.review, now=now, key_owners=owners)
    try:
        return " ".join(
            StandingScope.from_json(standing.scope).misfits(known, draft_of(message))
        )
    except ValueError as error:
        return str(error)


def draft_of(message: Message) -> Draft:
    """Return what a standing approval asks of a message besides its facts."""
    assert message.revision is not None, "only what was fetched is asked about"
    content = store.stored_content(message.revision)
    conversation = conversation_of(message)
    is_whole = set(content.coverage) >= set(FIELDS)
    is_read = not conversation.has_thread or not (
        conversation.is_being_read or conversation.words
    )
    return Draft(
        shape=message.shape if is_whole else "",
        sender_name=content.sender_name,
        reply_to=content.reply_to or "",
        is_sandbox=message.sandbox,
        is_scheduled=bool(content.send_at),
        is_apart=message.review.is_apart,
        is_followed=bool(conversation.late) or not is_read,
    )


def why_no_longer(decision: Decision) -> str:
    """Return why a standing approval no longer carries its decision; empty where it
    does. Asked before each call.
    """
    standing = StandingApproval.objects.in_force().filter(decisions=decision).first()
    if standing is None:
        return "The standing approval has ended, is switched off, or its date has come."
    if decision.message.verdicts.filter(live=True).exists():
        return "Its people have looked at it already."
    return why_not(standing, decision.message)


def to_stop() -> DecisionQuerySet:
    """Return the recorded decisions of standing approvals that are over or stopped, or
    whose content has changed.
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
def give_to_people(*, decision_id: int) -> None:
    """Undo a decision that is to be stopped, so that people decide the message."""
    found = Decision.objects.select_related("message__connection").get(pk=decision_id)
    locked = store.lock_current(found.message)
    decision = to_stop().filter(pk=decision_id).select_for_update(of=("self",)).first()
    if locked is None or decision is None:
        return
    decision.message = locked
    sentence = why_no_longer(decision) or "A person has to decide it."
    settle.advance(
        decision, event=DecisionEvent.UNDO, actor=_ACTOR, explanation=sentence
    )
