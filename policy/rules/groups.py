"""Adds, changes and deletes groups of people, each with its entry in the ledger."""

import hashlib
from collections.abc import Collection, Iterable

from django.db import IntegrityError, transaction
from django.urls import reverse

from audit.recording import changed, record
from common.actors import Actor
from common.postgres.retry import atomic_with_retry
from mirror.errors import ActNotAllowed
from people.models import Person
from people.second_admin.registry import CanWait, ChangeInWords, second_admin
from policy.errors import PolicyRefused, StalePolicy
from policy.models import Group
from policy.rules.changes import begin_draft, policies
from policy.rules.ready_made import ReadyMade
from policy.rules.rules import PolicyRule, listed

MAX_NAME = 60


def seen_state(group: Group) -> str:
    """Return what a form sends back to say which name and members it showed."""
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
    """Make a group. Raises PolicyRefused where its name is taken."""
    _check(actor)
    group = Group(name=name)
    _store(group)
    group.members.set(members)
    _record("policy.group_added", actor, group, "", _in_words(group))
    return group


def _locked(actor: Actor, group_id: int, seen: str | None = None) -> Group:
    """Lock a group, if it is still as `seen_state` says that it was shown."""
    _check(actor)
    group = Group.objects.select_for_update().filter(pk=group_id).first()
    if group is None:
        raise StalePolicy("Somebody deleted this group meanwhile.")
    if seen not in (None, seen_state(group)):
        raise StalePolicy(
            "Somebody changed this group meanwhile. Check it as it is now, then save your change."
        )
    return group


@atomic_with_retry
@second_admin("Group")
def change_group(
    *, actor: Actor, group_id: int, seen: str, name: str, members: Collection[int]
) -> CanWait[Group]:
    """Rename a group and set its members, if it is still as `seen_state` says that it
    was shown.

    The approvals that members gave stay; whether they count is asked again when the
    message is carried out.
    """
    group = _locked(actor, group_id, seen)

    def in_words() -> ChangeInWords:
        people = Person.objects.filter(pk__in=members).order_by("name", "email")
        now = set(group.members.values_list("pk", flat=True))
        leave = now - {*members}
        join = {one.pk for one in people} - now
        rules = policies()
        asked = [one.then for one in rules.active_rules if one.is_on]
        # It loosens where somebody joins a group that approves by a rule, or leaves one
        # that a rule bars.
        loosens = (
            rules.unreadable
            or (join and any(group_id in one.approvals for one in asked))
            or (leave and any(group_id in one.barred_groups for one in asked))
        )
        return ChangeInWords(
            title=f"Group {group.name}: its members",
            before=_in_words(group),
            after=f"{name}: {', '.join(map(str, people)) or 'nobody'}",
            page=reverse("policy-group", args=[group.pk]),
            # Nobody lets themselves in.
            about=next(iter(join)) if len(join) == 1 else None,
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
    """Delete a group that no rule of the active version or the draft names; return its
    name.
    """
    group = _locked(actor, group_id)
    now = policies()
    for version, rules in (
        ("active version", now.active_rules),
        ("draft", now.draft_rules),
    ):
        if naming := rules_naming(group_id, rules):
            names = listed([f"“{one.name}”" for one in naming])
            which = f"the rule {names} of the {version} names"
            if len(naming) > 1:
                which = f"the rules {names} of the {version} name"
            raise PolicyRefused(f"“{group.name}” cannot be deleted: {which} it.")
    before = _in_words(group)
    group.delete()
    _record("policy.group_deleted", actor, group, before, "")
    return group.name


def _check(actor: Actor) -> None:
    if not actor.is_admin_of_all:
        raise ActNotAllowed("Only an admin of everything can change groups.")


def _store(group: Group) -> None:
    try:
        with transaction.atomic():
            group.save()
    except IntegrityError:
        raise PolicyRefused(f"There is a group “{group.name}” already.") from None


def _record(action: str, actor: Actor, group: Group, before: str, after: str) -> None:
    details = {"group": group.name, **changed(before=before, after=after)}
    record(action, actor=actor, details=details)


def _in_words(group: Group) -> str:
    people = Person.objects.filter(policy_groups=group.pk).order_by("name", "email")
    return f"{group.name}: {', '.join(map(str, people)) or 'nobody'}"


@atomic_with_retry
def begin_ready_made(*, actor: Actor, policy: ReadyMade) -> list[str]:
    """Begin the draft with a ready-made policy, and make the groups that it names and
    nobody has made yet.

    Return the names of those; they have no members. Raises StalePolicy where there is a
    draft.
    """
    _check(actor)
    keys = {}
    made = []
    for key, name in policy.groups.items():
        group = Group.objects.filter(name__iexact=name).first()
        if group is None:
            group = add_group(actor=actor, name=name, members=())
            made.append(name)
        keys[key] = group.pk
    begin_draft(
        actor=actor,
        rules=policy.rules_with(keys),
        based_on=policies().active_number,
        source=f"the ready-made policy “{policy.title}”",
    )
    return made
