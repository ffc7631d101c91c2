"""What the rules of the policy ask for one message, which of its approvals count, how
many are missing, and whether the person who looks may approve. Pure: reads no tables.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property

from policy.calendars import Calendars, is_open, next_closing, next_opening
from policy.rules.conditions import RUNS_CODE, MessageFacts
from policy.rules.rules import (
    ANY_REVIEWER,
    Effects,
    Names,
    PolicyRule,
    effects_in_words,
    found_in_words,
    listed,
    merged,
    unread_sums_in_words,
)

# How often the next opening of several calendars is looked for: about two months of days.
_MOST_OPENINGS = 60


@dataclass(frozen=True)
class Requirement:
    """What all rules that apply to a message ask for together. `spoke` are these rules
    in their order, and `version` the number of the policy, 0 if none is active.
    """

    effects: Effects = field(default_factory=Effects)
    spoke: tuple[PolicyRule, ...] = ()
    version: int = 0


@dataclass(frozen=True)
class Progress:
    """How many of the needed approvals are given: "1 of 2". `missing` has, by key of a
    group, how many more its members must give. The key `ANY_REVIEWER` has how many more
    are needed that any reviewer may give.
    """

    given: int
    needed: int
    missing: Mapping[int, int] = field(default_factory=dict)

    @property
    def is_complete(self) -> bool:
        """Whether the message is approved."""
        return self.given >= self.needed

    def __str__(self) -> str:
        return f"{self.given} of {self.needed}"


def required(rules: Iterable[PolicyRule], facts: MessageFacts) -> Requirement:
    """Return the rules that apply to a message, and what they ask for together."""
    spoke = tuple(rule for rule in rules if rule.is_on and rule.when.apply_to(facts))
    return Requirement(merged(rule.then for rule in spoke), spoke)


def progress(
    effects: Effects, givers: Collection[int], members: Mapping[int, Collection[int]]
) -> Progress:
    """Return how many of the needed approvals these people give; `members` has the
    people of each group by its key.

    A person counts for one of the named groups at most: if two groups must each give
    one approval, one person who is in both is not enough.
    """
    named = effects.named_groups
    slots = [group for group, n in named.items() for _ in range(n)]
    filled = _assigned(slots, sorted(set(givers)), members)
    missing: dict[int, int] = {}
    for position, group in enumerate(slots):
        if position not in filled:
            missing[group] = missing.get(group, 0) + 1
    of_groups = sum(missing.values())
    more = max(of_groups, effects.total - len(set(givers)))
    if more > of_groups:
        missing[ANY_REVIEWER] = more - of_groups
    return Progress(effects.total - more, effects.total, missing)


def can_be_completed(
    effects: Effects, people: Iterable[int], groups: Mapping[int, frozenset[int]]
) -> bool:
    """Whether these people could together give all approvals that are asked for."""
    barred = frozenset().union(
        *(groups.get(one, frozenset()) for one in effects.barred_groups)
    )
    return progress(effects, set(people) - barred, groups).is_complete


def _assigned(
    slots: Sequence[int], people: Sequence[int], members: Mapping[int, Collection[int]]
) -> dict[int, int]:
    """Assign people to slots, as many as possible; return the person by index of the
    slot.

    Each slot is one approval that a group must give. This is bipartite matching by
    augmenting paths: whoever has a slot already may move to another to make room.
    """
    filled: dict[int, int] = {}

    def place(person: int, tried: set[int]) -> bool:
        for position, group in enumerate(slots):
            if position in tried or person not in members.get(group, ()):
                continue
            tried.add(position)
            if position not in filled or place(filled[position], tried):
                filled[position] = person
                return True
        return False

    for person in people:
        place(person, set())
    return filled


@dataclass(frozen=True)
class Approval:
    """One person's approval of the current revision of a message. `may` is false if
    that person is no longer a reviewer of its mailbox. `behind` are all who may have
    given it (`people.identities`); `same` says why the person who looks counts as one
    person with them, if so. `with_care` is whether it was given so (`Effects.care`).
    """

    person: int
    name: str
    groups: frozenset[int] = frozenset()
    may: bool = True
    surface: str = ""
    at: datetime | None = None
    behind: frozenset[int] = frozenset()
    same: str = ""
    with_care: bool = False


@dataclass(frozen=True)
class Demand:
    """What the policy asks for a message, which approvals it has, and the person who
    looks at it (`person`, in `own_groups`).

    `barred` may not approve: authors, editors, and accounts that count as one person
    with one of these or with whom a rule keeps from approving. If the person who looks
    is among the latter, `counts_as` says why. `last_editors` may not if a rule says so.
    """

    requirement: Requirement = field(default_factory=Requirement)
    approvals: tuple[Approval, ...] = ()
    person: int = 0
    own_groups: frozenset[int] = frozenset()
    barred: frozenset[int] = frozenset()
    counts_as: str = ""
    last_editors: frozenset[int] = frozenset()
    groups: Mapping[int, str] = field(default_factory=dict)
    calendars: Calendars = field(default_factory=dict)
    now: datetime | None = None
    # Whether the message was decided already, and this is the check before the decision
    # is carried out.
    is_decided: bool = False
    # Whether the rules of the policy could be read.
    is_readable: bool = True
    # Whether all who may approve it together could give what is asked for.
    is_possible: bool = True
    # What the rules were asked about; None if there are no rules.
    facts: MessageFacts | None = None

    @property
    def effects(self) -> Effects:
        """What all rules that apply ask for together."""
        return self.requirement.effects

    @cached_property
    def counted(self) -> tuple[Approval, ...]:
        """The approvals that count: of those that may be one person's, the first."""
        barred = self.effects.barred_groups
        counted: list[Approval] = []
        for one in self.approvals:
            may = (
                one.may
                and (one.with_care or not self.effects.care)
                and not barred & one.groups
                and self.may_give(one.person)
            )
            if may and all(one.behind.isdisjoint(each.behind) for each in counted):
                counted.append(one)
        return tuple(counted)

    @cached_property
    def progress(self) -> Progress:
        """How many of the needed approvals are given."""
        return progress(
            self.effects, [one.person for one in self.counted], _members(self.counted)
        )

    @property
    def has_approved(self) -> bool:
        """Whether the person who looks gave an approval that counts."""
        return any(one.person == self.person for one in self.counted)

    @property
    def takes_several(self) -> bool:
        """Whether more than one person has to approve it."""
        return self.effects.total > 1

    @property
    def is_last(self) -> bool:
        """Whether the approval of the person who looks would complete it."""
        return self.after().is_complete

    @property
    def givers(self) -> str:
        """Who approved, as one list: "Ben Okafor and Ana Ruiz"."""
        return listed([one.name for one in self.counted])

    @property
    def sentences(self) -> tuple[str, ...]:
        """What each rule that applies asks for, such as "Payments: 2 approvals of
        Finance are needed."; and what is not known of the message.
        """
        calendars = {key: one.name for key, one in self.calendars.items()}
        names = Names(groups=self.groups, calendars=calendars)
        spoke = self.requirement.spoke
        words = self.facts.words if self.facts else {}
        sentences = [
            f"{one.name}: {found_in_words(one.when.words, words)}"
            f"{effects_in_words(one.then, names)}."
            for one in spoke
        ]
        unread = self.facts.unread_sums if self.facts else ()
        unknown = self.facts.unknown_files[:3] if self.facts else ()
        if unread and any(one.when.amount is not None for one in spoke):
            sentences.append(unread_sums_in_words(unread))
        if unknown and any(
            one.when.attachments or RUNS_CODE in one.when.findings for one in spoke
        ):
            files = listed([f"“{one}”" for one in unknown])
            sentences.append(f"What is in {files} is not known: rules on it apply.")
        return tuple(sentences)

    @property
    def asks_people(self) -> bool:
        """Whether the rules ask for more, or other, people than any one reviewer."""
        return self.takes_several or bool(
            self.effects.named_groups or self.effects.barred_groups
        )

    @property
    def warning(self) -> str:
        """A sentence if too few people may approve to complete it; else empty."""
        return (
            ""
            if self.is_possible
            else "Too few people may give that: ask an admin to change the rule or the group."
        )

    def after(self) -> Progress:
        """Return the progress as it would be if the person who looks approved now."""
        if any(one.same for one in self.counted):
            return self.progress
        givers = {one.person for one in self.counted} | {self.person}
        members = _members(self.counted)
        for group in self.own_groups:
            members.setdefault(group, set()).add(self.person)
        return progress(self.effects, givers, members)

    def forbidding(self) -> list[tuple[str, str]]:
        """Return why the person may not approve: for each reason a word, such as
        "approvals", and a sentence. Empty if they may, unless they are an author or
        editor who may not (`may_give`): `policy.evaluation.rule` checks that before.
        """
        if not self.is_readable:
            sentence = "The rules of the policy could not be read, so nothing can be approved. Tell an admin."
            return [("policy", sentence)]
        reasons = []
        if self.effects.reject:
            reasons.append(
                ("policy", f"A rule rejects this message: {self.effects.reject}")
            )
        if closed := self.closed():
            reasons.append(("hours", closed))
        if self.counts_as:
            reasons.append(("author", self.counts_as))
        if self.is_decided:
            if not self.progress.is_complete:
                no_longer = [
                    one.name for one in self.approvals if one not in self.counted
                ]
                why = (
                    f" That of {listed(no_longer)} does not count any more, by the rules and roles of now."
                    if no_longer
                    else ""
                )
                sentence = f"{self.progress} approvals count now.{why} {self.missing_in_words()}"
                reasons.append(("approvals", sentence))
        elif sentence := self._why_not():
            reasons.append(("approvals", sentence))
        return reasons

    def _why_not(self) -> str:
        """Return why an approval of this person would not count; empty if it would."""
        barring = self.effects.barred_groups & self.own_groups
        if barring:
            return f"A rule keeps members of {self._named(barring)} from approving this message."
        if self.effects.bar_editor and self.person in self.last_editors:
            return (
                "You edited this message last, or wrote words of it in the last 30 days, and a rule wants somebody "
                "else to approve it."
            )
        if self.progress.is_complete:
            # The rules now ask for fewer approvals than when these people approved, so
            # no approval was the last one. Any further approval decides the message.
            return ""
        if same := next((one.same for one in self.counted if one.same), ""):
            return same
        if self.has_approved:
            return f"You have approved this: {self.progress} approvals are given. {self.missing_in_words()}"
        if self.after().given > self.progress.given:
            return ""
        given = f"{self.progress} approvals are given. " if self.takes_several else ""
        return f"{given}{self.missing_in_words()}"

    def missing_in_words(self) -> str:
        """Return who must still approve, as a sentence: "1 more is needed: 1 of
        Finance."; empty if nobody must.
        """
        missing = self.progress.missing
        if not missing:
            return ""
        parts = []
        for group, n in sorted(missing.items()):
            whose = (
                "of any reviewer"
                if group == ANY_REVIEWER
                else f"of {self._named({group})}"
            )
            parts.append(f"{n} {whose}")
        number = sum(missing.values())
        verb = "is" if number == 1 else "are"
        sentence = f"{number} more {verb} needed: {listed(parts)}."
        if not self.takes_several:
            sentence = f"An approval {whose} is needed."
        return f"{sentence} {self.warning}".rstrip()

    def closed(self) -> str:
        """Return when it can be approved, if a rule allows that only at certain hours
        and now is not among them; else empty.
        """
        if self.now is None:
            return ""
        calendars = [self.calendars.get(one) for one in self.effects.office_hours]
        closed = [one for one in calendars if not one or not is_open(one, self.now)]
        if not closed:
            return ""
        names = [one.name for one in closed if one]
        names += ["a deleted calendar"] * closed.count(None)
        names.sort()
        only = f"A rule lets this be approved and sent only within the hours of {listed(names)}"
        at = self.now
        # All calendars must be open at the same time: from each opening on, look again.
        for _ in range(_MOST_OPENINGS):
            openings = [next_opening(one, at) for one in calendars if one]
            known = [one for one in openings if one]
            if len(known) < len(calendars):
                break
            if max(known) == at:
                return f"{only}: next {at:%a %-d %b at %H:%M} UTC."
            at = max(known)
        return f"{only}. These hours never come: ask an admin to change the rule."

    def closes(self) -> datetime | None:
        """Return when the hours end within which it may leave now; None without any."""
        named = [self.calendars.get(one) for one in self.effects.office_hours]
        ends = [next_closing(one, self.now) for one in named if one and self.now]
        return min(ends, default=None)

    def may_give(self, person: int) -> bool:
        """Whether this reviewer is not barred. Their own groups are not checked here."""
        if person in self.barred:
            return False
        return not (self.effects.bar_editor and person in self.last_editors)

    def _named(self, groups: set[int] | frozenset[int]) -> str:
        return listed(
            sorted(
                self.groups.get(one, f"a group that was deleted ({one})")
                for one in groups
            ),
            "or",
        )


# By group, the people who approved and are in it.
def _members(approvals: tuple[Approval, ...]) -> dict[int, set[int]]:
    members: dict[int, set[int]] = {}
    for one in approvals:
        for group in one.groups:
            members.setdefault(group, set()).add(one.person)
    return members
