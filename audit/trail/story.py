"""The story of a message: all its entries in chapters, in the order in which they were written, each with its seal."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from audit.models import Leaf, Seal
from audit.trail.entries import Line
from audit.trail.sentences import duration

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
# Technical steps, which are folded: another entry of the same act says the same, or no person acted.
STEPS = frozenset(
    {
        *("message.served", "message.asked_about", "webhook.late", "alert.delivered", "decision.recorded"),
        *("decision.calling", "claim.released", "snooze.ended", "ledger.seen_again"),
    }
)
_LONG = timedelta(minutes=1)


@dataclass(frozen=True)
class StoryEntry:
    """One entry of the story: how long after the one before, and where it is sealed, if it is."""

    line: Line
    gap: str
    seal: int | None = None
    sealed_at: datetime | None = None


@dataclass
class Run:
    """Entries that are shown one by one, or technical steps between them that are folded together."""

    is_folded: bool
    entries: list[StoryEntry] = field(default_factory=list)


@dataclass
class Chapter:
    """A part of the story."""

    title: str
    runs: list[Run] = field(default_factory=list)


def chapters_of(found: Sequence[Line], *, before: Line | None = None) -> list[Chapter]:
    """Return the story of these entries, oldest first; `before` is the entry before the first of them."""
    seals = dict(Leaf.objects.filter(entry__in=[line.entry.pk for line in found]).values_list("entry", "seal"))
    times = dict(Seal.objects.filter(number__in=set(seals.values())).values_list("number", "at"))
    chapters: list[Chapter] = []
    kind, seen = "", set[str]()
    for line in found:
        is_step = line.entry.action in STEPS
        next_kind = kind if is_step and kind else _KIND_OF.get(line.entry.action, kind or "held")
        if next_kind != kind:
            title = TITLES[next_kind]
            chapters.append(Chapter(f"{title}, again" if next_kind in seen else title))
            kind = next_kind
            seen.add(kind)
        gap = line.entry.at - before.entry.at if before else timedelta()
        later = f"{duration(gap.total_seconds())} later" if gap >= _LONG else ""
        runs = chapters[-1].runs
        if not runs or runs[-1].is_folded != is_step:
            runs.append(Run(is_step))
        seal = seals.get(line.entry.pk)
        runs[-1].entries.append(StoryEntry(line, later, seal, times.get(seal) if seal else None))
        before = line
    return chapters
