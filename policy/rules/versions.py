"""Reads versions of the rules. One that is active never changes, so each is parsed once
in a process.
"""

from dataclasses import dataclass
from functools import cached_property, lru_cache

from policy.models import PolicyVersion
from policy.rules.conditions import MessageFacts
from policy.rules.demand import Requirement
from policy.rules.rules import PolicyRule, merged, rules_from_json


@dataclass(frozen=True)
class Policy:
    """The rules of one version in their order; number 0 and none where no version is
    active.
    """

    number: int = 0
    rules: tuple[PolicyRule, ...] = ()
    key: int = 0

    @property
    def asked_lists(self) -> frozenset[int]:
        """The allowlists that conditions of its rules name."""
        return frozenset().union(
            *(rule.when.lists for rule in self.rules if rule.is_on)
        )

    @cached_property
    def names_calendars(self) -> bool:
        """Whether a rule names hours of a calendar."""
        return any(one.calendars for one in self.rules if one.is_on)

    @cached_property
    def names_groups(self) -> bool:
        """Whether a rule names a group whose approval it asks for, or who may not
        approve.
        """
        return any(
            one.then.named_groups or one.then.barred_groups
            for one in self.rules
            if one.is_on
        )

    @cached_property
    def asks_people(self) -> bool:
        """Whether a rule asks for more, or other, people than any one reviewer."""
        return any(
            one.is_on and bool(one.then.approvals or one.then.barred_groups)
            for one in self.rules
        )

    def required(self, facts: MessageFacts) -> Requirement:
        """Return what its rules ask of a message, as `policy.rules.demand.required`
        does.

        Kept for messages that are equal to the rules, because a page of the queue asks
        about all of its rows.
        """
        spoke = _untimed(self.key, facts)
        timed = [rule.id for rule in self._timed if rule.when.apply_to(facts)]
        if timed:
            named = {*spoke, *timed}
            spoke = tuple(rule.id for rule in self.rules if rule.id in named)
        return _requirement(self.key, spoke)

    @cached_property
    def _timed(self) -> list[PolicyRule]:
        return [rule for rule in self.rules if rule.is_on and rule.when.ask_time]


NO_POLICY = Policy()


def active_policy() -> Policy:
    """Return the active version, or no rules where none is active."""
    key = PolicyVersion.objects.active().values_list("pk", flat=True).first()
    return policy_of(key) if key is not None else NO_POLICY


@lru_cache(maxsize=16)
def policy_of(key: int) -> Policy:
    """Return a version that is or was active, by its primary key. Raises RuleError for
    what is no rule.

    Whoever decides must let that error through: a policy that cannot be read holds
    every message.
    """
    version = PolicyVersion.objects.exclude(state=PolicyVersion.State.DRAFT).get(pk=key)
    return Policy(version.number, rules_from_json(version.rules), key)


@lru_cache(maxsize=4096)
def _untimed(key: int, facts: MessageFacts) -> tuple[str, ...]:
    """Return the ids of the rules that apply to a message whenever they are asked."""
    rules = policy_of(key).rules
    return tuple(
        rule.id
        for rule in rules
        if rule.is_on and not rule.when.ask_time and rule.when.apply_to(facts)
    )


@lru_cache(maxsize=4096)
def _requirement(key: int, spoke: tuple[str, ...]) -> Requirement:
    policy = policy_of(key)
    named = frozenset(spoke)
    rules = tuple(rule for rule in policy.rules if rule.id in named)
    return Requirement(merged(rule.then for rule in rules), rules, policy.number)
