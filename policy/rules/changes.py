"""The commands that admins use to change the policy: begin, change, discard and
activate its draft. Each writes an entry to the ledger.

There is one draft at most. Forms send back which state of the draft they showed; a
change to any other state is refused, so nobody overwrites or activates what they have
not seen. Activating also checks which version was shown as active.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from django.db.models import Max
from django.db.models.functions import Now
from django.urls import reverse

from audit.recording import record
from common.actors import Actor
from common.postgres import atomic_with_retry, clock, take_lock
from mirror.errors import ActNotAllowed
from people.models import Person
from people.second_admin.registry import CanWait, ChangeInWords, listed, second_admin
from policy.errors import PolicyRefused, StalePolicy
from policy.models import Allowlist, GateList, Group, PolicyVersion, WorkCalendar
from policy.rules.demand import NO_POLICY, Policy
from policy.rules.facts import read_policy, signed_passes
from policy.rules.names import names_for, with_known
from policy.rules.rules import (
    LONGEST,
    MOST_RULES,
    Part,
    Parts,
    Pass,
    PolicyRule,
    RuleError,
    Rules,
    differences,
    passes_loosen,
    rules_loosen,
)

# In characters.
MAX_NOTE = 300
# How many entries of a list a change names.
_NAMED = 1000
# A version without rules and passes.
EMPTY = Policy(rules=())
NO_PASSES = (
    "There can be no passes: two admins of everything sign each, and there is only one."
)


@dataclass(frozen=True)
class Policies:
    """The active version of the policy and the draft, None where there is none; and what
    is in force and drafted by them. While none is active, `FIRST_RULE` is in force.
    """

    active: PolicyVersion | None
    draft: PolicyVersion | None
    in_force: Policy
    drafted: Policy

    @property
    def parts(self) -> Parts:
        """The rules and passes of both."""
        return (*self.in_force.parts, *self.drafted.parts)

    @property
    def unreadable(self) -> str:
        """A sentence if either version could not be read; else empty."""
        return self.in_force.unreadable or self.drafted.unreadable


def policies() -> Policies:
    """Return the active version and the draft, as they are now."""
    versions = PolicyVersion.objects.filter(
        state__in=("active", "draft")
    ).select_related("author", "activated_by")
    by_state = {one.state: one for one in versions}
    active = by_state.get("active")
    draft = by_state.get("draft")
    return Policies(
        active,
        draft,
        version_as_is(active) if active else NO_POLICY,
        version_as_is(draft),
    )


def version_as_is(version: PolicyVersion | None) -> Policy:
    """Return a version as values; one without rules and passes if there is none, or it
    cannot be read.
    """
    if version is None:
        return EMPTY
    try:
        return read_policy(version)
    except RuleError as error:
        why = f"The rules of version {version.number} cannot be read: {error.sentence}"
        return replace(EMPTY, number=version.number, unreadable=why)


@atomic_with_retry
def begin_draft(*, actor: Actor, rules: Iterable[Part], based_on: int) -> PolicyVersion:
    """Begin the draft with these rules and passes. They were copied from the version
    with the number `based_on` (0 for no version).

    Raises StalePolicy if there is a draft already, which would be lost.
    """
    current = _lock(actor)
    if current.draft is not None:
        by = f" by {current.draft.author}" if current.draft.author else ""
        raise StalePolicy(
            f"There is a draft{by} already. Continue with it, or discard it first."
        )
    highest = PolicyVersion.objects.aggregate(most=Max("number"))["most"] or 0
    draft = PolicyVersion(
        number=highest + 1, author_id=int(actor.id), based_on=based_on
    )
    _set_parts(draft, map(with_known, rules))
    draft.save()
    begun_from = f"version {based_on}" if based_on else "no rules"
    details = {"version": str(draft.number), "based_on": begun_from}
    record("policy.draft_begun", actor=actor, details=details)
    return draft


@atomic_with_retry
def save_rule(*, actor: Actor, edits: int, rule: Part) -> PolicyVersion:
    """Add a rule or pass to the draft, or replace the one that has its id.

    `edits` is the draft's number of edits when the person saw it. Raises StalePolicy if
    the draft was changed since, and PolicyRefused for a pass that two admins could not
    sign.
    """
    _check_signable([rule] if isinstance(rule, Pass) else [])
    current, draft = _lock_as_seen(actor, edits)
    parts = {one.id: one for one in current.drafted.parts}
    return _change_draft(actor, draft, current, {**parts, rule.id: with_known(rule)})


@atomic_with_retry
def delete_rule(*, actor: Actor, edits: int, rule_id: str) -> PolicyVersion:
    """Delete a rule or pass of the draft. `edits` as in `save_rule`."""
    current, draft = _lock_as_seen(actor, edits)
    parts = {one.id: one for one in current.drafted.parts if one.id != rule_id}
    return _change_draft(actor, draft, current, parts)


def has_two_admins() -> bool:
    """Whether there are two admins of everything, who could sign a pass."""
    return Person.objects.admins_of_all().count() > 1


def _check_signable(passes: Sequence[Pass]) -> None:
    """Raise PolicyRefused unless two admins could sign these passes now."""
    if passes and not has_two_admins():
        raise PolicyRefused(NO_PASSES)
    for one in passes:
        if not timedelta(0) < one.ends_at - clock() <= LONGEST:
            raise PolicyRefused(
                f"“{one.name}”: choose an end in the next {LONGEST.days} days."
            )


def _change_draft(
    actor: Actor, draft: PolicyVersion, current: Policies, parts: Mapping[str, Part]
) -> PolicyVersion:
    """Store these rules and passes; if nothing changes, the draft keeps its number of
    edits.
    """
    after = tuple(parts.values())
    if after != current.drafted.parts:
        _set_parts(draft, after)
        draft.edits += 1
        draft.changed_at = Now()
        draft.save(update_fields=["rules", "passes", "edits", "changed_at"])
        _record(
            "policy.draft_changed", actor, draft, *_before_after(current.drafted, after)
        )
    return draft


def _set_parts(draft: PolicyVersion, parts: Iterable[Part]) -> None:
    parts = tuple(parts)
    if len(parts) > MOST_RULES:
        raise PolicyRefused(f"A policy has at most {MOST_RULES} rules and passes.")
    draft.rules = [one.as_json() for one in parts if isinstance(one, PolicyRule)]
    draft.passes = [one.as_json() for one in parts if isinstance(one, Pass)]


@atomic_with_retry
def discard_draft(*, actor: Actor, edits: int) -> None:
    """Delete the draft; the ledger keeps its rules. `edits` as in `save_rule`."""
    current, draft = _lock_as_seen(actor, edits)
    draft.delete()
    _record("policy.draft_discarded", actor, draft, *_before_after(current.drafted, ()))


def _lock_as_seen(
    actor: Actor, edits: int, active: int | None = None
) -> tuple[Policies, PolicyVersion]:
    """Lock the policies, and return them and the draft.

    Raises StalePolicy if the draft has another number of edits, or if another version
    is active than `active`, unless that is None.
    """
    current = _lock(actor)
    if current.draft is None:
        raise StalePolicy(
            "There is no draft any more: somebody activated or discarded it."
        )
    if current.draft.edits != edits:
        raise StalePolicy(
            "Somebody changed the draft meanwhile. Check it as it is now, then repeat your change."
        )
    number = current.in_force.number
    if active not in (None, number):
        raise StalePolicy(
            f"Meanwhile version {number} became active. Check what the draft changes, then activate it."
        )
    return current, current.draft


@atomic_with_retry
@second_admin("Policy", always=True)
def activate_draft(
    *, actor: Actor, edits: int, active: int, note: str = ""
) -> CanWait[PolicyVersion]:
    """Make the draft the active version, and retire the version that was active.

    `edits` is as in `save_rule`, and `active` the number of the version that was shown
    as active, 0 for none; raises StalePolicy if either has changed. Decisions that wait
    to be carried out must then satisfy the new rules.

    A pass takes two admins whatever the organisation has set, unless it was signed as
    it is, or with more; so do looser rules beside a pass. Raises PolicyRefused if there
    are no two.
    """
    current, draft = _lock_as_seen(actor, edits, active)
    before, after = current.in_force, current.drafted
    if after.unreadable:
        raise PolicyRefused(after.unreadable)
    changes = _before_after(before, after.parts)
    # What was signed by somebody who is no admin any more is signed anew.
    still_signed = [one for one, _ in signed_passes(before).values()]
    to_sign = [one for one in after.passes if passes_loosen(still_signed, [one])]
    _check_signable(to_sign)
    yield lambda: ChangeInWords(
        title=f"Policy: activate version {draft.number}",
        before=before.unreadable or changes[0] or "none of these rules",
        after=(changes[1] or "none of these rules") + _unsigned_entries(to_sign),
        # Where a rule goes, passes may send what it kept for people.
        always=bool(after.passes),
        page=reverse("policy"),
        # The second admin must see what the first one saw. Numbers would not show a
        # change: a draft that is discarded and begun anew gets the same ones. Groups,
        # calendars and lists are included because one admin alone can change those that
        # no active rule names.
        based_on=[draft.rules, draft.passes, *_named_by(after.parts)],
        subjects=_concerned(before.rules, after.rules),
        # Rules that cannot be read may have asked for anything.
        tightens=not (
            before.unreadable or to_sign or rules_loosen(before.rules, after.rules)
        ),
    )
    draft.signatures = {
        one.id: [int(actor.id), int(actor.second)]
        if one in to_sign
        else list(before.signatures.get(one.id, []))
        for one in after.passes
    }
    PolicyVersion.objects.active().update(state="retired", retired_at=Now())
    draft.state = "active"
    draft.activated_by_id = int(actor.id)
    draft.note = note.strip()[:MAX_NOTE]
    draft.activated_at = Now()
    draft.save(
        update_fields=["state", "activated_by", "activated_at", "note", "signatures"]
    )
    draft.refresh_from_db()
    GateList.objects.bring()
    _record("policy.activated", actor, draft, *changes)
    return draft


def _unsigned_entries(passes: Iterable[Pass]) -> str:
    """Return the lines of the entries that came to the lists of these passes while no
    pass named them: the sentence of a pass may read as it did when it was last signed.
    """
    came = {}
    lists = frozenset[int]().union(*(one.when.lists for one in passes))
    for named in Allowlist.objects.filter(pk__in=lists).order_by("name"):
        naming = {"passes__contains": [{"when": {"lists": [named.pk]}}]}
        signed = PolicyVersion.objects.activated().filter(**naming).first()
        entries = named.entries.all()
        if signed:
            entries = entries.filter(added_at__gt=signed.retired_at or clock())
        came[f"allowlist {named}, not signed before"] = first_few(
            entries.values_list("pattern", flat=True)
        )
    return f"\n{listed(came)}".rstrip()


def first_few(entries: Collection[str]) -> str:
    """Return entries of a list in words, of which so many are named."""
    more = len(entries) - _NAMED
    shown = ", ".join(sorted(entries)[:_NAMED])
    return f"{shown} and {more:,} more" if more > 0 else shown


def _lock(actor: Actor) -> Policies:
    """Return the policies, locked against other changes until the transaction ends."""
    if not actor.is_admin_of_all:
        raise ActNotAllowed("Only an admin of everything can change the policy.")
    # A lock by name, because there may be no row to lock.
    take_lock("policy.rules")
    return policies()


def _concerned(before: Rules, after: Rules) -> list[int]:
    """Return the people whom a change of rules concerns: members of groups that a rule
    asks to approve and did not ask before, or that a rule barred that is changed or
    gone.
    """
    groups = {group for _, group in _asked(after) - _asked(before)}
    groups.update(*(one.then.barred_groups for one in before if one not in after))
    members = Person.objects.filter(policy_groups__in=groups).distinct()
    return sorted(members.values_list("pk", flat=True))


def _asked(rules: Rules) -> set[tuple[str, int]]:
    """Return which rules ask which groups to approve."""
    return {(one.id, group) for one in rules for group in one.then.approvals}


def _named_by(parts: Parts) -> list[list[tuple[object, ...]]]:
    """Return the current state of the groups, calendars and allowlists that these rules
    and passes name: three lists of rows.
    """
    columns = {
        Group: ("name", "members"),
        WorkCalendar: ("name", "zone", "weekly", "holidays"),
        Allowlist: ("version",),
    }
    rows = []
    for model, names in columns.items():
        keys = {key for one in parts for key in one.named().get(model.kind, ())}
        found = model._default_manager.filter(pk__in=keys).order_by("pk", names[-1])
        rows.append(list(found.values_list("pk", *names)))
    return rows


def _before_after(before: Policy, after: Parts) -> list[str]:
    """Return the lines of what differs in the draft or between two versions, before and
    after.
    """
    changes = differences(before.parts, after, names_for())
    sides = ([one.before for one in changes], [one.after for one in changes])
    return ["\n".join(filter(None, side)) for side in sides]


def _record(
    action: str, actor: Actor, version: PolicyVersion, before: str, after: str
) -> None:
    details = {"before": before, "after": after, "note": version.note}
    record(action, actor=actor, details=details | {"version": str(version.number)})
