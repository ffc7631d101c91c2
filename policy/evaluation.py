"""The ruling: whether this person may approve or reject this message now, and the
reasons as sentences. It is a pure function of facts, and is evaluated three times: when
a message is shown, when it is decided, and before the decision is carried out.

What the rules of the policy ask for is part of the facts, as a `Demand`.
"""

from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property

from policy.allowlists.judgement import Judgement, named
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
    # Recipients that the allowlists in force refuse; and those that a list in monitor
    # mode would refuse if it were in force.
    off_list: tuple[str, ...] = ()
    would_be_off_list: tuple[str, ...] = ()
    # For the sentence about refused recipients: which lists lack them, such as
    # "no allowlist for support@yourteam.example", and what to add to it.
    list_words: str = "no allowlist"
    list_doubt: str = ""
    # Whether an admin could allow the refused recipients.
    can_be_allowed: bool = True
    # What the allowlists say about each recipient.
    judged: Judgement = field(default_factory=Judgement)
    contributors: Contributors = field(default_factory=Contributors)
    # What the rules of the policy ask, and how many approvals are given.
    demand: Demand = field(default_factory=Demand)


@dataclass(frozen=True)
class Ruling:
    """Whether this person may decide now, and the reasons as sentences.

    `rule` is a word for the first reason that refuses an approval. `off_list` says
    which recipients are on no allowlist. People who may not decide get it too, because
    an admin among them can allow the recipients.
    """

    facts: RulingFacts
    may_approve: bool
    may_reject: bool
    reasons: tuple[str, ...]
    rule: str = ""
    off_list: str = ""

    @cached_property
    def demand(self) -> Demand:
        """What the rules of the policy ask."""
        return self.facts.demand

    @property
    def judged(self) -> Judgement:
        """What the allowlists say about each recipient."""
        return self.facts.judged


def rule(facts: RulingFacts) -> Ruling:
    """Return the ruling for these facts. In doubt it refuses."""
    if not facts.is_held:
        return _refused(
            facts, "This message is no longer held, so there is nothing to decide."
        )
    if not facts.is_reviewer:
        where = f" of {facts.mailbox}" if facts.mailbox else ""
        only = f"You can read this, but only a reviewer{where} can decide it. Ask whoever runs this desk."
        return Ruling(facts, False, False, (only,), off_list=_off_list(facts))
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
        ("allowlist", facts.off_list, _off_list(facts)),
    )
    forbidding = [
        *facts.demand.barring(),
        *((name, sentence) for name, forbids, sentence in checks if forbids),
        *facts.demand.forbidding(),
    ]
    if forbidding:
        name = forbidding[0][0]
        reasons = tuple(sentence for _, sentence in forbidding)
        off_list = _off_list(facts) if name == "allowlist" else ""
        return Ruling(facts, False, True, reasons + _notes(facts), name, off_list)
    if facts.stopped_by:
        # People may decide all the same; the decisions wait, and can be undone, until
        # the switch is released.
        waits = f"You may decide, but nothing is sent until the kill switch is released. Pulled by {facts.stopped_by}."
        return Ruling(facts, True, True, (waits, *_notes(facts)), rule="stopped")
    demand = facts.demand
    if not demand.takes_several:
        needed = "One approval is needed, and you may give it."
    elif not demand.approvals:
        needed = f"{demand.progress.needed} approvals are needed, and you may give one. {demand.warning}"
    else:
        by = f", by {demand.givers}" if demand.counted else ""
        needed = f"{demand.progress} approvals are given{by}. You may give one. {demand.warning}"
    return Ruling(facts, True, True, (needed.rstrip(), *_notes(facts)))


# The sentence about recipients that the allowlists refuse; empty if there are none.
def _off_list(facts: RulingFacts) -> str:
    if not facts.off_list:
        return ""
    ends = "" if len(facts.off_list) == 1 else "es"
    way_out = f" An admin can allow the address{ends}." if facts.can_be_allowed else ""
    doubt = f" {facts.list_doubt}" if facts.list_doubt else ""
    return (
        f"{_missed(facts.off_list, facts)}, so this cannot be approved.{doubt}{way_out}"
    )


# Sentences that are shown with the reasons: what the rules ask for, and what lists in
# monitor mode would refuse.
def _notes(facts: RulingFacts) -> tuple[str, ...]:
    if not facts.would_be_off_list:
        return facts.demand.sentences
    monitored = f"{_missed(facts.would_be_off_list, facts)}. The list is in Monitor, so it blocks nothing."
    return (*facts.demand.sentences, monitored)


def _missed(addresses: tuple[str, ...], facts: RulingFacts) -> str:
    # An address is shown as written; anything else begins a sentence with a capital.
    words = named(addresses)
    words = words if "@" in addresses[0] else words[:1].upper() + words[1:]
    return f"{words} {'is' if len(addresses) == 1 else 'are'} on {facts.list_words}"


def _refused(facts: RulingFacts, sentence: str) -> Ruling:
    return Ruling(facts, False, False, (sentence,))
