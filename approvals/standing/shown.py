"""What the pages of standing approvals show of each: its terms, what it did so far, and
the record as a sentence.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from approvals.models import Decision
from approvals.standing.record import DAYS, Evidence, Proposal
from common.actors import Actor, Role
from common.durations import minutes_in_words
from mirror import store
from mirror.models import Message
from policy.models import StandingApproval, StandingUse
from policy.rules.conditions import from_json

MOST_REASONS = 6
MOST_EXAMPLES = 5
MOST_TEXT = 2000


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
        return evidence_in_words(from_json(Evidence, self.standing.evidence))

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


def evidence_in_words(found: Evidence) -> str:
    """Return a record: "212 such messages in 60 days, 211 approved unchanged in a
    median of 9 s, 1 rejected".
    """
    took = ""
    if found.median is not None:
        took = f" in a median of {found.median:.0f} s"
        if found.median >= 120:
            took = f" in a median of {minutes_in_words(round(found.median / 60))}"
    numbers = {
        "rejected": found.rejected,
        "returned for changes": found.returned,
        "edited": found.edited,
    }
    against = [f"{number} {word}" for word, number in numbers.items() if number]
    words = ", ".join(against) or "none rejected"
    return (
        f"{found.messages} such messages in {DAYS} days, "
        f"{found.approved} approved unchanged{took}, {words}"
    )


def approved_like(proposal: Proposal) -> list[Message]:
    """Return the newest messages of a proposal's mailbox, key and text that people
    approved.
    """
    scope = proposal.scope
    decided = Decision.objects.approved_by_people_like(
        mailbox=scope.mailbox, key=scope.key, shape=scope.shape
    )
    return [one.message for one in decided[:MOST_EXAMPLES]]


def text_of(message: Message) -> str:
    """Return the beginning of a message's text, as the agent wrote it; empty where it
    has only HTML.
    """
    if message.revision is None:
        return ""
    text = store.stored_content(message.revision).markdown or ""
    return text if len(text) <= MOST_TEXT else f"{text[:MOST_TEXT]} …"
