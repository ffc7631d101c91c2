"""Rules as the pages show them: each with its sentence, owner, note, and what is wrong with it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from common.actors import Actor
from policy.rules.changes import Policies
from policy.rules.drafts import Difference, differences
from policy.rules.names import names_for
from policy.rules.rules import Names, PolicyRule, as_sentence

# What a condition asks about, where a page says that it does not hold.
CONDITIONS: Mapping[str, str] = {
    "mailboxes": "mailbox",
    "keys": "API key",
    "key_owners": "owner of the API key",
    "recipients": "recipients",
    "recipients_except": "recipients",
    "lists": "allowlist",
    "first_contact": "first contact",
    "risk": "risk",
    "findings": "finding",
    "own_words": "own words",
    "amount": "amount",
    "attachments": "attachments",
    "recipients_from": "number of recipients",
    "origins": "origin",
    "during": "time",
    "outside": "time",
    "tries_from": "try",
}


@dataclass(frozen=True)
class RuleLine:
    """One rule for a page. `problems` are sentences about it."""

    rule: PolicyRule
    sentence: str
    owner: str
    problems: Sequence[str]


def lines_of(rules: Iterable[PolicyRule], names: Names, problems: Mapping[str, Sequence[str]]) -> list[RuleLine]:
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


def base_changes(now: Policies, base: Sequence[PolicyRule], actor: Actor) -> list[Difference]:
    """Return what became active since the draft was begun from another version; nothing where none did."""
    if now.draft is None or now.draft.based_on == now.active_number:
        return []
    return differences(base, now.active_rules, names_for(actor, (*base, *now.active_rules)))
