"""The story of a message on its audit trail: its entries in their order, grouped into
chapters such as "Held" and "Decided", each entry with its seal.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from audit.actions import TEST, TESTED
from audit.models import Entry, Seal, SealedEntry
from audit.trail.sentences import duration
from common.tables import table_pairs, table_rows

# The kinds of chapters, and the word for each.
CHAPTERS = table_pairs(
    """
held | Held
read | Read
decided | Decided
left | At MultiMail
became | Sent
after | Afterwards
"""
)
# Each action with its kind of chapter and the word for it in the chapter's heading; empty
# for none. A heading consists of the words of its entries, in order, or if there are
# none, of the word of its kind. Actions that belong to no kind begin no new chapter.
_ACTIONS = table_rows(
    """
message.held | held | held
message.scheduled | held | scheduled
message.received | held | received
message.commanded | held | started on Discord
message.fetched | held |
message.changed | held | changed
message.file_differs | held | attachment did not match
message.answered | held | newer message in the thread
message.expiring | held | nearly expired
message.late | held | late
message.unreadable | held | not readable
message.refused_at_gate | held | refused: blocked recipient
message.opened | read | read
thread.opened | read | read
attachment.served | read | read
claim.taken | read | claimed
claim.released | read | unclaimed
message.assigned | read | assigned
message.reminded | read | reminded
message.extended | read | deadline extended
snooze.set | read | snoozed
snooze.ended | read | unsnoozed
comment.added | read | discussed
verdict.given | decided | decided
verdict.refused | decided | verdict refused
act.refused | decided | refused
verdict.taken_back | decided | approval taken back
approval.recorded | decided |
interaction.refused | decided | refused in a chat
decision.recorded | decided |
decision.undone | decided | undone
decision.calling | left |
decision.applied | left | carried out
decision.refused | left | not carried out
decision.superseded | left | decided elsewhere first
decision.unknown | left | outcome not known
decision.postponed | left | postponed
decision.withdrawn | left | withdrawn
decision.without_effect | left | without effect
decision.unattributed | left | decided, by whom not known
decision.confirmed | left | sent again
decision.left_after_all | left | sent after all
decision.found_again | left | held again
decision.elsewhere | decided | decided outside this desk
message.approved | left |
message.rejected | left |
message.sent | became | sent
message.delivered | became | delivered
message.bounced | became | bounced
message.complained | became | reported as spam
message.cancelled | became | cancelled
message.failed | became | failed
message.released | became | released to the agent
message.gone | became | no longer held
message.left_behind | became | left at MultiMail
ledger.proof_taken | after | proof downloaded
ledger.seen_again | after |
ledger.details_erased | after | personal details removed
webhook.refuted |  | false webhook
alert.failed |  | alert failed
alert.sent_again |  | alert sent again
"""
)
_KIND_OF = {action: kind for action, kind, _ in _ACTIONS}
_WORD_OF = {action: word for action, _, word in _ACTIONS}
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
