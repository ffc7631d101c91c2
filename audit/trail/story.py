"""The story of a message: all its entries in chapters, in the order in which they were
written, each with its seal.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from audit.models import Entry, Seal, SealedEntry
from audit.trail.sentences import duration

# The chapter of an act, and the word for it in the chapter's heading. A heading has the
# words of what the chapter holds, in the order in which it happened; without any, the
# chapter's own. An act of no chapter stays where it is.
CHAPTERS = {
    "held": "Held",
    "read": "Read",
    "decided": "Decided",
    "left": "At MultiMail",
    "became": "Sent",
    "after": "Afterwards",
}
_WORDS: dict[str, dict[str, str]] = {
    "held": {
        "message.held": "held",
        "message.scheduled": "scheduled",
        "message.received": "received",
        "message.commanded": "started on Discord",
        "message.fetched": "",
        "message.changed": "changed",
        "message.file_differs": "attachment did not match",
        "message.answered": "newer message in the thread",
        "message.expiring": "nearly expired",
        "message.late": "late",
        "message.unreadable": "not readable",
        "message.refused_at_gate": "refused at the gate",
    },
    "read": {
        "message.opened": "read",
        "thread.opened": "read",
        "attachment.served": "read",
        "claim.taken": "claimed",
        "claim.released": "unclaimed",
        "message.assigned": "assigned",
        "message.reminded": "reminded",
        "message.extended": "deadline extended",
        "snooze.set": "snoozed",
        "snooze.ended": "unsnoozed",
        "comment.added": "discussed",
    },
    "decided": {
        "verdict.given": "decided",
        "verdict.refused": "verdict refused",
        "verdict.taken_back": "approval taken back",
        "approval.recorded": "",
        "interaction.refused": "refused on Discord",
        "decision.recorded": "",
        "decision.undone": "undone",
    },
    "left": {
        "decision.calling": "",
        "decision.applied": "carried out",
        "decision.refused": "not carried out",
        "decision.superseded": "decided elsewhere first",
        "decision.unknown": "outcome not known",
        "decision.postponed": "postponed",
        "decision.withdrawn": "withdrawn",
        "decision.without_effect": "without effect",
        "decision.unattributed": "decided, by whom not known",
        "decision.confirmed": "sent again",
        "decision.left_after_all": "sent after all",
        "decision.found_again": "held again",
        "message.approved": "",
        "message.rejected": "",
    },
    "became": {
        "message.sent": "sent",
        "message.delivered": "delivered",
        "message.bounced": "bounced",
        "message.complained": "reported as spam",
        "message.cancelled": "cancelled",
        "message.failed": "failed",
        "message.released": "released to the agent",
        "message.gone": "no longer held",
        "message.left_behind": "left at MultiMail",
    },
    "after": {
        "ledger.proof_taken": "proof downloaded",
        "ledger.seen_again": "",
        "ledger.details_erased": "personal details removed",
    },
    # Of no chapter.
    "": {
        "webhook.refuted": "false webhook",
        "alert.failed": "alert failed",
        "alert.sent_again": "alert sent again",
    },
}
_KIND_OF = {action: kind for kind, actions in _WORDS.items() for action in actions}
_WORD_OF = {
    action: word for actions in _WORDS.values() for action, word in actions.items()
}
_VERDICTS = {
    "approve": "approved",
    "reject": "rejected",
    "send_back": "changes requested",
}
_MOST_WORDS = 4
# Technical steps, which are folded: another entry of the same act says the same, or no
# person acted.
STEPS = frozenset(
    """
    message.served message.asked_about webhook.late webhook.unconfirmed alert.delivered
    decision.recorded
    decision.calling claim.released snooze.ended ledger.seen_again
    """.split()
)
_LONG = timedelta(minutes=1)


@dataclass(frozen=True)
class StoryEntry:
    """One entry of the story: how long after the one before, and where it is sealed, if
    it is.
    """

    line: Entry
    gap: str
    seal: int | None = None
    sealed_at: datetime | None = None


@dataclass
class Run:
    """Entries that are shown one by one, or technical steps between them that are
    folded together.
    """

    is_folded: bool
    entries: list[StoryEntry] = field(default_factory=list)


@dataclass
class Chapter:
    """A part of the story. `is_again`: there was one of its kind before."""

    kind: str
    is_again: bool = False
    runs: list[Run] = field(default_factory=list)

    @property
    def title(self) -> str:
        """What happened in it, in words."""
        found: dict[str, None] = {}
        for run in self.runs:
            for one in () if run.is_folded else run.entries:
                action = one.line.action
                word = _WORD_OF.get(action, "other entries")
                if action == "verdict.given":
                    word = _VERDICTS.get(one.line.details.get("outcome", ""), word)
                # Its chapter says it already where there is no word.
                if word:
                    found[word] = None
        words = list(found) or [CHAPTERS[self.kind]]
        if len(words) > _MOST_WORDS:
            words = [*words[: _MOST_WORDS - 1], "more"]
        title = f"{', '.join(words[:-1])} and {words[-1]}" if words[1:] else words[0]
        return f"{title[0].upper()}{title[1:]}{', again' if self.is_again else ''}"


def chapters_of(
    found: Sequence[Entry], *, before: Entry | None = None
) -> list[Chapter]:
    """Return the story of these entries, oldest first; `before` is the entry before the
    first of them.
    """
    seals = dict(
        SealedEntry.objects.filter(entry__in=[line.pk for line in found]).values_list(
            "entry", "seal"
        )
    )
    times = dict(
        Seal.objects.filter(number__in=set(seals.values())).values_list("number", "at")
    )
    chapters: list[Chapter] = []
    kind = ""
    seen = set[str]()
    for line in found:
        is_step = line.action in STEPS
        next_kind = kind
        if not (is_step and kind):
            next_kind = _KIND_OF.get(line.action) or kind or "held"
        if next_kind != kind:
            chapters.append(Chapter(next_kind, is_again=next_kind in seen))
            kind = next_kind
            seen.add(kind)
        gap = line.at - before.at if before else timedelta()
        later = f"{duration(gap.total_seconds())} later" if gap >= _LONG else ""
        runs = chapters[-1].runs
        if not runs or runs[-1].is_folded != is_step:
            runs.append(Run(is_step))
        seal = seals.get(line.pk)
        runs[-1].entries.append(
            StoryEntry(line, later, seal, times.get(seal) if seal else None)
        )
        before = line
    return chapters
