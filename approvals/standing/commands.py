"""Commands that sign standing approvals, switch them on or off for the organisation,
and end them.

Signing and switching on always take two admins: one asks, another accepts. Ending one,
or switching all off, takes one admin and works at once. A standing approval also ends
by itself, for instance when a person rejects a message of its class (`on_recorded`,
`over`). After its end none of its recorded decisions is carried out: each is checked
again before its call, and the sweep gives the messages to people.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.db.models import Exists, Max, OuterRef, Q, QuerySet
from django.db.models.functions import Now
from django.urls import reverse

from approvals.errors import InvalidInput
from approvals.models import Decision, Replacement
from approvals.standing.record import Proposal, Terms, proposal_for
from audit.models import Entry
from audit.recording import record, recorded
from common.actors import Actor, Role, rule
from common.postgres import atomic_with_retry, clock
from mirror.errors import ActNotAllowed
from mirror.models import Mailbox, Message
from mirror.states import DecisionState, MessageState, Outcome
from people.models import Grant
from people.second_admin.registry import CanWait, ChangeInWords, second_admin
from people.second_admin.setting import lock_settings, organisation_settings
from policy.models import StandingApproval, StandingUse
from policy.rules.conditions import as_json

# How far ahead the end of a standing approval can be.
LONGEST = timedelta(days=180)
# Limits of the delay, in minutes, in which anybody can stop a message.
SHORTEST_DELAY = 1
LONGEST_DELAY = 1440
# Limits of the messages an hour, and of the percentage of bounces that ends one.
MOST_AN_HOUR = 1000
MOST_PERCENT = 50
# The switch in words, off and on.
_WORDS = ("Standing approvals are off", "Standing approvals are on")


class StandingRefused(InvalidInput):
    """A standing approval cannot be signed with these terms; the sentence says why and
    what to do.
    """


def _signable(
    actor: Actor, mailbox: int, key: str, shape: str, terms: Terms, replaces: int | None
) -> tuple[Proposal, StandingApproval | None]:
    """Return the proposal that may be signed now, and the standing approval that it
    replaces, if any. Raises ActNotAllowed, StandingRefused.
    """
    mailbox_row = (
        Mailbox.objects.select_related("connection").filter(pk=mailbox).first()
    )
    if mailbox_row is None or not mailbox_row.is_administered_by(actor):
        raise ActNotAllowed(
            "Only an admin of this mailbox can sign a standing approval for it."
        )
    if organisation_settings().standing_since is None:
        raise StandingRefused(
            "Standing approvals are switched off for the organisation."
        )
    check_terms(terms)
    same = StandingApproval.objects.active().like(mailbox=mailbox, key=key, shape=shape)
    with_people = same.select_related("mailbox", "asked_by", "accepted_by")
    before = with_people.select_for_update(of=("self",)).first()
    if replaces is None and before is not None:
        raise StandingRefused(
            f"Standing approval {before.number} is for these messages already: change that."
        )
    if replaces is not None and (before is None or before.pk != replaces):
        raise StandingRefused(
            "The standing approval that this replaces has ended meanwhile."
        )
    proposal = proposal_for(mailbox, key, shape, terms=terms, before=before)
    if proposal is None:
        raise StandingRefused("Nobody has approved such a message lately.")
    # A new version needs no record: while a standing approval is in force, people
    # decide only its samples, and anything against it would have ended it.
    if before is None and (lacking := proposal.evidence.lacking(clock())):
        raise StandingRefused(lacking)
    return proposal, before


@atomic_with_retry
@second_admin("Standing approval", always=True)
def sign_standing(
    *,
    actor: Actor,
    mailbox: int,
    key: str,
    shape: str,
    terms: Terms,
    replaces: int | None = None,
) -> CanWait[StandingApproval]:
    """Sign a standing approval for a class of messages, or a new version of the one
    with the key `replaces`.

    This always takes two admins, whatever the organisation has set. The command runs
    once for each of them and reads the record again, so both sign what the record says
    at that time. Raises ActNotAllowed, StandingRefused.
    """
    proposal, before = _signable(actor, mailbox, key, shape, terms, replaces)
    evidence = proposal.evidence
    record_in_words = (
        f"In {evidence.days} days of the last 60 people decided {evidence.messages} such messages: "
        f"{evidence.approved} approved unchanged, {evidence.rejected} rejected, {evidence.returned} returned for "
        f"changes, {evidence.edited} edited."
    )
    title = f"Standing approval: {proposal.subject}"
    if before is not None:
        title = f"{before}: version {before.version + 1}"
    # The command of the admin who asks ends here. When the second admin accepts, it is
    # called again and goes on.
    yield lambda: ChangeInWords(
        title=title[:200],
        before=f"{before.sentence}\n\n{Terms.of(before).in_words}"
        if before
        else "Each such message waits for a person.",
        after=f"{proposal.sentence}\n\n{terms.in_words}\n\n{record_in_words}",
        page=reverse("standing"),
        connection=proposal.mailbox.connection_id,
        mailbox=mailbox,
        # The owners of the key may not approve its messages either.
        subjects=proposal.key_owners,
        # The acceptance is refused if the scope has changed since it was shown.
        based_on=proposal.scope.as_json(),
    )
    if before is not None:
        number = before.number
        version = before.version + 1
        end(before, because=f"Replaced by version {version}.", actor=actor)
    else:
        highest = StandingApproval.objects.aggregate(most=Max("number"))["most"] or 0
        number = highest + 1
        version = 1
    signed = StandingApproval.objects.create(
        number=number,
        version=version,
        mailbox=proposal.mailbox,
        sent_by_key=key,
        shape=shape,
        scope=proposal.scope.as_json(),
        sentence=proposal.sentence,
        key_name=proposal.key_name,
        key_owners=list(proposal.key_owners),
        delay=timedelta(minutes=terms.delay_minutes),
        cap_an_hour=terms.cap_an_hour,
        bounce_percent=terms.bounce_percent,
        ends_at=terms.ends_at,
        evidence=as_json(replace(evidence, last_against=None)),
        asked_by_id=int(actor.id),
        accepted_by_id=int(actor.second),
    )
    record(
        "standing.signed",
        actor=actor,
        connection=proposal.mailbox.connection_id,
        details={
            "standing": signed.rule,
            "mailbox": str(proposal.mailbox),
            "signed_by": signed.signatories,
            "before": before.sentence if before else "Each waits for a person.",
            "after": signed.sentence,
            "explanation": terms.in_words,
        },
        about=signed,
    )
    return signed


def check_terms(terms: Terms) -> None:
    """Raise StandingRefused if the terms are not within their limits."""
    now = clock()
    if not now < terms.ends_at <= now + LONGEST:
        raise StandingRefused(f"Choose an end in the next {LONGEST.days} days.")
    if not SHORTEST_DELAY <= terms.delay_minutes <= LONGEST_DELAY:
        raise StandingRefused(
            f"Choose a delay of {SHORTEST_DELAY} to {LONGEST_DELAY} minutes."
        )
    if not 1 <= terms.cap_an_hour <= MOST_AN_HOUR:
        raise StandingRefused(f"Choose 1 to {MOST_AN_HOUR} messages an hour.")
    if not 0 <= terms.bounce_percent <= MOST_PERCENT:
        raise StandingRefused(f"Choose 0 to {MOST_PERCENT} percent of bounces.")


@atomic_with_retry
@second_admin("Standing approvals", always=True)
def switch_standing(*, actor: Actor, on: bool) -> CanWait[bool]:
    """Switch standing approvals on or off for the organisation. Return whether that
    changed. Raises ActNotAllowed.

    When they are off, none approves anything, and people decide the messages that were
    approved but not sent yet. Switching on approves nothing by itself: each standing
    approval has to be signed by two admins.
    """
    if not actor.is_admin_of_all:
        raise ActNotAllowed(
            "Only an admin of everything can switch standing approvals on or off."
        )
    locked = lock_settings()
    is_on = locked.standing_since is not None
    # Switching on ends here until a second admin accepts (see `sign_standing`).
    yield lambda: ChangeInWords(
        title="Standing approvals: switch on",
        before=_WORDS[is_on],
        after=_WORDS[True],
        page=reverse("standing"),
        tightens=is_on or not on,
    )
    if is_on == on:
        return False
    locked.standing_since = Now() if on else None
    locked.standing_set_by_id = int(actor.id)
    locked.save(update_fields=["standing_since", "standing_set_by"])
    record(
        "standing.set",
        actor=actor,
        details={"before": _WORDS[not on], "after": _WORDS[on]},
    )
    return True


# The actor in the ledger when a standing approval ends by itself.
ACTOR = rule("standing approval")
# The percentage of bounces is computed for the messages approved within this time. It
# counts as if at least this many were sent, because one bounce of three says little.
LEAST_SENT = 20
BOUNCES_WITHIN = timedelta(days=30)
# How long samples are watched for findings and decisions.
_SAMPLES_WITHIN = timedelta(days=30)
# Changes of an API key, which end the standing approvals of the key.
_KEY_ACTIONS = (
    "api_key.changed",
    "api_key.revoked",
    "api_key.paused",
    "api_key.owner_set",
)
# Characters of the reason for ending one.
MAX_REASON = 500


@transaction.atomic
def end_standing(
    *, standing_id: int, actor: Actor, because: str
) -> StandingApproval | None:
    """End a standing approval by hand, and return it; None if it has ended already.
    Raises ActNotAllowed.

    This tightens policy, so any one admin of its mailbox can do it at once.
    """
    locked = _lock(StandingApproval.objects.filter(pk=standing_id))
    if not locked:
        return None
    if not locked[0].is_for(actor):
        raise ActNotAllowed(
            "Only an admin of this mailbox can end its standing approvals."
        )
    if not because.strip():
        raise ActNotAllowed("Give a reason: it stays in the record.")
    return end(locked[0], because=because.strip()[:MAX_REASON], actor=actor)


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
    """Return the active standing approvals that have to end: their date has come, an
    admin who signed is no longer one, or a sample got a finding.
    """
    sampled = StandingUse.objects.filter(
        standing__number=OuterRef("number"),
        kind=StandingUse.Kind.SAMPLED,
        at__gt=Now() - _SAMPLES_WITHIN,
    )
    has_finding = Exists(sampled.exclude(message__review__rules=[]))
    unsigned = ~Exists(_admins("asked_by")) | ~Exists(_admins("accepted_by"))
    return StandingApproval.objects.active().filter(
        Q(ends_at__lte=Now()) | has_finding | unsigned
    )


def _admins(signatory: str) -> QuerySet[Grant]:
    """Return the grants that make a signatory an admin of the mailbox, as a subquery.
    `signatory` is the field: "asked_by" or "accepted_by".
    """
    grants = Grant.objects.filter(
        person=OuterRef(signatory), person__is_active=True, role=Role.ADMIN
    )
    scope = Q(connection=None, mailbox=None) | Q(
        connection=OuterRef("mailbox__connection"), mailbox=None
    )
    return grants.filter(scope | Q(mailbox=OuterRef("mailbox")))


@transaction.atomic
def end_over(standing_id: int) -> None:
    """End this standing approval, if it still has to end, with the reason."""
    for standing in _lock(over().filter(pk=standing_id)):
        # If several reasons apply, the last of these is given.
        why = "A finding came up in a message that had gone to a person as a sample."
        for person in (standing.accepted_by, standing.asked_by):
            if not standing.is_for(person.actor(surface="worker")):
                why = f"{person}, who signed it, is no longer an admin of this mailbox."
        if standing.ends_at <= clock():
            why = f"Its date came: {standing.ends_at:%Y-%m-%d %H:%M} UTC."
        end(standing, because=why)


def undecided_samples() -> QuerySet[StandingUse]:
    """Return the samples of the last 30 days that a person has decided, and whose
    outcome was not noted yet.
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
    """Note what a person decided about a sample: whether they approved it too."""
    use = StandingUse.objects.filter(pk=use_id, outcome="").first()
    if use is None:
        # Another worker noted it.
        return
    by_people = use.message.decisions.filter(rule="", state=DecisionState.APPLIED)
    decided = by_people.order_by("-pk").first()
    if decided is not None:
        is_agreed = decided.outcome == Outcome.APPROVE
        outcomes = StandingUse.Outcome
        use.outcome = outcomes.AGREED if is_agreed else outcomes.DISAGREED
        use.person_id = decided.given_by_id
        use.save(update_fields=["outcome", "person"])


