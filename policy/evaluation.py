"""The ruling: whether this person may approve or reject this message now, and the
reasons as sentences. It is a pure function of facts, and is evaluated three times: when
a message is shown, when it is decided, and before the decision is carried out.

What the rules of the policy ask for is part of the facts, as a `Demand`.
"""

from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property

from policy.rules.demand import Demand


@dataclass(frozen=True)
class Contributors:
    """The keys of the people behind a message. `authors` are the owners of the API keys
    that sent it or what it replaces, whoever started it by a command, and the authors
    of a message that it replaces. `editors` edited it or wrote words of it.
    """

    key_owners: frozenset[int] = frozenset()
    # The API keys that sent the messages which it replaces.
    earlier_keys: frozenset[str] = frozenset()
    authors: frozenset[int] = frozenset()
    editors: frozenset[int] = frozenset()
    # The first message of the edits in a row to which it belongs; 0 for none.
    root: int = 0
    # When that was held, if an edit made this one of it.
    first_held_at: datetime | None = None
    # Whether an edited version of it is being sent, or may have been; and whether
    # another version of it was approved or sent.
    is_being_edited: bool = False
    is_other_sent: bool = False


@dataclass(frozen=True)
class RulingFacts:
    """What the ruling needs to know about the message and the person."""

    is_held: bool
    is_fetched: bool
    is_reviewer: bool
    is_expired: bool = False
    mailbox: str = ""
    # Names of attached files whose bytes are known to differ from the fingerprint.
    files_that_differ: tuple[str, ...] = ()
    # Who pulled the kill switch, and why; empty when nothing is stopped.
    stopped_by: str = ""
    contributors: Contributors = field(default_factory=Contributors)
    # What the rules of the policy ask, and how many approvals are given.
    demand: Demand = field(default_factory=Demand)


@dataclass(frozen=True)
class Ruling:
    """Whether this person may decide now, and the reasons as sentences.

    `rule` is a word for the first reason that refuses an approval.
    """

    facts: RulingFacts
    may_approve: bool
    may_reject: bool
    reasons: tuple[str, ...]
    rule: str = ""

    @cached_property
    def demand(self) -> Demand:
        """What the rules of the policy ask."""
        return self.facts.demand


def rule(facts: RulingFacts) -> Ruling:
    """Return the ruling for these facts. In doubt it refuses."""
    if not facts.is_held:
        return _refused(
            facts, "This message is no longer held, so there is nothing to decide."
        )
    if not facts.is_reviewer:
        where = f" of {facts.mailbox}" if facts.mailbox else ""
        only = f"You can read this, but only a reviewer{where} can decide it. Ask whoever runs this desk."
        return Ruling(facts, False, False, (only,))
    if not facts.is_fetched:
        return _refused(
            facts,
            "The content is still being fetched. It can be decided once it is here.",
        )
    names = ", ".join(facts.files_that_differ)
    # What may forbid an approval: a word, whether it does, and its sentence.
    checks = (
        (
            "version",
            facts.contributors.is_being_edited,
            "Somebody edited this message, so the edited version is approved in its place.",
        ),
        (
            "version",
            facts.contributors.is_other_sent,
            "Another version of this message was approved, so this one must not be sent too. Reject it.",
        ),
        ("expired", facts.is_expired, "The time to approve this message is over."),
        (
            "files",
            facts.files_that_differ,
            f"It cannot be approved: an attachment does not match the fingerprint ({names}).",
        ),
    )
    forbidding = [
        *((name, sentence) for name, forbids, sentence in checks if forbids),
        *facts.demand.refusals(),
    ]
    if forbidding:
        name = forbidding[0][0]
        reasons = tuple(sentence for _, sentence in forbidding)
        return Ruling(facts, False, True, reasons + facts.demand.sentences, name)
    if facts.stopped_by:
        # People may decide all the same; the decisions wait, and can be undone, until
        # the switch is released.
        waits = f"You may decide, but nothing is sent until the kill switch is released. Pulled by {facts.stopped_by}."
        return Ruling(
            facts, True, True, (waits, *facts.demand.sentences), rule="stopped"
        )
    demand = facts.demand
    if not demand.takes_several:
        needed = "One approval is needed, and you may give it."
    elif not demand.people.approvals:
        needed = f"{demand.progress.needed} approvals are needed, and you may give one. {demand.warning}"
    else:
        by = demand.approved_by
        needed = f"{demand.progress} approvals are given{by}. You may give one. {demand.warning}"
    return Ruling(facts, True, True, (needed.rstrip(), *facts.demand.sentences))


def _refused(facts: RulingFacts, sentence: str) -> Ruling:
    return Ruling(facts, False, False, (sentence,))
