"""Ends standing approvals: by hand, and by themselves with anything that speaks against
their class of messages.

Ending one lets nothing leave: its recorded decisions are asked again before their
calls, and the sweep gives their messages to people.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.db.models.functions import Now

from approvals.models import Decision, Replacement
from audit.models import Entry
from audit.recording import record, recorded
from common.actors import Actor, Role, rule
from common.postgres import clock
from mirror.errors import ActNotAllowed
from mirror.models import Message
from mirror.states import DecisionState, MessageState, Outcome
from people.models import Grant
from policy.models import StandingApproval, StandingUse

ACTOR = rule("standing approval")
# The share of bounces is of at least so many messages, within this time: one of three
# says little.
LEAST_SENT = 20
BOUNCES_WITHIN = timedelta(days=30)
_SAMPLES_WITHIN = timedelta(days=30)
_KEY_ACTIONS = (
    "api_key.changed",
    "api_key.revoked",
    "api_key.paused",
    "api_key.owner_set",
)
MAX_REASON = 500


@transaction.atomic
def end_standing(
    *, standing_id: int, actor: Actor, because: str
) -> StandingApproval | None:
    """End a standing approval by hand; None where it has ended already. Raises
    ActNotAllowed.

    That tightens policy, so any admin of its mailbox may, alone and at once.
    """
    found = _lock(StandingApproval.objects.filter(pk=standing_id))
    if not found:
        return None
    if not found[0].is_for(actor):
        raise ActNotAllowed(
            "Only an admin of this mailbox can end its standing approvals."
        )
    if not because.strip():
        raise ActNotAllowed("Give a reason: it stays in the record.")
    return end(found[0], because=because.strip()[:MAX_REASON], actor=actor)


def end(
    standing: StandingApproval, *, because: str, actor: Actor = ACTOR
) -> StandingApproval:
    """End a locked standing approval, in the caller's transaction."""
    standing.state = StandingApproval.State.ENDED
    standing.ended_at = clock()
    standing.ended_because = because
    standing.ended_by_id = int(actor.id) if actor.kind == "person" else None
    standing.save(update_fields=["state", "ended_at", "ended_because", "ended_by"])
    record(
        "standing.ended",
        actor=actor,
        connection=standing.mailbox.connection_id,
        details={
            "standing": standing.rule,
            "change": standing.sentence,
            "mailbox": str(standing.mailbox),
            "signed_by": standing.signatories,
            "before": "approves messages",
            "after": "ended",
            "explanation": because,
        },
        about=standing,
    )
    return standing


def over() -> QuerySet[StandingApproval]:
    """Return those that end by their date, because who signed them is no admin any
    more, or by a sample's finding.
    """
    active = StandingApproval.objects.active()
    sampled = StandingUse.objects.filter(
        standing=OuterRef("pk"),
        kind=StandingUse.Kind.SAMPLED,
        at__gt=Now() - _SAMPLES_WITHIN,
    )
    has_finding = Exists(sampled.exclude(message__review__rules=[]))
    unsigned = ~Exists(_admins("asked_by")) | ~Exists(_admins("accepted_by"))
    return active.filter(Q(ends_at__lte=Now()) | has_finding | unsigned)


def _admins(signatory: str) -> QuerySet[Grant]:
    """Return the roles by which a signatory is an admin of the mailbox."""
    own = Grant.objects.filter(
        person=OuterRef(signatory), person__is_active=True, role=Role.ADMIN
    )
    here = Q(connection=None, mailbox=None) | Q(
        connection=OuterRef("mailbox__connection"), mailbox=None
    )
    return own.filter(here | Q(mailbox=OuterRef("mailbox")))


@transaction.atomic
def end_over(standing_id: int) -> None:
    """End one if it is still over."""
    for standing in _lock(over().filter(pk=standing_id)):
        # The last of these that applies counts.
        why = "A finding came up in a message that had gone to a person as a sample."
        for person in (standing.accepted_by, standing.asked_by):
            if not standing.is_for(person.actor(surface="worker")):
                why = f"{person}, who signed it, is no longer an admin of this mailbox."
        if standing.ends_at <= clock():
            why = f"Its date came: {standing.ends_at:%Y-%m-%d %H:%M} UTC."
        end(standing, because=why)


