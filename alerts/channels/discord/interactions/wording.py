"""What whoever pressed is told of the end of it: in words of the desk, and nothing of what the letter says."""

from collections.abc import Callable

from approvals.errors import AlreadyDecided, ClaimedByOther, ContentChanged, RiskUnread
from approvals.models import Decision
from common.fingerprint import short_fingerprint
from mirror.errors import DeskError, ThreadMovedOn
from mirror.states import Outcome


def sentence_of(error: DeskError, *, shown: Callable[[str], str]) -> tuple[str, str]:
    """Return how it ended, in a word, and why nothing was done; `shown` makes a sentence fit for Discord."""
    if isinstance(error, RiskUnread):
        return "high risk", (
            "This message is high risk: whoever approves it reads each serious finding first, on the desk. "
            "Nothing was decided."
        )
    if isinstance(error, ThreadMovedOn):
        return "thread moved on", (
            "A message of this thread came after the draft. Read it first, on the desk. Nothing was decided."
        )
    if isinstance(error, ContentChanged):
        was, now = short_fingerprint(error.shown), short_fingerprint(error.current) if error.current else "not known"
        return "outdated", (
            f"This card is out of date: it shows {shown(was)}, and the message is {shown(now)} by now. "
            "Nothing was decided. Read the new version, then decide."
        )
    if isinstance(error, AlreadyDecided):
        return "already decided", shown(error.sentence)
    if isinstance(error, ClaimedByOther):
        return "claimed", shown(error.sentence)
    return "not allowed", f"{shown(error.sentence)} Nothing was decided."


def told_of_decision(decision: Decision, *, link: str, is_stopped: bool, is_paused: bool) -> str:
    """Return what was decided, and until when it can be taken back."""
    did = "Approved." if decision.outcome == Outcome.APPROVE else "Rejected. The agent gets your reason."
    if is_stopped or is_paused:
        why = "the kill switch is pulled" if is_stopped else "the connection is paused"
        return f"{did} It waits: {why}. As long as it waits you can [take it back on the desk](<{link}>)."
    if decision.due_at <= decision.changed_at:
        return f"{did} It is on its way: [see it on the desk](<{link}>)."
    seconds = max(1, round((decision.due_at - decision.changed_at).total_seconds()))
    window = f"{seconds} s" if seconds < 120 else f"{seconds // 60} minutes"
    return f"{did} You have {window} to [take it back on the desk](<{link}>)."
