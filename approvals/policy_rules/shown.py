"""Rules as the pages show them: each with its sentence, owner, note, and what is wrong
with it.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from common.actors import Actor
from policy.rules.changes import Policies
from policy.rules.drafts import Difference, differences
from policy.rules.names import names_for
from policy.rules.rules import Names, PolicyRule, as_sentence
from policy.rules.satisfiable import problems
from policy.rules.staff import read_staff


@dataclass(frozen=True)
class RuleLine:
    """One rule for a page. `problems` are sentences about it."""

    rule: PolicyRule
    sentence: str
    owner: str
    problems: Sequence[str]


def lines_of(
    rules: Iterable[PolicyRule], names: Names, problems: Mapping[str, Sequence[str]]
) -> list[RuleLine]:
    """Return rules for a page, in their order."""
    return [
        RuleLine(
            rule,
            as_sentence(rule, names),
            names.people.get(rule.owner, "somebody who left") if rule.owner else "",
            problems.get(rule.id, ()),
        )
        for rule in rules
    ]


def problems_of(
    rules: Sequence[PolicyRule], actor: Actor
) -> Mapping[str, Sequence[str]]:
    """Return sentences about rules, by their ids, for those who can change them: they
    name people and mailboxes.
    """
    found: dict[str, list[str]] = {}
    if rules and actor.is_admin_of_all:
        for one in problems(rules, read_staff()):
            found.setdefault(one.rule, []).append(one.sentence)
    return found


def base_changes(
    now: Policies, base: Sequence[PolicyRule], actor: Actor
) -> list[Difference]:
    """Return what became active since the draft was begun from another version; nothing
    where none did.
    """
    if now.draft is None or now.draft.based_on == now.active_number:
        return []
    return differences(
        base, now.active_rules, names_for(actor, (*base, *now.active_rules))
    )
