"""Reads versions of the rules. One that is active never changes, so each is parsed once in a process."""

from dataclasses import dataclass
from functools import lru_cache

from policy.models import PolicyVersion
from policy.rules.rules import PolicyRule, rules_from_json


@dataclass(frozen=True)
class Policy:
    """The rules of one version in their order; number 0 and none where no version is active."""

    number: int = 0
    rules: tuple[PolicyRule, ...] = ()

    @property
    def asked_lists(self) -> frozenset[int]:
        """The allowlists that conditions of its rules name."""
        return frozenset().union(*(rule.when.lists for rule in self.rules if rule.is_on))

    @property
    def asked_groups(self) -> frozenset[int]:
        """The groups that its rules ask for an approval, or keep from giving one."""
        rules = (rule.then for rule in self.rules if rule.is_on)
        return frozenset().union(*({*then.named_groups, *then.barred_groups} for then in rules))


NO_POLICY = Policy()


def active_policy() -> Policy:
    """Return the active version, or no rules where none is active."""
    key = PolicyVersion.objects.active().values_list("pk", flat=True).first()
    return policy_of(key) if key is not None else NO_POLICY


@lru_cache(maxsize=16)
def policy_of(key: int) -> Policy:
    """Return a version that is or was active, by its primary key. Raises RuleError for what is no rule.

    Whoever decides must let that error through: a policy that cannot be read holds every message.
    """
    version = PolicyVersion.objects.exclude(state=PolicyVersion.State.DRAFT).get(pk=key)
    return Policy(version.number, rules_from_json(version.rules))
