"""Three policies to begin with, which `ready_made.json` has in the form in which drafts
are stored. Each can be read, and loaded as a draft; docs/policy.md says when to take
which.

They name groups by their names; those that do not exist yet are made without members
when one is loaded.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from policy.rules.rules import PolicyRule, rules_from_json

# What the file has in place of groups' keys, until a policy is loaded.
GROUPS: Mapping[int, str] = {1: "Finance", 2: "Legal", 3: "Client leads"}


@dataclass(frozen=True)
class ReadyMade:
    """A policy to begin with. `rules` have the keys of GROUPS in place of groups'."""

    name: str
    title: str
    about: str
    rules: tuple[PolicyRule, ...]

    @property
    def groups(self) -> dict[int, str]:
        """The groups whose approval its rules ask for."""
        keys = {key for one in self.rules for key in one.then.named_groups}
        return {key: GROUPS[key] for key in sorted(keys)}

    def rules_with(self, groups: Mapping[int, int]) -> tuple[PolicyRule, ...]:
        """Return its rules with the keys of these groups in place of those of GROUPS."""
        found = []
        for one in self.rules:
            approvals = one.then.approvals.items()
            asked = {groups.get(key, key): n for key, n in approvals}
            found.append(replace(one, then=replace(one.then, approvals=asked)))
        return tuple(found)


READY_MADE = {
    one["name"]: ReadyMade(**{**one, "rules": rules_from_json(one["rules"])})
    for one in json.loads(Path(__file__).with_suffix(".json").read_text())
}
