"""The story of a message on its audit trail: its entries in their order, grouped into
chapters such as "Held" and "Decided", each entry with its seal.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from audit.actions import TEST, TESTED
from audit.models import Entry, Seal, SealedEntry
from audit.trail.sentences import duration

# The kinds of chapters, and the word for each.
CHAPTERS = {
    "held": "Held",
    "read": "Read",
    "decided": "Decided",
    "left": "At MultiMail",
    "became": "Sent",
    "after": "Afterwards",
}
# By the kind of chapter: its actions, each with the word for it in the chapter's
# heading; empty for none. A heading consists of the words of its entries, in order, or
# if there are none, of the word of its kind. Actions that belong to no kind begin no
# new chapter.
_ACTIONS = {
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
        "message.refused_at_gate": "refused: blocked recipient",
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
        "act.refused": "refused",
        "verdict.taken_back": "approval taken back",
        "approval.recorded": "",
        "interaction.refused": "refused in a chat",
        "decision.recorded": "",
        "decision.undone": "undone",
        "decision.elsewhere": "decided outside this desk",
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
    "": {
        "webhook.refuted": "false webhook",
        "alert.failed": "alert failed",
        "alert.sent_again": "alert sent again",
    },
}
_KIND_OF = {action: kind for kind, words in _ACTIONS.items() for action in words}
_WORD_OF = {
    action: word for words in _ACTIONS.values() for action, word in words.items()
}
_VERDICTS = {
    "approve": "approved",
    "reject": "rejected",
    "send_back": "changes requested",
}
# How many words a heading has.
_MOST_WORDS = 4
# Actions whose entries are folded: another entry says the same, or no person acted.
STEPS = frozenset(
    """
    message.served message.asked_about webhook.late webhook.unconfirmed alert.delivered
    decision.recorded
    decision.calling claim.released snooze.ended ledger.seen_again
    """.split()
)
# A gap between two entries is shown from this length on.
_LONG = timedelta(minutes=1)


@dataclass(frozen=True)
class StoryEntry:
    """One entry of the story: `gap` says how long after the one before it was written
    ("5 min later"), `seal` is the number of its seal.
    """

    line: Entry
    gap: str
    seal: int | None
    sealed_at: datetime | None


@dataclass
class Run:
    """Consecutive entries that are all shown, or all folded."""

    is_folded: bool
    entries: list[StoryEntry] = field(default_factory=list)


@dataclass
class Chapter:
    """A part of the story. `is_again`: an earlier chapter has the same kind."""

    kind: str
    is_again: bool
    runs: list[Run] = field(default_factory=list)

    @property
    def title(self) -> str:
        """The heading, such as "Read, claimed and discussed"."""
        # A dict instead of a set, to keep the order.
        words_used = dict[str, None]()
        for run in self.runs:
            for one in () if run.is_folded else run.entries:
                action = one.line.action
                word = _WORD_OF.get(action, "other entries")
                if one.line.outcome == TEST:
                    word = TESTED.lower()
                if action == "verdict.given":
                    outcome = one.line.outcome or one.line.details.get("outcome", "")
                    word = _VERDICTS.get(outcome, word)
                # An empty word: the kind of the chapter says enough.
                if word:
                    words_used[word] = None
        words = list(words_used) or [CHAPTERS[self.kind]]
        if len(words) > _MOST_WORDS:
            words = [*words[: _MOST_WORDS - 1], "more"]
        title = f"{', '.join(words[:-1])} and {words[-1]}" if words[1:] else words[0]
        return f"{title[0].upper()}{title[1:]}{', again' if self.is_again else ''}"


def chapters_of(entries: Sequence[Entry], *, before: Entry | None) -> list[Chapter]:
    """Return the chapters of the story of these entries, which are sorted, oldest
    first. `before` is the entry before the first of them.
    """
    seals = dict(
        SealedEntry.objects.filter(
            entry__in=[entry.pk for entry in entries]
        ).values_list("entry", "seal")
    )
    times = dict(
        Seal.objects.filter(number__in=seals.values()).values_list("number", "at")
    )
    chapters = []
    kind = ""
    kinds_so_far = set[str]()
    for entry in entries:
        is_step = entry.action in STEPS
        next_kind = kind
        if not (is_step and kind):
            next_kind = _KIND_OF.get(entry.action) or kind or "held"
        if next_kind != kind:
            chapters.append(Chapter(next_kind, is_again=next_kind in kinds_so_far))
            kind = next_kind
            kinds_so_far.add(kind)
        gap = entry.at - before.at if before else timedelta()
        later = f"{duration(gap.total_seconds())} later" if gap >= _LONG else ""
        runs = chapters[-1].runs
        if not runs or runs[-1].is_folded != is_step:
            runs.append(Run(is_step))
        seal = seals.get(entry.pk)
        runs[-1].entries.append(
            StoryEntry(entry, later, seal, times.get(seal) if seal else None)
        )
        before = entry
    return chapters
