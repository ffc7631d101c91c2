"""What the rules ask of one message, and how far its approvals have come. Pure."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from policy.rules.conditions import MessageFacts
from policy.rules.effects import ANY_REVIEWER, Effects, merged
from policy.rules.rules import PolicyRule


@dataclass(frozen=True)
class Requirement:
    """What all rules that apply ask for together, and which they are, in their order.

    `version` is the number of the policy; 0 where none is active.
    """

    effects: Effects = field(default_factory=Effects)
    spoke: tuple[PolicyRule, ...] = ()
    version: int = 0


@dataclass(frozen=True)
class Progress:
    """How many of the needed approvals are given: "1 of 2". `missing` says how many
    more each group must give.

    In place of a group it has `ANY_REVIEWER` where anybody may give what is missing
    besides them.
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


def required(
    rules: Iterable[PolicyRule], facts: MessageFacts, *, version: int = 0
) -> Requirement:
    """Return what the rules that are on and apply to a message ask for together: the
    strictest of each.
    """
    spoke = tuple(rule for rule in rules if rule.is_on and rule.when.apply_to(facts))
    return (
        Requirement(merged(rule.then for rule in spoke), spoke, version)
        if spoke
        else Requirement(version=version)
    )


def progress(
    effects: Effects, givers: Collection[int], members: Mapping[int, Collection[int]]
) -> Progress:
    """Return how far the approvals of these people go; `members` are the people of each
    group by its key.

    Each person counts once, for one of the named groups at most: where two groups must
    each give one, one person in both is not enough.
    """
    named = effects.named_groups
    slots = [group for group, n in named.items() for _ in range(n)]
    taken = _assigned(slots, sorted(set(givers)), members)
    missing: dict[int, int] = {}
    for position, group in enumerate(slots):
        if position not in taken:
            missing[group] = missing.get(group, 0) + 1
    of_groups = sum(missing.values())
    more = max(of_groups, effects.total - len(set(givers)))
    if more > of_groups:
        missing[ANY_REVIEWER] = more - of_groups
    return Progress(effects.total - more, effects.total, missing)


def helps(
    effects: Effects,
    givers: Collection[int],
    person: int,
    members: Mapping[int, Collection[int]],
) -> bool:
    """Whether the approval of one more person brings the message closer to being
    approved.
    """
    before = progress(effects, givers, members)
    return progress(effects, {*givers, person}, members).given > before.given


def _assigned(
    slots: Sequence[int], people: Sequence[int], members: Mapping[int, Collection[int]]
) -> dict[int, int]:
    """Return which person fills which slot of a group, as many as possible (augmenting
    paths).
    """
    filled: dict[int, int] = {}

    def place(person: int, seen: set[int]) -> bool:
        for position, group in enumerate(slots):
            if position in seen or person not in members.get(group, ()):
                continue
            seen.add(position)
            if position not in filled or place(filled[position], seen):
                filled[position] = person
                return True
        return False

    for person in people:
        place(person, set())
    return filled
