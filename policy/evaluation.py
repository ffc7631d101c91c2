"""The ruling: whether this person may approve or reject this message now, and the
reasons as sentences. It follows from facts alone, and is asked for three times: when a
message is shown, when it is decided, and before the decision is carried out.

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
class Ruling:
    """Whether a person may approve or reject a message now, and the reasons as
    sentences, from facts about the message and the person. In doubt they may not.
    """

    is_held: bool
    is_fetched: bool
    is_reviewer: bool
    is_expired: bool = False
    mailbox: str = ""
    # Names of attached files whose bytes are known to differ from the fingerprint.
    files_that_differ: tuple[str, ...] = ()
    # Who pulled the kill switch, and why; empty when nothing is stopped. People may
    # decide all the same; the decisions wait, and can be undone, until it is released.
    stopped_by: str = ""
    contributors: Contributors = field(default_factory=Contributors)
    # What the rules of the policy ask, and how many approvals are given.
    demand: Demand = field(default_factory=Demand)

    @property
    def may_reject(self) -> bool:
        """Whether the person may reject it."""
        return self.is_held and self.is_fetched and self.is_reviewer

    @property
    def may_approve(self) -> bool:
        """Whether the person may approve it."""
        return self.may_reject and not self.refusals

    @property
    def rule(self) -> str:
        """A word for the first reason that refuses an approval, or lets it wait."""
        if not self.may_reject:
            return ""
        if self.refusals:
            return self.refusals[0][0]
        return "stopped" if self.stopped_by else ""

    @cached_property
    def refusals(self) -> list[tuple[str, str]]:
        """Why the person may not approve it, even if they may reject it: for each reason
        a word and a sentence.
        """
        names = ", ".join(self.files_that_differ)
        checks = (
            (
                "version",
                self.contributors.is_being_edited,
                "Somebody edited this message, so the edited version is approved in its place.",
            ),
            (
                "version",
                self.contributors.is_other_sent,
                "Another version of this message was approved, so this one must not be sent too. Reject it.",
            ),
            ("expired", self.is_expired, "The time to approve this message is over."),
            (
                "files",
                self.files_that_differ,
                f"It cannot be approved: an attachment does not match the fingerprint ({names}).",
            ),
        )
        refusing = [(code, sentence) for code, refuses, sentence in checks if refuses]
        return refusing + self.demand.refusals()

    @cached_property
    def reasons(self) -> tuple[str, ...]:
        """The sentences, the most important first."""
        if not self.is_held:
            return ("This message is no longer held, so there is nothing to decide.",)
        if not self.is_reviewer:
            where = f" of {self.mailbox}" if self.mailbox else ""
            return (
                f"You can read this, but only a reviewer{where} can decide it. Ask whoever runs this desk.",
            )
        if not self.is_fetched:
            return (
                "The content is still being fetched. It can be decided once it is here.",
            )
        demand = self.demand
        if self.refusals:
            return (*(sentence for _, sentence in self.refusals), *demand.sentences)
        progress = demand.progress
        if self.stopped_by:
            first = (
                "You may decide, but nothing is sent until the kill switch is released. "
                f"Pulled by {self.stopped_by}."
            )
        elif not demand.takes_several:
            first = "One approval is needed, and you may give it."
        elif not demand.people.approvals:
            first = f"{progress.needed} approvals are needed, and you may give one. {demand.warning}"
        else:
            first = f"{progress} approvals are given{demand.approved_by}. You may give one. {demand.warning}"
        return (first.rstrip(), *demand.sentences)
