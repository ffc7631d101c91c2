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

from common.actors import Actor
from common.postgres import atomic_with_retry
from policy.models import Group
from policy.rules.changes import begin_draft, policies
from policy.rules.groups import save_group
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


READY_MADE = {
    one["name"]: ReadyMade(
        **{**one, "rules": parts_from_json(PolicyRule, one["rules"])}
    )
    for one in json.loads(Path(__file__).with_suffix(".json").read_text())
}


@atomic_with_retry
def begin_ready_made(*, actor: Actor, policy: ReadyMade) -> list[str]:
    """Begin the draft with the rules of a ready-made policy, and make the groups that
    they name and that do not exist yet, without members.

    Return the names of the groups that were made. Raises StalePolicy if there is a
    draft already.
    """
    keys = {}
    made = []
    for key, name in policy.groups.items():
        group = Group.objects.filter(name__iexact=name).first()
        if group is None:
            group = save_group(actor=actor, name=name, members=())
            made.append(name)
        keys[key] = group.pk
    rules = []
    for one in policy.rules:
        approvals = {keys.get(key, key): n for key, n in one.then.approvals.items()}
        rules.append(replace(one, then=replace(one.then, approvals=approvals)))
    begin_draft(
        actor=actor,
        rules=rules,
        based_on=policies().active_number,
        source=f"the ready-made policy “{policy.title}”",
    )
    return made
