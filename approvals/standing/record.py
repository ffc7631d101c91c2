"""What the record of decisions says about a class of messages, and the standing
approvals that it proposes.

A class is proposed where people approved many such messages and nothing speaks against
it. Nothing is written.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from django.db.models import Count, F, Max, OuterRef, Q, Subquery
from django.db.models.functions import Now, TruncDate

from approvals.models import Decision, Verdict
from approvals.models.verdicts import Percentile
from common.actors import Actor, Role
from common.durations import minutes_in_words
from common.postgres import clock
from mirror.models import Mailbox, Message
from mirror.states import DecisionState, Outcome
from policy.models import SAMPLE_OF, KeyOwner, StandingApproval, StandingUse
from policy.rules.conditions import from_json
from policy.rules.facts import amounts_in, facts_of
from policy.standing import MOST_RECIPIENTS, Draft, StandingScope, sentence
from risk.lookalikes import PROVIDERS

DAYS = 60
# A class is proposed from so many messages on, approved on so many days, with so many
# in a hundred approved.
LEAST = 20
LEAST_DAYS = 5
LEAST_SHARE = 95
# Nor within so many days of a rejection or a request for changes.
QUIET_DAYS = 14
MOST_PROPOSED = 10
MOST_READ = 1000


@dataclass(frozen=True)
class Evidence:
    """What people decided about the messages of a class in the last `DAYS` days.
    `median` is in seconds.

    `against` are the public ids of those that were not approved, the newest first, at
    most twenty.
    """

    messages: int = 0
    approved: int = 0
    rejected: int = 0
    returned: int = 0
    edited: int = 0
    days: int = 0
    median: float | None = None
    last_against: datetime | None = None
    against: tuple[str, ...] = ()

    @property
    def share(self) -> float:
        """How many of a hundred were approved unchanged."""
        return 100 * self.approved / self.messages if self.messages else 0.0

    @property
    def in_words(self) -> str:
        """The record: "212 such messages in 60 days, 211 approved unchanged in a median
        of 9 s, 1 rejected".
        """
        took = ""
        if self.median is not None:
            took = f" in a median of {self.median:.0f} s"
            if self.median >= 120:
                took = f" in a median of {minutes_in_words(round(self.median / 60))}"
        numbers = {
            "rejected": self.rejected,
            "returned for changes": self.returned,
            "edited": self.edited,
        }
        against = [f"{number} {word}" for word, number in numbers.items() if number]
        words = ", ".join(against) or "none rejected"
        return (
            f"{self.messages} such messages in {DAYS} days, "
            f"{self.approved} approved unchanged{took}, {words}"
        )

    def lacking(self, now: datetime) -> str:
        """Return why a class with this record is not proposed, as a sentence; empty
        where it is.
        """
        if self.messages < LEAST or self.days < LEAST_DAYS:
            return f"People have not approved {LEAST} such messages on {LEAST_DAYS} days in the last {DAYS}."
        if self.share < LEAST_SHARE:
            return (
                f"People approved only {self.share:.0f} % of such messages unchanged."
            )
        if self.last_against is not None and self.last_against > now - timedelta(
            days=QUIET_DAYS
        ):
            return f"Such a message was not approved on {self.last_against:%-d %b}, less than {QUIET_DAYS} days ago."
        return ""


@dataclass(frozen=True)
class Proposal:
    """A standing approval that could be signed, with the record that speaks for it."""

    scope: StandingScope
    mailbox: Mailbox
    key_name: str
    key_owners: tuple[int, ...]
    subject: str
    evidence: Evidence

    @property
    def sentence(self) -> str:
        """What it would approve."""
        key = self.key_name or self.scope.key
        return sentence(
            self.scope, key=key, mailbox=str(self.mailbox), subject=self.subject
        )


@dataclass(frozen=True)
class StandingRehearsal:
    """What a scope would have done with the messages of its key and text; `left` counts
    by reason what it would have left to people.
    """

    approved: int
    samples: int
    over_cap: int
    left_to_people: int
    left: dict[str, int]


@dataclass(frozen=True)
class Terms:
    """What two admins sign besides the class: until when, how many an hour, and how
    long anybody can stop a message.

    `recipients` and `sums` bound the class as whoever asked chose, within what the
    record had then; empty recipients and no sums (None): as it does now.
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
        return cls(
            ends_at=standing.ends_at,
            cap_an_hour=standing.cap_an_hour,
            delay_minutes=int(standing.delay.total_seconds()) // 60,
            bounce_percent=standing.bounce_percent,
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


def proposals(actor: Actor) -> list[Proposal]:
    """Return what the record proposes for the mailboxes that the actor administers or
    audits, most frequent first.
    """
    visible = Message.objects.visible_to(reader_of(actor))
    decided = Decision.objects.filter(
        message__in=visible,
        recorded_at__gt=Now() - timedelta(days=DAYS),
        rule="",
        state=DecisionState.APPLIED,
        message__mailbox__isnull=False,
        message__connection__is_our_gateway=True,
        message__direction="outbound",
        message__sandbox=False,
        message__review__rules=[],
        message__has_attachments=False,
        message__try_number=1,
    ).exclude(Q(message__sent_by_key="") | Q(message__shape=""))
    frequent = (
        decided.values(
            mailbox=F("message__mailbox"),
            key=F("message__sent_by_key"),
            shape=F("message__shape"),
        )
        .annotate(
            number=Count("pk", filter=Q(outcome=Outcome.APPROVE)),
            days=Count(TruncDate("recorded_at"), distinct=True),
            newest=Max("message"),
        )
        .filter(number__gte=LEAST, days__gte=LEAST_DAYS)
        .order_by("-number", "newest")[:MOST_PROPOSED]
    )
    found = []
    now = clock()
    for row in frequent:
        class_ = {name: row[name] for name in ("mailbox", "key", "shape")}
        if StandingApproval.objects.active().like(**class_).exists():
            continue
        made = proposal_for(**class_)
        if made is not None and not made.evidence.lacking(now):
            found.append(made)
    return found


def proposal_for(
    mailbox: int,
    key: str,
    shape: str,
    *,
    terms: Terms | None = None,
    before: StandingApproval | None = None,
) -> Proposal | None:
    """Return the proposal for one mailbox, key and text, from what people approved;
    None where nothing was.

    `terms` can have narrower bounds, where somebody chose them. A new version of
    `before` has those of `before` otherwise.
    """
    like = _messages_like(mailbox, key, shape)
    approved = [one for one in like if one.outcome == Outcome.APPROVE]
    if not approved and (before is None or not like):
        return None
    newest = (approved or like)[0]
    if before:
        scope = StandingScope.from_json(before.scope)
    else:
        most: dict[str, Decimal] = {}
        for message in approved:
            facts = message.review.policy_facts or {}
            for one in amounts_in(facts.get("amounts")) or ():
                most[one.currency] = max(one.value, most.get(one.currency, Decimal(0)))
        scope = StandingScope(
            connection=newest.connection_id,
            mailbox=mailbox,
            key=key,
            shape=shape,
            recipients=_usual_recipients(approved),
            sums=tuple(sorted(most.items())),
            sender_name=newest.named or "",
            reply_to=newest.answered_to or "",
        )
    if terms and terms.recipients:
        scope = replace(scope, recipients=terms.recipients)
    if terms and terms.sums is not None:
        scope = replace(scope, sums=terms.sums)
    owners = KeyOwner.objects.filter(
        connection=newest.connection_id, upstream_key_id=key
    )
    # What people decided about those of these messages that the scope admits.
    decided = [one for one in like if one.outcome and not _misfits(scope, one)]
    approved = [one for one in decided if one.outcome == Outcome.APPROVE]
    against = [one for one in decided if one.outcome != Outcome.APPROVE]
    verdicts = Verdict.objects.filter(message__in=approved, outcome=Outcome.APPROVE)
    seconds = verdicts.aggregate(median=Percentile("seconds_shown", 0.5))
    return Proposal(
        scope=scope,
        mailbox=Mailbox.objects.select_related("connection").get(pk=mailbox),
        key_name=newest.sent_by_key_name,
        key_owners=tuple(sorted(owners.values_list("person_id", flat=True))),
        subject=newest.subject,
        evidence=Evidence(
            messages=len(decided),
            approved=len(approved),
            rejected=sum(
                one.outcome == Outcome.REJECT and not one.replaced for one in against
            ),
            returned=sum(one.outcome == Outcome.SEND_BACK for one in against),
            edited=sum(bool(one.replaced) for one in against),
            days=len({one.decided_at.date() for one in approved}),
            median=seconds["median"],
            last_against=max((one.decided_at for one in against), default=None),
            against=tuple(str(one.public_id) for one in against[:20]),
        ),
    )


def rehearse(scope: StandingScope, cap_an_hour: int) -> StandingRehearsal:
    """Return what a scope would have done with the messages of its key and text in the
    last `DAYS` days.
    """
    left: Counter[str] = Counter()
    hours: Counter[datetime] = Counter()
    for one in _messages_like(scope.mailbox, scope.key, scope.shape):
        if reasons := _misfits(scope, one):
            left[reasons[0]] += 1
        else:
            hours[one.held_at.replace(minute=0, second=0, microsecond=0)] += 1
    within = sum(min(number, cap_an_hour) for number in hours.values())
    samples = within // SAMPLE_OF
    return StandingRehearsal(
        approved=within - samples,
        samples=samples,
        over_cap=hours.total() - within,
        left_to_people=left.total(),
        left=dict(left.most_common()),
    )


def _messages_like(mailbox: int, key: str, shape: str) -> list[Any]:
    """Return messages with this mailbox, key and text, the newest first, each with what
    people decided about it.
    """
    own = Decision.objects.filter(
        message=OuterRef("pk"), rule="", state=DecisionState.APPLIED
    ).order_by("-pk")
    since = Now() - timedelta(days=DAYS)
    found = Message.objects.real().filter(
        changed_at__gte=since, held_at__gte=since, revision__isnull=False
    )
    like = found.filter(mailbox=mailbox, sent_by_key=key, shape=shape, sandbox=False)
    decided = like.select_related("connection").annotate(
        named=F("revision__content__sender_name"),
        answered_to=F("revision__content__reply_to"),
        outcome=Subquery(own.values("outcome")[:1]),
        decided_at=Subquery(own.values("recorded_at")[:1]),
        replaced=Subquery(own.values("feedback__replaced_by")[:1]),
    )
    return list(decided.order_by("-pk")[:MOST_READ])


def _misfits(scope: StandingScope, message: Any) -> tuple[str, ...]:
    """Return why a past message would not have belonged to the class; what its thread
    was then is not asked.
    """
    facts = facts_of(message, message.review, now=message.held_at)
    draft = Draft(
        shape=message.shape,
        sender_name=message.named or "",
        reply_to=message.answered_to or "",
        is_sandbox=message.sandbox,
        is_apart=message.review.is_apart,
    )
    return scope.misfits(facts, draft)


def _usual_recipients(approved: Iterable[Any]) -> tuple[str, ...]:
    """Return the addresses that approved messages went to; many of one organisation's
    as its domain.
    """
    times = Counter(
        one for message in approved for one in message.written_to or () if "@" in one
    )
    domains = {one.rpartition("@")[2] for one in times}
    if len(times) > 3 and len(domains) == 1 and not domains & PROVIDERS:
        return tuple(domains)
    # The most frequent, so that the sentence can be read.
    return tuple(sorted(address for address, _ in times.most_common(MOST_RECIPIENTS)))


MOST_REASONS = 6


@dataclass
class StandingLine:
    """One standing approval as the list shows it, with what it did so far.

    Samples count once a person has decided them: until then nothing tells which they
    are, or how many.
    """

    standing: StandingApproval
    may_change: bool
    approved: int = 0
    agreed: int = 0
    disagreed: int = 0
    over_cap: int = 0
    left: Counter[str] = field(default_factory=Counter)

    @property
    def delay(self) -> str:
        """In how long anybody can stop a message, in words."""
        return minutes_in_words(int(self.standing.delay.total_seconds()) // 60)

    @property
    def record(self) -> str:
        """The record as whoever signed saw it, as a sentence."""
        evidence: Evidence = from_json(Evidence, self.standing.evidence)
        return evidence.in_words

    @property
    def samples(self) -> int:
        """How many samples people have decided."""
        return self.agreed + self.disagreed

    @property
    def left_to_people(self) -> int:
        """How many were left to people."""
        return self.left.total()

    @property
    def reasons(self) -> list[tuple[str, int]]:
        """Why messages were left to people, and how many, the most frequent first."""
        return self.left.most_common(MOST_REASONS)


def lines_of(found: Iterable[StandingApproval], actor: Actor) -> list[StandingLine]:
    """Return a line for each standing approval."""
    lines = {one.pk: StandingLine(one, one.is_for(actor)) for one in found}
    kinds = StandingUse.Kind
    for standing, kind, outcome, why, number in StandingUse.objects.numbers(lines):
        line = lines[standing]
        if kind == kinds.APPROVED:
            line.approved += number
        elif kind == kinds.OVER_CAP:
            line.over_cap += number
        elif kind == kinds.LEFT:
            # Each reason is a sentence; the first one is what kept it.
            line.left[f"{why.partition('. ')[0].rstrip('.')}."] += number
        elif outcome == StandingUse.Outcome.AGREED:
            line.agreed += number
        elif outcome:
            line.disagreed += number
    return list(lines.values())


def reader_of(actor: Actor) -> Actor:
    """Return the actor with the roles that read about standing approvals: admin and
    auditor.
    """
    return actor.acting_as(Role.ADMIN, Role.AUDITOR)
