"""Signs standing approvals and switches them on. Always by two admins: one asks,
another accepts.

Ending one, or switching all off, is one admin's act and works at once.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal

from django.db.models import Max
from django.db.models.functions import Now
from django.urls import reverse

from approvals.standing.ending import end
from approvals.standing.record import Proposal, proposal_for
from audit.recording import changed, record
from common.actors import Actor
from common.errors import SentenceError
from common.mail_addresses import read_pattern
from common.postgres import atomic_with_retry, clock
from mirror.errors import ActNotAllowed
from mirror.models import Mailbox
from people.second_admin.registry import CanWait, ChangeInWords, second_admin
from people.second_admin.setting import lock_settings, organisation_settings
from policy.models import StandingApproval
from policy.rules.conditions import as_json
from policy.standing import MOST_RECIPIENTS, StandingScope
from risk.lookalikes import PROVIDERS

LONGEST = timedelta(days=180)
# Minutes in which anybody can stop a message.
SHORTEST_DELAY = 1
LONGEST_DELAY = 1440
MOST_AN_HOUR = 1000
MOST_PERCENT = 50
_WORDS = ("Standing approvals are off", "Standing approvals are on")


class StandingRefused(SentenceError):
    """A standing approval cannot be signed or switched so; the sentence says why and
    what to do.
    """


@dataclass(frozen=True)
class Terms:
    """What two admins sign besides the class: until when, how many an hour, and how
    long anybody can stop a message.

    `recipients` and `sums` bound the class; empty recipients and no sums (None): as the
    record has them.
    """

    ends_at: datetime
    cap_an_hour: int
    delay_minutes: int = 10
    bounce_percent: int = 5
    recipients: tuple[str, ...] = ()
    sums: tuple[tuple[str, Decimal], ...] | None = None

    @classmethod
    def of(cls, standing: StandingApproval) -> "Terms":
        """Return the terms of a standing approval."""
        scope = StandingScope.from_json(standing.scope)
        return cls(
            ends_at=standing.ends_at,
            cap_an_hour=standing.cap_an_hour,
            delay_minutes=int(standing.delay.total_seconds()) // 60,
            bounce_percent=standing.bounce_percent,
            recipients=scope.recipients,
            sums=scope.sums,
        )

    @property
    def in_words(self) -> str:
        """The terms as a sentence."""
        return (
            f"At most {self.cap_an_hour} an hour. Each waits {self.delay_minutes} minutes, in which anybody can stop "
            f"it. One of ten goes to a person instead, who is not told. Ends on {self.ends_at:%-d %B %Y at %H:%M} UTC "
            f"at the latest, with any rejection, request for changes, edit or spam complaint, where more than "
            f"{self.bounce_percent} % bounce, where a sample gets a finding, and where the API key is changed."
        )


def _signable(
    actor: Actor, mailbox: int, key: str, shape: str, terms: Terms, replaces: int | None
) -> tuple[Proposal, StandingApproval | None]:
    """Return what may be signed, and what it replaces. Raises ActNotAllowed,
    StandingRefused.
    """
    found = Mailbox.objects.select_related("connection").filter(pk=mailbox).first()
    if found is None or not found.is_administered_by(actor):
        raise ActNotAllowed(
            "Only an admin of this mailbox can sign a standing approval for it."
        )
    if organisation_settings().standing_since is None:
        raise StandingRefused(
            "Standing approvals are switched off for the organisation."
        )
    check_terms(terms)
    same = StandingApproval.objects.active().like(mailbox=mailbox, key=key, shape=shape)
    named = same.select_related("mailbox", "asked_by", "accepted_by")
    before = named.select_for_update(of=("self",)).first()
    if replaces is None and before is not None:
        raise StandingRefused(
            f"Standing approval {before.number} is for these messages already: change that."
        )
    if replaces is not None and (before is None or before.pk != replaces):
        raise StandingRefused(
            "The standing approval that this replaces has ended meanwhile."
        )
    proposal = proposal_for(
        mailbox, key, shape, recipients=terms.recipients, sums=terms.sums, before=before
    )
    if proposal is None:
        raise StandingRefused("Nobody has approved such a message lately.")
    # While one is in force, people decide its samples only; anything against it has
    # ended it.
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
    that it `replaces`.

    It takes two admins, whatever the organisation has set. The record is read again for
    each signature, so what was signed is what the record says now. Raises
    ActNotAllowed, StandingRefused.
    """
    proposal, before = _signable(actor, mailbox, key, shape, terms, replaces)
    title = f"Standing approval: {proposal.subject}"
    if before is not None:
        title = f"{before}: version {before.version + 1}"
    yield lambda: ChangeInWords(
        title=title[:200],
        before=before.sentence if before else "Each such message waits for a person.",
        after=f"{proposal.sentence}\n\n{terms.in_words}\n\n{_decided(proposal)}",
        page=reverse("standing"),
        connection=proposal.mailbox.connection_id,
        mailbox=mailbox,
        # What was shown is what is signed.
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
    made = StandingApproval.objects.create(
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
        evidence=as_json(replace(proposal.evidence, last_against=None)),
        asked_by_id=int(actor.id),
        accepted_by_id=int(actor.second),
    )
    record(
        "standing.signed",
        actor=actor,
        connection=proposal.mailbox.connection_id,
        details={
            "standing": made.rule,
            "mailbox": str(proposal.mailbox),
            "signed_by": made.signatories,
            **changed(
                before=before.sentence if before else "Each waits for a person.",
                after=made.sentence,
            ),
            "explanation": terms.in_words,
        },
        about=made,
    )
    return made


def _decided(proposal: Proposal) -> str:
    evidence = proposal.evidence
    return (
        f"In {evidence.days} days of the last 60 people decided {evidence.messages} such messages: "
        f"{evidence.approved} approved unchanged, {evidence.rejected} rejected, {evidence.returned} returned for "
        f"changes, {evidence.edited} edited."
    )


def check_terms(terms: Terms) -> None:
    """Raise StandingRefused with a sentence for terms that nobody can sign."""
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
    if len(terms.recipients) > MOST_RECIPIENTS:
        raise StandingRefused(f"Name at most {MOST_RECIPIENTS} addresses and domains.")
    for pattern in terms.recipients:
        try:
            is_read = read_pattern(pattern) == pattern
        except ValueError as error:
            raise StandingRefused(str(error)) from None
        if not is_read or pattern.startswith("*."):
            raise StandingRefused(f"{pattern} is neither an address nor a domain.")
        if pattern in PROVIDERS:
            raise StandingRefused(
                f"Anybody can have an address at {pattern}: name the addresses instead."
            )


@atomic_with_retry
@second_admin("Standing approvals", always=True)
def switch_standing(*, actor: Actor, on: bool) -> CanWait[bool]:
    """Switch standing approvals on or off for the organisation; return whether that
    changed. Raises ActNotAllowed.

    Off, none approves anything, and what they decided and has not left goes to people.
    On, only those count that two admins sign.
    """
    if not actor.is_admin_of_all:
        raise ActNotAllowed(
            "Only an admin of everything can switch standing approvals on or off."
        )
    locked = lock_settings()
    is_on = locked.standing_since is not None
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
        details=changed(before=_WORDS[not on], after=_WORDS[on]),
    )
    return True
