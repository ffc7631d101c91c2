"""What people decided about a class of messages in the last 60 days (the record), and
the standing approvals that the desk proposes from it.

A class is the messages of one mailbox and one API key whose text has the same shape,
with bounds for recipients and sums. It is proposed if people approved nearly all of
many such messages. Also what a standing approval would have done, and has done. Nothing
is written.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
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

# How many days the record goes back.
DAYS = 60
# A class is proposed if it has at least this many messages, approved on this many days,
# and this percentage of them was approved.
LEAST = 20
LEAST_DAYS = 5
LEAST_SHARE = 95
# It is not proposed for this many days after such a message was not approved.
QUIET_DAYS = 14
# How many classes are proposed, and how many messages of a class are read.
MOST_PROPOSED = 10
MOST_READ = 1000


@dataclass(frozen=True)
class Evidence:
    """What people decided about the messages of a class in the last `DAYS` days.

    `days` is on how many days they approved some, and `median` the median time from
    first seeing a message to approving it, in seconds. `against` are the public ids of
    messages that were not approved, at most twenty, newest first; `last_against` is
    when the last of them was decided.
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
        """The percentage that was approved unchanged."""
        return 100 * self.approved / self.messages if self.messages else 0.0

    @property
    def in_words(self) -> str:
        """The record as text: "212 such messages in 60 days, 211 approved unchanged in
        a median of 9 s, 1 rejected".
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
        """Return why a class with this record is not proposed, as a sentence; empty if
        it is.
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
    """A standing approval that two admins could sign, with the record behind it."""

    scope: StandingScope
    mailbox: Mailbox
    key_name: str
    key_owners: tuple[int, ...]
    subject: str
    evidence: Evidence

    @property
    def sentence(self) -> str:
        """What it would approve, as a sentence."""
        key = self.key_name or self.scope.key
        return sentence(
            self.scope, key=key, mailbox=str(self.mailbox), subject=self.subject
        )


@dataclass(frozen=True)
class StandingRehearsal:
    """What a standing approval with this scope would have done with past messages of
    its mailbox, key and text.

    `left` counts, by the first reason, the messages that do not fit the scope and would
    have been left to people.
    """

    approved: int
    samples: int
    over_cap: int
    left_to_people: int
    left: dict[str, int]


@dataclass(frozen=True)
class Terms:
    """What two admins sign besides the class: until when, how many messages an hour,
    and how long each message waits so that anybody can stop it.

    `recipients` and `sums` are narrower bounds of the class, which the asking admin
    chose. Empty recipients, or None for sums, mean those of the record.
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
        ends_at = self.ends_at.astimezone(UTC)
        return (
            f"At most {self.cap_an_hour} an hour. Each waits {self.delay_minutes} minutes, in which anybody can stop "
            f"it. One of ten goes to a person instead, who is not told. Ends on {ends_at:%-d %B %Y at %H:%M} UTC "
            f"at the latest, with any rejection, request for changes, edit or spam complaint, where more than "
            f"{self.bounce_percent} % bounce, where a sample gets a finding, and where the API key is changed."
        )


def proposals(actor: Actor) -> list[Proposal]:
    """Return the proposals for the mailboxes that the actor administers or audits;
    those with the most approved messages first.
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
    proposed = []
    now = clock()
    for row in frequent:
        class_ = {name: row[name] for name in ("mailbox", "key", "shape")}
        if StandingApproval.objects.active().like(**class_).exists():
            continue
        proposal = proposal_for(**class_)
        if proposal is not None and not proposal.evidence.lacking(now):
            proposed.append(proposal)
    return proposed


