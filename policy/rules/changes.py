"""The commands that admins use to change the policy: begin, change, discard and
activate its draft. Each writes an entry to the ledger.

There is one draft at most. Forms send back which state of the draft they showed; a
change to any other state is refused, so nobody overwrites or activates what they have
not seen. While there is a draft, no other version becomes active.

Admins also add, change and delete what rules name: groups of people, calendars, which
review plans name too, and allowlists. A change of a list is then pushed to the gates.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from django.db import transaction
from django.db.models import Max, ProtectedError, QuerySet
from django.urls import reverse

from audit.recording import record
from common.actors import Actor
from common.postgres import atomic_with_retry, clock, take_lock
from mirror.errors import ActNotAllowed
from people.identities import Identities
from people.models import Person
from people.roles import GrantTarget
from people.second_admin.registry import CanWait, ChangeInWords, listed, second_admin
from policy.calendars import DAYS, write_day
from policy.errors import PolicyRefused, RuleError, StalePolicy, check_name, check_seen
from policy.models import (
    ENDLESS,
    AllowEntry,
    Allowlist,
    GateList,
    Group,
    Named,
    PolicyVersion,
    WorkCalendar,
    key_owners,
)
from policy.rules.demand import NO_POLICY, Policy
from policy.rules.facts import names_for, read_policy, signed_passes, with_known
from policy.rules.rules import (
    LONGEST,
    MOST_RULES,
    One,
    Part,
    Parts,
    Pass,
    PolicyRule,
    differences,
    passes_loosen,
    rules_loosen,
)

# In characters.
MAX_NOTE = 300
MOST_WORDS = 1000
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
    versions = PolicyVersion.objects.exclude(state="retired")
    named = {
        one.state: one for one in versions.select_related("author", "activated_by")
    }
    active, draft = named.get("active"), named.get("draft")
    in_force = version_as_is(active) if active else NO_POLICY
    return Policies(active, draft, in_force, version_as_is(draft))


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
        raise StalePolicy(
            f"There is a draft by {current.draft.author} already. Continue with it, or discard it first."
        )
    highest = PolicyVersion.objects.aggregate(most=Max("number"))["most"] or 0
    draft = PolicyVersion(number=highest + 1, author_id=int(actor.id))
    _set_parts(draft, map(with_known, rules))
    draft.save()
    begun_from = f"version {based_on}" if based_on else "no rules"
    details = {"version": str(draft.number), "based_on": begun_from}
    record("policy.draft_begun", actor=actor, details=details)
    return draft


def has_two_admins() -> bool:
    """Whether two people are admins of everything, and could sign a pass."""
    admins = set(Person.objects.admins_of_all().values_list("pk", flat=True))
    identities = Identities()
    return any(admins - identities.same_as([one]) for one in admins)


def _check_signable(passes: Sequence[Pass]) -> None:
    """Raise PolicyRefused unless two admins could sign these passes now."""
    if passes and not has_two_admins():
        raise PolicyRefused(NO_PASSES)
    for one in passes:
        if not timedelta(0) < one.ends_at - clock() <= LONGEST:
            raise PolicyRefused(
                f"“{one.name}”: choose an end in the next {LONGEST.days} days."
            )


@atomic_with_retry
def change_draft(
    *, actor: Actor, seen: str, rule_id: str, rule: Part | None
) -> PolicyVersion:
    """Add a rule or pass to the draft, replace the one that has this id, or delete that
    one if `rule` is None.

    `seen` is that of the draft which the person saw. Raises StalePolicy if it was
    changed since, and PolicyRefused for a pass that two admins could not sign.
    """
    _check_signable([rule] if isinstance(rule, Pass) else [])
    current, draft = _lock_as_seen(actor, seen)
    parts: dict[str, Part | None] = {one.id: one for one in current.drafted.parts}
    parts[rule_id] = with_known(rule) if rule else None
    after: Parts = tuple(filter(None, parts.values()))
    if after != current.drafted.parts:
        _set_parts(draft, after)
        draft.changed_at = clock()
        draft.save()
        _record(
            "policy.draft_changed", actor, draft, *_before_after(current.drafted, after)
        )
    return draft


def _set_parts(draft: PolicyVersion, parts: Iterable[Part]) -> None:
    parts = tuple(parts)
    if len(parts) > MOST_RULES:
        raise PolicyRefused(f"A policy has at most {MOST_RULES} rules and passes.")
    rules = [one for one in parts if isinstance(one, PolicyRule)]
    # For each message it is stored which of them it has.
    if len(frozenset().union(*(one.when.words for one in rules))) > MOST_WORDS:
        raise PolicyRefused(f"The rules of a policy name at most {MOST_WORDS} words.")
    draft.rules = [one.as_json() for one in rules]
    draft.passes = [one.as_json() for one in parts if isinstance(one, Pass)]


@atomic_with_retry
def discard_draft(*, actor: Actor, seen: str) -> None:
    """Delete the draft; the ledger keeps its rules. `seen` as in `change_draft`."""
    current, draft = _lock_as_seen(actor, seen)
    draft.delete()
    _record("policy.draft_discarded", actor, draft, *_before_after(current.drafted, ()))


def _lock_as_seen(actor: Actor, seen: str) -> tuple[Policies, PolicyVersion]:
    """Lock the policies, and return them and the draft. Raises StalePolicy if it is not
    as it was `seen`.
    """
    current = _lock(actor)
    if current.draft is None:
        raise StalePolicy(
            "There is no draft any more: somebody activated or discarded it."
        )
    if current.draft.seen != seen:
        raise StalePolicy(
            "Somebody changed the draft meanwhile. Check it as it is now, then repeat your change."
        )
    return current, current.draft


@atomic_with_retry
@second_admin("Policy", always=True)
def activate_draft(
    *, actor: Actor, seen: str, note: str = ""
) -> CanWait[PolicyVersion]:
    """Make the draft the active version, and retire the version that was active.

    `seen` as in `change_draft`. Decisions that wait to be carried out must then satisfy
    the new rules.

    A pass takes two admins whatever the organisation has set, unless it was signed as
    it is, or with more; so do looser rules beside a pass. Raises PolicyRefused if there
    are no two.
    """
    current, draft = _lock_as_seen(actor, seen)
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
        subjects=_concerned(before, after),
        # Rules that cannot be read may have asked for anything.
        tightens=not (
            before.unreadable or to_sign or rules_loosen(before.rules, after.rules)
        ),
    )
    draft.signatures = {
        one.id: [int(actor.id), int(actor.second)]
        if one in to_sign
        else before.signatures.get(one.id, [])
        for one in after.passes
    }
    draft.state = "active"
    draft.activated_by_id = int(actor.id)
    draft.note = note.strip()[:MAX_NOTE]
    draft.activated_at = clock()
    PolicyVersion.objects.active().update(
        state="retired", retired_at=draft.activated_at
    )
    draft.save()
    GateList.objects.bring()
    _record("policy.activated", actor, draft, *changes)
    return draft


def _unsigned_entries(passes: Iterable[Pass]) -> str:
    """Return the lines of the entries that came to the lists of these passes while no
    pass named them: the sentence of a pass may read as it did when it was last signed.
    """
    came = {}
    lists = frozenset[int]().union(*(one.lists for one in passes))
    for named in Allowlist.objects.filter(pk__in=lists).order_by("name"):
        naming = [{"lists": [named.pk]}]
        versions = PolicyVersion.objects.activated().filter(passes__contains=naming)
        signed = versions.first()
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


def _concerned(before: Policy, after: Policy) -> list[int]:
    """Return the people whom a change of the policy concerns: members of groups that a
    rule asks to approve and did not ask before, or that a rule barred that is changed
    or gone; and owners of the API keys that such a rule, or a new pass, names.
    """
    asked = {one.id: one.then.approvals for one in before.rules}
    groups = {
        group
        for one in after.rules
        for group in one.then.approvals
        if group not in asked.get(one.id, ())
    }
    changed = [one for one in before.rules if one not in after.rules]
    groups.update(*(one.then.barred_groups for one in changed))
    members = Person.objects.filter(policy_groups__in=groups)
    passes = [one for one in after.passes if one not in before.passes]
    keys = set[str]().union(
        *(one.when.keys for one in changed), *(one.keys for one in passes)
    )
    owners = {
        person
        for connection, key, person in key_owners(
            [one.partition(":")[2] for one in keys]
        )
        if f"{connection}:{key}" in keys
    }
    return sorted(owners.union(members.values_list("pk", flat=True)))


def _named_by(parts: Parts) -> list[str]:
    """Return how the groups, calendars and allowlists that these rules and passes name
    read now.
    """
    models: tuple[type[Named], ...] = (Group, WorkCalendar, Allowlist)
    rows = [row for one in models for row in one._default_manager.order_by("pk")]
    return [in_words(row) for row in rows if naming(row, parts)]


def _before_after(before: Policy, after: Parts) -> list[str]:
    """Return the lines of what differs in the draft or between two versions, before and
    after.
    """
    sides = zip(*differences(before.parts, after, names_for()), strict=True)
    return ["\n".join(filter(None, side)) for side in sides] or ["", ""]


def _record(
    action: str, actor: Actor, version: PolicyVersion, before: str, after: str
) -> None:
    details = {
        "before": before,
        "after": after,
        "note": version.note,
        "version": str(version.number),
    }
    record(action, actor=actor, details=details)


Row = TypeVar("Row", bound=Named)


def naming(row: Named, parts: Iterable[One]) -> list[One]:
    """Return the rules and passes that name a list, group or calendar."""
    return [one for one in parts if row.pk in one.named().get(row.kind, ())]


def in_words(row: Any) -> str:
    """Return a stored list, group or calendar as text for the ledger."""
    if isinstance(row, Allowlist):
        return f"{row.scope}; version: {row.version}; entries: {row.entries.count()}"
    if isinstance(row, Group):
        return _group_in_words(row.name, row.members.all())
    holidays = ", ".join(f"{day} {name}" for day, name in sorted(row.holidays.items()))
    days = [
        f"{day} {write_day(hours)}"
        for day, hours in zip(DAYS, row.weekly, strict=True)
        if hours
    ]
    return f"{row.name}: {row.zone}; {'; '.join(days)}; holidays: {holidays or 'none'}"


def _group_in_words(name: str, people: QuerySet[Person]) -> str:
    named = people.order_by("name", "email")
    members = ", ".join(f"{one} ({one.email})" for one in named)
    return f"{name}: {members or 'nobody'}"


@atomic_with_retry
@second_admin("Group")
def save_group(
    *,
    name: str,
    members: Sequence[int],
    actor: Actor,
    group: Group | None = None,
    seen: str = "",
) -> CanWait[Group]:
    """Make a group, or set the name and members of this one. `seen` is the `seen_state`
    that the form showed. Raises ActNotAllowed, StalePolicy, PolicyRefused.

    Approvals that members gave are kept; whether they still count is checked again when
    the decision is carried out.
    """
    row, before = lock(group or Group(), actor)
    check_seen(seen, before)
    check_name(row, name)
    people = Person.objects.filter(pk__in=members)
    after = _group_in_words(name, people)

    def change() -> ChangeInWords:
        members_now = set(row.members.values_list("pk", flat=True)) if before else set()
        policy = policies().in_force
        named = naming(row, policy.rules)
        bars = any(row.pk in one.then.barred_groups for one in named)
        join, leave = {*members} - members_now, members_now - {*members}
        # Rules are read by the names of their groups.
        loosens = policy.unreadable or (named and (join or bars or name != row.name))
        return ChangeInWords(
            title=f"Group {row}: its members",
            before=before,
            after=after,
            page=reverse("policy-group", args=[row.pk]) if before else "",
            # Of a group that may not approve, one who leaves after another is one
            # change.
            subjects=sorted(join | (members_now if bars and leave else leave)),
            # No rule names a new group.
            tightens=not (before and loosens),
        )

    yield change
    row.name = name
    row.save()
    row.members.set(people)
    record_change(row, actor, before)
    return row


@atomic_with_retry
@second_admin("Calendar")
def save_calendar(
    *,
    name: str,
    zone: str,
    weekly: Sequence[Sequence[Sequence[int]]],
    holidays: Mapping[str, str],
    actor: Actor,
    calendar: WorkCalendar | None = None,
    seen: str = "",
) -> CanWait[WorkCalendar]:
    """Make a calendar, or change this one. `seen` is the `seen_state` that the form
    showed. Raises ActNotAllowed, StalePolicy, PolicyRefused.
    """
    stored, before = lock(calendar or WorkCalendar(), actor)
    check_seen(seen, before)
    check_name(stored, name)
    row = WorkCalendar(
        pk=stored.pk, name=name, zone=zone, weekly=weekly, holidays=holidays
    )
    yield lambda: ChangeInWords(
        title=f"Calendar {stored if before else row}: hours that a rule names",
        before=before,
        after=in_words(row),
        page=reverse("calendar", args=[row.pk]) if before else "",
        # No rule names the hours of a new calendar.
        tightens=not before,
    )
    row.save()
    record_change(row, actor, before)
    return row


@atomic_with_retry
def delete_named(*, row: Named, actor: Actor) -> None:
    """Delete a list, group or calendar. Raises ActNotAllowed, and PolicyRefused if the
    active version or the draft names it, or a review plan or duty.
    """
    locked, before = lock(row, actor)
    current = policies()
    named = naming(locked, current.parts)
    if current.unreadable or named:
        why = current.unreadable or f"“{named[0].name}” of the policy names it."
        raise PolicyRefused(f"“{row}” cannot be deleted. {why}")
    removed = ""
    if isinstance(locked, Allowlist):
        removed = first_few(locked.entries.values_list("pattern", flat=True))
    try:
        with transaction.atomic():
            locked.delete()
    except ProtectedError:
        raise PolicyRefused(
            f"“{row}” cannot be deleted: a review plan or somebody's duty names it."
        ) from None
    record_change(locked, actor, before, removed=removed)


def lock(row: Row, actor: Actor) -> tuple[Row, str]:
    """Return a stored row, locked, and how it reads; or a new row and an empty text.
    Raises ActNotAllowed if the actor may not change it.
    """
    # Whether an active rule names it must not change before this is stored.
    take_lock("policy.rules")
    rows = type(row)._default_manager.select_for_update()
    locked: Any = rows.filter(pk=row.pk).first() if row.pk else row
    if locked is None:
        raise StalePolicy("Somebody deleted this meanwhile.")
    if not locked.is_changed_by(actor):
        raise ActNotAllowed("Only an admin of everything that it covers can change it.")
    return locked, in_words(locked) if row.pk else ""


def record_change(row: Named, actor: Actor, before: str, **more: str) -> None:
    """Record a change of a list, group or calendar in the ledger, if it is one."""
    after = in_words(row) if row.pk else ""
    if before != after:
        kind = str(row._meta.verbose_name)
        did = "changed" if before else "added"
        record(
            f"{kind}.{did if after else 'deleted'}",
            actor=actor,
            connection=getattr(row, "owning_connection", None),
            details={kind: row.name, "before": before, "after": after, **more},
        )


@dataclass(frozen=True)
class WantedEntry:
    """An entry as it should be; its pattern is in the form of `read_pattern`."""

    pattern: str
    note: str = ""
    expires_at: datetime | None = None

    def __str__(self) -> str:
        if not self.expires_at:
            return self.pattern
        return (
            f"{self.pattern} until {self.expires_at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
        )


@atomic_with_retry
def add_allowlist(*, name: str, actor: Actor, target: GrantTarget) -> Allowlist:
    """Make an empty list for all mail, a connection or a mailbox, which nothing names
    yet. Raises ActNotAllowed, and PolicyRefused if another has this name.
    """
    made, _ = lock(Allowlist(name=name.strip(), **target.fields), actor)
    check_name(made, made.name)
    made.changed_by_id = int(actor.id)
    made.save()
    record_change(made, actor, "")
    return made


@atomic_with_retry
@second_admin("Allowlist", always=True)
def apply_change(
    *,
    allowlist: Allowlist,
    put: Sequence[WantedEntry],
    remove: Sequence[str],
    seen: str,
    actor: Actor,
) -> CanWait[Allowlist]:
    """Add or change entries of a list, of which the last counts for each pattern, and
    remove these patterns. `seen` is the `seen_state` of the list that the actor saw.

    A change without effect makes no new version. Raises ActNotAllowed, StalePolicy.
    """
    locked, before = lock(allowlist, actor)
    check_seen(seen, before, by=locked.changed_by or "Somebody")
    wanted = {one.pattern: one for one in put}
    present = locked.entries.filter(pattern__in=[*wanted, *remove])
    stored = {
        row[0]: WantedEntry(*row)
        for row in present.values_list("pattern", "note", "expires_at")
    }
    new = {key: one for key, one in wanted.items() if one != stored.get(key)}
    removed = sorted(stored.keys() - wanted.keys())
    changed = [*new, *removed]
    is_longer = False
    # In words, each with its end.
    acts = defaultdict[str, list[str]](list)
    acts["removed"] = [str(stored[one]) for one in removed]
    for key, entry in new.items():
        if was := stored.get(key):
            is_same = entry.expires_at == was.expires_at
            what = "its note" if is_same else f"before: {was}"
            acts["changed"].append(f"{entry} ({what})")
        else:
            acts["added"].append(str(entry))
        ends = entry.expires_at or ENDLESS
        is_longer |= was is None or ends > (was.expires_at or ENDLESS)

    def change() -> ChangeInWords:
        policy = policies().in_force
        rules = naming(locked, policy.rules)
        # A rule on recipients who are on the list may apply to fewer messages.
        is_asked = any(locked.pk in one.when.lists for one in rules)
        tightens = not (policy.unreadable or is_longer or (changed and is_asked))
        # Two admins signed to whom a pass sends without a person; and where a rule does
        # not apply any more, passes may send what it kept for people.
        is_named = naming(locked, policy.parts)
        always = bool(policy.passes and is_named and not tightens)
        if always and not (actor.is_admin_of_all and has_two_admins()):
            raise PolicyRefused(
                "A policy with passes names this list: two admins of everything sign this change."
            )
        return ChangeInWords(
            title=f"Allowlist {locked}: change",
            before=before,
            # All of them, with their ends: a second admin reads nothing else of it.
            after=listed(acts) or "no change",
            page=locked.url,
            # What a pass sends is accepted by those who may sign passes.
            connection=None if always else locked.owning_connection,
            mailbox=None if always else locked.mailbox_id,
            tightens=tightens,
            always=always,
        )

    yield change
    if not changed:
        return locked
    locked.version += 1
    locked.changed_by_id = int(actor.id)
    locked.changed_at = clock()
    locked.save()
    locked.entries.filter(pattern__in=changed).delete()
    rows = [
        AllowEntry(
            **vars(entry),
            allowlist=locked,
            added_at=locked.changed_at,
            added_by_id=locked.changed_by_id,
        )
        for entry in new.values()
    ]
    AllowEntry.objects.bulk_create(rows, batch_size=2000)
    GateList.objects.bring()
    named = {did: first_few(entries) for did, entries in acts.items()}
    record_change(locked, actor, before, **named)
    return locked
