"""Three policies to begin with, read from `ready_made.json`, where their rules have the
form in which drafts are stored. An admin can look at each and load it as the draft;
docs/policy.md says when to take which.

Groups that a policy names and that do not exist yet are made, without members, when it
is loaded.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from policy.rules.rules import PolicyRule, parts_from_json

# The JSON file has these numbers in place of the primary keys of groups; they are
# replaced when a policy is loaded.
GROUPS: Mapping[int, str] = {1: "Finance", 2: "Legal", 3: "Client leads"}


@dataclass(frozen=True)
class ReadyMade:
    """A policy to begin with. Its `rules` name groups by the numbers of GROUPS."""

    name: str
    title: str
    about: str
    rules: tuple[PolicyRule, ...]

    @property
    def groups(self) -> dict[int, str]:
        """The names of the groups that its rules need, by number of GROUPS."""
        keys = {key for one in self.rules for key in one.then.named_groups}
        return {key: GROUPS[key] for key in sorted(keys)}

    def rules_with(self, groups: Mapping[int, int]) -> tuple[PolicyRule, ...]:
        """Return its rules with primary keys, which `groups` has by number of GROUPS."""
        rules = []
        for one in self.rules:
            approvals = one.then.approvals.items()
            approvals_by_key = {groups.get(key, key): n for key, n in approvals}
            rules.append(
                replace(one, then=replace(one.then, approvals=approvals_by_key))
            )
        return tuple(rules)


READY_MADE = {
    one["name"]: ReadyMade(
        **{**one, "rules": parts_from_json(PolicyRule, one["rules"])}
    )
    for one in json.loads(Path(__file__).with_suffix(".json").read_text())
}