def proposal_for(
    mailbox: int,
    key: str,
    shape: str,
    *,
    terms: Terms | None = None,
    before: StandingApproval | None = None,
) -> Proposal | None:
    """Return the proposal for one mailbox, key and text. None if people have approved
    no such message or, for a new version, if there is none.

    The bounds for recipients and sums come from the approved messages or, for a new
    version of a standing approval, from the one `before`. `terms` can narrow them.
    """
    alike = _messages_like(mailbox, key, shape)
    approved = [one for one in alike if one.outcome == Outcome.APPROVE]
    if not approved and (before is None or not alike):
        return None
    newest = (approved or alike)[0]
    if before:
        scope = StandingScope.from_json(before.scope)
    else:
        largest_sums: dict[str, Decimal] = {}
        for message in approved:
            facts = message.review.policy_facts or {}
            for one in amounts_in(facts.get("amounts")) or ():
                largest_sums[one.currency] = max(
                    one.value, largest_sums.get(one.currency, Decimal(0))
                )
        scope = StandingScope(
            connection=newest.connection_id,
            mailbox=mailbox,
            key=key,
            shape=shape,
            recipients=_usual_recipients(approved),
            sums=tuple(sorted(largest_sums.items())),
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
    # The decided messages that the scope admits.
    decided = [one for one in alike if one.outcome and not _misfits(scope, one)]
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
    """Return what a standing approval with this scope would have done in the last
    `DAYS` days.
    """
    left_by_reason: Counter[str] = Counter()
    hours: Counter[datetime] = Counter()
    for message in _messages_like(scope.mailbox, scope.key, scope.shape):
        if reasons := _misfits(scope, message):
            left_by_reason[reasons[0]] += 1
        else:
            hours[message.held_at.replace(minute=0, second=0, microsecond=0)] += 1
    within = sum(min(number, cap_an_hour) for number in hours.values())
    samples = within // SAMPLE_OF
    return StandingRehearsal(
        approved=within - samples,
        samples=samples,
        over_cap=hours.total() - within,
        left_to_people=left_by_reason.total(),
        left=dict(left_by_reason.most_common()),
    )


def _messages_like(mailbox: int, key: str, shape: str) -> list[Any]:
    """Return the messages of the last `DAYS` days with this mailbox, key and text,
    newest first.

    Each has as attributes the last decision that a person made about it and that took
    effect (`outcome`, `decided_at`, `replaced`), and its sender's name (`named`) and
    Reply-To (`answered_to`).
    """
    by_people = Decision.objects.filter(
        message=OuterRef("pk"), rule="", state=DecisionState.APPLIED
    ).order_by("-pk")
    since = Now() - timedelta(days=DAYS)
    recent = Message.objects.filter(
        changed_at__gte=since, held_at__gte=since, revision__isnull=False
    )
    alike = recent.filter(mailbox=mailbox, sent_by_key=key, shape=shape, sandbox=False)
    with_decision = alike.select_related("connection", "review").annotate(
        named=F("revision__content__sender_name"),
        answered_to=F("revision__content__reply_to"),
        outcome=Subquery(by_people.values("outcome")[:1]),
        decided_at=Subquery(by_people.values("recorded_at")[:1]),
        replaced=Subquery(by_people.values("feedback__replaced_by")[:1]),
    )
    ordered = with_decision.order_by("-pk")
    newest = list(ordered[:MOST_READ])
    if len(newest) == MOST_READ:
        # What speaks against the class counts, however many came since.
        refused = Q(outcome__in=(Outcome.REJECT, Outcome.SEND_BACK))
        newest += ordered.filter(refused, pk__lt=newest[-1].pk)[:MOST_READ]
    return newest


def _misfits(scope: StandingScope, message: Any) -> tuple[str, ...]:
    """Return the reasons why a past message does not belong to the class; empty if it
    does. Whether its thread had gone on is not known any more and not checked.
    """
    facts = facts_of(message, message.review)
    draft = Draft(
        shape=message.shape,
        sender_name=message.named or "",
        reply_to=message.answered_to or "",
        is_sandbox=message.sandbox,
        is_apart=message.review.is_apart,
    )
    return scope.misfits(facts, draft)


def _usual_recipients(approved: Iterable[Any]) -> tuple[str, ...]:
    """Return the addresses that approved messages went to, the most frequent ones. If
    there are more than three and all are of one domain, return the domain, unless it is
    a mail provider's.
    """
    messages_by_address = Counter(
        address
        for message in approved
        for address in message.written_to or ()
        if "@" in address
    )
    domains = {address.rpartition("@")[2] for address in messages_by_address}
    if len(messages_by_address) > 3 and len(domains) == 1 and not domains & PROVIDERS:
        return tuple(domains)
    # Not all of them, so that the sentence of the standing approval stays readable.
    return tuple(
        sorted(
            address for address, _ in messages_by_address.most_common(MOST_RECIPIENTS)
        )
    )


# How many reasons for leaving messages to people are shown.
MOST_REASONS = 6


@dataclass
class StandingLine:
    """One standing approval as the list shows it, with what it has done so far.

    `agreed` and `disagreed` are samples that a person approved or did not approve.
    Samples that nobody has decided yet are not counted, because nobody may learn which
    they are.
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
        """How long anybody can stop a message, in words."""
        return minutes_in_words(int(self.standing.delay.total_seconds()) // 60)

    @property
    def record(self) -> str:
        """The record that the signing admins saw, as text."""
        evidence: Evidence = from_json(Evidence, self.standing.evidence)
        return evidence.in_words

    @property
    def samples(self) -> int:
        """How many samples people have decided."""
        return self.agreed + self.disagreed

    @property
    def left_to_people(self) -> int:
        """How many messages were left to people."""
        return self.left.total()

    @property
    def reasons(self) -> list[tuple[str, int]]:
        """Why messages were left to people, with the number of messages; the most
        frequent reasons first.
        """
        return self.left.most_common(MOST_REASONS)


def lines_of(standings: Iterable[StandingApproval], actor: Actor) -> list[StandingLine]:
    """Return a line for each standing approval. `actor` may change some of them."""
    lines = {one.pk: StandingLine(one, one.is_for(actor)) for one in standings}
    kinds = StandingUse.Kind
    for standing, kind, outcome, why, number in StandingUse.objects.numbers(lines):
        line = lines[standing]
        if kind == kinds.APPROVED:
            line.approved += number
        elif kind == kinds.OVER_CAP:
            line.over_cap += number
        elif kind == kinds.LEFT:
            # `why` has a sentence for each reason; the first one is counted.
            line.left[f"{why.partition('. ')[0].rstrip('.')}."] += number
        elif outcome == StandingUse.Outcome.AGREED:
            line.agreed += number
        elif outcome:
            line.disagreed += number
    return list(lines.values())


def reader_of(actor: Actor) -> Actor:
    """Return the actor with only those of their roles that may read about standing
    approvals: admin and auditor.
    """
    return actor.acting_as(Role.ADMIN, Role.AUDITOR)
