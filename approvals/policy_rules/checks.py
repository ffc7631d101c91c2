"""What is wrong with rules: those that nobody can satisfy, that contradict each other, or that name people who left."""

from collections.abc import Iterable, Mapping, Sequence

from policy.rules.rules import PolicyRule


def problems_of(rules: Iterable[PolicyRule]) -> Mapping[str, Sequence[str]]:
    """Return sentences about rules, by their ids."""
    return {}