def undecided_samples() -> QuerySet[StandingUse]:
    """Return the samples of the last 30 days that a person has decided, for which that
    is not noted yet.
    """
    decided = Decision.objects.filter(
        message=OuterRef("message"), rule="", state=DecisionState.APPLIED
    )
    samples = StandingUse.objects.filter(
        kind=StandingUse.Kind.SAMPLED, outcome="", at__gt=Now() - _SAMPLES_WITHIN
    )
    return samples.filter(Exists(decided))


@transaction.atomic
def note_outcome(use_id: int) -> None:
    """Note what people decided about one."""
    use = StandingUse.objects.filter(pk=use_id, outcome="").first()
    if use is None:
        # Another worker noted it.
        return
    own = use.message.decisions.filter(rule="", state=DecisionState.APPLIED)
    decided = own.order_by("-pk").first()
    if decided is not None:
        is_agreed = decided.outcome == Outcome.APPROVE
        outcomes = StandingUse.Outcome
        use.outcome = outcomes.AGREED if is_agreed else outcomes.DISAGREED
        use.person_id = decided.given_by_id
        use.decided_at = decided.changed_at
        use.save(update_fields=["outcome", "person", "decided_at"])


def on_recorded(
    entry: Entry, details: Mapping[str, str], about: Any = None, **_: Any
) -> None:
    """End what an entry speaks against, in the transaction that wrote it."""
    if entry.action == "decision.recorded" and isinstance(about, Decision):
        if about.given_by_id is None or about.outcome == Outcome.APPROVE:
            return
        what = "rejected" if about.outcome == Outcome.REJECT else "returned"
        found = _like(about.message)
        because = f"{about.given_by} {what} a message of this kind."
    elif entry.action == "message.edit_asked" and isinstance(about, Replacement):
        found = _like(about.message)
        because = f"{about.person} edited a message of this kind."
    elif entry.action in ("message.complained", "message.bounced") and entry.message:
        uses = StandingUse.objects.filter(kind=StandingUse.Kind.APPROVED)
        found = StandingApproval.objects.filter(
            uses__in=uses.filter(message__public_id=entry.message)
        )
        because = "A recipient marked a message that it approved as spam."
    elif entry.action in _KEY_ACTIONS and details.get("key"):
        found = StandingApproval.objects.filter(
            mailbox__connection=entry.connection, sent_by_key=details["key"]
        )
        because = "The API key was changed."
    else:
        return
    for standing in _lock(found):
        if entry.action == "message.bounced":
            approved = standing.uses.approved_within(BOUNCES_WITHIN)
            sent = approved.count()
            bounced = approved.filter(message__state=MessageState.BOUNCED).count()
            if bounced * 100 <= standing.bounce_percent * max(sent, LEAST_SENT):
                continue
            because = (
                f"{bounced} of the {sent} messages that it approved in 30 days bounced."
            )
        end(standing, because=because)


def _like(message: Message) -> QuerySet[StandingApproval]:
    """Return those with the mailbox, key and text of a message, whether or not they
    would have admitted it.
    """
    if message.mailbox_id is None or not message.shape or not message.sent_by_key:
        return StandingApproval.objects.none()
    return StandingApproval.objects.like(
        mailbox=message.mailbox_id, key=message.sent_by_key, shape=message.shape
    )


def _lock(found: QuerySet[StandingApproval]) -> list[StandingApproval]:
    named = found.active().select_related("asked_by", "accepted_by", "mailbox")  # type: ignore[attr-defined]
    return list(named.select_for_update(of=("self",)).order_by("pk"))


def connect() -> None:
    """Listen to the ledger."""
    recorded.connect(on_recorded, dispatch_uid="approvals.standing")
