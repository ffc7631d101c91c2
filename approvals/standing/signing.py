"""Signs standing approvals and switches them on. Always by two admins: one asks, another accepts.

Ending one, or switching all off, is one admin's act and works at once.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

from django.db.models import Max
from django.db.models.functions import Now

from approvals.standing.ending import end
from approvals.standing.record import Proposal, proposal_for
from audit.recording import changed, record
from common.patterns import read_pattern
from common.postgres import clock
from common.postgres.retry import atomic_with_retry
from mirror.errors import ActNotAllowed
from mirror.models import Mailbox
from people.actors import Actor, Role
from people.models import OrganisationSettings, Person
from people.second_admin.asking import AskedChange, SecondAdminNeeded
from people.second_admin.kinds import ChangeKind
from people.second_admin.setting import ORGANISATION, lock_settings
from policy.standing.scope import MOST_RECIPIENTS, StandingScope
from policy.standing_models import StandingApproval
from risk.lookalikes import PROVIDERS

LONGEST = timedelta(days=180)
# Minutes in which anybody can stop a message.
SHORTEST_DELAY, LONGEST_DELAY = 1, 1440
MOST_AN_HOUR, MOST_PERCENT = 1000, 50
_WORDS = ("Standing approvals are off", "Standing approvals are on")


class StandingRefused(Exception):
    """A standing approval cannot be signed or switched so; the sentence says why and what to do."""

    def __init__(self, sentence: str) -> None:
        super().__init__(sentence)
        self.sentence = sentence


@dataclass(frozen=True)
class Terms:
    """What two admins sign besides the class: until when, how many an hour, and how long anybody can stop a message.

    `recipients` and `sums` bound the class; empty recipients and no sums (None): as the record has them.
    """

    ends_at: datetime
    cap_an_hour: int
    delay_minutes: int = 10
    bounce_percent: int = 5
    recipients: tuple[str, ...] = ()
    sums: tuple[tuple[str, Decimal], ...] | None = None

    def as_json(self) -> dict[str, Any]:
        """Return them for the change that waits for the second admin."""
        sums = None if self.sums is None else [[currency, str(value)] for currency, value in self.sums]
        return vars(self) | {"ends_at": self.ends_at.isoformat(), "recipients": list(self.recipients), "sums": sums}

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> "Terms":
        """Return the terms that `as_json` wrote. Raises ValueError."""
        try:
            sums = stored["sums"]
            return cls(
                ends_at=datetime.fromisoformat(stored["ends_at"]),
                cap_an_hour=int(stored["cap_an_hour"]),
                delay_minutes=int(stored["delay_minutes"]),
                bounce_percent=int(stored["bounce_percent"]),
                recipients=tuple(map(str, stored["recipients"])),
                sums=None if sums is None else tuple((str(one), Decimal(value)) for one, value in sums),
            )
        except (KeyError, TypeError, InvalidOperation) as error:
            raise ValueError("These terms cannot be read.") from error

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


@atomic_with_retry
def sign_standing(
    *, actor: Actor, mailbox: int, key: str, shape: str, terms: Terms, replaces: int | None = None
) -> StandingApproval:
    """Sign a standing approval for a class of messages, or a new version of the one that it `replaces`.

    The record is read again for each signature, so what was signed is what the record says now. Raises ActNotAllowed,
    StandingRefused, and SecondAdminNeeded until a second admin has accepted it, whatever the organisation has set.
    """
    found = Mailbox.objects.select_related("connection").filter(pk=mailbox).first()
    if found is None or not actor.is_a(Role.ADMIN, connection=found.connection_id, mailbox=mailbox):
        raise ActNotAllowed("Only an admin of this mailbox can sign a standing approval for it.")
    if not OrganisationSettings.objects.filter(standing_since__isnull=False).exists():
        raise StandingRefused("Standing approvals are switched off for the organisation.")
    check_terms(terms)
    before = _replaced(replaces, mailbox=mailbox, key=key, shape=shape)
    bounds: dict[str, Any] = {"recipients": terms.recipients, "sums": terms.sums, "before": before}
    proposal = proposal_for(mailbox=mailbox, key=key, shape=shape, **bounds)
    if proposal is None:
        raise StandingRefused("Nobody has approved such a message lately.")
    # While one is in force, people decide its samples only; anything against it has ended it.
    if before is None and (lacking := proposal.evidence.lacking(clock())):
        raise StandingRefused(lacking)
    if not actor.second:
        raise SecondAdminNeeded(_asked(proposal, terms, before))
    if before is not None:
        end(before, because=f"Replaced by version {before.version + 1}.", actor=actor)
    return _store(proposal, terms, actor, before)


def check_terms(terms: Terms) -> None:
    """Raise StandingRefused with a sentence for terms that nobody can sign."""
    now = clock()
    if not now < terms.ends_at <= now + LONGEST:
        raise StandingRefused(f"Choose an end in the next {LONGEST.days} days.")
    if not SHORTEST_DELAY <= terms.delay_minutes <= LONGEST_DELAY:
        raise StandingRefused(f"Choose a delay of {SHORTEST_DELAY} to {LONGEST_DELAY} minutes.")
    if not 1 <= terms.cap_an_hour <= MOST_AN_HOUR:
        raise StandingRefused(f"Choose 1 to {MOST_AN_HOUR} messages an hour.")
    if not 0 <= terms.bounce_percent <= MOST_PERCENT:
        raise StandingRefused(f"Choose 0 to {MOST_PERCENT} percent of bounces.")
    if len(terms.recipients) > MOST_RECIPIENTS:
        raise StandingRefused(f"Name at most {MOST_RECIPIENTS} addresses and domains.")
    for one in terms.recipients:
        _check_recipient(one)


def _check_recipient(pattern: str) -> None:
    try:
        is_read = read_pattern(pattern) == pattern
    except ValueError as error:
        raise StandingRefused(str(error)) from None
    if not is_read or pattern.startswith("*."):
        raise StandingRefused(f"{pattern} is neither an address nor a domain.")
    if pattern in PROVIDERS:
        raise StandingRefused(f"Anybody can have an address at {pattern}: name the addresses instead.")


def _replaced(replaces: int | None, *, mailbox: int, key: str, shape: str) -> StandingApproval | None:
    same = StandingApproval.objects.active().filter(mailbox=mailbox, sent_by_key=key, shape=shape)
    named = same.select_related("mailbox", "asked_by", "accepted_by")
    found = named.select_for_update(of=("self",)).first()
    if replaces is None and found is not None:
        raise StandingRefused(f"Standing approval {found.number} is for these messages already: change that.")
    if replaces is not None and (found is None or found.pk != replaces):
        raise StandingRefused("The standing approval that this replaces has ended meanwhile.")
    return found


def _store(proposal: Proposal, terms: Terms, actor: Actor, before: StandingApproval | None) -> StandingApproval:
    highest = StandingApproval.objects.aggregate(most=Max("number"))["most"] or 0
    made = StandingApproval.objects.create(
        number=before.number if before else highest + 1,
        version=before.version + 1 if before else 1,
        mailbox=proposal.mailbox,
        sent_by_key=proposal.scope.key,
        shape=proposal.scope.shape,
        scope=proposal.scope.as_json(),
        sentence=proposal.sentence,
        key_name=proposal.key_name,
        key_owners=list(proposal.key_owners),
        delay=timedelta(minutes=terms.delay_minutes),
        cap_an_hour=terms.cap_an_hour,
        bounce_percent=terms.bounce_percent,
        ends_at=terms.ends_at,
        evidence=proposal.evidence.as_json(),
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
            "signed_by": f"{Person.objects.get(pk=made.asked_by_id)} and {Person.objects.get(pk=made.accepted_by_id)}",
            **changed(before=before.sentence if before else "Each waits for a person.", after=made.sentence),
            "explanation": terms.in_words,
        },
        about=made,
    )
    return made


def _asked(proposal: Proposal, terms: Terms, before: StandingApproval | None) -> AskedChange:
    found = proposal.evidence
    title = f"{before}: version {before.version + 1}" if before else f"Standing approval: {proposal.subject}"
    # The bounds that were shown, also where the record has others by the time a second admin accepts.
    terms = replace(terms, recipients=proposal.scope.recipients, sums=proposal.scope.sums)
    record_ = (
        f"In {found.days} days of the last 60 people decided {found.messages} such messages: {found.approved} approved "
        f"unchanged, {found.rejected} rejected, {found.returned} returned for changes, {found.edited} edited."
    )
    return AskedChange(
        kind="standing",
        target=f"standing/{proposal.scope.mailbox}/{proposal.scope.key}/{proposal.scope.shape}",
        title=title[:200],
        before=before.sentence if before else "Each such message waits for a person.",
        after=f"{proposal.sentence}\n\n{terms.in_words}\n\n{record_}",
        change={
            "mailbox": proposal.scope.mailbox,
            "key": proposal.scope.key,
            "shape": proposal.scope.shape,
            "terms": terms.as_json(),
            "replaces": before.pk if before else None,
            # What was shown is what is signed.
            "scope": proposal.scope.as_json(),
        },
        url_name="standing",
        connection=proposal.mailbox.connection_id,
        mailbox=proposal.scope.mailbox,
    )


def _signing_accepted(change: dict[str, Any], actor: Actor, code: str) -> object:
    same = {name: change[name] for name in ("mailbox", "key", "shape", "replaces")}
    made = sign_standing(actor=actor, terms=Terms.from_json(change["terms"]), **same)
    if made.scope != change["scope"]:
        raise StandingRefused("The record has changed what this would approve since it was asked. Ask for it again.")
    return made


SIGNING = ChangeKind("Standing approval", _signing_accepted, refusals=(ActNotAllowed, StandingRefused, ValueError))


@atomic_with_retry
def switch_standing(*, actor: Actor, on: bool) -> bool:
    """Switch standing approvals on or off for the organisation; return whether that changed. Raises ActNotAllowed.

    Off, none approves anything, and what they decided and has not left goes to people. On, only those count that two
    admins sign.
    """
    if not actor.is_admin_of_all:
        raise ActNotAllowed("Only an admin of everything can switch standing approvals on or off.")
    locked = lock_settings()
    if (locked.standing_since is not None) == on:
        return False
    if on and not actor.second:
        raise SecondAdminNeeded(_switching_on())
    locked.standing_since, locked.standing_set_by_id = (Now() if on else None), int(actor.id)
    locked.save(update_fields=["standing_since", "standing_set_by"])
    record("standing.set", actor=actor, details=changed(before=_WORDS[not on], after=_WORDS[on]))
    return True


def _switching_on() -> AskedChange:
    return AskedChange(
        kind="standing_switch",
        target=ORGANISATION,
        title="Standing approvals: switch on",
        before=_WORDS[0],
        after=_WORDS[1],
        change={},
        url_name="standing",
    )


def _switch_accepted(change: dict[str, Any], actor: Actor, code: str) -> object:
    return switch_standing(actor=actor, on=True)


SWITCH_ON = ChangeKind("Standing approvals", _switch_accepted, refusals=(ActNotAllowed,))
