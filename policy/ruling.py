"""What is allowed: one pure function over facts, asked when a message is shown, decided and carried out.

Later rules (allowlists, four eyes) join it here; each gives its reason as a sentence.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Facts:
    """What the ruling needs to know of the message and the person."""

    is_held: bool
    is_fetched: bool
    is_reviewer: bool
    is_author: bool = False
    is_expired: bool = False
    mailbox: str = ""
    # Names of attached files whose bytes are known to be others than the fingerprint says.
    files_that_differ: tuple[str, ...] = ()
    # Who pulled the kill switch, and why; empty when nothing is stopped.
    stopped_by: str = ""


@dataclass(frozen=True)
class Ruling:
    """Whether this person may decide now, how many must agree, and why, the first reason that applies first."""

    may_approve: bool
    may_reject: bool
    approvals_needed: int
    reasons: tuple[str, ...]


def rule(facts: Facts) -> Ruling:
    """Return the ruling for these facts. In doubt it refuses."""
    if not facts.is_held:
        return _refused("This message is not held any more, so there is nothing to decide.")
    if not facts.is_reviewer:
        where = f" of {facts.mailbox}" if facts.mailbox else ""
        return _refused(f"You can read this, but only a reviewer{where} can decide it. Ask whoever runs this desk.")
    if not facts.is_fetched:
        return _refused("The content is still being fetched. Nobody can decide what nobody could read.")
    if facts.is_author:
        return Ruling(False, True, 1, ("You started this message, so somebody else must approve it.",))
    if facts.is_expired:
        return Ruling(False, True, 1, ("The time to approve this message is over.",))
    if facts.files_that_differ:
        names = ", ".join(facts.files_that_differ)
        return Ruling(
            False, True, 1, (f"It cannot be approved: what was fetched is not the file that is to leave ({names}).",)
        )
    if facts.stopped_by:
        # Deciding goes on, so that no work is lost: what is decided waits, and can be undone as long as it does.
        return Ruling(
            True,
            True,
            1,
            (f"You may decide, but nothing leaves until the kill switch is released. Pulled by {facts.stopped_by}.",),
        )
    return Ruling(True, True, 1, ("One approval is needed, and you may give it.",))


def _refused(sentence: str) -> Ruling:
    return Ruling(False, False, 1, (sentence,))
