"""What is wrong with rules: those that nobody can satisfy, that contradict each other, or that name people who left."""

from collections.abc import Mapping, Sequence

from common.actors import Actor
from policy.rules.rules import PolicyRule
from policy.rules.satisfiable import problems
from policy.rules.staff import read_staff


def problems_of(rules: Sequence[PolicyRule], actor: Actor) -> Mapping[str, Sequence[str]]:
    """Return sentences about rules, by their ids, for those who can change them: they name people and mailboxes."""
    found: dict[str, list[str]] = {}
    if rules and actor.is_admin_of_all:
        for one in problems(rules, read_staff()):
            found.setdefault(one.rule, []).append(one.sentence)
    return found