def on_recorded(
    entry: Entry, details: Mapping[str, str], about: Any = None, **_: Any
) -> None:
    """End the standing approvals that a ledger entry speaks against, in the entry's
    transaction: a rejection, request for changes, edit, spam complaint, too many
    bounces, or a change of the API key.
    """
    if entry.action == "decision.recorded" and isinstance(about, Decision):
        if about.given_by_id is None or about.outcome == Outcome.APPROVE:
            return
        what = "rejected" if about.outcome == Outcome.REJECT else "returned"
        affected = _like(about.message)
        because = f"{about.given_by} {what} a message of this kind."
    elif entry.action == "message.edit_asked" and isinstance(about, Replacement):
        affected = _like(about.message)
        because = f"{about.person} edited a message of this kind."
    elif entry.action in ("message.complained", "message.bounced") and entry.message:
        uses = StandingUse.objects.filter(kind=StandingUse.Kind.APPROVED)
        # An earlier version may have approved it.
        of_message = uses.filter(message__public_id=entry.message)
        affected = StandingApproval.objects.filter(
            number__in=of_message.values("standing__number")
        )
        because = "A recipient marked a message that it approved as spam."
    elif entry.action in _KEY_ACTIONS and details.get("key"):
        affected = StandingApproval.objects.filter(
            mailbox__connection=entry.connection, sent_by_key=details["key"]
        )
        because = "The API key was changed."
    else:
        return
    for standing in _lock(affected):
        if entry.action == "message.bounced":
            approved = StandingUse.objects.approved_by(standing, within=BOUNCES_WITHIN)
            sent = approved.count()
            bounced = approved.filter(message__state=MessageState.BOUNCED).count()
            if bounced * 100 <= standing.bounce_percent * max(sent, LEAST_SENT):
                continue
            because = (
                f"{bounced} of the {sent} messages that it approved in 30 days bounced."
            )
        end(standing, because=because)


def _like(message: Message) -> QuerySet[StandingApproval]:
    """Return the standing approvals for the message's mailbox, key and text, whether or
    not they admit this message.
    """
    if message.mailbox_id is None or not message.shape or not message.sent_by_key:
        return StandingApproval.objects.none()
    return StandingApproval.objects.like(
        mailbox=message.mailbox_id, key=message.sent_by_key, shape=message.shape
    )


def _lock(standings: QuerySet[StandingApproval]) -> list[StandingApproval]:
    rows = standings.active().select_related("asked_by", "accepted_by", "mailbox")  # type: ignore[attr-defined]
    return list(rows.select_for_update(of=("self",)).order_by("pk"))


def connect() -> None:
    """Have `on_recorded` called for every entry of the ledger."""
    recorded.connect(on_recorded, dispatch_uid="approvals.standing")
