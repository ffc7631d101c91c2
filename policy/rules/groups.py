"""The commands that admins use to add, change and delete groups of people, which rules
name; and to begin a draft with a ready-made policy, which makes the groups that it
names. Each writes an entry to the ledger.
"""

import hashlib
from collections.abc import Collection, Iterable

from django.urls import reverse

from audit.recording import record
from common.actors import Actor
from common.postgres import atomic_with_retry, take_lock
from mirror.errors import ActNotAllowed
from people.models import Person
from people.second_admin.registry import CanWait, ChangeInWords, second_admin
from policy.errors import PolicyRefused, StalePolicy
from policy.models import Group, LadderStep
from policy.rules.changes import begin_draft, policies
from policy.rules.ready_made import ReadyMade
from policy.rules.rules import PolicyRule
from policy.rules.wording import listed
from risk.lookalikes import looks_like


def seen_state(group: Group) -> str:
    """Return a hash of a group's name and members. Forms send it back, so that a change
    of a group that is no longer as it was shown can be refused.
    """
    members = sorted(group.members.values_list("pk", flat=True))
    return hashlib.sha256(f"{group.name}\n{members}".encode()).hexdigest()[:16]


def rules_naming(group: int, rules: Iterable[PolicyRule]) -> list[PolicyRule]:
    """Return the rules that ask for approvals of this group, or keep it from approving."""
    return [
        one
        for one in rules
        if group in one.then.approvals or group in one.then.barred_groups
    ]


@atomic_with_retry
def add_group(*, actor: Actor, name: str, members: Collection[int]) -> Group:
    """Make a group. Raises PolicyRefused if its name is taken."""
    _check(actor)
    take_lock("policy.rules")
    group = Group(name=name)
    _store(group)
    group.members.set(members)
    _record("policy.group_added", actor, group, "", _in_words(group))
    return group


def _locked(actor: Actor, group_id: int, seen: str | None = None) -> Group:
    """Lock and return a group. Raises StalePolicy if its `seen_state` is not `seen`,
    unless that is None.
    """
    _check(actor)
    # Whether an active rule names it must not change before this is stored.
    take_lock("policy.rules")
    group = Group.objects.select_for_update().filter(pk=group_id).first()
    if group is None:
        raise StalePolicy("Somebody deleted this group meanwhile.")
    if seen not in (None, seen_state(group)):
        raise StalePolicy(
            f"Somebody changed this group meanwhile: it is now {_in_words(group)}. Save again to replace that."
        )
    return group


@atomic_with_retry
@second_admin("Group")
def change_group(
    *, actor: Actor, group_id: int, seen: str, name: str, members: Collection[int]
) -> CanWait[Group]:
    """Rename a group and set its members. `seen` is the `seen_state` that the form
    showed; raises StalePolicy if the group has changed since.

    Approvals that members gave are kept; whether they still count is checked again when
    the decision is carried out.
    """
    group = _locked(actor, group_id, seen)

    def in_words() -> ChangeInWords:
        people = Person.objects.filter(pk__in=members).order_by("name", "email")
        members_now = set(group.members.values_list("pk", flat=True))
        leave = members_now - {*members}
        join = {one.pk for one in people} - members_now
        current = policies()
        effects = [one.then for one in current.active_rules if one.is_on]
        # The change loosens the policy if somebody joins a group whose approval a rule
        # asks for, or leaves a group that a rule keeps from approving. So does another
        # name: rules are read by the names of their groups.
        loosens = (
            current.unreadable
            or (name != group.name and rules_naming(group_id, current.active_rules))
            or (join and any(group_id in one.approvals for one in effects))
            or (leave and any(group_id in one.barred_groups for one in effects))
        )
        # Of a group that may not approve, one who leaves after another is one change.
        bars = any(group_id in one.barred_groups for one in effects)
        return ChangeInWords(
            title=f"Group {group.name}: its members",
            before=_in_words(group),
            after=f"{name}: {', '.join(f'{one} ({one.email})' for one in people) or 'nobody'}",
            page=reverse("policy-group", args=[group.pk]),
            subjects=[*join, *leave, *(members_now if bars and leave else ())],
            tightens=not loosens,
        )

    yield in_words
    before = _in_words(group)
    group.name = name
    _store(group)
    group.members.set(members)
    after = _in_words(group)
    if before != after:
        _record("policy.group_changed", actor, group, before, after)
    return group


@atomic_with_retry
def delete_group(*, actor: Actor, group_id: int) -> str:
    """Delete a group, and return its name. Raises PolicyRefused if a rule of the active
    version or the draft names it, or a step of a review plan.
    """
    group = _locked(actor, group_id)
    current = policies()
    for version, rules in (
        ("active version", current.active_rules),
        ("draft", current.draft_rules),
    ):
        if naming := rules_naming(group_id, rules):
            names = listed([f"“{one.name}”" for one in naming])
            which = f"the rule {names} of the {version} names"
            if len(naming) > 1:
                which = f"the rules {names} of the {version} name"
            raise PolicyRefused(f"“{group.name}” cannot be deleted: {which} it.")
    if LadderStep.objects.filter(group=group).exists():
        raise PolicyRefused(
            f"“{group.name}” cannot be deleted: a step of a review plan names it."
        )
    before = _in_words(group)
    group.delete()
    _record("policy.group_deleted", actor, group, before, "")
    return group.name


def _check(actor: Actor) -> None:
    if not actor.is_admin_of_all:
        raise ActNotAllowed("Only an admin of everything can change groups.")


def _store(group: Group) -> None:
    others = Group.objects.exclude(pk=group.pk).values_list("name", flat=True)
    if taken := looks_like(group.name, others):
        raise PolicyRefused(f"There is a group “{taken}” already, which looks like it.")
    group.save()


def _record(action: str, actor: Actor, group: Group, before: str, after: str) -> None:
    details = {"group": group.name, "before": before, "after": after}
    record(action, actor=actor, details=details)


def _in_words(group: Group) -> str:
    people = Person.objects.filter(policy_groups=group.pk).order_by("name", "email")
    return f"{group.name}: {', '.join(f'{one} ({one.email})' for one in people) or 'nobody'}"


@atomic_with_retry
def begin_ready_made(*, actor: Actor, policy: ReadyMade) -> list[str]:
    """Begin the draft with the rules of a ready-made policy, and make the groups that
    they name and that do not exist yet, without members.

    Return the names of the groups that were made. Raises StalePolicy if there is a
    draft already.
    """
    _check(actor)
    group_keys = {}
    made = []
    for key, name in policy.groups.items():
        group = Group.objects.filter(name__iexact=name).first()
        if group is None:
            group = add_group(actor=actor, name=name, members=())
            made.append(name)
        group_keys[key] = group.pk
    begin_draft(
        actor=actor,
        rules=policy.rules_with(group_keys),
        based_on=policies().active_number,
        source=f"the ready-made policy “{policy.title}”",
    )
    return made
