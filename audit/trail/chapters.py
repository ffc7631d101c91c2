"""Groups the entries of a message into chapters, in the order in which they were written, and says gaps in time."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from audit.trail import Line
from audit.trail.places import At
from audit.trail.sentences import lasted

TITLES = {
    "held": "Held",
    "read": "Read",
    "decided": "Decided",
    "left": "Left the desk",
    "became": "What became of it",
    "after": "Afterwards",
}
_KINDS = {
    "held": ("message.held", "message.fetched", "message.changed", "message.scheduled", "message.received"),
    "read": ("message.opened", "thread.opened", "attachment.served", "claim.taken", "snooze.set", "comment.added"),
    "decided": ("verdict.given", "verdict.refused", "interaction.refused", "decision.recorded", "decision.undone"),
    "left": (
        *("decision.calling", "decision.applied", "decision.refused", "decision.superseded", "decision.unknown"),
        *("decision.postponed", "decision.withdrawn", "decision.without_effect", "decision.unattributed"),
        *("decision.confirmed", "decision.left_after_all", "message.approved", "message.rejected"),
    ),
    "became": (
        *("message.sent", "message.delivered", "message.bounced", "message.complained", "message.cancelled"),
        *("message.failed", "message.released", "message.gone", "message.left_behind"),
    ),
    "after": ("ledger.proof_taken", "ledger.seen_again", "ledger.details_erased"),
}
_KIND_OF = {action: kind for kind, actions in _KINDS.items() for action in actions}
# What a reader of the story need not read: another entry of the same act tells it, or nobody acted.
STEPS = frozenset(
    {
        *("message.served", "message.asked_about", "webhook.late", "alert.delivered", "decision.recorded"),
        *("decision.calling", "claim.released", "snooze.ended", "ledger.seen_again"),
    }
)
_LONG = timedelta(minutes=1)


@dataclass(frozen=True)
class Told:
    """One entry of the story: how long after the one before, and where it is sealed."""

    line: Line
    gap: str
    at: At


@dataclass
class Run:
    """Entries that are told one by one, or steps between them that are folded together."""

    is_folded: bool
    told: list[Told] = field(default_factory=list)


@dataclass
class Chapter:
    """A part of the story."""

    title: str
    runs: list[Run] = field(default_factory=list)

    def add(self, told: Told, *, is_step: bool) -> None:
        """Put one more entry at its end."""
        if not self.runs or self.runs[-1].is_folded != is_step:
            self.runs.append(Run(is_step))
        self.runs[-1].told.append(told)


def chapters_of(lines: Sequence[Line], places: dict[int, At], *, before: Line | None = None) -> list[Chapter]:
    """Return the story of these entries, oldest first; `before` is the one that stands before the first of them."""
    chapters: list[Chapter] = []
    kind, seen = "", set[str]()
    for line in lines:
        is_step = line.entry.action in STEPS
        next_kind = kind if is_step and kind else _KIND_OF.get(line.entry.action, kind or "held")
        if next_kind != kind:
            title = TITLES[next_kind]
            chapters.append(Chapter(f"{title}, again" if next_kind in seen else title))
            kind = next_kind
            seen.add(kind)
        gap = line.entry.at - before.entry.at if before else timedelta()
        later = f"{lasted(gap.total_seconds())} later" if gap >= _LONG else ""
        chapters[-1].add(Told(line, later, places[line.entry.pk]), is_step=is_step)
        before = line
    return chapters
